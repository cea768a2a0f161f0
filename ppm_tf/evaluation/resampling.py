"""A metric in many resamples of the users at once: what intervals, and differences between models, are taken from.

All metrics of all models meet the same resamples. Any difference of two figures is then paired: it is the difference of their resamples.
"""

from __future__ import annotations

import numpy as np

_BLOCK = 1 << 22  # weights turned into floats at a time


def draw_users(num_users: int, resamples: int, seed: int) -> np.ndarray:
    """How often each user is drawn in each resample, uint8 `[B, U]`: as many draws as users, with replacement.

    The resamples are those of `metrics.bootstrap_interval` with the same seed.
    """
    random = np.random.default_rng(seed)
    draws = np.empty((resamples, num_users), np.uint8)  # 256 draws of one user do not happen
    for resample in draws:
        resample[:] = np.bincount(random.integers(num_users, size=num_users), minlength=num_users)
    return draws


def resampled_auc(positive: np.ndarray, scores: np.ndarray, user: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """The AUC in each resample, float `[B]`; nan where a class was not drawn.

    A row weighs as often as its user was drawn. Sorted once; a resample then costs a sum over the negatives and a look-up a positive.

    Args:
        positive: bool `[n]`.
        scores: `[n]`, no nan.
        user: int `[n]`, columns of `draws`.
        draws: `[B, U]`.
    """
    above, below = (np.flatnonzero(kind)[np.argsort(scores[kind], kind="stable")] for kind in (positive, ~positive))
    first, last = (np.searchsorted(scores[below], scores[above], side=side) for side in ("left", "right"))
    user_above, user_below = user[above], user[below]
    beaten = np.zeros(below.size + 1, np.int64)
    values = np.full(len(draws), np.nan)
    for number, drawn in enumerate(draws):
        np.cumsum(drawn[user_below], dtype=np.int64, out=beaten[1:])
        weight = drawn[user_above].astype(np.int64)
        pairs = int(weight.sum()) * int(beaten[-1])
        if pairs:
            values[number] = np.einsum("i,i->", weight, beaten[first] + beaten[last]) / (2 * pairs)  # ties count half
    return values


def resampled_ratio(numerator: np.ndarray, denominator: np.ndarray, user: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """`sum w a / sum w b` in each resample, float `[B]`: log loss (a the losses, b ones), a mean over groups, calibration.

    Args:
        numerator: `[n]`, a.
        denominator: `[n]`, b.
        user: int `[n]`, columns of `draws`.
        draws: `[B, U]`.
    """
    users, place = np.unique(user, return_inverse=True)
    sums = np.stack([np.bincount(place, weights=values, minlength=users.size) for values in (numerator, denominator)])
    step, totals = max(1, _BLOCK // max(users.size, 1)), []
    for start in range(0, len(draws), step):
        # einsum, as in metrics.value.inner: BLAS results depend on the number of threads.
        totals.append(np.einsum("bu,ku->kb", draws[start : start + step, users].astype(np.float64), sums))
    above, below = np.concatenate(totals, axis=1)
    return np.divide(above, below, out=np.full(len(draws), np.nan), where=below > 0)
