"""How far a distribution of scores, or a table of vectors, has moved from an earlier one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

_BLOCK = 1 << 16  # rows of a table at a time


def quantile_edges(reference: ArrayLike, bins: int) -> np.ndarray:
    """Inner edges of at most `bins` bins that hold about as many reference values each, rising; a bin is (left, right].

    A value that fills more than a bin gets one of its own, so that a reference without spread still has a left and a right.

    >>> quantile_edges([1, 2, 3, 4], 2)
    array([2.5])
    """
    values = np.asarray(reference, np.float64)
    edges = np.quantile(values, np.arange(1, bins) / bins)
    found, counts = np.unique(edges, return_counts=True)
    lowest, highest = values.min(), values.max()
    heavy = found[(counts > 1) | (found == lowest) | (found == highest)]
    return np.unique(np.concatenate([found, np.nextafter(heavy, -np.inf)]))


def shares(values: ArrayLike, edges: np.ndarray) -> np.ndarray:
    """The share of the values in each bin, `[E + 1]`; half a value is added to each, so that none is 0."""
    counts = np.bincount(np.searchsorted(edges, np.asarray(values, np.float64), side="left"), minlength=edges.size + 1) + 0.5
    return counts / counts.sum()


def psi(p: ArrayLike, q: ArrayLike) -> float:
    """Population stability index `sum (p - q) ln(p / q)` of two distributions `[n]` without zeros: 0 where they are equal.

    By the convention of credit scoring, above .1 is a shift and above .25 a large one.

    References:
        Siddiqi 2006, "Credit Risk Scorecards". It is Jeffreys' divergence, `KL(p, q) + KL(q, p)`.

    >>> round(psi([0.5, 0.5], [0.25, 0.75]), 4)
    0.2747
    """
    p, q = np.asarray(p, np.float64), np.asarray(q, np.float64)
    return float(np.sum((p - q) * np.log(p / q)))


def js_divergence(p: ArrayLike, q: ArrayLike) -> float:
    """Jensen-Shannon divergence in bits: from 0, equal, to 1, without a value in common.

    >>> js_divergence([1, 0], [0, 1]), js_divergence([0.5, 0.5], [0.5, 0.5])
    (1.0, 0.0)
    """
    p, q = np.asarray(p, np.float64), np.asarray(q, np.float64)
    middle = (p + q) / 2

    def half(one: np.ndarray) -> float:
        there = one > 0
        return float(np.sum(one[there] * np.log2(one[there] / middle[there]))) / 2

    return half(p) + half(q)


def score_drift(scores: ArrayLike, reference: ArrayLike, bins: int = 20) -> tuple[float, float]:
    """PSI and Jensen-Shannon divergence of scores `[n]` against reference scores `[m]`, in bins of the reference's quantiles.

    Raises:
        ValueError: one of them is empty, or holds a score that is no number.
    """
    scores, reference = np.asarray(scores, np.float64).ravel(), np.asarray(reference, np.float64).ravel()
    if not scores.size or not reference.size or np.isnan(scores).any() or np.isnan(reference).any():
        raise ValueError(f"Scores must be there, and numbers. Received: {scores.size} and {reference.size}, some of them nan or none.")
    edges = quantile_edges(reference, bins)
    new, old = shares(scores, edges), shares(reference, edges)
    return psi(new, old), js_divergence(new, old)


@dataclass(frozen=True)
class TableDrift:
    """How an item table differs from an earlier one.

    Attributes:
        table: its name.
        rows: items with a vector in both.
        moved: how many of them have a cosine with their earlier vector below the limit.
        norm_before: mean norm of all earlier vectors; nan without one.
        norm: mean norm of all vectors now; nan without one.
        lost: items that had a vector and have none.
        anew: whether another encoder made the table: its vectors then move by design.
    """

    table: str
    rows: int
    moved: int
    norm_before: float
    norm: float
    lost: int = 0
    anew: bool = False

    @property
    def moved_share(self) -> float:
        """`moved / rows`; nan without rows."""
        return self.moved / self.rows if self.rows else float("nan")


def table_drift(
    table: str,
    before: np.ndarray,
    present_before: np.ndarray,
    after: np.ndarray,
    present: np.ndarray,
    cosine: float,
    anew: bool = False,
) -> TableDrift:
    """Compares two versions of a table, row by row; the later one has the earlier one's rows first, as a catalog that grows by appending has.

    Args:
        table: its name.
        before: the earlier vectors `[V, D]`.
        present_before: bool `[V]`, which rows have one.
        after: the vectors now `[W, D']`, W >= V.
        present: bool `[W]`.
        cosine: below it a vector has moved.
        anew: whether another encoder made it.

    Raises:
        ValueError: rows are gone.
    """
    old = len(before)
    if len(after) < old:
        raise ValueError(f"Table {table} must have the earlier rows first. Received: {len(after)} rows, and {old} before. Prepare the days in order.")
    same_width = before.shape[1:] == after.shape[1:]
    both = present_before & present[:old]
    moved, sums, counts = 0, np.zeros(2), np.array([present_before.sum(), present.sum()])
    for start in range(0, len(after), _BLOCK):
        rows = slice(start, start + _BLOCK)
        new = np.asarray(after[rows], np.float64)
        norms = np.linalg.norm(new, axis=1)
        sums[1] += norms[present[rows]].sum()
        if start >= old:
            continue
        earlier = np.asarray(before[rows], np.float64)
        norms_before = np.linalg.norm(earlier, axis=1)
        sums[0] += norms_before[present_before[rows]].sum()
        here = both[rows]
        if same_width:
            dots = np.einsum("nd,nd->n", earlier[here], new[: len(earlier)][here])
            moved += int((dots < cosine * norms_before[here] * norms[: len(earlier)][here]).sum())
    means = np.divide(sums, counts, out=np.full(2, np.nan), where=counts > 0)
    rows_of_both = int(both.sum())
    lost = int((present_before & ~present[:old]).sum())
    return TableDrift(table, rows_of_both, moved if same_width else rows_of_both, float(means[0]), float(means[1]), lost, anew)
