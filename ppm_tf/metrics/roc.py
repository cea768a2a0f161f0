"""Area under the ROC curve: of all rows, as a function of row weights, and group by group."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from ppm_tf.metrics.groups import PerGroup, group_codes
from ppm_tf.metrics.value import Value, as_rows, as_weights, inner, why_not_ranked, why_not_scored


def auc(labels: ArrayLike, scores: ArrayLike, weights: ArrayLike | None = None) -> Value:
    """Probability that a positive scores above a negative, ties counting half; exact.

    `AUC = sum_{i: y=1, j: y=0} w_i w_j ([s_i > s_j] + [s_i = s_j] / 2) / (W_1 W_0)`, W the weight of a class.

    Args:
        labels: `[n]`, 0 or 1.
        scores: `[n]`, of any scale.
        weights: `[n]`, not negative. Defaults to ones.

    Returns:
        The value; nan with a reason where a class has no weight or a score is nan.

    >>> auc([0, 1, 1, 0], [0.2, 0.2, 0.9, 0.1])
    0.875
    """
    positive, scores = as_rows(labels, scores)
    weights = as_weights(weights, positive.size)
    reason = why_not_ranked(positive, scores)
    if reason:
        return Value.undefined(reason, positive.size)
    value = auc_of_weights(positive, scores)(weights)
    return Value(value, positive.size, reason="a class has no weight" if np.isnan(value) else "")


def auc_of_weights(labels: ArrayLike, scores: ArrayLike) -> Callable[[np.ndarray], float]:
    """`auc` as a function of the row weights alone: sorts once, then each call is linear in the rows.

    Raises:
        ValueError: a score is nan.

    >>> area = auc_of_weights([0, 1, 1], [0.5, 0.4, 0.6])
    >>> area(np.array([1, 1, 1])), area(np.array([1, 0, 1]))
    (0.5, 1.0)
    """
    positive, scores = as_rows(labels, scores)
    if np.isnan(scores).any():
        raise ValueError(f"scores must be numbers. Received: {why_not_scored(scores)}.")
    order = np.argsort(scores, kind="stable")
    ranked = scores[order]
    starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]]) if ranked.size else np.zeros(0, int)  # of runs of equal scores
    has_ties = starts.size < ranked.size
    is_positive = positive[order].astype(np.float64)

    def area(weights: np.ndarray) -> float:
        weights = weights[order]
        above = weights * is_positive
        below = weights - above
        if has_ties:
            above, below = np.add.reduceat(above, starts), np.add.reduceat(below, starts)
        total = float(above.sum() * below.sum())
        # Each positive beats the negatives of lower runs and half of those in its own.
        return inner(above, np.cumsum(below) - below / 2) / total if total > 0 else float("nan")

    return area


def group_auc(labels: ArrayLike, scores: ArrayLike, groups: ArrayLike, weighting: str = "impressions") -> Value:
    """Mean of the AUC inside each group; groups whose labels are all alike are left out.

    `GAUC = sum_g n_g AUC_g / sum_g n_g` with `weighting="impressions"`, n_g the rows of the group; every n_g = 1 with `"equal"`.

    Args:
        labels: `[n]`, 0 or 1.
        scores: `[n]`, of any scale.
        groups: `[n]`, the group (such as the user) of each row, in any order.
        weighting: `"impressions"` or `"equal"`. Defaults to `"impressions"`.

    Returns:
        The value, with `.groups` and `.rows` that entered it.

    >>> value = group_auc([0, 1, 0, 1, 1], [0.1, 0.9, 0.8, 0.3, 0.3], groups=[7, 7, 9, 9, 4])
    >>> value, value.groups, value.rows
    (0.5, 2, 4)
    """
    return auc_by_group(labels, scores, groups).mean(weighting)


def auc_by_group(labels: ArrayLike, scores: ArrayLike, groups: ArrayLike) -> PerGroup:
    """AUC of each group that holds both labels; one sort for all groups, no loop over them."""
    positive, scores = as_rows(labels, scores)
    codes = group_codes(groups, positive.size)
    if reason := why_not_scored(scores):
        return PerGroup.empty(reason)
    order = np.lexsort((scores, codes))
    codes, ranked, is_positive = codes[order], scores[order], positive[order]

    opens_group = np.r_[True, codes[1:] != codes[:-1]]
    opens_run = opens_group | np.r_[True, ranked[1:] != ranked[:-1]]  # a run: equal scores inside a group
    run_starts, group_starts = np.flatnonzero(opens_run), np.flatnonzero(opens_group)
    above = np.add.reduceat(is_positive.astype(np.int64), run_starts)
    below = np.diff(np.r_[run_starts, ranked.size]) - above

    first_run = np.searchsorted(run_starts, group_starts)
    positives, negatives = np.add.reduceat(above, first_run), np.add.reduceat(below, first_run)
    lower = np.cumsum(below) - below
    lower -= np.repeat(lower[first_run], np.diff(np.r_[first_run, run_starts.size]))
    wins = np.add.reduceat(above * (2 * lower + below), first_run) / 2  # doubled, the sum stays a whole number

    both = (positives > 0) & (negatives > 0)
    if not both.any():
        return PerGroup.empty("no group holds both labels")
    pairs = positives[both] * negatives[both]
    return PerGroup(order[group_starts[both]], wins[both] / pairs, (positives + negatives)[both])
