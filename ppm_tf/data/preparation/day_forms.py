"""What columns mean is decided on the first day of the log; a later day whose cells would have meant another thing is refused."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc

from ppm_tf.config import ColumnarData, FieldColumn
from ppm_tf.data.day_errors import DayRefusedError
from ppm_tf.data.preparation.day_state import DayState
from ppm_tf.data.raw import files as raw_files
from ppm_tf.data.raw.column_forms import NUMBER, ColumnForm, canonical, plain_numbers
from ppm_tf.data.raw.column_survey import flat, is_numeric, survey_column
from ppm_tf.data.raw.columns import Place
from ppm_tf.data.sources.columnar import chosen_id_type

logger = logging.getLogger(__name__)

_BATCH_ROWS = 131072


def id_type(state: DayState, side: str, wanted: str, form: ColumnForm, column: str, setting: str) -> str:
    """How the ids of a side, `"item"` or `"user"`, are kept: as on the first day.

    Args:
        state: what was decided.
        side: whose ids.
        wanted: the setting's value, `"auto"`, `"int"` or `"string"`.
        form: what the ids of this day have in common.
        column: their column.
        setting: its name.

    Raises:
        ValueError: on the first day: an id is no whole number, and must be by the settings.
        DayRefusedError: on a later one: the ids, or the setting, are not as before.
    """
    before = getattr(state, f"{side}_id_type")
    state.see(side, form)
    if not before:
        return chosen_id_type(wanted, form, side, setting)
    if wanted not in ("auto", before):
        raise DayRefusedError(
            f"{setting} must stay as the first day decided it: {before}. Received: {wanted}. Remedy: {setting}={before}, or prepare all days anew"
            " with run=<folder>."
        )
    if before == "int" and form.other is not None and (wanted == "auto" or side == "item"):
        path, row, value = form.other
        aside = f", set {setting}=int to have such rows set aside" if side == "user" else ""
        raise DayRefusedError(
            f"{path}, row {row + 1}, column {column} must hold a whole number below 2^63, as every {side} id has been since the first day. Received:"
            f" {value!r}. Remedy: mend the cell{aside}, or prepare all days anew with run=<folder> and {setting}=string."
        )
    return before


def numeric(state: DayState, name: str, field: FieldColumn, form: ColumnForm, columns: ColumnarData, pattern: str, setting: str) -> bool:
    """Whether a field's words are read as numbers: as on the first day that had any.

    Args:
        state: what was decided.
        name: the field in the state, such as `context.hour`.
        field: its column.
        form: what its cells of this day have in common.
        columns: the mapping of this day's files.
        pattern: the files.
        setting: the setting that names the field, such as `data.log.context.hour`.

    Raises:
        DayRefusedError: with this day's cells it would be decided otherwise.
    """
    new = state.is_new(name)
    decided = is_numeric(field, state.see(name, form))
    if new:
        state.numeric[name] = decided
    elif decided != (before := state.numeric[name]):
        if field.type != "auto":
            raise DayRefusedError(
                f"{setting}.type must stay as the first day decided it: {'number' if before else 'string'}. Received: {field.type}. Remedy: set it"
                " so, or prepare all days anew with run=<folder>."
            )
        place, value = _first(columns, pattern, field, _is_word if before else _is_rewritten)
        kind, other = ("a number", "string") if before else ("a number without exponents and closing zeros, as since the first day", "number")
        own = "number" if before else "string"
        raise DayRefusedError(
            f"{place} must hold {kind}. Received: {value!r}, by which {setting} would be read as another kind of value than before. Remedy: mend the"
            f" cell, set {setting}.type={own} to read on as before, or prepare all days anew with run=<folder> and {setting}.type={other}."
        )
    return state.numeric[name]


def numeric_text(state: DayState, column: str, form: ColumnForm) -> bool:
    """Whether a column of texts is all numbers, which are then spelt as such: as on the first day that had any."""
    name = f"text.{column}"
    new, seen = state.is_new(name), state.see(name, form)
    if new:
        state.numeric[name] = seen.numeric
    return state.numeric[name]


def say_what_is_left_out(whose: str, name: str, most: int, width: int) -> None:
    """Says that a field has more values at once than samples hold, which are as many as any had on the first day."""
    if most > width:
        logger.warning(
            "%s: a row has %d values of %s, and a sample holds %d, as many as a row had on the first day; the others are left out",
            whose, most, name, width,
        )  # fmt: skip


def survey_fields(state: DayState, side: str, fields: dict[str, FieldColumn], columns: ColumnarData, pattern: str, setting: str) -> dict[str, bool]:
    """Whether each field of the item or user files is read as numbers; arguments as of `numeric`."""
    found = {}
    for name, field in fields.items():
        form = survey_column(columns, pattern, f"{setting}.files", field.column, field.separator)
        found[name] = numeric(state, f"{side}.{name}", field, form, columns, pattern, f"{setting}.fields.{name}")
    return found


def _is_word(words: pa.Array) -> pa.Array:
    return pc.invert(pc.match_substring_regex(words, NUMBER))


def _is_rewritten(words: pa.Array) -> pa.Array:
    return pc.not_equal(words, plain_numbers(words))


def _first(columns: ColumnarData, pattern: str, field: FieldColumn, odd: Callable[[pa.Array], pa.Array]) -> tuple[str, str]:
    """Place, in words, and value of the first cell that has an odd value."""
    for split in raw_files.splits(raw_files.find(columns.path, pattern, ""), columns.csv):
        for first_row, batch in raw_files.batches(split, [field.column], _BATCH_ROWS):
            column = batch.column(0)
            words = canonical(flat(column, field.separator), columns.missing)
            at = pc.index(pc.fill_null(odd(words), False), True).as_py()
            if at >= 0:
                row = at if len(words) == len(column) else _row_of(column, field.separator, at)
                return Place(split.path, field.column, "", first_row).at(row), words[at].as_py()
    return f"Column {field.column} of {pattern}", ""


def _row_of(column: pa.Array, separator: str | None, at: int) -> int:
    lists = pc.split_pattern(column, separator) if pa.types.is_string(column.type) else column
    return pc.list_parent_indices(lists)[at].as_py()
