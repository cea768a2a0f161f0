"""Builds the item catalog from raw item files, with texts and images that may lie in files of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ppm_tf.config import ColumnarData
from ppm_tf.data.catalog import ROW_GROUP
from ppm_tf.data.ids import IdIndex, refuse_inexact, typed_ids
from ppm_tf.data.preparation.spool import Spool
from ppm_tf.data.preparation.vocabulary import FieldBuilder
from ppm_tf.data.raw import files as raw_files
from ppm_tf.data.raw.column_forms import ColumnForm
from ppm_tf.data.raw.column_survey import is_numeric, survey_column
from ppm_tf.data.raw.columns import Place, numbers, present, texts
from ppm_tf.data.raw.image_files import check_paths, full_path, read_files
from ppm_tf.data.raw.rejected import Rejected
from ppm_tf.data.schema import Field
from ppm_tf.rows import FIRST_ROW

MISSING_IMAGE = "image file not found"
_LARGEST = float(np.finfo(np.float32).max)


@dataclass
class CatalogReport:
    """What a catalog holds: its fields, how many items have a text or an image, rows of repeated ids, image files not there.

    `has_texts` says whether texts were asked for, `empty` names the numeric columns without a value,
    `beyond` counts, by numeric column, the values that no float32 holds.
    """

    fields: tuple[Field, ...]
    num_items: int
    with_text: int = 0
    with_image: int = 0
    repeated_rows: int = 0
    missing_images: Rejected = field(default_factory=Rejected)
    beyond: dict[str, int] = field(default_factory=dict)
    empty: list[str] = field(default_factory=list)
    has_texts: bool = False


def build_catalog(columns: ColumnarData, folder: Path, id_type: str, batch_rows: int = 65536) -> CatalogReport:
    """Writes `items.parquet`, `fields.npz` and `numbers.npz`.

    The order of the items is that of the item files. Where a file names an item more than once (an item file with
    `items.repeated: first`, a file of texts or images), fields and numbers are those of its first row, and the text and the
    image are the first that is not empty; ids that the item files do not hold are passed over.

    Args:
        columns: where the columns are.
        folder: the catalog's folder; made here.
        id_type: `"int"` or `"string"`.
        batch_rows: most rows in memory at once.

    Raises:
        ValueError: an id is missing or given twice, a number is not finite, an image path leads out of `data.path`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    items = columns.items
    forms = survey_items(columns)
    numeric = {name: is_numeric(column, forms[column.column]) for name, column in items.fields.items()}
    builders = {name: FieldBuilder(column.separator, column.min_count, columns.missing, numeric[name]) for name, column in items.fields.items()}
    rows, places = read_ids(columns, id_type, batch_rows)
    first = first_rows(rows, places, items.repeated)
    values, beyond = read_attributes(columns, batch_rows, builders, first)
    ids = rows if first is None else rows.filter(pa.array(first))
    np.savez(folder / "numbers.npz", **{name: np.concatenate([np.full(FIRST_ROW, np.nan, np.float32), *parts]) for name, parts in values.items()})
    fields, tables = [], {}
    for name, builder in builders.items():
        words, encoded = builder.finish()
        fields.append(Field(name, "item", words, encoded.shape[1], numeric[name]))
        tables[name] = np.concatenate([np.zeros((FIRST_ROW, encoded.shape[1]), np.int32), encoded])
    np.savez(folder / "fields.npz", **tables)
    report = CatalogReport(tuple(fields), len(ids), repeated_rows=len(rows) - len(ids), beyond=beyond, has_texts=bool(items.text))
    report.empty = [name for name, parts in values.items() if all(np.isnan(part).all() for part in parts)]
    with ExitStack() as stack:
        text = stack.enter_context(Spool(folder / "text.spool", len(ids)))
        image = stack.enter_context(Spool(folder / "image.spool", len(ids)))
        index = IdIndex(ids)
        if items.text:
            spool_texts(columns, index, text, batch_rows, [forms[name].numeric for name in items.text])
        are_paths = bool(items.image) and spool_images(columns, index, image, batch_rows)

        def images(start: int, stop: int) -> list[bytes | None]:
            found = image.read(start, stop)
            return read_images(columns, start, found, report) if are_paths else found

        _write_items(folder / "items.parquet", ids, text, images, report)
    return report


def read_ids(columns: ColumnarData, id_type: str, batch_rows: int, may_be_none: bool = False) -> tuple[pa.Array, list[tuple[int, Place]]]:
    """The id of every row of the item files; and where the rows come from: each batch's first row among all, and its place.

    Raises:
        ValueError: a row has no id, or there is no row and there must be one.
    """
    items, places, count = columns.items, [], 0
    ids = [pa.array([], pa.int64() if id_type == "int" else pa.string())]
    for place, batch in _batches(columns, items.files, "data.items.files", items.id, "data.items.id", [items.id], batch_rows):
        refuse_inexact(batch.column(items.id), place)
        found = typed_ids(batch.column(items.id), id_type, columns.missing)
        if found.null_count:
            index = pc.index(found.is_null(), True).as_py()
            raise ValueError(
                f"{place.at(index)} must hold an item id. Received: {batch.column(items.id)[index].as_py()!r}. Remedy: drop the row or give it an id."
            )
        ids.append(found)
        places.append((count, place))
        count += len(found)
    if not count and not may_be_none:
        raise ValueError(f"data.items.files must hold at least one item. Received: none in {items.files} of {columns.path}.")
    return pa.concat_arrays(ids), places


def first_rows(ids: pa.Array, places: list[tuple[int, Place]], repeated: str) -> np.ndarray | None:
    """Which rows are the first of their id, bool `[rows]`; `None` where no id comes twice."""
    codes = ids.dictionary_encode().indices.to_numpy()
    _, first = np.unique(codes, return_index=True)
    if len(first) == len(codes):
        return None
    is_first = np.zeros(len(codes), bool)
    is_first[first] = True
    if repeated == "first":
        return is_first
    again = int(np.argmin(is_first))

    def at(row: int) -> str:
        start, place = next((start, place) for start, place in reversed(places) if start <= row)
        return place.at(row - start)

    raise ValueError(
        f"Item ids must be unique. Received: {ids[again].as_py()!r} at {at(first[codes[again]])} and again at {at(again)}. "
        "Remedy: keep one row an item, or set data.items.repeated=first to take the first."
    )


def read_attributes(
    columns: ColumnarData, batch_rows: int, builders: dict[str, FieldBuilder], first: np.ndarray | None
) -> tuple[dict[str, list[np.ndarray]], dict[str, int]]:
    """Numbers of all items by column, and how many are too large to be any; fills the builders of the fields. Only rows marked in `first` count."""
    items = columns.items
    beyond = dict.fromkeys(items.numbers, 0)
    values: dict[str, list[np.ndarray]] = {name: [] for name in items.numbers}
    wanted = [*(column.column for column in items.fields.values()), *items.numbers]
    row = 0
    for place, batch in _batches(columns, items.files, "data.items.files", items.id, "data.items.id", wanted, batch_rows) if wanted else ():
        kept = slice(None) if first is None else first[row : row + batch.num_rows]
        row += batch.num_rows
        for name, column in items.fields.items():
            cells = batch.column(column.column)
            builders[name].add(cells if first is None else cells.filter(pa.array(kept)))
        for name in items.numbers:
            found = numbers(batch.column(name), Place(place.path, name, "data.items.numbers", place.first_row), columns.missing)[kept]
            # The largest double is a sentinel that databases write for nothing; no float32 holds it.
            beyond[name] += int((np.abs(found) > _LARGEST).sum())
            values[name].append(np.where(np.abs(found) > _LARGEST, np.nan, found).astype(np.float32))
    return values, {name: count for name, count in beyond.items() if count}


def survey_items(columns: ColumnarData) -> dict[str, ColumnForm]:
    """What each column of fields and texts holds, over all item files."""
    items = columns.items
    forms = {}
    for one in items.fields.values():
        forms[one.column] = survey_column(columns, items.files, "data.items.files", one.column, one.separator)
    pattern, setting = (items.text_files, "data.items.text_files") if items.text_files else (items.files, "data.items.files")
    for name in items.text:
        forms.setdefault(name, survey_column(columns, pattern, setting, name))
    return forms


def _places(columns: ColumnarData, index: IdIndex, batch: pa.RecordBatch, place: Place) -> np.ndarray:
    ids = batch.column(columns.items.id)
    refuse_inexact(ids, Place(place.path, columns.items.id, "data.items.id", place.first_row))
    return index.places(typed_ids(ids, "int" if index.integers else "string", columns.missing))


def spool_texts(columns: ColumnarData, index: IdIndex, spool: Spool, batch_rows: int, numeric: Sequence[bool]) -> None:
    """Spools the text of each item that `index` holds, where it has one; `numeric` says which of the columns hold numbers."""
    items = columns.items
    separators = [next((field.separator for field in items.fields.values() if field.column == name), None) for name in items.text]
    pattern, setting = (items.text_files, "data.items.text_files") if items.text_files else (items.files, "data.items.files")
    for place, batch in _batches(columns, pattern, setting, items.id, "data.items.id", [items.id, *items.text], batch_rows):
        joined = texts([batch.column(name) for name in items.text], separators, columns.missing, numeric)
        spool.add(_places(columns, index, batch, place), pc.if_else(pc.equal(joined, ""), pa.scalar(None, pa.string()), joined))


def spool_images(columns: ColumnarData, index: IdIndex, spool: Spool, batch_rows: int) -> bool:
    """Spools encoded images, or their paths; gives whether they are paths."""
    items, are_paths = columns.items, False
    pattern, setting = (items.image_files, "data.items.image_files") if items.image_files else (items.files, "data.items.files")
    rows = min(batch_rows, ROW_GROUP)  # images are large
    for place, batch in _batches(columns, pattern, setting, items.image, "data.items.image", [items.id, items.image], rows):
        column = batch.column(items.image)
        if pa.types.is_string(column.type):
            are_paths, column = True, present(column, columns.missing)
            check_paths(column, columns.path, place)
            column = column.cast(pa.binary())
        elif pa.types.is_null(column.type):
            continue
        spool.add(_places(columns, index, batch, place), pc.if_else(pc.equal(column, b""), pa.scalar(None, pa.binary()), column))
    return are_paths


def read_images(columns: ColumnarData, start: int, paths: list[bytes | None], report: CatalogReport) -> list[bytes | None]:
    """The image files of a block of items; one that is not there is reported and left out."""
    names = [None if value is None else value.decode() for value in paths]
    files = [None if name is None else full_path(columns.path, name) for name in names]
    images = read_files(files)
    for place, image in enumerate(images):
        if image is None and files[place] is not None:
            where = Place(files[place], columns.items.image, "data.items.image", start)
            report.missing_images.add_case(MISSING_IMAGE, where, place, names[place])
    return images


def items_writer(path: Path, id_type: pa.DataType) -> pq.ParquetWriter:
    """Opens `items.parquet` for row groups of `ROW_GROUP` items."""
    schema = pa.schema({"item_id": id_type, "text": pa.string(), "image": pa.binary()})
    return pq.ParquetWriter(path, schema, compression={"item_id": "zstd", "text": "zstd", "image": "none"})


def _write_items(path: Path, ids: pa.Array, text: Spool, images_of: Callable[[int, int], list[bytes | None]], report: CatalogReport) -> None:
    with items_writer(path, ids.type) as writer:
        for start in range(0, len(ids), ROW_GROUP):
            stop = min(start + ROW_GROUP, len(ids))
            words, images = text.read(start, stop), images_of(start, stop)
            report.with_text += sum(word is not None for word in words)
            report.with_image += sum(image is not None for image in images)
            strings = pa.array([word or b"" for word in words], pa.binary()).cast(pa.string())
            table = pa.table([ids.slice(start, stop - start), strings, pa.array(images, pa.binary())], schema=writer.schema)
            writer.write_table(table, row_group_size=ROW_GROUP)


def _batches(
    columns: ColumnarData, pattern: str, setting: str, column: str, column_setting: str, wanted: Sequence[str], batch_rows: int
) -> Iterator[tuple[Place, pa.RecordBatch]]:
    for split in raw_files.splits(raw_files.find(columns.path, pattern, setting), columns.csv):
        for first_row, batch in raw_files.batches(split, wanted, batch_rows):
            yield Place(split.path, column, column_setting, first_row), batch
