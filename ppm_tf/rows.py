"""Rows of tables and hashes of ids: what every room means by a row, in one place."""

from __future__ import annotations

import numpy as np

PADDING_ROW = 0  # of the catalog, of every vocabulary and every table: nothing is here
UNKNOWN_ROW = 1  # an id or value that the catalog or vocabulary does not hold
FIRST_ROW = 2  # the first real item or value
FIRST_UNKNOWN_ROW = 1  # of an id's own table: from here on the rows that strangers are hashed into


def splitmix64(values: np.ndarray) -> np.ndarray:
    """The finalizer of SplitMix64 (Steele, Lea, Flood 2014): spreads uint64 `[n]` evenly, the same on every machine and in every run.

    Example:

    >>> splitmix64(np.array([0x9E3779B97F4A7C15], np.uint64)).tolist() == [0xE220A8397B1DCDAF]  # the generator's first output
    True
    """
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
