"""Cutting a log into pretrain | train | valid | test: at times common to all users, or in each user's own sequence."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from ppm_tf.config import SplitSettings

SPLITS = ("pretrain", "train", "valid", "test")
_MAX_BINS = 1 << 18


@dataclass
class TimeHistogram:
    """How many rows fall on each time, in bins of 2^shift seconds, as few as fit.

    While there are at most `max_bins` different times (262,144) a bin is a second and cuts are exact; ten years of seconds
    make bins of half an hour. The result does not depend on the order in which parts are added.

    Example:

    >>> histogram = TimeHistogram()
    >>> histogram.add(np.array([5, 5, 9]))
    >>> histogram.times.tolist(), histogram.counts.tolist()
    ([5, 9], [2, 1])
    """

    shift: int = 0
    bins: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    counts: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    max_bins: int = _MAX_BINS

    @property
    def times(self) -> np.ndarray:
        """First second of each bin, growing."""
        return self.bins << self.shift

    def add(self, times: np.ndarray) -> None:
        """Counts rows at these seconds."""
        bins, counts = np.unique(times >> self.shift, return_counts=True)
        self._merge(bins, counts)

    def update(self, other: TimeHistogram) -> None:
        """Adds what another histogram counted."""
        shift = max(self.shift, other.shift)
        self._coarsen(shift)
        self._merge(other.bins >> (shift - other.shift), other.counts)

    def _merge(self, bins: np.ndarray, counts: np.ndarray) -> None:
        merged, place = np.unique(np.concatenate([self.bins, bins]), return_inverse=True)
        totals = np.zeros(len(merged), np.int64)
        np.add.at(totals, place, np.concatenate([self.counts, counts]))
        self.bins, self.counts = merged, totals
        while len(self.bins) > self.max_bins:
            self._coarsen(self.shift + 1)

    def _coarsen(self, shift: int) -> None:
        if shift > self.shift:
            bins, counts, self.bins, self.counts = self.bins >> (shift - self.shift), self.counts, self.bins[:0], self.counts[:0]
            self.shift = shift
            self._merge(bins, counts)


def time_cuts(histogram: TimeHistogram, split: SplitSettings) -> tuple[int, int, int]:
    """The first seconds of train, valid and test.

    Each part gets its share of the rows, rounded up to whole bins, counted from the newest row back (pretrain: from the
    oldest on); requests from a cut on belong to the later part.
    """
    total = int(histogram.counts.sum())
    newer = np.cumsum(histogram.counts[::-1])[::-1]  # rows from each bin on
    wanted = [math.ceil(round(share * total, 6)) for share in (1 - split.pretrain, split.valid + split.test, split.test)]
    if split.pretrain == 0:
        wanted[0] = total
    end = int(histogram.times[-1]) + (1 << histogram.shift)
    cuts = [int(histogram.times[np.flatnonzero(newer >= rows)[-1]]) if rows else end for rows in wanted]
    return cuts[0], cuts[1], cuts[2]


def split_by_time(times: np.ndarray, cuts: tuple[int, ...]) -> np.ndarray:
    """Place of requests at these seconds among the splits that the cuts part, int8."""
    return np.searchsorted(np.asarray(cuts), times, side="right").astype(np.int8)


def split_by_user(place: np.ndarray, total: np.ndarray, split: SplitSettings) -> np.ndarray:
    """Place in `SPLITS` of units (rows, or requests) by their place in their user's sequence.

    The last floor(total x test) units of a user are the test part, those before them up to floor(total x (valid + test))
    the valid part, the first floor(total x pretrain) the pretrain part. A user with few rows stays in train whole. With
    `split.last` the newest units count instead of shares: 0 to last - 1 back is test, the next as many are valid.

    Args:
        place: place of each unit in its user's sequence, from 0.
        total: units of its user.
        split: the settings.

    Example:

    >>> split_by_user(np.arange(10), np.full(10, 10), SplitSettings(by="user", pretrain=0.2, valid=0.1, test=0.3)).tolist()
    [0, 0, 1, 1, 1, 1, 2, 3, 3, 3]
    """
    if split.last:
        test, newer = np.full_like(total, split.last), np.full_like(total, split.last * (2 if split.valid else 1))
    else:
        test, newer = _floor(total * split.test), _floor(total * (split.valid + split.test))
    back = total - 1 - place
    pretrain = place < _floor(total * split.pretrain)
    return np.select([back < test, back < newer, pretrain], [3, 2, 0], 1).astype(np.int8)


def _floor(values: np.ndarray) -> np.ndarray:
    return np.floor(values + 1e-9).astype(np.int64)  # 0.3 * 10 is a little below 3 in binary
