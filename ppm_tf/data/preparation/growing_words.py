"""Vocabularies that grow from day to day: a value enters when its cumulative count reaches min_count, and keeps its row for good."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ppm_tf.data.preparation.vocabulary import FieldBuilder
from ppm_tf.rows import FIRST_ROW, UNKNOWN_ROW


@dataclass
class GrowingWords:
    """Every value that a field has had, and which of them have a row.

    A value's code, `FIRST_ROW` + its place here, is what the state keeps of an entity: a value may get its row on a later day, and
    the entities that had it before are known by it then.

    Attributes:
        words: the values, in the order in which they came.
        counts: int64 `[words]`, how often each was seen.
        rows: int32 `[words]`, the row of each; `UNKNOWN_ROW` before it has one.

    Example:

    >>> found = GrowingWords()
    >>> found.count({"b": 1, "a": 2}, min_count=2)
    >>> found.count({"b": 1, "c": 3}, min_count=2)
    >>> found.vocabulary, found.rows_of(np.array([[0, 3]])).tolist()
    (('a', 'c', 'b'), [[0, 4]])
    """

    words: list[str] = field(default_factory=list)
    counts: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    rows: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int32))

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """The values with a row, in row order."""
        known = np.flatnonzero(self.rows != UNKNOWN_ROW)
        return tuple(self.words[place] for place in known[np.argsort(self.rows[known])].tolist())

    def count(self, seen: Mapping[str, int], min_count: int) -> None:
        """Counts values, and gives those a row that have been seen `min_count` times by now."""
        self._learn(seen)
        place = {word: number for number, word in enumerate(self.words)}
        for word, count in seen.items():
            self.counts[place[word]] += count
        self._admit(min_count)

    def _learn(self, words: Mapping[str, int]) -> None:
        new = sorted(set(words) - set(self.words))
        self.words = [*self.words, *new]
        self.counts = np.concatenate([self.counts, np.zeros(len(new), np.int64)])
        self.rows = np.concatenate([self.rows, np.full(len(new), UNKNOWN_ROW, np.int32)])

    def _admit(self, min_count: int) -> None:
        """As `vocabulary.vocabulary` orders them, behind those that have a row."""
        waiting = np.flatnonzero((self.rows == UNKNOWN_ROW) & (self.counts >= min_count)).tolist()
        waiting.sort(key=lambda place: (-self.counts[place], self.words[place]))
        first = FIRST_ROW + len(self.rows) - int((self.rows == UNKNOWN_ROW).sum())
        self.rows[waiting] = np.arange(first, first + len(waiting))

    def rows_of(self, codes: np.ndarray) -> np.ndarray:
        """The rows of codes, int32 of their shape; 0 (no value) stays."""
        return np.concatenate([[0, UNKNOWN_ROW], self.rows]).astype(np.int32)[codes]

    def put(self, codes: np.ndarray, places: np.ndarray, cells: FieldBuilder, width: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Takes the values of entities that came or changed, and counts them; values that an entity had before are not counted again.

        Args:
            codes: int32 `[entities, values]`, of all entities; 0 where there are none yet.
            places: which entities came, int `[found]`, each once.
            cells: their values.
            width: most values of an entity; `None` = as many as any has.

        Returns:
            The codes of all entities, as wide as need be; and which of `places` changed, bool.
        """
        self._learn(cells.seen)
        found = cells.codes(self.words, width)
        codes, found = _widened(codes, found.shape[1]), _widened(found, codes.shape[1])
        changed = (codes[places] != found).any(axis=1)
        codes[places] = found
        fresh = found[changed]
        self.counts = self.counts + np.bincount(fresh[fresh >= FIRST_ROW] - FIRST_ROW, minlength=len(self.words))
        self._admit(cells.min_count)
        return codes, changed


def _widened(codes: np.ndarray, width: int) -> np.ndarray:
    more = max(0, width - codes.shape[1])
    return np.pad(codes, ((0, 0), (0, more)))


def write_words(words: Mapping[str, GrowingWords], path: Path) -> None:
    """Writes the values of all fields as Parquet."""
    names = [name for name, one in words.items() for _ in one.words]
    columns = {
        "field": pa.array(names, pa.string()),
        "word": pa.array([word for one in words.values() for word in one.words], pa.string()),
        "count": np.concatenate([np.zeros(0, np.int64), *(one.counts for one in words.values())]),
        "row": np.concatenate([np.zeros(0, np.int32), *(one.rows for one in words.values())]),
    }
    pq.write_table(pa.table(columns), path, compression="zstd")


def read_words(path: Path) -> dict[str, GrowingWords]:
    """Reads what `write_words` wrote, by field."""
    table = pq.read_table(path)
    names = np.array(table.column("field").to_pylist(), dtype=object)
    words, counts, rows = table.column("word").to_pylist(), table.column("count").to_numpy(), table.column("row").to_numpy()
    found = {}
    for name in dict.fromkeys(names.tolist()):
        at = np.flatnonzero(names == name)
        found[name] = GrowingWords(words[at[0] : at[-1] + 1], counts[at].copy(), rows[at].copy())
    return found
