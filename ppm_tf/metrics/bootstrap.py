"""Confidence intervals by resampling whole clusters (users): a metric in many resamples at once.

Rows of one user rise and fall together, so intervals of rows drawn one by one would be too narrow. All metrics of all models meet the
same resamples: any difference of two figures is then paired, it is the difference of their resamples.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

_BLOCK = 1 << 22  # weights turned into floats at a time


class Interval(NamedTuple):
    """A confidence interval; nan with a reason where there is none. `resamples` counts those in which the metric was defined."""

    low: float
    high: float
    resamples: int
    reason: str = ""


def draw_users(num_users: int, resamples: int, seed: int) -> np.ndarray:
    """How often each user is drawn in each resample, uint8 `[B, U]`: as many draws as users, with replacement.

    Equal seeds draw equal resamples of as many users, whatever the metric.
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


def percentile_interval(values: np.ndarray, confidence: float = 0.95) -> Interval:
    """The percentiles of a metric's resamples; those in which it is undefined are left out.

    Args:
        values: `[B]`, nan where undefined.
        confidence: float. Level of the interval. Defaults to 0.95.

    Returns:
        The interval; nan with a reason where the metric is undefined in half of the resamples or more.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1. Received: {confidence}.")
    defined = values[~np.isnan(values)]
    if 2 * defined.size <= values.size:
        return Interval(np.nan, np.nan, defined.size, "undefined in most resamples")
    low, high = np.quantile(defined, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(low), float(high), defined.size)


def bootstrap_interval(values: ArrayLike, clusters: ArrayLike, resamples: int = 200, confidence: float = 0.95, seed: int = 0) -> Interval:
    """Percentile interval of a mean under resampling of clusters with replacement.

    Args:
        values: `[n]`, what the mean is of.
        clusters: `[n]`, the cluster of each row, such as its user.
        resamples: int. Defaults to 200.
        confidence: float. Level of the interval. Defaults to 0.95.
        seed: int. Defaults to 0.

    Returns:
        The interval; nan with a reason where there is one cluster only.

    Example:

    >>> interval = bootstrap_interval([0, 1] * 50, clusters=np.arange(100))
    >>> interval.low < 0.5 < interval.high
    True
    """
    if resamples < 2:
        raise ValueError(f"resamples must be at least 2. Received: {resamples}.")
    values = np.asarray(values, np.float64).ravel()
    names, place = np.unique(np.asarray(clusters).ravel(), return_inverse=True)
    if names.size < 2:
        return Interval(np.nan, np.nan, 0, "fewer than two clusters")
    return percentile_interval(resampled_ratio(values, np.ones(values.size), place, draw_users(names.size, resamples, seed)), confidence)
