"""Tiny raw files, their column mapping, and prepared samples read back record by record."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from ppm_tf.config import BeamSettings, ColumnarData
from ppm_tf.data.preparation.prepare import prepare

ITEMS = {
    "item_id": [10, 20, 30, 40, 50],
    "title": ["red shoe", "blue shoe", None, "green hat", "hat, wide"],
    "brand": ["ace", "bolt", "ace", None, "bolt"],
    "tags": ["a|b", "b", None, "b|c", "a"],
    "price": [9.5, None, 3.0, 4.0, 1.0],
}
# user, item, time, click: rows of item id 10 have catalog row 2, ..., those of 50 row 6
LOG = {
    "user_id": [1, 1, 1, 1, 1, 1, 2, 2, 3, 3],
    "item_id": [10, 20, 30, 40, 50, 10, 20, 50, 30, 40],
    "time": [100, 200, 300, 300, 400, 500, 150, 250, 120, 600],
    "click": [1, 0, 1, 1, 0, 1, 1, 0, 0, 1],
}
SINGLE = {"requests": "single", "shards": 2, "split": {"by": "time", "valid": 0.1, "test": 0.2}, "log": {"time": "time"}}


def write_file(path: Path, columns: dict) -> None:
    """Writes a table in the format of the path's ending."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table(columns)
    if path.suffix == ".parquet":
        pq.write_table(table, path, row_group_size=4)
        return
    if ".csv" in path.name:
        sink = pa.BufferOutputStream()
        pa.csv.write_csv(table, sink)
        content = sink.getvalue().to_pybytes()
    else:
        content = "".join(json.dumps(row) + "\n" for row in table.to_pylist()).encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def write_raw(folder: Path, items: dict | None = None, log: dict | None = None, ending: str = ".parquet", **others: dict) -> None:
    """Writes items, interactions and further files."""
    write_file(folder / f"items{ending}", items or ITEMS)
    write_file(folder / f"interactions{ending}", log or LOG)
    for name, columns in others.items():
        write_file(folder / f"{name}{ending}", columns)


def mapping(folder: Path, ending: str = ".parquet", **settings) -> ColumnarData:
    """A column mapping of files written by `write_raw`; `items`, `log` and `users` add to the defaults."""
    items = {"files": f"items{ending}", **settings.pop("items", {})}
    log = {"files": f"interactions{ending}", **settings.pop("log", {})}
    if "users" in settings:
        settings["users"] = {"files": f"users{ending}", **settings["users"]}
    return ColumnarData(path=str(folder), items=items, log=log, **settings)


def prepared(columns: ColumnarData, folder: Path, batch_rows: int = 3) -> dict[str, list[dict]]:
    """Prepares, and reads the samples of each split, without the ordinals, sorted by user and time."""
    prepare(columns, BeamSettings(batch_rows=batch_rows), folder)
    samples = {}
    for split in ("pretrain", "train", "valid", "test"):
        found = read_samples(folder / "samples" / split)
        samples[split] = [{name: values for name, values in sample.items() if name != "request"} for sample in found]
    return samples


def read_samples(folder: Path) -> list[dict]:
    """All samples of a split as lists, scalars unwrapped, in the order of their users and ordinals."""
    import tensorflow as tf

    samples = []
    for path in sorted(folder.glob("part-*")):
        for record in tf.data.TFRecordDataset(str(path), compression_type="GZIP" if path.suffix == ".gz" else "").as_numpy_iterator():
            features = tf.train.Example.FromString(record).features.feature
            sample = {
                name: list(getattr(value, value.WhichOneof("kind")).value) if value.WhichOneof("kind") else [] for name, value in features.items()
            }
            samples.append({name: values[0] if name in ("request", "user_id", "time") else values for name, values in sample.items()})
    return sorted(samples, key=lambda sample: (sample["user_id"], sample["request"]))


def sample(user_id, time, history, item, labels, history_time=None, **others) -> dict:
    """A sample as `prepared` gives it."""
    found = {"user_id": user_id, "time": time, "history": history, "item": item, "labels": labels, **others}
    return found if history_time is None else {**found, "history_time": history_time}
