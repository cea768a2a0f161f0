"""Metrics of groups over a stream of batches: `update` with each batch, `result` at any time, `merge` two streams into a third.

Both equal their counterpart on the whole arrays up to rounding. `merge` changes neither stream. Rows whose label is missing must be
left out before.
"""

from __future__ import annotations

import copy

import numpy as np
from numpy.typing import ArrayLike

from ppm_tf.metrics.groups import PerGroup, group_weights
from ppm_tf.metrics.ranked import precision_by_group
from ppm_tf.metrics.roc import auc_by_group
from ppm_tf.metrics.value import Value, as_rows, inner


class StreamingPrecisionAt:
    """`precision_at` over a stream whose updates hold whole groups.

    Args:
        n: int. Candidates looked at. Defaults to 2.

    Example:

    >>> stream = StreamingPrecisionAt(n=1)
    >>> stream.update([1, 0], [0.9, 0.1], groups=[1, 1])
    >>> stream.update([1, 0], [0.2, 0.7], groups=[2, 2])
    >>> stream.result()
    0.5
    """

    def __init__(self, n: int = 2) -> None:
        self.n, self.sums = n, _GroupSums("equal")

    def update(self, labels: ArrayLike, scores: ArrayLike, groups: ArrayLike, identity: ArrayLike | None = None) -> None:
        """Adds whole groups; arguments as in `precision_at`."""
        self.sums.add(precision_by_group(labels, scores, groups, self.n, identity))

    def result(self) -> Value:
        """The value so far, with `.groups` and `.rows` that entered it."""
        return self.sums.result("no group of two or more candidates holds a positive")

    def merge(self, other: StreamingPrecisionAt) -> StreamingPrecisionAt:
        """The stream of both streams' groups."""
        if self.n != other.n:
            raise ValueError(f"Streams to merge must have one n. Received: {self.n} and {other.n}.")
        merged = StreamingPrecisionAt(self.n)
        merged.sums = self.sums.merge(other.sums)
        return merged


class StreamingGroupAUC:
    """`group_auc` over a stream in which the rows of a group follow each other, across updates if need be.

    Keeps the rows of the first and of the newest group, which a merge may have to join to another stream's, and sums of the rest.

    Args:
        weighting: `"impressions"` or `"equal"`. Defaults to `"impressions"`.

    Example:

    >>> stream = StreamingGroupAUC()
    >>> stream.update([0, 1, 0], [0.1, 0.9, 0.8], groups=[7, 7, 9])
    >>> stream.update([1], [0.3], groups=[9])
    >>> stream.result()
    0.5
    """

    def __init__(self, weighting: str = "impressions") -> None:
        self.sums = _GroupSums(weighting)
        self.edges: list[_Rows] = []  # none, the only group, or the first and the newest

    def update(self, labels: ArrayLike, scores: ArrayLike, groups: ArrayLike) -> None:
        """Adds rows, which go on with the newest group or start others; arguments as in `group_auc`.

        Raises:
            ValueError: as `group_auc`, or the rows of a group do not follow each other, or a score is nan.
        """
        positive, scores = as_rows(labels, scores)
        groups = np.asarray(groups).ravel()
        if groups.size != positive.size:
            raise ValueError(f"groups must have one entry a row. Received: {groups.size} groups, {positive.size} rows.")
        if np.isnan(scores).any():
            raise ValueError("scores must be numbers. Received: nan.")
        self._append(_Rows(positive, scores, groups))

    def _append(self, rows: _Rows) -> None:
        if not rows.groups.size:
            return
        if self.edges:
            rows = self.edges[-1].then(rows)
        starts = np.flatnonzero(np.r_[True, rows.groups[1:] != rows.groups[:-1]])
        if np.unique(rows.groups).size < starts.size:
            raise ValueError("The rows of a group must follow each other. Received: a group that comes back after another. Sort the rows by group.")
        self.edges = self.edges[:-1]
        middle = 0
        if not self.edges and starts.size > 1:
            middle = starts[1]
            self.edges.append(rows.part(0, middle))
        self.sums.add(rows.part(middle, starts[-1]).auc())
        self.edges.append(rows.part(starts[-1], rows.groups.size))

    def result(self) -> Value:
        """The value so far, the newest group included as far as it came."""
        sums = copy.copy(self.sums)
        for rows in self.edges:
            sums.add(rows.auc())
        return sums.result("no group holds both labels")

    def merge(self, other: StreamingGroupAUC) -> StreamingGroupAUC:
        """This stream followed by the other; a group cut between the two is joined."""
        merged = StreamingGroupAUC(self.sums.weighting)
        merged.sums, merged.edges = self.sums.merge(other.sums), list(self.edges)
        for rows in other.edges:
            merged._append(rows)
        return merged


# === State of the group metrics ===


class _Rows:
    """Some consecutive rows."""

    def __init__(self, positive: np.ndarray, scores: np.ndarray, groups: np.ndarray) -> None:
        self.positive, self.scores, self.groups = positive, scores, groups

    def then(self, other: _Rows) -> _Rows:
        return _Rows(*(np.concatenate(pair) for pair in zip(vars(self).values(), vars(other).values(), strict=True)))

    def part(self, start: int, stop: int) -> _Rows:
        return _Rows(*(column[start:stop].copy() for column in vars(self).values()))  # a view would keep the whole batch alive

    def auc(self) -> PerGroup:
        return auc_by_group(self.positive, self.scores, self.groups)


class _GroupSums:
    """Weighted sum of a metric over closed groups."""

    def __init__(self, weighting: str) -> None:
        group_weights(np.zeros(0), weighting)  # refuses an unknown name before the first batch
        self.weighting, self.total, self.weight, self.groups, self.rows = weighting, 0.0, 0.0, 0, 0

    def add(self, groups: PerGroup) -> None:
        weights = group_weights(groups.size, self.weighting)
        self.total += inner(weights, groups.value)
        self.weight += float(weights.sum())
        self.groups += groups.size.size
        self.rows += int(groups.size.sum())

    def result(self, reason: str) -> Value:
        if not self.groups:
            return Value.undefined(reason, 0, groups=0)
        return Value(self.total / self.weight, self.rows, self.groups)

    def merge(self, other: _GroupSums) -> _GroupSums:
        if self.weighting != other.weighting:
            raise ValueError(f"Streams to merge must have one weighting. Received: {self.weighting} and {other.weighting}.")
        merged = copy.copy(self)
        merged.total, merged.weight = self.total + other.total, self.weight + other.weight
        merged.groups, merged.rows = self.groups + other.groups, self.rows + other.rows
        return merged
