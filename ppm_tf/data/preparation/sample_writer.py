"""Writes samples: one `tf.train.Example` a request, TFRecord shards, and what a shard adds to the item counts."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ppm_tf.data.manifest import Shard, describe_shard
from ppm_tf.data.preparation.requests import Requests, history_ranges

_INDEX_BITS = 40  # a request's ordinal: partition << 40 | index


@dataclass(frozen=True)
class SampleColumns:
    """What goes into samples, in schema terms.

    Attributes:
        tasks: the tasks, in the order of the last label axis.
        history_task: the task whose positives form histories.
        history_length: T.
        has_truth: whether candidates carry true probabilities; NaN where a task has none.
    """

    tasks: tuple[str, ...]
    history_task: str
    history_length: int
    has_truth: bool


def encode(
    rows: dict[str, np.ndarray], requests: Requests, columns: SampleColumns, user: np.ndarray | None, partition: int, first: int = 0
) -> Iterator[tuple[int, bytes]]:
    """Serializes requests.

    Args:
        rows: sorted rows.
        requests: over these rows.
        columns: what goes in.
        user: rows of the user fields of each request, int32 `[R, values]`, if there are user fields.
        partition: place of the rows' partition.
        first: ordinal, in the partition, of the first request.

    Yields:
        Place among the requests and serialized `tf.train.Example` of each request.
    """
    from tensorflow.core.example.example_pb2 import Example

    behaviors, begin, end = history_ranges(rows, requests, rows[f"label/{columns.history_task}"] == 1, columns.history_length)
    order = requests.rows
    num_tasks = len(columns.tasks)
    # Lists, because a repeated field takes a slice of a list several times as fast as one of an array.
    history = rows["item"][behaviors].tolist()
    item = rows["item"][order].tolist()
    labels = np.stack([rows[f"label/{task}"][order] for task in columns.tasks], axis=1).ravel().tolist()
    user_id = rows["user_id"][requests.first].tolist()
    time = rows["time"][requests.first].tolist() if "time" in rows else [0] * len(requests)
    history_time = rows["time"][behaviors].tolist() if "time" in rows else None
    slot = rows["slot"][order].tolist() if "slot" in rows else None
    context = rows["context"][requests.first].tolist() if "context" in rows else None
    users = user.tolist() if user is not None else None
    truth = _truth(rows, order, columns) if columns.has_truth else None
    starts, stops = requests.start.tolist(), (requests.start + requests.size).tolist()
    for index, (start, stop, newest, oldest) in enumerate(zip(starts, stops, begin.tolist(), end.tolist(), strict=True)):
        example = Example()
        feature = example.features.feature
        feature["request"].int64_list.value.append(partition << _INDEX_BITS | first + index)
        feature["user_id"].int64_list.value.append(user_id[index])
        feature["time"].int64_list.value.append(time[index])
        feature["history"].int64_list.value.extend(history[newest:oldest])
        feature["item"].int64_list.value.extend(item[start:stop])
        feature["labels"].int64_list.value.extend(labels[start * num_tasks : stop * num_tasks])
        if history_time is not None:
            feature["history_time"].int64_list.value.extend(history_time[newest:oldest])
        if users is not None:
            feature["user"].int64_list.value.extend(users[index])
        if context is not None:
            feature["context"].int64_list.value.extend(context[index])
        if slot is not None:
            feature["slot"].int64_list.value.extend(slot[start:stop])
        if truth is not None:
            feature["truth"].float_list.value.extend(truth[start * num_tasks : stop * num_tasks])
        yield index, example.SerializeToString(deterministic=True)  # the order of a map's entries is free otherwise


def _truth(rows: dict[str, np.ndarray], order: np.ndarray, columns: SampleColumns) -> list[float]:
    missing = np.full(len(rows["item"]), np.nan, np.float32)
    return np.stack([rows.get(f"truth/{task}", missing)[order] for task in columns.tasks], axis=1).ravel().tolist()


class ShardWriter:
    """Writes one TFRecord shard; the file appears under its name when it is whole.

    Args:
        folder: folder of the split.
        partition: place of the shard.
        partitions: number of partitions.
        compression: `"gzip"` or `"none"`.
    """

    def __init__(self, folder: Path, partition: int, partitions: int, compression: str):
        import tensorflow as tf

        ending = ".tfrecord.gz" if compression == "gzip" else ".tfrecord"
        self.path = folder / f"part-{partition:05d}-of-{partitions:05d}{ending}"
        folder.mkdir(parents=True, exist_ok=True)
        # A runner may try a bundle again, or twice at once: each try writes a file of its own, and the last rename wins with equal bytes.
        self._temporary = folder / f".{self.path.name}.{uuid.uuid4().hex}"
        self._writer = tf.io.TFRecordWriter(str(self._temporary), tf.io.TFRecordOptions(compression_type="GZIP" if compression == "gzip" else ""))
        self.records = 0

    def write(self, record: bytes) -> None:
        """Appends a record."""
        self._writer.write(record)
        self.records += 1

    def close(self, candidates: int) -> Shard:
        """Finishes the shard and describes it."""
        self._writer.close()
        os.replace(self._temporary, self.path)
        return describe_shard(self.path, self.records, candidates)


def item_counts(rows: dict[str, np.ndarray], requests: Requests, tasks: tuple[str, ...], split: int) -> tuple[np.ndarray, np.ndarray]:
    """How often items were candidates of a split's requests, and positive.

    Returns:
        Item rows, each once, and int64 `[items, 1 + K]`: exposures, then positives of each task.
    """
    candidates = requests.candidates(requests.split == split)
    items, place = np.unique(rows["item"][candidates], return_inverse=True)
    positives = [np.bincount(place[rows[f"label/{task}"][candidates] == 1], minlength=len(items)) for task in tasks]
    return items, np.stack([np.bincount(place, minlength=len(items)), *positives], axis=1).astype(np.int64)
