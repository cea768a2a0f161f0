"""`IdVocabulary`: which raw ids have a row of their own in a trained table, and the hashed rows of all others."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ppm_tf.rows import FIRST_UNKNOWN_ROW, splitmix64


def mixed(ids: np.ndarray) -> np.ndarray:
    """A 63-bit hash of int64 ids: the finalizer of SplitMix64 (Steele et al., 2014), without its sign bit.

    `ppm_tf.layers.id_lookup.mixed` computes the same inside a graph.

    Example:

    >>> mixed(np.array([0, 1, -1])).tolist()
    [0, 6238072747940578789, 3805636230021627259]
    """
    return (splitmix64(np.asarray(ids, np.int64).astype(np.uint64)) & np.uint64(2**63 - 1)).astype(np.int64)


class IdVocabulary:
    """The rows of ids: 0 is padding, 1 to `unknown_rows` are shared by the ids without an own row, then one row an id.

    An id without an own row has the row `1 + mixed(id) mod unknown_rows`. A row, once given, is an id's for good: a grown
    vocabulary appends.

    Args:
        ids: int64 `[ids]`, in the order of their rows, without repetitions. For string ids their fingerprints
            (`ppm_tf.data.ids.stored_ids`).
        unknown_rows: rows that all other ids are hashed into, at least 1.

    Raises:
        ValueError: an id is there twice, or there is no unknown row.

    Example:

    >>> vocabulary = IdVocabulary.from_counts([70, 50, 60], [2, 9, 1], min_count=2, unknown_rows=1)
    >>> vocabulary.ids.tolist(), vocabulary.rows_of([50, 70, 60]).tolist(), vocabulary.num_rows
    ([50, 70], [2, 3, 1], 4)
    >>> vocabulary.grow([60, 50], [3, 3], min_count=2).rows_of([50, 70, 60]).tolist()
    [2, 3, 4]
    """

    def __init__(self, ids: np.ndarray, unknown_rows: int):
        self.ids = np.array(ids, np.int64)
        self.unknown_rows = int(unknown_rows)
        if self.unknown_rows < 1:
            raise ValueError(f"unknown_rows must be at least 1. Received: {unknown_rows}.")
        self._order = np.argsort(self.ids, kind="stable").astype(np.int32)
        self._sorted = self.ids[self._order]
        twice = self._sorted[1:][self._sorted[1:] == self._sorted[:-1]]
        if len(twice):
            raise ValueError(f"Every id must be there once. Received: {len(twice)} repetitions, one of them of {twice[0]}.")

    @classmethod
    def from_counts(cls, ids: np.ndarray, counts: np.ndarray, min_count: int, unknown_rows: int) -> IdVocabulary:
        """The ids seen `min_count` times or more, most frequent first, equally frequent ones by id.

        Args:
            ids: int64 `[ids]`.
            counts: int64 `[ids]`, how often each was seen.
            min_count: ids seen fewer times share the unknown rows.
            unknown_rows: number of these.
        """
        return cls(_frequent(ids, counts, min_count), unknown_rows)

    def grow(self, ids: np.ndarray, counts: np.ndarray, min_count: int) -> IdVocabulary:
        """A vocabulary with new ids behind the old ones, which all keep their rows; arguments as of `from_counts`."""
        frequent = _frequent(ids, counts, min_count)
        return IdVocabulary(np.concatenate([self.ids, frequent[~self.knows(frequent)]]), self.unknown_rows)

    @property
    def num_rows(self) -> int:
        """Rows of a table for it."""
        return FIRST_UNKNOWN_ROW + self.unknown_rows + len(self.ids)

    def knows(self, ids: np.ndarray) -> np.ndarray:
        """Whether each id has an own row, bool `[...]`."""
        return self._find(np.asarray(ids, np.int64))[1]

    def rows_of(self, ids: np.ndarray) -> np.ndarray:
        """The row of each id, int32 `[...]`; never the padding row."""
        ids = np.asarray(ids, np.int64)
        places, known = self._find(ids)
        return np.where(known, FIRST_UNKNOWN_ROW + self.unknown_rows + places, self.hashed_rows(ids)).astype(np.int32)

    def hashed_rows(self, ids: np.ndarray) -> np.ndarray:
        """The shared row that each id has where it has none of its own, int64 `[...]`."""
        return FIRST_UNKNOWN_ROW + mixed(ids) % self.unknown_rows

    def _find(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if not len(self.ids):
            return np.zeros(ids.shape, np.int64), np.zeros(ids.shape, bool)
        found = np.minimum(np.searchsorted(self._sorted, ids), len(self._sorted) - 1)
        return self._order[found].astype(np.int64), self._sorted[found] == ids

    def write(self, path: Path) -> None:
        """Writes an npz file."""
        with Path(path).open("wb") as file:  # a path would get a second suffix
            np.savez(file, ids=self.ids, unknown_rows=np.int64(self.unknown_rows))

    @classmethod
    def read(cls, path: Path) -> IdVocabulary:
        """Reads what `write` wrote."""
        with np.load(path, allow_pickle=False) as file:
            return cls(file["ids"], int(file["unknown_rows"]))


def _frequent(ids: np.ndarray, counts: np.ndarray, min_count: int) -> np.ndarray:
    ids, counts = np.asarray(ids, np.int64), np.asarray(counts, np.int64)
    if ids.ndim != 1 or ids.shape != counts.shape:
        raise ValueError(f"There must be one count an id. Received: {list(ids.shape)} ids and {list(counts.shape)} counts.")
    kept = counts >= min_count
    ids, counts = ids[kept], counts[kept]
    return ids[np.lexsort((ids, -counts))]
