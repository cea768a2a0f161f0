"""Which part of the data a key belongs to: train, valid or test, by a hash that no other key changes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np

TRAIN, VALID, TEST = 0, 1, 2


def parts_of(keys: Iterable[object], valid: float, test: float, salt: str = "") -> np.ndarray:
    """The part of each key, int8: TRAIN, VALID or TEST.

    A key keeps its part when others come or go, on every machine. Keys are compared as strings.

    Args:
        keys: ids or strings.
        valid: share of the keys in the valid part.
        test: share of the keys in the test part.
        salt: another salt draws other parts.

    Example:

    >>> parts = parts_of(range(10_000), valid=0.1, test=0.2)
    >>> [round(float((parts == part).mean()), 1) for part in (TRAIN, VALID, TEST)]
    [0.7, 0.1, 0.2]
    """
    place = np.array([int.from_bytes(hashlib.sha256(f"{salt}{key}".encode()).digest()[:8], "big") / 2.0**64 for key in keys])
    return np.where(place < test, TEST, np.where(place < test + valid, VALID, TRAIN)).astype(np.int8)
