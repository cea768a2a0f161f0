"""Metrics of rows over a stream of batches: `update` with each batch, `result` at any time, `merge` two streams into a third.

All but `StreamingAUC` equal their counterpart on the whole arrays up to rounding. `merge` changes neither stream. Rows whose label is
missing must be left out before.
"""

from __future__ import annotations

import copy

import numpy as np
from numpy.typing import ArrayLike

from ppm_tf.metrics.probability import EPSILON, row_log_loss
from ppm_tf.metrics.value import Value, as_probabilities, inner

LOGIT_RANGE = 17.0  # a float32 probability below 1 is at most 1 - 6e-8, whose log-odds are 16.6


class StreamingAUC:
    """AUC of probabilities from a histogram of each class, in constant memory.

    Bins have equal width in log-odds, `log p - log(1 - p)`, so that rare clicks are told apart as finely as likely ones; probabilities
    beyond log-odds of 17 share the end bins. Rows of one bin count as ties. Only their pairs can be wrong, by at most one half each:
    `|error| <= sum_b P_b N_b / (2 P N)`, which `error_bound` gives for the rows seen. With the default bins it is below 1e-4 for any
    smooth model; rows with equal scores are true ties, for which the bound is pessimistic and the result exact.

    Args:
        bins: int. Bins over the range. Defaults to 65536 (1 MB of counts).

    Example:

    >>> stream = StreamingAUC()
    >>> stream.update([0, 1], [0.2, 0.9])
    >>> stream.update([0, 1], [0.3, 0.1])
    >>> stream.result()
    0.5
    """

    def __init__(self, bins: int = 1 << 16) -> None:
        if bins < 2:
            raise ValueError(f"bins must be at least 2. Received: {bins}.")
        self.counts = np.zeros((2, bins), np.int64)  # of negatives, of positives

    def update(self, labels: ArrayLike, probabilities: ArrayLike) -> None:
        """Adds rows: labels 0 or 1, probabilities in [0, 1], both of one size and any shape.

        Raises:
            ValueError: a label or probability is outside its range, or a probability is nan.
        """
        positive, values = as_probabilities(labels, probabilities)
        if np.isnan(values).any():
            raise ValueError("probabilities must be numbers. Received: nan.")
        bins = self.counts.shape[1]
        with np.errstate(divide="ignore"):  # log-odds of 0 and 1 are infinite, and clipped
            log_odds = np.log(values) - np.log1p(-values)
        place = (np.clip(log_odds, -LOGIT_RANGE, LOGIT_RANGE) + LOGIT_RANGE) * (bins / (2 * LOGIT_RANGE))
        place = np.minimum(place.astype(np.int64), bins - 1)
        self.counts += np.bincount(place + bins * positive, minlength=2 * bins).reshape(2, bins)

    def result(self) -> Value:
        """The AUC so far."""
        below, above = self.counts.astype(np.float64)
        rows, pairs = int(self.counts.sum()), below.sum() * above.sum()
        if pairs == 0:
            return Value.undefined("no rows" if not rows else "all labels are 0" if not above.any() else "all labels are 1", rows)
        return Value(inner(above, np.cumsum(below) - below / 2) / pairs, rows)

    @property
    def error_bound(self) -> float:
        """How far `result` can be from the exact AUC of the rows seen."""
        below, above = self.counts.astype(np.float64)
        pairs = below.sum() * above.sum()
        return inner(below, above) / (2 * pairs) if pairs else 0.0

    def merge(self, other: StreamingAUC) -> StreamingAUC:
        """The stream of both streams' rows."""
        if self.counts.shape != other.counts.shape:
            raise ValueError(f"Streams to merge must have as many bins. Received: {self.counts.shape[1]} and {other.counts.shape[1]}.")
        merged = copy.deepcopy(self)
        merged.counts += other.counts
        return merged


class StreamingMean:
    """`sum a / sum b` over rows: the state behind the mean-like metrics.

    Example:

    >>> stream = StreamingMean()
    >>> stream.update([1.0, 2.0])
    >>> stream.update([6.0])
    >>> stream.result()
    3.0
    """

    def __init__(self) -> None:
        self.numerator, self.denominator, self.rows = 0.0, 0.0, 0

    def update(self, numerator: ArrayLike, denominator: ArrayLike | None = None) -> None:
        """Adds rows; the denominator of each is 1 by default."""
        numerator = np.asarray(numerator, dtype=np.float64)
        self.numerator += float(numerator.sum())
        self.denominator += numerator.size if denominator is None else float(np.sum(denominator, dtype=np.float64))
        self.rows += numerator.size

    def result(self, reason: str = "no rows") -> Value:
        """The ratio so far; nan with `reason` while the denominator is 0."""
        if self.denominator == 0:
            return Value.undefined(reason if self.rows else "no rows", self.rows)
        return Value(self.numerator / self.denominator, self.rows)

    def merge(self, other: StreamingMean) -> StreamingMean:
        """The stream of both streams' rows."""
        merged = StreamingMean()
        merged.numerator, merged.denominator = self.numerator + other.numerator, self.denominator + other.denominator
        merged.rows = self.rows + other.rows
        return merged


class StreamingLogLoss:
    """`log_loss` over a stream.

    Example:

    >>> stream = StreamingLogLoss()
    >>> stream.update([1, 0], [0.8, 0.4])
    >>> round(stream.result(), 4)
    0.367
    """

    def __init__(self, epsilon: float = EPSILON) -> None:
        self.epsilon, self.mean = epsilon, StreamingMean()

    def update(self, labels: ArrayLike, probabilities: ArrayLike) -> None:
        """Adds rows: labels 0 or 1, probabilities in [0, 1]."""
        self.mean.update(row_log_loss(labels, probabilities, self.epsilon))

    def result(self) -> Value:
        """The log loss so far."""
        return self.mean.result()

    def merge(self, other: StreamingLogLoss) -> StreamingLogLoss:
        """The stream of both streams' rows."""
        merged = StreamingLogLoss(self.epsilon)
        merged.mean = self.mean.merge(other.mean)
        return merged


class StreamingCalibration:
    """`calibration` over a stream.

    Example:

    >>> stream = StreamingCalibration()
    >>> stream.update([1, 0, 0, 0], [0.2, 0.1, 0.1, 0.1])
    >>> stream.result()
    0.5
    """

    def __init__(self) -> None:
        self.mean = StreamingMean()

    def update(self, labels: ArrayLike, probabilities: ArrayLike) -> None:
        """Adds rows: labels 0 or 1, probabilities in [0, 1]."""
        positive, values = as_probabilities(labels, probabilities)
        self.mean.update(values, positive)

    def result(self) -> Value:
        """The ratio so far."""
        return self.mean.result("all labels are 0")

    def merge(self, other: StreamingCalibration) -> StreamingCalibration:
        """The stream of both streams' rows."""
        merged = StreamingCalibration()
        merged.mean = self.mean.merge(other.mean)
        return merged
