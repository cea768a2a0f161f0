"""Raw files, read in columnar batches: Parquet by row groups; CSV and JSON lines as streams, plain or gzip."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet as pq

FORMATS = {
    "parquet": (".parquet", ".pq"),
    "csv": (".csv", ".csv.gz"),
    "json": (".jsonl", ".jsonl.gz", ".json", ".json.gz"),
}
_TEXT_BLOCK = 8 << 20  # bytes of text decoded at once
_ROW_GROUPS_A_SPLIT = 8  # row groups that one worker reads in one go


@dataclass(frozen=True)
class FileSplit:
    """A piece of a raw file that one worker reads.

    Attributes:
        path: the file.
        file: place of the file among the sorted files of its glob.
        first_row: row of the file at which the piece starts.
        row_groups: row groups of a Parquet file; `None` = the whole file.
    """

    path: str
    file: int
    first_row: int = 0
    row_groups: tuple[int, ...] | None = None


def find(folder: str | Path, pattern: str, setting: str) -> list[Path]:
    """The files that a file name or glob stands for, sorted by name.

    Args:
        folder: folder that a relative pattern starts from.
        pattern: the value of the setting.
        setting: its name, for the message.

    Raises:
        FileNotFoundError: there is none.
        ValueError: a file is of no known format.
    """
    if Path(pattern).is_absolute():
        folder, pattern = Path(pattern).parent, Path(pattern).name
    folder = Path(folder)
    found = [folder / pattern] if (folder / pattern).is_file() else sorted(path for path in folder.glob(pattern) if path.is_file())
    if not found:
        present = ", ".join(sorted(path.name for path in folder.iterdir())[:20]) if folder.is_dir() else "no such folder"
        raise FileNotFoundError(
            f"{setting} must name files in {folder}. Received: {pattern}, which matches none. The folder holds: {present or 'nothing'}."
        )
    for path in found:
        format_of(path)
    return found


def format_of(path: str | Path) -> str:
    """`"parquet"`, `"csv"` or `"json"`, by the file's ending."""
    name = Path(path).name.lower()
    for kind, endings in FORMATS.items():
        if name.endswith(endings):
            return kind
    endings = ", ".join(ending for group in FORMATS.values() for ending in group)
    raise ValueError(f"A raw file must end in one of {endings}. Received: {path}.")


def column_types(path: str | Path) -> dict[str, pa.DataType | None]:
    """The columns of a file. CSV columns have no type (`None`), those of JSON lines the type of the first rows."""
    kind = format_of(path)
    if kind == "parquet":
        schema = _open_parquet(path).schema_arrow
        return dict(zip(schema.names, schema.types, strict=True))
    if kind == "csv":
        with _refusing(path):
            reader = pa.csv.open_csv(_stream(path), parse_options=pa.csv.ParseOptions(newlines_in_values=True))
            return dict.fromkeys(reader.schema.names)
    for _, table in _json_tables(str(path), (), ()):
        return dict(zip(table.schema.names, table.schema.types, strict=True))
    return {}


def splits(files: Sequence[Path]) -> list[FileSplit]:
    """The pieces of some files, in row order, by absolute path. A CSV or JSON file is one piece."""
    pieces = []
    for number, path in enumerate(files):
        if format_of(path) != "parquet":
            pieces.append(FileSplit(str(path.absolute()), number))
            continue
        metadata = _open_parquet(path).metadata
        rows = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
        for first in range(0, len(rows), _ROW_GROUPS_A_SPLIT):
            groups = tuple(range(first, min(first + _ROW_GROUPS_A_SPLIT, len(rows))))
            pieces.append(FileSplit(str(path.absolute()), number, sum(rows[:first]), groups))
    return pieces


def batches(split: FileSplit, columns: Sequence[str], batch_rows: int, times: Collection[str] = ()) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Reads a piece of a file.

    Args:
        split: what to read.
        columns: names of the columns to give; a JSON column absent from a batch is all null, CSV columns are strings.
        batch_rows: most rows a batch.
        times: columns in which JSON text such as `"2020-05-01T10:00:00"` is a time; elsewhere it stays text.

    Yields:
        Row of the file that the batch starts at, and the batch. Views and dictionaries are decoded.

    Raises:
        ValueError: the file is damaged; the message names it, and the line where there is one.
    """
    columns = list(dict.fromkeys(columns))
    read = {"parquet": _parquet_tables, "csv": _csv_tables, "json": _json_tables}[format_of(split.path)]
    arguments = (split, columns, batch_rows) if read is _parquet_tables else (split.path, columns, times)
    for first_row, table in read(*arguments):
        table = pa.table({name: _plain(table.column(name)) for name in columns}).combine_chunks()
        for batch in table.to_batches(max_chunksize=batch_rows):
            yield first_row, batch
            first_row += batch.num_rows


def plain_type(kind: pa.DataType) -> pa.DataType:
    """The type without dictionaries, views and 64-bit offsets, as `batches` gives its columns."""
    types = pa.types
    if types.is_dictionary(kind):
        return plain_type(kind.value_type)
    if types.is_large_string(kind) or types.is_string_view(kind):
        return pa.string()
    if types.is_large_binary(kind) or types.is_binary_view(kind) or types.is_fixed_size_binary(kind):
        return pa.binary()
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return pa.list_(plain_type(kind.value_type))
    return kind


def _parquet_tables(split: FileSplit, columns: Sequence[str], batch_rows: int) -> Iterator[tuple[int, pa.Table]]:
    file, row = _open_parquet(split.path), split.first_row
    with _refusing(split.path):
        for batch in file.iter_batches(
            batch_rows, row_groups=list(split.row_groups) if split.row_groups is not None else None, columns=list(columns)
        ):
            yield row, pa.Table.from_batches([batch])
            row += batch.num_rows


def _csv_tables(path: str, columns: Sequence[str], times: Collection[str]) -> Iterator[tuple[int, pa.Table]]:
    row = 0
    with _refusing(path):
        reader = pa.csv.open_csv(
            _stream(path),
            read_options=pa.csv.ReadOptions(block_size=_TEXT_BLOCK, use_threads=False),  # without threads errors name the row
            parse_options=pa.csv.ParseOptions(newlines_in_values=True),
            convert_options=pa.csv.ConvertOptions(
                column_types=dict.fromkeys(columns, pa.string()), include_columns=list(columns), strings_can_be_null=True, null_values=[""]
            ),
        )
        for batch in reader:
            yield row, pa.Table.from_batches([batch])
            row += batch.num_rows


def _json_tables(path: str, columns: Sequence[str], times: Collection[str]) -> Iterator[tuple[int, pa.Table]]:
    """Tables of JSON lines; without `columns` all of them."""
    row, types = 0, {}
    for first_line, block in _line_blocks(path):
        try:
            table = _read_json(block, types, times)
        except pa.ArrowInvalid as error:
            raise ValueError(_locate(path, first_line, block, error)) from error
        # Types found once spare inferring them again; a column that was null so far must still be looked for.
        types = {
            name: table.schema.field(name).type
            for name in columns
            if name in table.schema.names and not _has_null_type(table.schema.field(name).type)
        }
        types = types if len(types) == len(columns) else {}
        for name in columns:
            if name not in table.schema.names:
                table = table.append_column(name, pa.nulls(table.num_rows))
        yield row, table
        row += table.num_rows


def _read_json(block: bytes, types: dict[str, pa.DataType], times: Collection[str]) -> pa.Table:
    if types:
        try:
            return _parse_json(block, types, "ignore")
        except pa.ArrowInvalid:
            pass  # such as 4.5 after whole numbers: the types are inferred anew
    table = _parse_json(block, {}, "infer")
    texts = {field.name: pa.string() for field in table.schema if pa.types.is_timestamp(field.type) and field.name not in times}
    return _parse_json(block, texts, "infer") if texts else table


def _parse_json(block: bytes, types: dict[str, pa.DataType], others: str) -> pa.Table:
    options = pa.json.ParseOptions(explicit_schema=pa.schema(types) if types else None, unexpected_field_behavior=others)
    return pa.json.read_json(pa.BufferReader(block), pa.json.ReadOptions(use_threads=False, block_size=len(block) + 1), options)


def _line_blocks(path: str) -> Iterator[tuple[int, bytes]]:
    """Blocks of whole lines without empty ones, each with its first line number. An empty line moves the numbers of its own block only."""
    line = 1
    with _refusing(path), _stream(path) as stream, io.BufferedReader(stream, 1 << 20) as text:
        while lines := text.readlines(_TEXT_BLOCK):
            block = b"".join(text_line for text_line in lines if not text_line.isspace())
            if block:
                yield line, block
            line += len(lines)


def _locate(path: str, first_line: int, block: bytes, error: Exception) -> str:
    """A message with the line at fault."""
    types: dict[str, type] = {}
    for number, line in enumerate(block.splitlines(), first_line):
        try:
            values = json.loads(line)
        except ValueError as reason:
            return (
                f"{path}:{number} must hold one JSON object. Received: {line[:100].decode(errors='replace')!r} ({reason}). Mend or remove the line."
            )
        if not isinstance(values, dict):
            return f"{path}:{number} must hold one JSON object. Received: {line[:100].decode(errors='replace')!r}. Write one object a line, without a list around them."
        for name, value in values.items():
            kind = float if isinstance(value, int) and not isinstance(value, bool) else type(value)
            if value is not None and types.setdefault(name, kind) is not kind:
                return f"{path}:{number}, column {name} must have one type. Received: {value!r}, after values of type {types[name].__name__}. Write them alike."
    return f"{path}:{first_line} and the lines after it must be JSON objects of one form: {error}."


def _open_parquet(path: str | Path) -> pq.ParquetFile:
    with _refusing(path):
        return pq.ParquetFile(path)


def _stream(path: str | Path) -> pa.NativeFile:
    return pa.input_stream(str(path), compression="gzip" if str(path).lower().endswith(".gz") else None)


class _refusing:
    """Turns what Arrow says of a damaged file into a message that names the file."""

    def __init__(self, path: str | Path):
        self.path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, FileNotFoundError) or not isinstance(error, (pa.ArrowException, OSError)):
            return
        size = os.path.getsize(self.path) if os.path.exists(self.path) else 0
        reason = " ".join(str(error).split()).rstrip(".")
        raise ValueError(
            f"{self.path} must be a readable {format_of(self.path)} file. Received: {size} bytes, {reason}. Restore or mend the file."
        ) from error


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The same values without dictionaries, views and 64-bit offsets, so that few types are left to deal with."""
    plain = plain_type(column.type)
    return column if plain == column.type else column.cast(plain)


def _has_null_type(kind: pa.DataType) -> bool:
    return pa.types.is_null(kind) or (pa.types.is_list(kind) and pa.types.is_null(kind.value_type))
