"""Reading of the columns that the settings of an experiment name, batch by batch, with the place of every value."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ppm_tf.config import OnlineSettings, OutcomeFiles
from ppm_tf.config.online import EVENTS
from ppm_tf.data.raw import files as raw_files
from ppm_tf.data.raw.column_forms import canonical
from ppm_tf.data.raw.columns import Place, check_type, labels

_BATCH_ROWS = 1 << 17


class Codes:
    """Numbers for the words of a column, from 0 in the order in which they come."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}

    def of(self, words: pa.Array, add: bool = True) -> np.ndarray:
        """The number of each word, int32 `[n]`; -1 for null, and for a new word where none may be added."""
        encoded = words.dictionary_encode()
        found = [self.numbers.setdefault(word, len(self.numbers)) if add else self.numbers.get(word, -1) for word in encoded.dictionary.to_pylist()]
        places = pc.fill_null(encoded.indices, len(found)).to_numpy(zero_copy_only=False)
        return np.array([*found, -1], np.int32)[places]


@dataclass(frozen=True)
class Batch:
    """Rows of a file: its columns by name, and where they are."""

    path: str
    first_row: int
    columns: dict[str, pa.Array]
    missing: tuple[str, ...]
    prefix: str

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def place(self, setting: str, column: str) -> Place:
        """Where a column's values are, for a message; `setting` names the column."""
        return Place(self.path, column, f"{self.prefix}.{setting}", self.first_row)

    def words(self, column: str) -> pa.Array:
        """Ids or buckets as words in their one spelling, null where missing."""
        return canonical(self.columns[column], self.missing)

    def events(self, settings: OnlineSettings | OutcomeFiles) -> dict[str, np.ndarray]:
        """The events that this log says: 1, 0, or -1 where a cell is missing."""
        said = {name: getattr(settings, name) for name in EVENTS if getattr(settings, name) is not None}
        return {
            name: labels(self.columns[one.column], one.at_least, self.place(name, one.column), self.missing, one.equals)
            for name, one in said.items()
        }  # fmt: skip


def batches(settings: OnlineSettings, log: OnlineSettings | OutcomeFiles, pattern: str, setting: str, prefix: str) -> Iterator[Batch]:
    """Reads one of the two logs.

    Args:
        settings: the experiment's settings.
        log: the part of them that names the columns.
        pattern: the files.
        setting: the setting that names them.
        prefix: what the columns' settings begin with.

    Raises:
        FileNotFoundError: there are no such files.
        ValueError: a file is not readable, or a column is not there or of a wrong type.
    """
    named = _named(log)
    found = find(pattern, setting)
    for path in found:
        with _own_settings():
            types = raw_files.column_types(path, settings.csv)
        for name, column, kind in named:
            if column not in types:
                raise ValueError(f"{prefix}.{name} must name a column of {path}. Received: {column}. Its columns are: {', '.join(types) or 'none'}.")
            check_type(kind, types[column], Place(str(path), column, f"{prefix}.{name}"))
    columns = list(dict.fromkeys(column for _, column, _ in named))
    for split in raw_files.splits(found, settings.csv):
        read = raw_files.batches(split, columns, _BATCH_ROWS)
        while True:
            with _own_settings():
                first_row, batch = next(read, (0, None))
            if batch is None:
                break
            yield Batch(split.path, first_row, dict(zip(columns, batch.columns, strict=True)), settings.missing, prefix)


@contextmanager
def _own_settings() -> Iterator[None]:
    """Lets what is said of a damaged file name the settings of this log."""
    try:
        yield
    except ValueError as error:
        raise ValueError(str(error).replace("data.csv.", "online.csv.")) from error


def find(pattern: str, setting: str) -> list[Path]:
    """The files of a log; see `raw_files.find`."""
    return raw_files.find(".", pattern, setting)


def _named(log: OnlineSettings | OutcomeFiles) -> list[tuple[str, str, str]]:
    """Every column that a log's settings name: setting, column, kind."""
    plain: Sequence[tuple[str, str]] = (("user", "id"), ("item", "id"), ("time", "time"), ("bucket", "id"), ("revenue", "number"), ("bid", "number"))
    named = [(name, getattr(log, name, None), kind) for name, kind in plain]
    for name in EVENTS:
        if (event := getattr(log, name)) is not None:
            named.append((name, event.column, "field" if event.equals is not None else "label"))
    return [(name, column, kind) for name, column, kind in named if column is not None]


@dataclass
class Rows:
    """Where the rows of a log came from, so that any of them can be named later."""

    starts: list[int] = field(default_factory=list)
    places: list[tuple[str, int]] = field(default_factory=list)
    count: int = 0

    def add(self, batch: Batch) -> None:
        """Notes a batch."""
        self.starts.append(self.count)
        self.places.append((batch.path, batch.first_row))
        self.count += len(batch)

    def place(self, row: int, setting: str, column: str) -> tuple[Place, int]:
        """The place of a row of the log, and its number in it."""
        number = int(np.searchsorted(self.starts, row, side="right")) - 1
        path, first_row = self.places[number]
        return Place(path, column, f"online.{setting}", first_row), row - self.starts[number]


def day_name(day: int) -> str:
    """
    >>> day_name(20000)
    '2024-10-04'
    """
    return str(date(1970, 1, 1) + timedelta(days=int(day)))


def day_number(name: str) -> int:
    """
    >>> day_number("2024-10-04")
    20000
    """
    return (date.fromisoformat(name) - date(1970, 1, 1)).days
