"""Raw files, read in columnar batches: Parquet by row groups; CSV and JSON lines as streams, plain or gzip."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from ppm_tf.config.data import CsvSettings
from ppm_tf.data.raw import json_lines
from ppm_tf.data.raw.day_files import any_day

_PLAIN = CsvSettings()
FORMATS = {
    "parquet": (".parquet", ".pq"),
    "csv": (".csv", ".csv.gz", ".tsv", ".tsv.gz"),
    "json": (".jsonl", ".jsonl.gz", ".json", ".json.gz"),
}
_TEXT_BLOCK = 8 << 20  # bytes of CSV decoded at once
_ROW_GROUPS_A_SPLIT = 8  # row groups that one worker reads in one go


class DamagedFileError(ValueError):
    """A raw file cannot be read: it is cut off, empty, or no file of its format."""


@dataclass(frozen=True)
class FileSplit:
    """A piece of a raw file that one worker reads.

    Attributes:
        path: the file.
        file: place of the file among the sorted files of its glob.
        first_row: row of the file at which the piece starts.
        row_groups: row groups of a Parquet file; `None` = the whole file.
        csv: how a CSV file is written.
    """

    path: str
    file: int
    first_row: int = 0
    row_groups: tuple[int, ...] | None = None
    csv: CsvSettings = _PLAIN


def find(folder: str | Path, pattern: str, setting: str) -> list[Path]:
    """The files that a file name, a folder or a glob stands for, sorted by name.

    A day in it (`{day}`, see `day_files`) stands for any. A folder, such as Spark writes, stands for the files of known formats in
    it and below it; names that start with "_" or "." are its writer's own.

    Args:
        folder: folder that a relative pattern starts from.
        pattern: the value of the setting.
        setting: its name, for the message.

    Raises:
        FileNotFoundError: there is none.
        ValueError: a file is of no known format.
    """
    pattern = any_day(pattern)
    if Path(pattern).is_absolute():
        # From the last folder on whose name is no glob.
        path = Path(pattern)
        folder = next((parent for parent in path.parents if not set("*?[") & set(str(parent))), path.parent)
        pattern = str(path.relative_to(folder))
    folder = Path(folder)
    named = [folder / pattern] if (folder / pattern).exists() else sorted(folder.glob(pattern))
    found = sorted(file for path in named for file in (_files_below(path) if path.is_dir() else [path]))
    if not found:
        present = ", ".join(sorted(path.name for path in folder.iterdir())[:20]) if folder.is_dir() else "no such folder"
        raise FileNotFoundError(
            f"{setting} must name files in {folder}. Received: {pattern}, which matches none. The folder holds: {present or 'nothing'}."
        )
    for path in found:
        format_of(path)
    return found


def _files_below(folder: Path) -> list[Path]:
    endings = tuple(ending for group in FORMATS.values() for ending in group)
    return [
        path
        for path in folder.rglob("*")
        if path.name.lower().endswith(endings) and path.is_file() and not any(part.startswith(("_", ".")) for part in path.relative_to(folder).parts)
    ]


def format_of(path: str | Path) -> str:
    """`"parquet"`, `"csv"` or `"json"`, by the file's ending."""
    name = Path(path).name.lower()
    for kind, endings in FORMATS.items():
        if name.endswith(endings):
            return kind
    endings = ", ".join(ending for group in FORMATS.values() for ending in group)
    raise ValueError(f"A raw file must end in one of {endings}. Received: {path}.")


def column_types(path: str | Path, csv: CsvSettings = _PLAIN) -> dict[str, pa.DataType | None]:
    """The columns of a file. CSV columns have no type (`None`), those of JSON lines the type of the first rows."""
    kind = format_of(path)
    if kind == "parquet":
        schema = _open_parquet(path).schema_arrow
        return dict(zip(schema.names, schema.types, strict=True))
    if kind == "csv":
        with _refusing(path):
            # Without threads errors name the row.
            reader = pa.csv.open_csv(
                _stream(path), read_options=pa.csv.ReadOptions(use_threads=False, encoding=csv.encoding), parse_options=_parse_options(path, csv)
            )
            return dict.fromkeys(reader.schema.names)
    with _refusing(path), _stream(path) as stream:
        return json_lines.column_types(stream, str(path))


def splits(files: Sequence[Path], csv: CsvSettings = _PLAIN) -> list[FileSplit]:
    """The pieces of some files, in row order, by absolute path. A CSV or JSON file is one piece."""
    pieces = []
    for number, path in enumerate(files):
        if format_of(path) != "parquet":
            pieces.append(FileSplit(str(path.absolute()), number, csv=csv))
            continue
        metadata = _open_parquet(path).metadata
        rows = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
        for first in range(0, len(rows), _ROW_GROUPS_A_SPLIT):
            groups = tuple(range(first, min(first + _ROW_GROUPS_A_SPLIT, len(rows))))
            pieces.append(FileSplit(str(path.absolute()), number, sum(rows[:first]), groups))
    return pieces


def batches(split: FileSplit, columns: Sequence[str], batch_rows: int, exact: Collection[str] | None = None) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Reads a piece of a file.

    Args:
        split: what to read.
        columns: names of the columns to give; a JSON column absent from a batch is all null, CSV columns are strings.
        batch_rows: most rows a batch.
        exact: columns whose numbers must come as they are written: JSON numbers that a float would round come as strings.
            `None` = all.

    Yields:
        Row of the file that the batch starts at, and the batch. Views and dictionaries are decoded. The type of a JSON column may
        differ from batch to batch; what its cells say does not.

    Raises:
        ValueError: the file is damaged; the message names it, and the line where there is one.
    """
    columns = list(dict.fromkeys(columns))
    for first_row, table in _tables(split, columns, batch_rows, set(columns if exact is None else exact)):
        table = pa.table({name: _plain(table.column(name)) for name in columns}).combine_chunks()
        for batch in table.to_batches(max_chunksize=batch_rows):
            yield first_row, batch
            first_row += batch.num_rows


def _tables(split: FileSplit, columns: list[str], batch_rows: int, exact: set[str]) -> Iterator[tuple[int, pa.Table]]:
    kind = format_of(split.path)
    if kind == "parquet":
        yield from _parquet_tables(split, columns, batch_rows)
    elif kind == "csv":
        yield from _csv_tables(split.path, columns, split.csv)
    else:
        with _refusing(split.path), _stream(split.path) as stream:
            yield from json_lines.tables(stream, split.path, columns, exact)


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


def _csv_tables(path: str, columns: Sequence[str], csv: CsvSettings) -> Iterator[tuple[int, pa.Table]]:
    row = 0
    with _refusing(path):
        reader = pa.csv.open_csv(
            _stream(path),
            read_options=pa.csv.ReadOptions(block_size=_TEXT_BLOCK, use_threads=False, encoding=csv.encoding),  # without threads errors name the row
            parse_options=_parse_options(path, csv),
            convert_options=pa.csv.ConvertOptions(
                column_types=dict.fromkeys(columns, pa.string()), include_columns=list(columns), strings_can_be_null=True, null_values=[""]
            ),
        )
        for batch in reader:
            yield row, pa.Table.from_batches([batch])
            row += batch.num_rows


def _parse_options(path: str | Path, csv: CsvSettings) -> pa.csv.ParseOptions:
    delimiter = csv.delimiter or ("\t" if str(path).lower().endswith((".tsv", ".tsv.gz")) else ",")
    return pa.csv.ParseOptions(newlines_in_values=True, delimiter=delimiter)


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
        if isinstance(error, FileNotFoundError) or not isinstance(error, (pa.ArrowException, OSError, UnicodeDecodeError)):
            return
        size = os.path.getsize(self.path) if os.path.exists(self.path) else 0
        reason = " ".join(str(error).split()).rstrip(".")
        # Arrow counts the line of names as row 1; rows count from 1 after it.
        reason = re.sub(r"Row #(\d+)", lambda found: f"row {int(found[1]) - 1}", reason)
        remedy = (
            "Set data.csv.encoding to how its characters are written, such as latin-1, or mend the file"
            if "UTF" in reason.upper()
            else "Restore or mend the file"
        )
        raise DamagedFileError(f"{self.path} must be a readable {format_of(self.path)} file. Received: {size} bytes, {reason}. {remedy}.") from error


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The same values without dictionaries, views and 64-bit offsets, so that few types are left to deal with."""
    plain = plain_type(column.type)
    return column if plain == column.type else column.cast(plain)
