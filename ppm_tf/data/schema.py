"""`Schema`: the fields of a prepared data set, written as `schema.json` beside its catalog and samples."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

PADDING_ROW = 0  # of the catalog and of every vocabulary: nothing is here
UNKNOWN_ROW = 1  # an id or value that the catalog or vocabulary does not hold
FIRST_ROW = 2  # the first real item or value


@dataclass(frozen=True)
class Field:
    """A categorical field.

    Attributes:
        name: name of the field, unique in the schema.
        side: `"item"`, `"user"` or `"context"`.
        vocabulary: the values as strings, in row order; value i has row `FIRST_ROW + i`.
        num_values: most values an entity has at once (1, or more for a multi-valued field).
    """

    name: str
    side: str
    vocabulary: tuple[str, ...]
    num_values: int = 1

    @property
    def num_rows(self) -> int:
        """Rows of the field's embedding table, padding and unknown included."""
        return FIRST_ROW + len(self.vocabulary)


@dataclass(frozen=True)
class Schema:
    """What a prepared data set holds.

    Attributes:
        fields: categorical fields of items, users and requests.
        numbers: names of the numeric item columns.
        tasks: labels of a candidate, in the order of the samples' last label axis; PPM learns the first. None without a log.
        history_task: the task whose positives form the history; "" without a log.
        history_length: T, behaviours kept a request.
        num_candidates: N, most candidates a request.
        item_id_type: `"int"` or `"string"`, as in the raw files.
        user_id_type: `"int"` or `"string"`; a string id is stored as its 63-bit fingerprint.
        has_time: whether requests and behaviours carry times, in seconds, or in steps where the log has no clock.
        has_slot: whether candidates carry their display position.
        has_truth: whether candidates carry true probabilities (simulated data).
    """

    fields: tuple[Field, ...]
    numbers: tuple[str, ...]
    tasks: tuple[str, ...]
    history_task: str
    history_length: int
    num_candidates: int
    item_id_type: str
    user_id_type: str
    has_time: bool
    has_slot: bool
    has_truth: bool

    def side(self, side: str) -> tuple[Field, ...]:
        """The fields of one side, in schema order."""
        return tuple(field for field in self.fields if field.side == side)

    def write(self, path: str | Path) -> None:
        """Writes the schema as JSON."""
        Path(path).write_text(json.dumps(asdict(self), indent=1, ensure_ascii=False), encoding="utf-8")

    @classmethod
    def read(cls, path: str | Path) -> Schema:
        """Reads a schema written by `write`.

        Raises:
            ValueError: the file is not a schema of this version of the package.
        """
        try:
            values = json.loads(Path(path).read_text(encoding="utf-8"))
            fields = tuple(Field(**{**field, "vocabulary": tuple(field["vocabulary"])}) for field in values.pop("fields"))
            tuples = {key: tuple(values.pop(key)) for key in ("numbers", "tasks")}
            return cls(fields=fields, **tuples, **values)
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise ValueError(f"{path} must be a schema written by `python -m pipelines.prepare`: {error!r}. Run it again.") from error
