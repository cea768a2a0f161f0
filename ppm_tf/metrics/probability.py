"""Metrics of predicted probabilities: log loss, calibration, expected calibration error."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from ppm_tf.metrics.value import Value, as_probabilities, as_weights, inner, why_not_scored

EPSILON = 1e-7  # float32 has no number between 1 - 6e-8 and 1; a certain, wrong prediction costs -log(1e-7) = 16.1


def log_loss(labels: ArrayLike, probabilities: ArrayLike, weights: ArrayLike | None = None, epsilon: float = EPSILON) -> Value:
    """Mean of `-(y log p + (1 - y) log(1 - p))` in nats, with p first clipped to [epsilon, 1 - epsilon].

    Args:
        labels: `[n]`, 0 or 1.
        probabilities: `[n]`, in [0, 1].
        weights: `[n]`, not negative. Defaults to ones.
        epsilon: float. Keeps the loss of a certain, wrong prediction finite. Defaults to 1e-7.

    >>> round(log_loss([1, 0], [0.8, 0.4]), 4)
    0.367
    """
    losses = row_log_loss(labels, probabilities, epsilon)
    return _ratio(losses, np.ones(losses.size), as_weights(weights, losses.size), why_not_scored(losses))


def row_log_loss(labels: ArrayLike, probabilities: ArrayLike, epsilon: float = EPSILON) -> np.ndarray:
    """The log loss of each row, float64 `[n]`."""
    positive, values = as_probabilities(labels, probabilities)
    values = np.clip(values, epsilon, 1 - epsilon)
    return -np.log(np.where(positive, values, 1 - values))


def calibration(labels: ArrayLike, probabilities: ArrayLike, weights: ArrayLike | None = None) -> Value:
    """`sum p / sum y`: 1 is calibrated on the whole, 1.2 promises a fifth too much. Arguments as in `log_loss`.

    >>> calibration([1, 0, 0, 0], [0.2, 0.1, 0.1, 0.1])
    0.5
    """
    positive, values = as_probabilities(labels, probabilities)
    weights = as_weights(weights, values.size)
    return _ratio(values, positive.astype(np.float64), weights, why_not_scored(values) or ("" if positive.any() else "all labels are 0"))


def expected_calibration_error(labels: ArrayLike, probabilities: ArrayLike, bins: int = 20) -> Value:
    """`ECE = sum_b n_b / n |mean p - mean y|` over bins of about equal numbers of rows.

    Bins of equal width would hold nearly all rows of a click log in the first one. Equal probabilities share a bin, whatever the order
    of the rows. A finite sample never reaches 0, not even with the true probabilities: compare models on the same rows only.

    Args:
        labels: `[n]`, 0 or 1.
        probabilities: `[n]`, in [0, 1].
        bins: int. Most bins. Defaults to 20.

    >>> round(expected_calibration_error([0, 1, 1, 1], [0.2, 0.2, 0.9, 0.9], bins=2), 3)
    0.2
    """
    if bins < 1:
        raise ValueError(f"bins must be at least 1. Received: {bins}.")
    positive, values = as_probabilities(labels, probabilities)
    if reason := why_not_scored(values):
        return Value.undefined(reason, values.size)
    _, code, counts = np.unique(values, return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - (counts + 1) / 2  # rank, from 0, of the middle of each run of equal probabilities
    bin_of = (middle * bins / values.size).astype(np.int64)[code]
    excess = np.bincount(bin_of, weights=values - positive, minlength=bins)
    return Value(np.abs(excess).sum() / values.size, values.size)


def _ratio(numerator: np.ndarray, denominator: np.ndarray, weights: np.ndarray, reason: str) -> Value:
    total = inner(weights, denominator)
    if reason or total == 0:
        return Value.undefined(reason or "the rows that count have no weight", numerator.size)
    return Value(inner(weights, numerator) / total, numerator.size)
