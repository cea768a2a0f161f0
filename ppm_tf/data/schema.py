"""`Schema`: the fields of a prepared data set, written as `schema.json` beside its catalog and samples."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from ppm_tf.rows import FIRST_ROW
from ppm_tf.storage import write_json

VERSION = 2  # of the file; 1 did not say how values are spelt, nor what times count


@dataclass(frozen=True)
class Field:
    """A categorical field.

    Attributes:
        name: name of the field, unique in the schema.
        side: `"item"`, `"user"` or `"context"`.
        vocabulary: the values as strings, in row order; value i has row `FIRST_ROW + i`.
        num_values: most values an entity has at once (1, or more for a multi-valued field).
        numeric: whether its values are numbers that some file writes in another way, such as 1e3: see `column_forms.canonical`.
    """

    name: str
    side: str
    vocabulary: tuple[str, ...]
    num_values: int = 1
    numeric: bool = False

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
        history_length: T, behaviors kept a request.
        num_candidates: N, most candidates a request.
        item_id_type: `"int"` or `"string"`, as in the raw files.
        user_id_type: `"int"` or `"string"`; a string id is stored as its 63-bit fingerprint.
        has_time: whether requests and behaviors carry times, in seconds, or in steps where the log has no clock.
        has_slot: whether candidates carry their display position.
        has_truth: whether candidates carry true probabilities (simulated data).
        time_unit: what times count in the log, and so in a request to a server: `"s"`, `"ms"`, `"us"` or `"ns"` since 1970 (timestamps
            and dates: `"s"`), or `"step"`. Samples hold seconds, or steps.
        time_range: seconds (or steps) of the first and the last request; `None` without times.
        missing: words that mean that nothing is here.
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
    time_unit: str = "s"
    time_range: tuple[int, int] | None = None
    missing: tuple[str, ...] = ("",)

    def side(self, side: str) -> tuple[Field, ...]:
        """The fields of one side, in schema order."""
        return tuple(field for field in self.fields if field.side == side)

    def write(self, path: str | Path) -> None:
        """Writes the schema as JSON."""
        content = {"version": VERSION, **asdict(self)}
        write_json(path, content)

    @classmethod
    def read(cls, path: str | Path) -> Schema:
        """Reads a schema written by `write`.

        Raises:
            ValueError: the file is not a schema of this version of the package.
        """
        remedy = "Make it anew: `python -m pipelines.prepare` writes a data set's, `python -m pipelines.train` a model's."
        try:
            values = json.loads(Path(path).read_text(encoding="utf-8"))
            if values.pop("version", 1) != VERSION:
                raise ValueError(
                    f"{path} must be a schema of version {VERSION}, in which values have one spelling. Received: one of an earlier version. {remedy}"
                )
            fields = tuple(Field(**{**field, "vocabulary": tuple(field["vocabulary"])}) for field in values.pop("fields"))
            tuples = {key: tuple(values.pop(key)) for key in ("numbers", "tasks", "missing")}
            span = values.pop("time_range")
            return cls(fields=fields, **tuples, time_range=span and tuple(span), **values)
        except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path} must be a schema written by `python -m pipelines.prepare`: {error!r}. {remedy}") from error


def differences(trained: Schema, now: Schema) -> list[str]:
    """In what the values of two data sets are read differently, in words; a model of one must not see the other's.

    Args:
        trained: what the model was trained on.
        now: what it is to read.
    """
    found = []
    for name, remedy in (
        ("item_id_type", "data.items.id_type"),
        ("user_id_type", "data.log.user_id_type"),
        ("time_unit", "data.log.time_unit"),
        ("missing", "data.missing"),
    ):
        old, new = getattr(trained, name), getattr(now, name)
        if old != new:
            old, new = (", ".join(map(repr, value)) if isinstance(value, tuple) else value for value in (old, new))
            found.append(f"{name} was {old} and is {new} (set {remedy} to have it as it was)")
    fields = {(field.side, field.name): field for field in trained.fields}
    for field in now.fields:
        old = fields.get((field.side, field.name))
        if old is not None and old.numeric != field.numeric:
            kinds = ["numbers" if one.numeric else "words" for one in (old, field)]
            found.append(
                f"the {field.side} field {field.name} held {kinds[0]} and holds {kinds[1]} (set its type in the mapping:"
                f" {'number' if old.numeric else 'string'})"
            )
    return found


def other_form(trained: Schema, now: Schema) -> list[str]:
    """In what the requests of two data sets have another form, in words: a model of one cannot score the other's as they are.

    Args:
        trained: what the model was trained on.
        now: what it is to score.
    """
    names = {
        "tasks": "tasks",
        "history_task": "data.history_task",
        "history_length": "data.history_length",
        "has_time": "times",
        "has_slot": "display positions",
    }
    pairs = ((words, getattr(trained, name), getattr(now, name)) for name, words in names.items())
    return [f"{words}: {_shown(old)} in the training, {_shown(new)} now" for words, old, new in pairs if old != new]


def _shown(value: object) -> str:
    return (
        ", ".join(map(str, value))
        if isinstance(value, tuple)
        else {True: "there", False: "none"}.get(value, str(value))
        if isinstance(value, bool)
        else str(value)
    )
