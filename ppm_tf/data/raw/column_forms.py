"""What a cell says, in one spelling whatever file it stands in, and what all cells of a column have in common.

`5`, `5.0` and the text `"5.0"` are one value, and so are `True`, `TRUE` and `true`; a word that means "missing" is no value. Ids,
fields, texts and requests to a server all pass through `canonical`; `serving.words` computes the same inside a graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

# As RE2 reads them, in Arrow and in a served graph. A leading zero or sign makes a word: 007 is not 7.
WHOLE = r"^(?:0|-?[1-9][0-9]*)$"
ZERO_FRACTION = r"^(-?(?:0|[1-9][0-9]*))\.0+$"  # 5.0, as tools write a whole number that had gaps beside it
NEGATIVE_ZERO = r"^-0$"
TRUE, FALSE = r"^(?:True|TRUE)$", r"^(?:False|FALSE)$"
NUMBER = r"^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,3})?$"

EMPTY, INTEGER, NUMERIC, WORDS = "empty", "integer", "number", "string"
_RANK = {EMPTY: 0, INTEGER: 1, NUMERIC: 2, WORDS: 3}
_MAX_EXACT = {pa.float16(): 2**11, pa.float32(): 2**24, pa.float64(): 2**53}  # whole numbers up to here are all different
_types = pa.types


def canonical(column: pa.Array, missing: Sequence[str], numeric: bool = False) -> pa.Array:
    """The values of a column as strings in their one spelling; null where there is none.

    Args:
        column: numbers, booleans, dates, times, strings, or nulls; no lists.
        missing: words that mean that nothing is here; white space around them does not count.
        numeric: whether the column as a whole holds numbers, so that its words are written without exponents and closing
            zeros. Where it does not, `1e3` is a word like any other.

    Example:

    >>> canonical(pa.array(["5.0", "True", "NULL", "1e3", "007"]), ["", "NULL"]).to_pylist()
    ['5', 'true', None, '1e3', '007']
    >>> canonical(pa.array([5.0, 3e10, float("nan"), 0.5]), [""]).to_pylist()
    ['5', '30000000000', None, '0.5']
    >>> canonical(pa.array(["1e3", "2.50"]), [""], numeric=True).to_pylist()
    ['1000', '2.5']
    """
    if _types.is_null(column.type):
        return pa.nulls(len(column), pa.string())
    if _types.is_integer(column.type) or _types.is_boolean(column.type):
        return column.cast(pa.string())
    if _types.is_floating(column.type):
        column = pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
    if not _types.is_string(column.type):
        numeric |= _types.is_floating(column.type) or _types.is_decimal(column.type)
        column = column.cast(pa.string())
    encoded = column.dictionary_encode()
    words = encoded.dictionary
    for pattern, spelling in ((ZERO_FRACTION, r"\1"), (NEGATIVE_ZERO, "0"), (TRUE, "true"), (FALSE, "false")):
        words = pc.replace_substring_regex(words, pattern, spelling)
    if numeric:
        words = plain_numbers(words)
    gone = pc.is_in(pc.utf8_trim_whitespace(words), value_set=pa.array([word.strip() for word in missing], pa.string()))
    return pc.if_else(gone, pa.scalar(None, pa.string()), words).take(encoded.indices)


def plain_numbers(words: pa.Array) -> pa.Array:
    """Number literals without exponents and closing zeros; other words as they are.

    >>> plain_numbers(pa.array(["1234567890123456000.0", "2e-3", "1.50", "12e5", "x"])).to_pylist()
    ['1234567890123456000', '0.002', '1.5', '1200000', 'x']
    """
    written = pc.and_(pc.match_substring_regex(words, NUMBER), pc.invert(pc.match_substring_regex(words, WHOLE)))
    if not pc.any(written, min_count=0).as_py():
        return words
    places = np.flatnonzero(pc.fill_null(written, False).to_numpy(zero_copy_only=False))
    plain = [_plain(word) for word in words.take(pa.array(places)).to_pylist()]
    return pc.replace_with_mask(words, pc.fill_null(written, False), pa.array(plain, pa.string()))


def _plain(word: str) -> str:
    text = format(Decimal(word), "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


def are_whole(words: pa.Array) -> pa.Array:
    """Which words are whole numbers that int64 holds; null where a word is.

    >>> are_whole(pa.array(["9223372036854775807", "9223372036854775808", "-3", "007"])).to_pylist()
    [True, False, True, False]
    """
    length = pc.utf8_length(words)
    digits = pc.utf8_ltrim(words, "-")
    negative = pc.starts_with(words, "-")
    largest = pc.if_else(negative, str(2**63), str(2**63 - 1))
    fits = pc.or_(pc.less(pc.utf8_length(digits), 19), pc.and_(pc.equal(pc.utf8_length(digits), 19), pc.less_equal(digits, largest)))
    return pc.and_(pc.and_(pc.match_substring_regex(words, WHOLE), fits), pc.less_equal(length, 20))


def inexact(column: pa.Array) -> int | None:
    """Index of the first whole number so large that the column's type cannot tell it from the next one; `None` = all are exact."""
    limit = _MAX_EXACT.get(column.type)
    if limit is None:
        return None
    place = pc.index(pc.fill_null(pc.greater(pc.abs(column), pa.scalar(float(limit), column.type)), False), True).as_py()
    return None if place < 0 else place


@dataclass
class ColumnForm:
    """What all values of a column have in common, gathered batch by batch and from several files, in any order.

    Attributes:
        form: `"empty"`, `"integer"` (whole numbers that int64 holds), `"number"`, or `"string"`.
        rewritten: whether some value is another word when it is read as a number, such as 1e3.
        other: the first value that is no whole number, as `[file, row, value]`, rows counted from 0; `None` = there is none.
    """

    form: str = EMPTY
    rewritten: bool = False
    other: list | None = field(default=None)

    @property
    def numeric(self) -> bool:
        """Whether every value is a number."""
        return self.form in (INTEGER, NUMERIC)

    @property
    def id_type(self) -> str:
        """How ids of this form are kept: `"int"` or `"string"`."""
        return "int" if self.form in (EMPTY, INTEGER) else "string"

    def add(self, column: pa.Array, missing: Sequence[str], file: str = "", first_row: int = 0) -> None:
        """Takes the values of a batch; `file` and `first_row` say where it starts."""
        if _types.is_signed_integer(column.type) or (_types.is_integer(column.type) and column.type != pa.uint64()):
            if column.null_count < len(column):
                self._raise(INTEGER)
            return
        values = canonical(column, missing)
        distinct = pc.drop_null(pc.unique(values))
        if not len(distinct):
            return
        plain = plain_numbers(distinct)
        whole = are_whole(plain)
        if pc.all(whole).as_py():
            form = INTEGER
        else:
            form = NUMERIC if pc.all(pc.match_substring_regex(distinct, NUMBER)).as_py() else WORDS
            self._note(values, distinct.filter(pc.invert(whole)), file, first_row)
        self.rewritten |= not plain.equals(distinct)
        self._raise(form)

    def update(self, other: ColumnForm) -> None:
        """Adds what was gathered elsewhere."""
        self._raise(other.form)
        self.rewritten |= other.rewritten
        if other.other is not None and (self.other is None or other.other[:2] < self.other[:2]):
            self.other = other.other

    def _raise(self, form: str) -> None:
        if _RANK[form] > _RANK[self.form]:
            self.form = form

    def _note(self, values: pa.Array, wrong: pa.Array, file: str, first_row: int) -> None:
        index = pc.index(pc.fill_null(pc.is_in(values, value_set=wrong), False), True).as_py()
        found = [file, first_row + index, values[index].as_py()]
        if self.other is None or found[:2] < self.other[:2]:
            self.other = found
