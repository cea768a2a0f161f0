"""JSON lines in columnar blocks: by Arrow where that is exact, else line by line with numbers as they are written."""

from __future__ import annotations

import io
import json
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.json

_TEXT_BLOCK = 8 << 20  # bytes of text decoded at once


def column_types(stream: pa.NativeFile, path: str) -> dict[str, pa.DataType]:
    """The columns of the first block that holds any, with their types there; empty for an empty file."""
    for first_line, block in _line_blocks(stream):
        try:
            table = _parse(block, {}, "infer")
        except pa.ArrowInvalid:
            table = _exact_table(block, path, first_line, None)
        return dict(zip(table.schema.names, table.schema.types, strict=True))
    return {}


def tables(stream: pa.NativeFile, path: str, columns: Sequence[str], exact: Collection[str]) -> Iterator[tuple[int, pa.Table]]:
    """Reads a file block by block.

    Arrow infers a type a block and makes floats of whole numbers beside a broken one, or beyond 64 bits: two ids become one. A
    block in which that happens to an `exact` column, or whose columns mix types, is read again with every value as a string.

    Args:
        stream: the text, decompressed.
        path: for messages.
        columns: names of the columns to give; one absent from a block is all null.
        exact: those of them whose numbers no float may round.

    Yields:
        Row of the file that the block starts at, and the block.

    Raises:
        ValueError: a line is no JSON object; the message names it.
    """
    row, types = 0, {}
    for first_line, block in _line_blocks(stream):
        table = _arrow_table(block, types)
        if table is None or _needs_another_reading(table, columns, exact):
            table, types = _exact_table(block, path, first_line, columns), {}
        else:
            # Types found once spare inferring them again; a column that was null so far must still be looked for.
            types = {field.name: field.type for field in table.schema if field.name in columns and not _holds(field.type, pa.types.is_null)}
            types = types if len(types) == len(columns) else {}
        for name in columns:
            if name not in table.schema.names:
                table = table.append_column(name, pa.nulls(table.num_rows))
        yield row, table
        row += table.num_rows


def _arrow_table(block: bytes, types: dict[str, pa.DataType]) -> pa.Table | None:
    """The block as Arrow reads it, with times as the text they are; `None` where Arrow refuses it."""
    if types:
        try:
            return _parse(block, types, "ignore")
        except pa.ArrowInvalid:
            pass  # such as 4.5 after whole numbers: the types are inferred anew
    try:
        table = _parse(block, {}, "infer")
        times = {field.name: pa.string() for field in table.schema if pa.types.is_timestamp(field.type)}
        return _parse(block, times, "infer") if times else table
    except pa.ArrowInvalid:
        return None


def _parse(block: bytes, types: dict[str, pa.DataType], others: str) -> pa.Table:
    options = pa.json.ParseOptions(explicit_schema=pa.schema(types) if types else None, unexpected_field_behavior=others)
    return pa.json.read_json(pa.BufferReader(block), pa.json.ReadOptions(use_threads=False, block_size=len(block) + 1), options)


def _exact_table(block: bytes, path: str, first_line: int, columns: Sequence[str] | None) -> pa.Table:
    """The block with every value as a string, spelt as in the file; without `columns` all of them."""
    rows = []
    for number, line in enumerate(block.splitlines(), first_line):
        try:
            # A number stays the text it is: a float would round it.
            values = json.loads(line, parse_float=str, parse_int=str, parse_constant=str)
        except ValueError as reason:
            raise ValueError(
                f"{path}:{number} must hold one JSON object. Received: {line[:100].decode(errors='replace')!r} ({reason}). Mend or remove the line."
            ) from reason
        if not isinstance(values, dict):
            raise ValueError(
                f"{path}:{number} must hold one JSON object. Received: {line[:100].decode(errors='replace')!r}. Write one object a line, without a"
                " list around them."
            )
        rows.append(values)
    names = dict.fromkeys(name for values in rows for name in values) if columns is None else columns
    return pa.table({name: _strings([values.get(name) for values in rows], path, first_line, name) for name in names})


def _strings(values: list[Any], path: str, first_line: int, name: str) -> pa.Array:
    listed = any(isinstance(value, list) for value in values)
    found = []
    for number, value in enumerate(values, first_line):
        parts = value if isinstance(value, list) else [value]
        if any(isinstance(part, (dict, list)) for part in parts):
            raise ValueError(
                f"{path}:{number}, column {name} must hold one value or a list of values. Received: {str(value)[:100]}. Remedy: write its parts as"
                " columns of their own."
            )
        words = [None if part is None else str(part).lower() if isinstance(part, bool) else part for part in parts]
        found.append((None if value is None else words) if listed else words[0])
    return pa.array(found, pa.list_(pa.string()) if listed else pa.string())


def _line_blocks(stream: pa.NativeFile) -> Iterator[tuple[int, bytes]]:
    """Blocks of whole lines without empty ones, each with its first line number. An empty line moves the numbers of its own block only."""
    line = 1
    with io.BufferedReader(stream, 1 << 20) as text:
        while lines := text.readlines(_TEXT_BLOCK):
            block = b"".join(text_line for text_line in lines if not text_line.isspace())
            if block:
                yield line, block
            line += len(lines)


def _needs_another_reading(table: pa.Table, columns: Sequence[str], exact: Collection[str]) -> bool:
    types = {field.name: field.type for field in table.schema if field.name in columns}
    # An object in a cell is refused there, by its line.
    return any(
        _holds(kind, pa.types.is_nested) and not _is_flat_list(kind) or (name in exact and _holds(kind, pa.types.is_floating))
        for name, kind in types.items()
    )


def _is_flat_list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) and not pa.types.is_nested(kind.value_type)


def _holds(kind: pa.DataType, asked) -> bool:
    return asked(kind) or (pa.types.is_list(kind) and asked(kind.value_type))
