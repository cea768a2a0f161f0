"""Confidence intervals by resampling whole clusters (users): `bootstrap_interval`, `paired_bootstrap`.

A metric is given as a function of row weights, `metric(weights [n]) -> float`, made by `auc_of_weights` or `ratio_of_weights`: a
resample is then one vector of weights, and nothing is sorted or copied again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ppm_tf.metrics.value import inner

MetricOfWeights = Callable[[np.ndarray], float]


class Interval(NamedTuple):
    """A confidence interval; nan with a reason where there is none. `resamples` counts those in which the metric was defined."""

    low: float
    high: float
    resamples: int
    reason: str = ""


class Difference(NamedTuple):
    """`value = metric_a - metric_b` on all rows, its interval, and the two-sided p-value of no difference."""

    value: float
    low: float
    high: float
    p_value: float
    resamples: int
    reason: str = ""


def ratio_of_weights(numerator: ArrayLike, denominator: ArrayLike | None = None) -> MetricOfWeights:
    """`sum w a / sum w b` as a function of w: log loss (a the losses, b ones), calibration (a = p, b = y), a mean over groups.

    >>> ratio_of_weights([1.0, 3.0])(np.array([1, 3]))
    2.5
    """
    numerator = np.asarray(numerator, dtype=np.float64)
    denominator = np.ones(numerator.size) if denominator is None else np.asarray(denominator, dtype=np.float64)

    def ratio(weights: np.ndarray) -> float:
        total = inner(weights, denominator)
        return inner(weights, numerator) / total if total > 0 else float("nan")

    return ratio


def bootstrap_interval(metric: MetricOfWeights, clusters: ArrayLike, resamples: int = 200, confidence: float = 0.95, seed: int = 0) -> Interval:
    """Percentile interval of a metric under resampling of clusters with replacement.

    A resample draws as many clusters as there are; a row weighs as often as its cluster was drawn. Rows of one user rise and fall
    together, so intervals of rows drawn one by one would be too narrow. Resamples in which the metric is undefined are left out.

    Args:
        metric: function of row weights `[n]` that returns a float, nan where undefined.
        clusters: `[n]`, the cluster of each row, such as its user.
        resamples: int. Defaults to 200.
        confidence: float. Level of the interval. Defaults to 0.95.
        seed: int. Equal seeds draw equal resamples of equal clusters, whatever the metric. Defaults to 0.

    Returns:
        The interval; nan with a reason where there is one cluster only, or the metric is undefined in more than half of the resamples.

    Example:

    >>> interval = bootstrap_interval(ratio_of_weights([0, 1] * 50), clusters=np.arange(100))
    >>> interval.low < 0.5 < interval.high
    True
    """
    _check(resamples, confidence)
    values, reason = _resampled(metric, clusters, resamples, seed)
    return Interval(*_percentiles(values, confidence), values.size, reason)


def paired_bootstrap(
    metric_a: MetricOfWeights, metric_b: MetricOfWeights, clusters: ArrayLike, resamples: int = 200, confidence: float = 0.95, seed: int = 0
) -> Difference:
    """The difference of two models on the same rows: both are measured on each resample, so what the rows share cancels.

    The p-value is twice the smaller share of resamples on one side of zero, `2 min(1 + #{d <= 0}, 1 + #{d >= 0}) / (1 + resamples)`, at
    most 1. Arguments as in `bootstrap_interval`.

    Example:

    >>> good, poor = ratio_of_weights([1.0] * 40), ratio_of_weights([0.0, 1.0] * 20)
    >>> difference = paired_bootstrap(good, poor, clusters=np.arange(40))
    >>> difference.value, difference.p_value < 0.05
    (0.5, True)
    """
    _check(resamples, confidence)

    def gain(weights: np.ndarray) -> float:
        return metric_a(weights) - metric_b(weights)

    values, reason = _resampled(gain, clusters, resamples, seed)
    one_side = 1 + min((values <= 0).sum(), (values >= 0).sum())
    p_value = np.nan if reason else min(1.0, float(2 * one_side / (1 + values.size)))
    return Difference(gain(np.ones(np.asarray(clusters).size)), *_percentiles(values, confidence), p_value, values.size, reason)


def _check(resamples: int, confidence: float) -> None:
    if resamples < 2:
        raise ValueError(f"resamples must be at least 2. Received: {resamples}.")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1. Received: {confidence}.")


def _resampled(metric: MetricOfWeights, clusters: ArrayLike, resamples: int, seed: int) -> tuple[np.ndarray, str]:
    """The metric in each resample where it is defined; empty with a reason where an interval would mean nothing."""
    names, cluster = np.unique(np.asarray(clusters).ravel(), return_inverse=True)
    if names.size < 2:
        return np.zeros(0), "fewer than two clusters"
    random = np.random.default_rng(seed)
    values = np.empty(resamples)
    for i in range(resamples):
        drawn = np.bincount(random.integers(names.size, size=names.size), minlength=names.size).astype(np.float64)
        values[i] = metric(drawn[cluster])
    values = values[~np.isnan(values)]
    return (values, "") if 2 * values.size > resamples else (np.zeros(0), "undefined in most resamples")


def _percentiles(values: np.ndarray, confidence: float) -> tuple[float, float]:
    if not values.size:
        return np.nan, np.nan
    low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)
