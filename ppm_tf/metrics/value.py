"""`Value`: the result of a metric, and the checks every metric makes of its arrays."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


class Value(float):
    """A metric's value: a float that knows what it was taken over and, where it is nan, why.

    Args:
        value: float. The value itself; nan where the metric is undefined.
        rows: int. Rows behind the value.
        groups: int or None. Groups behind the value, for a metric that is a mean over groups. Defaults to None.
        reason: str. Why the value is nan. Defaults to `""`.

    Example:

    >>> from ppm_tf.metrics import auc
    >>> auc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    0.75
    >>> auc([1, 1], [0.2, 0.3]).reason
    'all labels are 1'
    """

    rows: int
    groups: int | None
    reason: str

    def __new__(cls, value: float, rows: int, groups: int | None = None, reason: str = "") -> Value:
        self = super().__new__(cls, value)
        self.rows, self.groups, self.reason = int(rows), None if groups is None else int(groups), reason
        return self

    def __getnewargs__(self) -> tuple:
        return float(self), self.rows, self.groups, self.reason

    @classmethod
    def undefined(cls, reason: str, rows: int, groups: int | None = None) -> Value:
        """A nan with its reason."""
        return cls(np.nan, rows, groups, reason)


# === Checks ===


def as_rows(labels: ArrayLike, scores: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Flattens both to `[n]`: labels as booleans, scores as floats of the width they came in.

    Raises:
        ValueError: the sizes differ, or a label is neither 0 nor 1 (missing labels must be masked out before).
    """
    labels, scores = np.asarray(labels).ravel(), np.asarray(scores).ravel()
    if labels.shape != scores.shape:
        raise ValueError(f"labels and scores must have as many entries. Received: {labels.size} labels, {scores.size} scores.")
    positive = labels == 1
    wrong = ~(positive | (labels == 0))
    if wrong.any():
        raise ValueError(
            f"labels must be 0 or 1. Received: {labels[wrong][0]} among {wrong.sum()} others. Leave rows with a missing label out first."
        )
    # Integers become floats so that a score can be negated; bfloat16 is of no kind NumPy knows.
    return positive, scores if scores.dtype.kind == "f" else scores.astype(np.float64)


def as_probabilities(labels: ArrayLike, probabilities: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """`as_rows` with float64 probabilities.

    Raises:
        ValueError: as `as_rows`, or a probability lies outside [0, 1].
    """
    positive, values = as_rows(labels, probabilities)
    values = values.astype(np.float64)
    if ((values < 0) | (values > 1)).any():
        raise ValueError(
            f"probabilities must lie in [0, 1]. Received: {np.nanmin(values):g} to {np.nanmax(values):g}. Logits must pass the sigmoid first."
        )
    return positive, values


def as_weights(weights: ArrayLike | None, rows: int) -> np.ndarray:
    """Row weights `[n]` as float64; ones where there are none.

    Raises:
        ValueError: not one weight a row, or a weight is negative or no number.
    """
    if weights is None:
        return np.ones(rows)
    values = np.asarray(weights, dtype=np.float64).ravel()
    if values.size != rows:
        raise ValueError(f"weights must have one entry a row. Received: {values.size} weights, {rows} rows.")
    if not (values >= 0).all() or np.isinf(values).any():
        raise ValueError("weights must be finite and not negative.")
    return values


def why_not_ranked(positive: np.ndarray, scores: np.ndarray) -> str:
    """Why these rows have no AUC; empty where they have one."""
    if not positive.size:
        return "no rows"
    return why_not_scored(scores) or ("all labels are 1" if positive.all() else "all labels are 0" if not positive.any() else "")


def why_not_scored(scores: np.ndarray) -> str:
    """Why these scores have no mean; empty where they have one."""
    if not scores.size:
        return "no rows"
    missing = int(np.isnan(scores).sum())
    return f"{missing} of {scores.size} scores are nan" if missing else ""


def inner(left: np.ndarray, right: np.ndarray) -> float:
    """`sum_i left_i right_i` of two `[n]`, in this thread.

    `np.dot` hands long vectors to BLAS threads: its result depends on their number, and where other processes hold the cores they wait
    for each other, which made a bootstrap ten times slower.
    """
    return float(np.einsum("i,i->", left, right))
