"""Tiny prepared data sets, written record by record."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from ppm_tf.data.manifest import Manifest, describe_shard
from ppm_tf.data.schema import Schema

SCHEMA = Schema(
    (),
    (),
    ("click", "order"),
    "click",
    history_length=4,
    num_candidates=3,
    item_id_type="int",
    user_id_type="int",
    has_time=True,
    has_slot=True,
    has_truth=True,
)


def example(**features) -> bytes:
    """A serialized `tf.train.Example`; lists of floats become float lists."""
    message = tf.train.Example()
    for name, values in features.items():
        values = np.atleast_1d(values)
        kind = "float_list" if values.dtype.kind == "f" else "int64_list"
        getattr(message.features.feature[name], kind).value.extend(values.tolist())
    return message.SerializeToString()


def write_split(folder, records, shards=1, compression="gzip"):
    """Writes serialized requests into a split's folder, and its manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for number in range(shards):
        path = folder / f"part-{number}.tfrecord"
        with tf.io.TFRecordWriter(str(path), tf.io.TFRecordOptions(compression_type="GZIP" if compression == "gzip" else "")) as writer:
            for record in records[number::shards]:
                writer.write(record)
        found.append(describe_shard(path, len(records[number::shards]), 3 * len(records[number::shards])))
    Manifest(tuple(found), compression).write(folder)


def random_requests(count, seed=0, num_rows=40, history_length=4, candidates=3):
    """Requests whose click depends on the candidate alone: even rows are clicked with probability .9, odd ones with .1."""
    rng = np.random.default_rng(seed)
    records = []
    for number in range(count):
        length = rng.integers(0, history_length + 1)
        item = rng.integers(2, num_rows, candidates)
        click = (rng.random(candidates) < np.where(item % 2 == 0, 0.9, 0.1)).astype(int)
        records.append(
            example(
                request=number,
                user_id=number % 50,
                time=1000,
                history=rng.integers(2, num_rows, length),
                history_time=rng.integers(0, 1000, length),
                item=item,
                labels=np.stack([click, np.full(candidates, -1)], 1).ravel(),
                slot=np.arange(candidates),
                truth=np.repeat(np.where(item % 2 == 0, 0.9, 0.1), 2),
            )
        )
    return records
