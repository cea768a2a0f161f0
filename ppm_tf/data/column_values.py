"""Values of raw columns, checked and turned into arrays: ids, times, labels, numbers, categories, texts.

Every refusal names file, row and column, and what to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ppm_tf.data.raw_files import plain_type

LATEST = 4_102_444_800  # 2100-01-01; later "seconds" are milliseconds

_types = pa.types
_integer = _types.is_integer
_string = _types.is_string


def _category(kind: pa.DataType) -> bool:
    return _integer(kind) or _string(kind) or _types.is_floating(kind) or _types.is_boolean(kind) or _types.is_date(kind)


def _listed(kind: pa.DataType) -> bool:
    return _types.is_list(kind) and (_category(kind.value_type) or _types.is_null(kind.value_type))


def _number(kind: pa.DataType) -> bool:
    return _integer(kind) or _types.is_floating(kind) or _types.is_decimal(kind) or _types.is_boolean(kind)


def _moment(kind: pa.DataType) -> bool:
    return _types.is_timestamp(kind) or _types.is_date(kind)


def _ordered(kind: pa.DataType) -> bool:
    return _integer(kind) or _types.is_floating(kind) or _moment(kind)


# kind of column -> (which types it may have, in words, the remedy)
KINDS = {
    "id": (lambda kind: _integer(kind) or _string(kind), "integers or strings", "store the ids as integers or strings"),
    "time": (lambda kind: _ordered(kind) or _string(kind), "numbers or timestamps", "store seconds since 1970 or a timestamp type"),
    "order": (_ordered, "numbers or timestamps", "store a number that grows along the user's rows"),
    "number": (_number, "numbers", "store the values as numbers"),
    "field": (lambda kind: _category(kind) or _listed(kind), "strings, whole numbers or lists of them", "store categories as strings"),
    "text": (lambda kind: _category(kind) or _listed(kind), "strings", "store texts as strings"),
    "image": (lambda kind: _string(kind) or _types.is_binary(kind), "bytes or paths", "store the encoded image or its path inside data.path"),
}


@dataclass(frozen=True)
class Place:
    """Where the values of a batch come from.

    Attributes:
        path: the file.
        column: the column.
        setting: the setting that names the column.
        first_row: row of the file that the batch starts at, from 0.
    """

    path: str
    column: str
    setting: str
    first_row: int = 0

    def at(self, index: int) -> str:
        """A value's place in words; rows count from 1."""
        return f"{self.path}, row {self.first_row + int(index) + 1}, column {self.column}"


def check_type(kind: str, found: pa.DataType | None, place: Place) -> None:
    """Refuses a column whose type does not fit; CSV columns (`None`) and columns without a value fit."""
    if found is None or _types.is_null(found):
        return
    allowed, words, remedy = KINDS[kind]
    if not allowed(plain_type(found)):
        raise ValueError(
            f"{place.setting} must name a column of {words}. Received: column {place.column} of {place.path}, of type {found}. Remedy: {remedy}."
        )


def seconds(column: pa.Array, unit: str, place: Place) -> np.ndarray:
    """Times as int64 seconds since 1970, fractions cut off.

    Args:
        column: numbers in `unit`, timestamps, dates, or strings of either (CSV).
        unit: `"s"` or `"ms"`; timestamps know their own.
        place: for the message.
    """
    if _string(column.type):
        column = _parsed_times(column, place)
    _refuse_nulls(column, "a time", place)
    if _moment(column.type):
        moments = column.cast(pa.timestamp("s"), safe=False) if not _types.is_date(column.type) else column.cast(pa.timestamp("s"))
        values = moments.cast(pa.int64()).to_numpy(zero_copy_only=False)
    else:
        values = column.to_numpy(zero_copy_only=False)
        if values.dtype.kind == "f" and (bad := np.flatnonzero(~np.isfinite(values))).size:
            raise ValueError(f"{place.at(bad[0])} must hold a time. Received: {values[bad[0]]}. Remedy: drop the row or give it a time.")
        values = np.floor_divide(values, 1000 if unit == "ms" else 1).astype(np.int64)
    if (bad := np.flatnonzero(values < 0)).size:
        raise ValueError(
            f"{place.at(bad[0])} must hold a time from 1970 on. Received: {column[int(bad[0])]}. Remedy: drop the row or give it a time."
        )
    if (bad := np.flatnonzero(values > LATEST)).size:
        raise ValueError(
            f"{place.at(bad[0])} must hold a time before the year 2100. Received: {column[int(bad[0])]}. Remedy: for milliseconds set data.log.time_unit=ms."
        )
    return values


def ordering(column: pa.Array, place: Place) -> np.ndarray:
    """Numbers or moments that order rows, as int64 where they are whole, else float64."""
    if _string(column.type):
        column = _parsed_numbers(column, place)
    _refuse_nulls(column, "a number", place)
    if _moment(column.type):
        column = column.cast(pa.timestamp("ns"), safe=False).cast(pa.int64())
    values = column.to_numpy(zero_copy_only=False)
    if values.dtype.kind == "f":
        if (bad := np.flatnonzero(np.isnan(values))).size:
            raise ValueError(f"{place.at(bad[0])} must hold a number. Received: nan. Remedy: drop the row or give it its place.")
        return values.astype(np.float64)
    return values.astype(np.int64)


def labels(column: pa.Array, at_least: float | None, place: Place) -> np.ndarray:
    """Labels as int8: 1, 0, or -1 where missing.

    Args:
        column: numbers or booleans; null and NaN are missing.
        at_least: values from here on are positive; without it they must be 0 or 1.
        place: for the message.
    """
    values = numbers(column, place)
    known = ~np.isnan(values)
    if at_least is None:
        if (bad := np.flatnonzero(known & (values != 0) & (values != 1))).size:
            raise ValueError(
                f"{place.at(bad[0])} must hold 0, 1 or nothing. Received: {values[bad[0]]:g}. Remedy: set {place.setting}.at_least to the first value that is positive."
            )
        at_least = 1.0
    return np.where(known, values >= stored(at_least, column.type), -1).astype(np.int8)


def stored(threshold: float, kind: pa.DataType) -> float:
    """A threshold as a column holds it: a grade of 2.33 in a float32 column is 2.3299999, and still reaches 2.33.

    >>> stored(2.33, pa.float32()) < 2.33, stored(2.33, pa.float64()), stored(4.5, pa.int64())
    (True, 2.33, 4.5)
    """
    return float(np.asarray(threshold, kind.to_pandas_dtype())) if _types.is_floating(kind) else threshold


def numbers(column: pa.Array, place: Place) -> np.ndarray:
    """Numbers as float64, NaN where missing; infinity is refused."""
    if _types.is_null(column.type):
        return np.full(len(column), np.nan)
    if _string(column.type):
        column = _parsed_numbers(column, place)
    values = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
    if (bad := np.flatnonzero(np.isinf(values))).size:
        raise ValueError(
            f"{place.at(bad[0])} must hold a finite number. Received: {values[bad[0]]}. Remedy: leave the cell empty where there is no value."
        )
    return values


def categories(column: pa.Array, separator: str | None) -> tuple[np.ndarray, pa.Array]:
    """Categorical values, none to several a row.

    Returns:
        Number of values of each row, int64, and all values as strings, row by row; empty and missing ones left out.

    Example:

    >>> counts, values = categories(pa.array(["Comedy|Drama", None, ""]), "|")
    >>> counts.tolist(), values.to_pylist()
    ([2, 0, 0], ['Comedy', 'Drama'])
    """
    if _string(column.type) and separator is not None:
        column = pc.split_pattern(column, separator)
    if _types.is_list(column.type):
        values, rows = _texts(pc.list_flatten(column)), pc.list_parent_indices(column).to_numpy()
    else:
        values, rows = _texts(column), np.arange(len(column))
    present = pc.fill_null(pc.not_equal(values, ""), False)
    counts = np.bincount(rows[present.to_numpy(zero_copy_only=False)], minlength=len(column))
    return counts.astype(np.int64), values.filter(present)


def texts(columns: Sequence[pa.Array], separators: Sequence[str | None]) -> pa.Array:
    """Several columns joined, in order, to one text; missing parts leave no gap, and nothing at all is "".

    Args:
        columns: strings, numbers or lists; the values of a list are joined by ", ".
        separators: what separates several values in a column, such as "|"; it becomes ", ".
    """
    parts = []
    for column, separator in zip(columns, separators, strict=True):
        if _types.is_list(column.type):
            values = pc.list_flatten(column)
            lists = pa.ListArray.from_arrays(_offsets(column), pc.fill_null(_texts(values), ""))
            part = pc.binary_join(pc.if_else(pc.is_valid(column), lists, pa.scalar(None, lists.type)), ", ")
        else:
            part = _texts(column)
            part = pc.replace_substring(part, separator, ", ") if separator else part
        part = pc.fill_null(pc.utf8_trim_whitespace(part), "")
        # The space comes with the part: Arrow's own null_handling="skip" drops rows in which every part is null.
        parts.append(pc.if_else(pc.equal(part, ""), "", pc.binary_join_element_wise("", part, " ")))
    return pc.utf8_ltrim_whitespace(pc.binary_join_element_wise(*parts, ""))


def _texts(values: pa.Array) -> pa.Array:
    """Scalars as strings; a whole number held as a float (a column with gaps) prints without its fraction."""
    return values if _string(values.type) else values.cast(pa.string())


def _offsets(lists: pa.Array) -> pa.Array:
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    return pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))


def _parsed_numbers(column: pa.Array, place: Place) -> pa.Array:
    """Numbers in text form; whole ones stay exact."""
    for kind in (pa.int64(), pa.float64()):
        try:
            return column.cast(kind)
        except pa.ArrowInvalid:
            continue
    index = _first_failure(column, pa.float64())
    raise ValueError(
        f"{place.at(index)} must hold a number. Received: {column[index].as_py()!r}. Remedy: mend the cell, or check the column named by {place.setting}."
    )


def _parsed_times(column: pa.Array, place: Place) -> pa.Array:
    # A time zone makes Arrow want another type, so both are tried; nanoseconds take any number of decimals.
    for kind in (pa.int64(), pa.float64(), pa.timestamp("ns"), pa.timestamp("ns", "UTC")):
        try:
            return column.cast(kind)
        except pa.ArrowInvalid:
            continue
    index = max(_first_failure(column, kind) for kind in (pa.float64(), pa.timestamp("ns"), pa.timestamp("ns", "UTC")))
    raise ValueError(
        f"{place.at(index)} must hold a time. Received: {column[index].as_py()!r}. Remedy: write seconds since 1970 or 2020-12-31T23:59:59."
    )


def _first_failure(column: pa.Array, kind: pa.DataType) -> int:
    """Index of the first value that cannot be cast, by bisection."""
    low, high = 0, len(column)
    while high - low > 1:
        middle = (low + high) // 2
        try:
            column.slice(low, middle - low).cast(kind)
            low = middle
        except pa.ArrowInvalid:
            high = middle
    return low


def _refuse_nulls(column: pa.Array, what: str, place: Place) -> None:
    if column.null_count:
        index = pc.index(pc.is_null(column), True).as_py()
        raise ValueError(f"{place.at(index)} must hold {what}. Received: nothing. Remedy: drop the row, or set {place.setting} to another column.")
