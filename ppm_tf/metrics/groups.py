"""`PerGroup`: a metric taken group by group, before its mean."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ppm_tf.metrics.value import Value, inner

WEIGHTINGS = ("impressions", "equal")


class PerGroup(NamedTuple):
    """A metric's value in each of the G groups where it is defined.

    Attributes:
        row: int `[G]`, one row of each group: its way back to what is known of the group.
        value: float `[G]`, the metric.
        size: int `[G]`, rows of the group.
        reason: why there is no group, where there is none.
    """

    row: np.ndarray
    value: np.ndarray
    size: np.ndarray
    reason: str = ""

    @classmethod
    def empty(cls, reason: str) -> PerGroup:
        """No group, for this reason."""
        return cls(np.zeros(0, np.int64), np.zeros(0), np.zeros(0, np.int64), reason)

    def mean(self, weighting: str = "equal") -> Value:
        """The mean over the groups: of equal weight, or by impressions, which are the rows of a group."""
        weights = group_weights(self.size, weighting)
        if self.reason:
            return Value.undefined(self.reason, 0, groups=0)
        return Value(inner(weights, self.value) / weights.sum(), self.size.sum(), groups=self.size.size)


def group_weights(size: np.ndarray, weighting: str) -> np.ndarray:
    """Weight `[G]` of groups with `size` rows each."""
    if weighting not in WEIGHTINGS:
        raise ValueError(f"weighting must be one of {', '.join(WEIGHTINGS)}. Received: {weighting!r}.")
    return size.astype(np.float64) if weighting == "impressions" else np.ones(size.size)


def group_codes(groups: ArrayLike, rows: int) -> np.ndarray:
    """Numbers the groups: int `[n]`, equal for rows of one group.

    Raises:
        ValueError: not one group a row.
    """
    groups = np.asarray(groups).ravel()
    if groups.size != rows:
        raise ValueError(f"groups must have one entry a row. Received: {groups.size} groups, {rows} rows.")
    return groups if groups.dtype.kind in "iu" else np.unique(groups, return_inverse=True)[1]
