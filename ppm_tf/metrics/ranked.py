"""Metrics of the order of candidates inside a group (a request): Precision@N, NDCG@N, MRR."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from ppm_tf.metrics.groups import PerGroup, group_codes
from ppm_tf.metrics.value import as_rows, why_not_scored
from ppm_tf.rows import splitmix64


def precision_by_group(labels: ArrayLike, scores: ArrayLike, groups: ArrayLike, n: int = 2, identity: ArrayLike | None = None) -> PerGroup:
    """Precision@N of each group: the share of positives among its N best candidates.

    `P@N = mean_g (positives among the N best of g) / N`, over the groups with at least one positive and at least two candidates; a
    group without a positive tells nothing about the order, and one candidate has none. A group with fewer than N candidates is kept
    and still divided by N. Candidates of equal score are put in an order by a hash of group and identity, so that neither the order
    of the log nor one item's id is favoured.

    Args:
        labels: `[n]`, 0 or 1.
        scores: `[n]`, of any scale.
        groups: `[n]`, whole numbers: the request of each row, in any order.
        n: int. Candidates looked at. Defaults to 2.
        identity: `[n]`, whole numbers that tell the candidates of a group apart, such as item rows; with it, no order of the rows
            changes the value (but rows alike in group, score and identity keep theirs). Defaults to the row's place within its group.

    Returns:
        The value of each group that has one; `.mean("equal")` is the metric.

    >>> value = precision_by_group([1, 0, 0, 0, 0], [0.9, 0.5, 0.1, 0.7, 0.6], groups=[1, 1, 1, 2, 2]).mean("equal")
    >>> value, value.groups
    (0.5, 1)
    """
    return _by_group(labels, scores, groups, identity, _precision(n))[0]


def ndcg_by_group(labels: ArrayLike, scores: ArrayLike, groups: ArrayLike, n: int | None = None, identity: ArrayLike | None = None) -> PerGroup:
    """Normalised discounted cumulative gain of the N best candidates (all of them by default) of each group.

    `DCG@N = sum_{r <= N} y_r / log2(1 + r)`, divided by the DCG of the best order. Groups, ties and arguments as in `precision_by_group`.

    >>> round(ndcg_by_group([0, 1], [0.9, 0.5], groups=[1, 1]).mean("equal"), 4)  # 1 / log2(3)
    0.6309
    """
    return _by_group(labels, scores, groups, identity, _ndcg(n))[0]


def reciprocal_rank_by_group(labels: ArrayLike, scores: ArrayLike, groups: ArrayLike, identity: ArrayLike | None = None) -> PerGroup:
    """1 / (rank of the best-ranked positive) of each group; its mean is the MRR. Groups, ties and arguments as in `precision_by_group`.

    >>> reciprocal_rank_by_group([0, 1, 1], [0.9, 0.5, 0.1], groups=[1, 1, 1]).mean("equal")
    0.5
    """
    return _by_group(labels, scores, groups, identity, _reciprocal_rank)[0]


def ranked_by_group(
    labels: ArrayLike, scores: ArrayLike, groups: ArrayLike, n: int = 2, identity: ArrayLike | None = None
) -> tuple[PerGroup, PerGroup, PerGroup]:
    """`precision_by_group` at `n`, `ndcg_by_group` of all candidates and `reciprocal_rank_by_group`, with one sort for the three."""
    precision, ndcg, reciprocal = _by_group(labels, scores, groups, identity, _precision(n), _ndcg(None), _reciprocal_rank)
    return precision, ndcg, reciprocal


# (positive [n], rank [n], starts [G]) -> [G], of rows in order of group and rank
GroupMetric = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def _precision(n: int) -> GroupMetric:
    _check_depth(n)
    return lambda positive, rank, starts: np.add.reduceat(positive & (rank <= n), starts, dtype=np.int64) / n


def _ndcg(n: int | None) -> GroupMetric:
    if n is not None:
        _check_depth(n)

    def ndcg(positive: np.ndarray, rank: np.ndarray, starts: np.ndarray) -> np.ndarray:
        discount = 1 / np.log2(1 + rank)
        if n is not None:
            discount[rank > n] = 0
        best = rank <= np.repeat(np.add.reduceat(positive, starts, dtype=np.int64), np.diff(np.r_[starts, rank.size]))
        ideal = np.add.reduceat(discount * best, starts)
        return np.add.reduceat(discount * positive, starts) / np.where(ideal > 0, ideal, 1)  # groups without a positive are dropped below

    return ndcg


def _reciprocal_rank(positive: np.ndarray, rank: np.ndarray, starts: np.ndarray) -> np.ndarray:
    return np.maximum.reduceat(positive / rank, starts)


def _by_group(labels: ArrayLike, scores: ArrayLike, groups: ArrayLike, identity: ArrayLike | None, *metrics: GroupMetric) -> list[PerGroup]:
    positive, scores = as_rows(labels, scores)
    codes = _whole_groups(groups, positive.size)
    if reason := why_not_scored(scores):
        return [PerGroup.empty(reason) for _ in metrics]
    order, starts = _order(scores, codes, identity)
    positive, rank = positive[order], _count_from(starts, scores.size)
    size = np.diff(np.r_[starts, scores.size])
    kept = np.logical_or.reduceat(positive, starts) & (size >= 2)
    if not kept.any():
        return [PerGroup.empty("no group of two or more candidates holds a positive") for _ in metrics]
    return [PerGroup(order[starts[kept]], metric(positive, rank, starts)[kept], size[kept]) for metric in metrics]


def _check_depth(n: int) -> None:
    if n < 1:
        raise ValueError(f"n must be at least 1. Received: {n}.")


def _whole_groups(groups: ArrayLike, rows: int) -> np.ndarray:
    groups = np.asarray(groups)
    if groups.dtype.kind not in "iu" and groups.size:  # a hash of ties must not depend on which other groups are present
        raise ValueError(
            f"groups must be whole numbers. Received: {groups.dtype}. Number the groups, e.g. numpy.unique(groups, return_inverse=True)[1]."
        )
    return group_codes(groups, rows)


def _order(scores: np.ndarray, codes: np.ndarray, identity: ArrayLike | None) -> tuple[np.ndarray, np.ndarray]:
    """Rows by group, then falling score, then hash; and where each group starts in that order."""
    if identity is None:
        by_group = np.argsort(codes, kind="stable")
        identity = np.empty(codes.size, np.int64)
        identity[by_group] = _count_from(_starts(codes[by_group]), codes.size)
    identity = np.asarray(identity).ravel()
    if identity.size != codes.size or (identity.dtype.kind not in "iu" and codes.size):
        raise ValueError(f"identity must be one whole number a row. Received: {identity.size} of type {identity.dtype}, {codes.size} rows.")
    hashed = _mix(_mix(codes.astype(np.uint64)) ^ identity.astype(np.uint64))
    order = np.lexsort((hashed, -scores, codes))
    return order, _starts(codes[order])


def _starts(codes: np.ndarray) -> np.ndarray:
    """Where each run of equal codes starts."""
    return np.flatnonzero(np.r_[True, codes[1:] != codes[:-1]]) if codes.size else np.zeros(0, np.int64)


def _count_from(starts: np.ndarray, rows: int) -> np.ndarray:
    """1, 2, 3, ... anew from each start."""
    return np.arange(1, rows + 1) - np.repeat(starts, np.diff(np.r_[starts, rows]))


def _mix(values: np.ndarray) -> np.ndarray:
    """The output of SplitMix64 for each state, uint64 `[n]`."""
    return splitmix64(values + np.uint64(0x9E3779B97F4A7C15))
