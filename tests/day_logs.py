"""Tiny logs that come in folders by day, and the days prepared from them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa

from ppm_tf.config import BeamSettings, ColumnarData
from ppm_tf.data.catalog import ItemCatalog
from ppm_tf.data.preparation.day import prepare_day
from ppm_tf.data.preparation.log_batches import day_seconds
from ppm_tf.data.schema import Schema
from tests.raw_logs import read_samples, write_file

FIRST = date(2026, 11, 20)
START = day_seconds(FIRST)
DAY = 86_400
TYPES = {"item_id": pa.int64(), "title": pa.string(), "brand": pa.string(), "price": pa.float64()}


def items(ids: Sequence[int], brand: str | list = "ace", **others: Sequence) -> dict:
    """Items of a brand, or of a brand each, with a title."""
    brands = [brand] * len(ids) if isinstance(brand, str) else brand
    columns = {
        "item_id": list(ids),
        "title": [f"item {one}" for one in ids],
        "brand": brands,
        "price": [float(one) for one in ids],
        **others,
    }
    return {name: values if isinstance(values, pa.Array) else pa.array(values, TYPES.get(name, pa.string())) for name, values in columns.items()}


def rows(day: int, *found: tuple) -> dict:
    """Rows of a day, each (user, item, seconds after midnight, click)."""
    users, ids, times, clicks = zip(*found, strict=True) if found else ((),) * 4
    start = START + day * DAY
    return {
        "user_id": pa.array(users, None if found else pa.int64()),
        "item_id": pa.array(ids, None if found else pa.int64()),
        "time": pa.array([start + time for time in times], pa.int64()),
        "click": pa.array(clicks, pa.int64()),
    }


def write_day(folder: Path, day: int, log: dict | None = None, items: dict | None = None, ending: str = ".parquet", **others: dict) -> None:
    """Writes the files of a day, by its number from 0."""
    for name, columns in {"log": log, "items": items, **others}.items():
        if columns is not None:
            write_file(folder / f"day={FIRST + timedelta(day)}" / f"{name}{ending}", columns)


def mapping(folder: Path, **settings) -> ColumnarData:
    """The mapping of files written by `write_day`."""
    files = {"files": "day={day}/items.parquet", "text": ("title",), "fields": {"brand": "brand"}, "numbers": ("price",)}
    log = {"files": "day={day}/log.parquet", "time": "time", **settings.pop("log", {})}
    return ColumnarData(
        path=str(folder),
        items={**files, **settings.pop("items", {})},
        log=log,
        **{"requests": "single", "shards": 2, "history_length": 4, **settings},
    )


def prepare_days(columns: ColumnarData, days: Path, count: int, first: int = 0, batch_rows: int = 3, held_out_hours: float = 3.0) -> list[dict]:
    """Prepares days one after the other, each from the artifact of the one before; their statistics."""
    found = []
    for number in range(first, count):
        day = FIRST + timedelta(number)
        earlier = days / str(day - timedelta(1)) if number else None
        found.append(prepare_day(columns, BeamSettings(batch_rows=batch_rows), day, earlier, days / str(day), held_out_hours))
    return found


def digests(folder: Path) -> dict[str, str]:
    """The hash of every file that is of the data, and none of its recipe."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in ("made_by.yaml", "settings.yaml")
    }


def in_words(folder: Path, samples: list[dict]) -> list[dict]:
    """Samples with raw item ids and words instead of rows, without ordinals, in an order that their content gives."""
    ids = [None, None, *ItemCatalog.read(folder / "catalog").ids.to_pylist()]
    schema = Schema.read(folder / "schema.json")
    found = []
    for sample in samples:
        one = {name: value for name, value in sample.items() if name != "request"}
        one |= {name: [ids[row] for row in sample[name]] for name in ("history", "item")}
        for side in ("user", "context"):
            words = [(None, "unknown", *field.vocabulary) for field in schema.side(side) for _ in range(field.num_values)]
            if words:
                one[side] = [words[place][row] for place, row in enumerate(sample[side])]
        one["truth"] = [None if np.isnan(value) else value for value in sample.get("truth", [])]
        found.append(dict(sorted(one.items())))
    return sorted(found, key=repr)


def samples_of(days: Path, count: int, half: str | None = None) -> list[dict]:
    """The samples of some days in words, by the newest day's catalog; of one half or both."""
    found = []
    for number in range(count):
        for name in (half,) if half else ("head", "tail"):
            found += read_samples(days / str(FIRST + timedelta(number)) / "samples" / name)
    return in_words(days / str(FIRST + timedelta(count - 1)), found)
