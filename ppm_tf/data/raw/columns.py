"""Values of raw columns, checked and turned into arrays: ids, times, labels, numbers, categories, texts.

Every refusal names file, row and column, and what to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ppm_tf.data.raw.column_forms import canonical
from ppm_tf.data.raw.files import plain_type

_TRUTH = {"true": 1.0, "yes": 1.0, "t": 1.0, "y": 1.0, "false": 0.0, "no": 0.0, "f": 0.0, "n": 0.0}

_types = pa.types
_integer = _types.is_integer
_string = _types.is_string


def _category(kind: pa.DataType) -> bool:
    return _number(kind) or _string(kind) or _types.is_date(kind)


def _listed(kind: pa.DataType) -> bool:
    return _types.is_list(kind) and (_category(kind.value_type) or _types.is_null(kind.value_type))


def _number(kind: pa.DataType) -> bool:
    return _integer(kind) or _types.is_floating(kind) or _types.is_decimal(kind) or _types.is_boolean(kind)


def is_moment(kind: pa.DataType) -> bool:
    """Whether a type is a timestamp or a date."""
    return _types.is_timestamp(kind) or _types.is_date(kind)


def _ordered(kind: pa.DataType) -> bool:
    return _integer(kind) or _types.is_floating(kind) or is_moment(kind)


# kind of column -> (which types it may have, in words, the remedy)
KINDS = {
    "id": (lambda kind: _number(kind) or _string(kind), "integers or strings", "store the ids as integers or strings"),
    "time": (lambda kind: _ordered(kind) or _string(kind), "numbers or timestamps", "store seconds since 1970 or a timestamp type"),
    "order": (lambda kind: _ordered(kind) or _string(kind), "numbers or timestamps", "store a number that grows along the user's rows"),
    "number": (lambda kind: _number(kind) or _string(kind), "numbers", "store the values as numbers"),
    "label": (lambda kind: _number(kind) or _string(kind), "numbers, booleans or words", "store 0 and 1"),
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


def labels(column: pa.Array, at_least: float | None, place: Place, missing: Sequence[str] = ("",), equals: Sequence[str] | None = None) -> np.ndarray:
    """Labels as int8: 1, 0, or -1 where missing.

    Args:
        column: numbers, booleans, or strings of either (true, yes, t, y and their opposites, in any case).
        at_least: values from here on are positive; without it they must be 0 or 1.
        place: for the message.
        missing: words that mean that there is no label; null and NaN are missing, too.
        equals: words that are positive, all others being negative.
    """
    if equals is not None:
        words = canonical(column, missing)
        positive = pc.is_in(words, value_set=canonical(pa.array(equals, pa.string()), ()))
        return pc.if_else(pc.is_valid(words), positive.cast(pa.int8()), pa.scalar(-1, pa.int8())).to_numpy(zero_copy_only=False)
    if _string(column.type):
        column = _truth_as_numbers(present(column, missing), place)
    values = numbers(column, place)
    known = ~np.isnan(values)
    if at_least is None:
        if (bad := np.flatnonzero(known & (values != 0) & (values != 1))).size:
            raise ValueError(
                f"{place.at(bad[0])} must hold 0, 1 or nothing. Received: {values[bad[0]]:g}. Remedy: set {place.setting}.at_least to the first value"
                " that is positive."
            )
        at_least = 1.0
    return np.where(known, values >= stored(at_least, column.type), -1).astype(np.int8)


def _truth_as_numbers(words: pa.Array, place: Place) -> pa.Array:
    """Words for true and false as numbers, numbers as they are."""
    lower = pc.utf8_lower(pc.utf8_trim_whitespace(words))
    index = pc.index_in(lower, value_set=pa.array(list(_TRUTH), pa.string()))
    truth = pa.array(list(_TRUTH.values())).take(index)
    rest = pc.if_else(pc.is_valid(index), pa.scalar(None, pa.string()), words)
    try:
        return pc.coalesce(truth, parsed_numbers(rest, place).cast(pa.float64()))
    except ValueError as error:
        at = first_failure(rest, pa.float64())
        raise ValueError(
            f"{place.at(at)} must hold 0, 1, true, false, yes, no or nothing. Received: {words[at].as_py()!r}. "
            f"Remedy: for a column of event words set {place.setting}.equals={words[at].as_py()} (the words that are positive)."
        ) from error


def stored(threshold: float, kind: pa.DataType) -> float:
    """A threshold as a column holds it: a grade of 2.33 in a float32 column is 2.3299999, and still reaches 2.33.

    >>> stored(2.33, pa.float32()) < 2.33, stored(2.33, pa.float64()), stored(4.5, pa.int64())
    (True, 2.33, 4.5)
    """
    return float(np.asarray(threshold, kind.to_pandas_dtype())) if _types.is_floating(kind) else threshold


def numbers(column: pa.Array, place: Place, missing: Sequence[str] = ("",)) -> np.ndarray:
    """Numbers as float64, NaN where missing; infinity is refused."""
    if _types.is_null(column.type):
        return np.full(len(column), np.nan)
    if _string(column.type):
        column = parsed_numbers(present(column, missing), place)
    values = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
    if (bad := np.flatnonzero(np.isinf(values))).size:
        raise ValueError(
            f"{place.at(bad[0])} must hold a finite number. Received: {values[bad[0]]}. Remedy: leave the cell empty where there is no value."
        )
    return values


def present(words: pa.Array, missing: Sequence[str]) -> pa.Array:
    """Strings without those that mean that nothing is here."""
    if _types.is_null(words.type):
        return words.cast(pa.string())
    gone = pc.is_in(pc.utf8_trim_whitespace(words), value_set=pa.array([word.strip() for word in missing], pa.string()))
    return pc.if_else(gone, pa.scalar(None, pa.string()), words)


def categories(column: pa.Array, separator: str | None, missing: Sequence[str] = ("",), numeric: bool = False) -> tuple[np.ndarray, pa.Array]:
    """Categorical values, none to several a row.

    Args:
        column: scalars or lists of them.
        separator: splits one string into several values; `None` = it is one value.
        missing: words that mean that nothing is here.
        numeric: whether the column as a whole holds numbers, see `column_forms.canonical`.

    Returns:
        Number of values of each row, int64, and all values as strings in their one spelling, row by row; missing ones left out.

    Example:

    >>> counts, values = categories(pa.array(["Comedy|Drama", None, "", "5.0"]), "|")
    >>> counts.tolist(), values.to_pylist()
    ([2, 0, 0, 1], ['Comedy', 'Drama', '5'])
    """
    if _string(column.type) and separator is not None:
        column = pc.split_pattern(column, separator)
    if _types.is_list(column.type):
        values, rows = canonical(pc.list_flatten(column), missing, numeric), pc.list_parent_indices(column).to_numpy()
    else:
        values, rows = canonical(column, missing, numeric), np.arange(len(column))
    present = values.is_valid()
    counts = np.bincount(rows[present.to_numpy(zero_copy_only=False)], minlength=len(column))
    return counts.astype(np.int64), values.filter(present)


def texts(columns: Sequence[pa.Array], separators: Sequence[str | None], missing: Sequence[str] = ("",), numeric: Sequence[bool] = ()) -> pa.Array:
    """Several columns joined, in order, to one text; missing parts leave no gap, and nothing at all is "".

    Args:
        columns: strings, numbers or lists; the values of a list are joined by ", ".
        separators: what separates several values in a column, such as "|"; it becomes ", ".
        missing: words that mean that nothing is here, where they are the whole cell.
        numeric: whether each column as a whole holds numbers, see `column_forms.canonical`; default: none does.
    """
    parts = []
    for column, separator, number in zip(columns, separators, numeric or [False] * len(columns), strict=True):
        if _types.is_list(column.type):
            values = canonical(pc.list_flatten(column), missing, number)
            rows = pc.list_parent_indices(column).to_numpy(zero_copy_only=False)
            kept = values.is_valid()
            counts = np.bincount(rows[kept.to_numpy(zero_copy_only=False)], minlength=len(column))
            offsets = pa.array(np.concatenate([[0], np.cumsum(counts)]).astype(np.int32))
            part = pc.binary_join(pa.ListArray.from_arrays(offsets, values.filter(kept)), ", ")
        else:
            part = canonical(column, missing, number)
            part = pc.replace_substring(part, separator, ", ") if separator else part
        part = pc.fill_null(pc.utf8_trim_whitespace(part), "")
        # The space comes with the part: Arrow's own null_handling="skip" drops rows in which every part is null.
        parts.append(pc.if_else(pc.equal(part, ""), "", pc.binary_join_element_wise("", part, " ")))
    return pc.utf8_ltrim_whitespace(pc.binary_join_element_wise(*parts, ""))


def parsed_numbers(column: pa.Array, place: Place) -> pa.Array:
    """Numbers in text form; whole ones stay exact."""
    for kind in (pa.int64(), pa.float64()):
        try:
            return column.cast(kind)
        except pa.ArrowInvalid:
            continue
    index = first_failure(column, pa.float64())
    raise ValueError(
        f"{place.at(index)} must hold a number. Received: {column[index].as_py()!r}. Remedy: mend the cell, or check the column named by"
        f" {place.setting}."
    )


def first_failure(column: pa.Array, kind: pa.DataType) -> int:
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


def refuse_nulls(column: pa.Array, what: str, place: Place) -> None:
    """Refuses a column with a missing value."""
    if column.null_count:
        index = pc.index(pc.is_null(column), True).as_py()
        raise ValueError(f"{place.at(index)} must hold {what}. Received: nothing. Remedy: drop the row, or set {place.setting} to another column.")
