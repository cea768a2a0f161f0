"""Vocabularies of categorical columns: which values have a row, and the rows of each entity."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ppm_tf.data.raw.columns import categories
from ppm_tf.rows import FIRST_ROW, UNKNOWN_ROW


def vocabulary(counts: Mapping[str, int], min_count: int = 1) -> tuple[str, ...]:
    """The values seen `min_count` times or more, most frequent first, equally frequent ones by name.

    Example:

    >>> vocabulary({"b": 2, "a": 2, "c": 5, "d": 1}, min_count=2)
    ('c', 'a', 'b')
    """
    kept = [value for value, count in counts.items() if count >= min_count]
    return tuple(sorted(kept, key=lambda value: (-counts[value], value)))


def encode(counts: np.ndarray, values: pa.Array, words: pa.Array, num_values: int) -> np.ndarray:
    """The vocabulary rows of entities.

    Args:
        counts: number of values of each entity.
        values: all values, entity by entity, as `categories` gives them.
        words: the vocabulary.
        num_values: width of the result; further values of an entity are left out.

    Returns:
        int32 `[len(counts), num_values]`: `FIRST_ROW` + place in the vocabulary, 1 for a value it does not hold, 0 for no value.
    """
    found = pc.index_in(values, value_set=words)
    rows = pc.fill_null(pc.add(found, FIRST_ROW), UNKNOWN_ROW).to_numpy(zero_copy_only=False)
    entity = np.repeat(np.arange(len(counts)), counts)
    place = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    kept = place < num_values
    table = np.zeros((len(counts), num_values), np.int32)
    table[entity[kept], place[kept]] = rows[kept]
    return table


class FieldBuilder:
    """Collects a categorical column batch by batch, and gives its vocabulary and rows in the end.

    Args:
        separator: splits one string into several values; `None` = it is one value.
        min_count: values seen fewer times have no row of their own.
        missing: words that mean that nothing is here.
        numeric: whether the values are numbers, see `column_forms.canonical`.
    """

    def __init__(self, separator: str | None, min_count: int, missing: Sequence[str] = ("",), numeric: bool = False):
        self.separator = separator
        self.min_count = min_count
        self.missing = missing
        self.numeric = numeric
        self.seen: Counter[str] = Counter()
        self._batches: list[tuple[np.ndarray, pa.Array]] = []

    def add(self, column: pa.Array) -> None:
        """Takes the values of the next entities."""
        counts, values = categories(column, self.separator, self.missing, self.numeric)
        self.seen.update(value_counts(values))
        self._batches.append((counts, values.dictionary_encode()))

    @property
    def width(self) -> int:
        """Most values of an entity, at least 1."""
        return max([1, *(int(counts.max(initial=0)) for counts, _ in self._batches)])

    def codes(self, words: Sequence[str], width: int | None = None) -> np.ndarray:
        """The rows of all entities in a vocabulary of `words`, int32 `[entities, width]`; by default as wide as an entity has values."""
        width = self.width if width is None else width
        array = pa.array(words, pa.string())
        parts = [encode(counts, values.cast(pa.string()), array, width) for counts, values in self._batches]
        return np.concatenate([np.zeros((0, width), np.int32), *parts])

    def finish(self) -> tuple[tuple[str, ...], np.ndarray]:
        """The vocabulary and the rows of all entities, int32 `[entities, num_values]`."""
        words = vocabulary(self.seen, self.min_count)
        return words, self.codes(words)


def value_counts(values: pa.Array) -> dict[str, int]:
    """How often each value occurs."""
    counted = pc.value_counts(values)
    return dict(zip(counted.field("values").to_pylist(), counted.field("counts").to_pylist(), strict=True))
