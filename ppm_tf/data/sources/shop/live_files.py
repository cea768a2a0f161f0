"""The files of the live shop: items and users as they are, and what a day brings: its searches, its log, and its exposures for a report."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ppm_tf.config import ColumnarData, SyntheticData
from ppm_tf.data.sources.shop.live import LiveShop, Requests
from ppm_tf.data.sources.shop.log import TASKS, Block
from ppm_tf.data.sources.shop.synthetic import asked_before, columns, date_of, log_columns, query_columns, user_columns, write_items
from ppm_tf.data.sources.shop.world import generator

LOG, QUERIES, ITEMS, USERS = "interactions.parquet", "queries.parquet", "items.parquet", "users.parquet"
_TRUTH = tuple(f"p_{task}" for task in TASKS)


def write_goods(shop: LiveShop, folder: Path) -> None:
    """Writes the users, and the items in a folder a day, that of their birth."""
    folder.mkdir(parents=True, exist_ok=True)
    write_items(shop.settings.model_copy(update={"by_day": True}), shop.items, folder)
    pq.write_table(pa.table(user_columns(shop.users)), folder / USERS, compression="zstd")


def write_searches(shop: LiveShop, block: Block, day: int, folder: Path) -> None:
    """Writes the searches that came before a day's requests."""
    asked = asked_before(block, rng := generator(shop.settings.seed, "queries", day))
    pq.write_table(pa.table(query_columns(block, asked, shop.users, shop.items, rng)), folder / QUERIES, compression="zstd")


def write_day(shop: LiveShop, requests: Requests, block: Block, folder: Path) -> None:
    """Writes the log of a day, without the truth that the shop's own log has."""
    rows = log_columns(block, shop.users, shop.items, requests.number)
    pq.write_table(pa.table({name: values for name, values in rows.items() if name not in _TRUTH}), folder / LOG, compression="zstd")


def write_exposures(shop: LiveShop, block: Block, bucket: str, path: Path) -> None:
    """Writes a day's exposures as `pipelines.report online` reads them.

    All arms have the same users, and a user of an experiment is in one bucket: `user_id` is the user in the arm, `person` the user alone.
    """
    requests, slots = block.item.shape
    rows = np.repeat(np.arange(requests), slots)
    person = shop.users.user_id[block.user]
    users = pa.array([f"{one}@{bucket}" for one in person.tolist()]).dictionary_encode()
    labels = {task: block.labels[task].ravel().astype(np.int8) for task in TASKS}
    table = {
        "user_id": users.take(pa.array(rows)),
        "person": person[rows],
        "item_id": shop.items.item_id[block.item].ravel(),
        "time": block.time[rows],
        "slot": np.tile(np.arange(slots, dtype=np.int32), requests),
        **labels,
        "bucket": pa.array([bucket]).dictionary_encode().take(pa.array(np.zeros(rows.size, np.int64))),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(table), path, compression="zstd")


def mapping(settings: SyntheticData, folder: Path) -> ColumnarData:
    """The column mapping of a folder with the files of `write_goods`, and those of `write_searches` and `write_day` in a folder a day."""
    found = columns(settings.model_copy(update={"by_day": True}), folder)
    return found.model_copy(update={"log": found.log.model_copy(update={"truth": {}})})


def day_folder(day: int) -> str:
    """The name of the folder of a day's files.

    >>> day_folder(31)
    'day=2024-02-01'
    """
    return f"day={date_of(day)}"
