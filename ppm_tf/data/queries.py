"""Search queries with the catalog row of the item that was clicked for them: `queries.parquet`."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ppm_tf.config import ColumnarData
from ppm_tf.data.catalog import ItemCatalog
from ppm_tf.data.ids import refuse_inexact, typed_ids
from ppm_tf.data.near_matches import near_matches
from ppm_tf.data.raw import files as raw_files
from ppm_tf.data.raw.columns import Place, numbers, stored, texts
from ppm_tf.rows import FIRST_ROW

logger = logging.getLogger(__name__)

_SHOWN = 1000  # unknown ids that are tried in other spellings

SCHEMA = pa.schema({"query": pa.string(), "item_row": pa.int32()})


def write_queries(columns: ColumnarData, catalog: ItemCatalog, path: Path, batch_rows: int = 131072) -> dict[str, int]:
    """Writes the queries that led to a click on a known item, in the order of their files.

    Returns:
        How many rows were read and kept, and why the others were not: `read`, `kept`, `below_grade`, `empty`, `unknown_item`.
    """
    queries = columns.queries
    wanted = [queries.text, queries.item, *([queries.label] if queries.label else [])]
    strangers: list[str] = []
    counts = dict.fromkeys(("read", "kept", "below_grade", "empty", "unknown_item"), 0)
    with pq.ParquetWriter(path, SCHEMA, compression="zstd") as writer:
        for split in raw_files.splits(raw_files.find(columns.path, queries.files, "data.queries.files"), columns.csv):
            for first_row, batch in raw_files.batches(split, wanted, batch_rows):
                ids = batch.column(queries.item)
                refuse_inexact(ids, Place(split.path, queries.item, "data.queries.item", first_row))
                text, rows = (
                    texts([batch.column(queries.text)], [None], columns.missing),
                    catalog.rows_of(typed_ids(ids, catalog.id_type, columns.missing)),
                )
                clicked = np.ones(len(rows), bool)
                if queries.label:
                    grades = numbers(batch.column(queries.label), Place(split.path, queries.label, "data.queries.label", first_row), columns.missing)
                    clicked = grades >= stored(queries.at_least, batch.column(queries.label).type)
                written = pc.not_equal(text, "").to_numpy(zero_copy_only=False)
                known = rows >= FIRST_ROW
                kept = clicked & written & known
                strangers += [
                    str(one) for one in ids.filter(pa.array(~known)).slice(0, max(0, _SHOWN - len(strangers))).to_pylist() if one is not None
                ]
                counts["read"] += len(rows)
                counts["kept"] += int(kept.sum())
                counts["below_grade"] += int((~clicked).sum())
                counts["empty"] += int((clicked & ~written).sum())
                counts["unknown_item"] += int((clicked & written & ~known).sum())
                writer.write_table(pa.table([text.filter(pa.array(kept)), pa.array(rows[kept])], schema=SCHEMA))
    if counts["unknown_item"]:
        logger.warning("queries: %d rows of unknown items.%s", counts["unknown_item"], near_matches(strangers, catalog, "query file"))
    return counts
