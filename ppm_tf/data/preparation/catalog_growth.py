"""A catalog that grows from day to day: items keep their rows, new ones come behind, changed ones change in place."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ppm_tf.config import ColumnarData
from ppm_tf.data.catalog import ROW_GROUP, ItemCatalog
from ppm_tf.data.ids import IdIndex
from ppm_tf.data.preparation.catalog_builder import (
    CatalogReport,
    first_rows,
    items_writer,
    read_attributes,
    read_ids,
    read_images,
    spool_images,
    spool_texts,
)
from ppm_tf.data.preparation.day_forms import numeric_text, survey_fields
from ppm_tf.data.preparation.day_state import FOLDER, DayState, read_codes, write_codes
from ppm_tf.data.preparation.growing_words import GrowingWords
from ppm_tf.data.preparation.spool import Spool
from ppm_tf.data.preparation.vocabulary import FieldBuilder
from ppm_tf.data.raw.column_survey import survey_column
from ppm_tf.data.schema import Field, Schema
from ppm_tf.rows import FIRST_ROW
from ppm_tf.workspace import link_or_copy

logger = logging.getLogger(__name__)

ITEM_CODES = "items.npz"
_PATHS = "image_paths.parquet"


@dataclass
class GrowthReport(CatalogReport):
    """What a day added to a catalog: how many image files were read, how many items are new, and how many of the old ones changed."""

    images_read: int = 0
    new_items: int = 0
    changed_items: int = 0


def grow_catalog(
    columns: ColumnarData, state: DayState, earlier: Path | None, folder: Path, read_again: bool, batch_rows: int = 65536
) -> GrowthReport:
    """Writes the catalog as of the end of a day.

    An item of the day's files counts with all that they say of it. Where texts or images lie in files of their own, an item keeps
    those that it had while these files say nothing of it. Items that the files do not name stay as they are.

    Args:
        columns: the mapping of the day's files.
        state: what the days before decided and saw; updated.
        earlier: artifact of the day before; `None` on the first day.
        folder: artifact of the day; `catalog/` is written into it, and what the next day needs of the items into `state/`.
        read_again: whether an image whose path is the same is read again, as for files that name what is new and changed.
        batch_rows: most rows in memory at once.

    Raises:
        ValueError: as `build_catalog`.
        DayRefusedError: cells do not fit those of the days before.
    """
    items, target = columns.items, folder / "catalog"
    target.mkdir(parents=True, exist_ok=True)
    old = ItemCatalog.read(earlier / "catalog") if earlier else None
    old_ids = old.ids if old else pa.array([], pa.int64() if state.item_id_type == "int" else pa.string())
    rows, places = read_ids(columns, state.item_id_type, batch_rows, may_be_none=old is not None)
    first = first_rows(rows, places, items.repeated)
    today = rows if first is None else rows.filter(pa.array(first))
    at = IdIndex(old_ids).places(today)
    new = at < 0
    at[new] = len(old_ids) + np.arange(new.sum())
    ids = pa.concat_arrays([old_ids, today.filter(pa.array(new))])
    report = GrowthReport((), len(ids), repeated_rows=len(rows) - len(today), has_texts=bool(items.text), new_items=int(new.sum()))
    changed = np.zeros(len(ids), bool)
    _grow_attributes(columns, state, earlier, folder, batch_rows, first, at, changed, report)
    _grow_contents(columns, state, earlier, folder, batch_rows, ids, at, changed, read_again, report)
    report.changed_items = int(changed[: len(old_ids)].sum())
    return report


def carry_counts(earlier: Path, catalog: Path) -> None:
    """Writes the counts of an earlier catalog into one that has grown from it; of items that are new nothing is counted.

    Args:
        earlier: the earlier catalog's folder.
        catalog: that of the grown one.
    """
    rows = ItemCatalog.read(catalog).num_rows
    counts = ItemCatalog.read(earlier).counts
    np.savez(
        catalog / "counts.npz", **{name: np.pad(table, [(0, rows - len(table))] + [(0, 0)] * (table.ndim - 1)) for name, table in counts.items()}
    )


def with_fields(schema: Schema, fields: Iterable[Field]) -> Schema:
    """A schema in which these fields, with the words that they have now, stand in place of those of their names."""
    now = {(field.side, field.name): field for field in fields}
    return replace(schema, fields=tuple(now.get((field.side, field.name), field) for field in schema.fields))


def _grow_attributes(
    columns: ColumnarData,
    state: DayState,
    earlier: Path | None,
    folder: Path,
    batch_rows: int,
    first: np.ndarray | None,
    at: np.ndarray,
    changed: np.ndarray,
    report: GrowthReport,
) -> None:
    """Writes `fields.npz` and `numbers.npz`, of items at the places `at` from the day's files, and marks in `changed` whose were others."""
    items, count = columns.items, len(changed)
    numeric = survey_fields(state, "item", items.fields, columns, items.files, "data.items")
    builders = {name: FieldBuilder(one.separator, one.min_count, columns.missing, numeric[name]) for name, one in items.fields.items()}
    values, report.beyond = read_attributes(columns, batch_rows, builders, first)
    before = read_codes(earlier, ITEM_CODES)
    codes, tables, fields = {}, {}, []
    for name, builder in builders.items():
        words = state.words.setdefault(f"item.{name}", GrowingWords())
        known = before.get(name, np.zeros((0, 1), np.int32))
        codes[name], other = words.put(np.pad(known, ((0, count - len(known)), (0, 0))), at, builder)
        changed[at] |= other
        tables[name] = np.pad(words.rows_of(codes[name]), ((FIRST_ROW, 0), (0, 0)))
        fields.append(Field(name, "item", words.vocabulary, codes[name].shape[1], numeric[name]))
    np.savez(folder / "catalog" / "fields.npz", **tables)
    write_codes(folder, ITEM_CODES, codes)
    report.fields = tuple(fields)
    old = ItemCatalog.read(earlier / "catalog").numbers if earlier else {}
    columns_of_numbers = {}
    for name, parts in values.items():
        column = np.full(FIRST_ROW + count, np.nan, np.float32)
        column[: len(old.get(name, ()))] = old.get(name, ())
        found = np.concatenate([np.zeros(0, np.float32), *parts])
        changed[at] |= ~((column[FIRST_ROW + at] == found) | (np.isnan(column[FIRST_ROW + at]) & np.isnan(found)))
        column[FIRST_ROW + at] = found
        columns_of_numbers[name] = column
    np.savez(folder / "catalog" / "numbers.npz", **columns_of_numbers)
    report.empty = [name for name, column in columns_of_numbers.items() if np.isnan(column).all()]


def _grow_contents(
    columns: ColumnarData,
    state: DayState,
    earlier: Path | None,
    folder: Path,
    batch_rows: int,
    ids: pa.Array,
    at: np.ndarray,
    changed: np.ndarray,
    read_again: bool,
    report: GrowthReport,
) -> None:
    """Writes `items.parquet`: row group by row group, of which those that nothing changes are copied as they are."""
    items, target = columns.items, folder / "catalog"
    with ExitStack() as stack:
        text = stack.enter_context(Spool(target / "text.spool", len(ids)))
        image = stack.enter_context(Spool(target / "image.spool", len(ids)))
        index = IdIndex(ids)
        if items.text:
            pattern, setting = (items.text_files, "data.items.text_files") if items.text_files else (items.files, "data.items.files")
            numeric = [numeric_text(state, name, survey_column(columns, pattern, setting, name)) for name in items.text]
            spool_texts(columns, index, text, batch_rows, numeric)
        are_paths = bool(items.image) and spool_images(columns, index, image, batch_rows)
        new_text = _given(text, at, bool(items.text), items.text_files)
        new_image = _given(image, at, bool(items.image), items.image_files)
        old_paths = _read_paths(earlier, len(ids))
        paths = old_paths
        if are_paths or old_paths is not None:
            found = pa.array(image.read(0, len(ids)), pa.binary()).cast(pa.string()) if are_paths else pa.nulls(len(ids), pa.string())
            old_paths = pa.nulls(len(ids), pa.string()) if old_paths is None else old_paths
            if are_paths and not read_again:
                new_image &= _differ(found, old_paths)
            paths = pc.if_else(pa.array(new_image), found, old_paths)
            pq.write_table(pa.table({"path": paths}), _made(folder / FOLDER) / _PATHS, compression="zstd")
        source = earlier / "catalog" / "items.parquet" if earlier else None
        old = pq.ParquetFile(source) if source else None
        num_old = old.metadata.num_rows if old else 0
        if source and len(ids) == num_old and not new_text.any() and not new_image.any():
            link_or_copy(source, target / "items.parquet")
            before = json.loads((earlier / "statistics.json").read_text(encoding="utf-8"))
            report.with_text, report.with_image = before["items_with_text"], before["items_with_image"]
            return
        with items_writer(target / "items.parquet", ids.type) as writer:
            for start in range(0, len(ids), ROW_GROUP):
                stop = min(start + ROW_GROUP, len(ids))
                contents = []
                here = old.read_row_group(start // ROW_GROUP) if old and start < num_old else writer.schema.empty_table()
                for name, spool, given in (("text", text, new_text), ("image", image, new_image)):
                    known = pa.concat_arrays([*here.column(name).chunks, pa.nulls(stop - start - len(here), here.column(name).type)])
                    if given[start:stop].any():
                        values = [
                            value if is_new else None for value, is_new in zip(spool.read(start, stop), given[start:stop].tolist(), strict=True)
                        ]
                        if name == "image" and are_paths:
                            values = read_images(columns, start, values, report)
                            report.images_read += sum(value is not None for value in values)
                        fresh = pa.array(values, pa.binary()).cast(known.type)
                        merged = pc.if_else(pa.array(given[start:stop]), fresh, known)
                        changed[start:stop] |= _differ(merged, known)
                        known = merged
                    contents.append(known)
                report.with_text += len(contents[0]) - contents[0].null_count
                report.with_image += len(contents[1]) - contents[1].null_count
                writer.write_table(pa.table([ids.slice(start, stop - start), *contents], schema=writer.schema), row_group_size=ROW_GROUP)


def _given(spool: Spool, at: np.ndarray, is_read: bool, own_files: str | None) -> np.ndarray:
    """Of which items the day's files say what their text or image is, bool `[items]`: those with one, and the item file of all in it."""
    given = spool.held.copy()
    if is_read and not own_files:
        given[at] = True
    return given


def _differ(one: pa.Array, other: pa.Array) -> np.ndarray:
    """Which values differ, a missing one from any that is there; bool."""
    return pc.fill_null(pc.not_equal(one, other), False).to_numpy(zero_copy_only=False) | (
        one.is_valid().to_numpy(zero_copy_only=False) != other.is_valid().to_numpy(zero_copy_only=False)
    )


def _read_paths(earlier: Path | None, count: int) -> pa.Array | None:
    """Where the image of each item was read from; `None` where none was."""
    path = earlier and earlier / FOLDER / _PATHS
    if not path or not path.is_file():
        return None
    found = pq.read_table(path).column("path")
    return pa.concat_arrays([*found.chunks, pa.nulls(count - len(found), pa.string())])


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
