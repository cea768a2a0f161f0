"""DeLong's test: do two models that score the same rows differ in AUC?"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ppm_tf.metrics.value import as_rows, why_not_ranked


class DeLong(NamedTuple):
    """Result of `delong_test`: both AUCs, their covariance `[2, 2]`, `difference = auc_a - auc_b` with its standard error, z and two-sided p."""

    auc_a: float
    auc_b: float
    covariance: np.ndarray
    difference: float
    standard_error: float
    z: float
    p_value: float
    reason: str = ""


def delong_test(labels: ArrayLike, scores_a: ArrayLike, scores_b: ArrayLike) -> DeLong:
    """Tests the difference of two correlated AUCs without resampling, in O(n log n).

    With m positives X and n negatives Y, a positive's placement is `V10(X_i) = mean_j psi(X_i, Y_j)` and a negative's is
    `V01(Y_j) = mean_i psi(X_i, Y_j)`, where psi is 1, 1/2 or 0 for above, equal or below. The covariance of the two AUCs is
    `S10 / m + S01 / n`, S the sample covariances of the placements (denominators m - 1 and n - 1). Placements come from midranks.

    The rows are taken to be independent. Rows of one user are not: then the resamples of users (`ppm_tf.metrics.bootstrap`) are the honest test.

    Args:
        labels: `[n]`, 0 or 1.
        scores_a: `[n]`, scores of the first model.
        scores_b: `[n]`, scores of the second model on the same rows.

    Returns:
        A `DeLong`; nan with a reason where fewer than two rows of a class are there, or the difference has no variance.

    References:
        DeLong, DeLong, Clarke-Pearson 1988, "Comparing the areas under two or more correlated receiver operating characteristic curves".
        Sun, Xu 2014, "Fast implementation of DeLong's algorithm for comparing the areas under correlated ROC curves".

    >>> result = delong_test([0, 0, 0, 1, 1, 1], [1, 2, 4, 3, 5, 6], [3, 1, 5, 4, 2, 6])
    >>> round(result.auc_a, 3), round(result.auc_b, 3), round(result.p_value, 3)
    (0.889, 0.667, 0.371)
    """
    positive, first = as_rows(labels, scores_a)
    _, second = as_rows(labels, scores_b)
    reason = why_not_ranked(positive, first) or why_not_ranked(positive, second)
    num_positives = int(positive.sum())
    num_negatives = positive.size - num_positives
    if not reason and min(num_positives, num_negatives) < 2:
        reason = "fewer than two rows of a class"
    if reason:
        return DeLong(np.nan, np.nan, np.full((2, 2), np.nan), np.nan, np.nan, np.nan, np.nan, reason=reason)

    of_positives, of_negatives = zip(*(_placements(positive, scores) for scores in (first, second)), strict=True)
    covariance = np.cov(of_positives) / num_positives + np.cov(of_negatives) / num_negatives
    auc_a, auc_b = (float(placements.mean()) for placements in of_positives)
    difference = auc_a - auc_b
    variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    if variance <= 1e-15:  # what rounding leaves of equal placements
        return DeLong(auc_a, auc_b, covariance, difference, 0.0, np.nan, np.nan, reason="the difference has no variance")
    z = difference / math.sqrt(variance)
    return DeLong(auc_a, auc_b, covariance, difference, math.sqrt(variance), z, math.erfc(abs(z) / math.sqrt(2)))


def _placements(positive: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """V10 of the positives and V01 of the negatives: the share of the other class that a row beats, or loses to."""
    overall, own_above, own_below = _midranks(scores), _midranks(scores[positive]), _midranks(scores[~positive])
    of_positives = (overall[positive] - own_above) / own_below.size
    of_negatives = 1 - (overall[~positive] - own_below) / own_above.size
    return of_positives, of_negatives


def _midranks(scores: np.ndarray) -> np.ndarray:
    """Ranks from 1; equal scores share the mean of their ranks."""
    _, code, counts = np.unique(scores, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[code]
