"""What a model's training samples hold: how often each item and each user, and from when on."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import tensorflow as tf

from ppm_tf.data.samples import SampleFiles, read, reading
from ppm_tf.data.schema import Schema
from ppm_tf.rows import FIRST_ROW, PADDING_ROW, UNKNOWN_ROW

FILE_NAME = "counts.npz"


@dataclass(frozen=True)
class SampleCounts:
    """Counts over the requests that a model is trained on. V = catalog rows, K = tasks, U = users.

    Attributes:
        requests: number of requests.
        exposures: int64 [V], times each item row was a candidate.
        positives: int64 [V, K], positive labels of each item row.
        behaviors: int64 [V], times each item row stood in a history.
        user_id: int64 [U], the users as they are stored, sorted.
        user_requests: int64 [U], requests of each.
        item_id: int64 [V - 2], the items as they are stored, by their catalog rows from the third on; none where that is not known.
    """

    requests: int
    exposures: np.ndarray
    positives: np.ndarray
    behaviors: np.ndarray
    user_id: np.ndarray
    user_requests: np.ndarray
    item_id: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))

    def after(self, earlier: SampleCounts) -> SampleCounts:
        """These counts and those of an `earlier` training together, of the items and users by their ids; `requests` stay this training's.

        Items that this catalog does not hold, or that the earlier counts do not name, count nothing.
        """
        _, *places = np.intersect1d(self.item_id, earlier.item_id, assume_unique=True, return_indices=True)
        mine, theirs = (np.append(place + FIRST_ROW, UNKNOWN_ROW) for place in places)
        found = {name: getattr(self, name).copy() for name in ("exposures", "positives", "behaviors")}
        for name, counts in found.items():
            counts[mine] += getattr(earlier, name)[theirs]
        user_id, row = np.unique(np.concatenate([self.user_id, earlier.user_id]), return_inverse=True)
        user_requests = np.zeros(len(user_id), np.int64)
        np.add.at(user_requests, row, np.concatenate([self.user_requests, earlier.user_requests]))
        return replace(self, **found, user_id=user_id, user_requests=user_requests)

    def requests_of(self, users: np.ndarray) -> np.ndarray:
        """Training requests of each of `users`, int64; 0 for one who was never seen."""
        if not self.user_id.size:
            return np.zeros(np.shape(users), np.int64)
        place = np.minimum(np.searchsorted(self.user_id, users), self.user_id.size - 1)
        return np.where(self.user_id[place] == users, self.user_requests[place], 0)

    def write(self, folder: str | Path) -> None:
        """Writes `counts.npz`."""
        np.savez(Path(folder, FILE_NAME), **self.__dict__)

    @classmethod
    def read(cls, folder: str | Path) -> SampleCounts:
        """Reads what `write` wrote."""
        with np.load(Path(folder, FILE_NAME)) as arrays:
            return cls(requests=int(arrays["requests"]), **{name: arrays[name] for name in arrays.files if name != "requests"})


def time_of_newest(files: SampleFiles, schema: Schema, share: float, batch_size: int = 1024) -> int | None:
    """The time from which on the newest `share` of the requests lies; `None` where that is all of them.

    Raises:
        ValueError: the samples carry no time.
    """
    if share >= 1.0:
        return None
    if not schema.has_time:
        raise ValueError(
            f"model.newest needs requests with a time. Received: model.newest={share}, and data.log.time is not set. Remedy: model.newest=1."
        )
    spec = {"time": tf.io.FixedLenFeature([], tf.int64)}
    records = tf.data.TFRecordDataset(files.files, compression_type=files.compression).batch(batch_size)
    with reading(files):
        times = np.concatenate([tf.io.parse_example(batch, spec)["time"].numpy() for batch in records])
    return int(np.quantile(times, 1.0 - share, method="higher"))


def count_samples(files: SampleFiles, schema: Schema, num_rows: int, since: int | None = None, batch_size: int = 1024) -> SampleCounts:
    """Reads the samples once and counts; a batch costs what it holds, however many rows the catalog has.

    Args:
        files: the training samples.
        schema: their schema.
        num_rows: V, rows of the catalog.
        since: leave out requests before this time.
        batch_size: requests read at once.

    Raises:
        ValueError: the samples name a row that the catalog does not hold.
    """
    exposures, behaviors = np.zeros(num_rows, np.int64), np.zeros(num_rows, np.int64)
    positives = np.zeros((num_rows, len(schema.tasks)), np.int64)
    users, requests = [np.zeros(0, np.int64)], 0
    with reading(files):
        for batch in read(files, schema, batch_size, since=since):
            item, labels = batch["item"].numpy(), batch["labels"].numpy()
            _count(exposures, item.ravel())
            _count(behaviors, batch["history"].numpy().ravel())
            for task in range(labels.shape[-1]):
                _count(positives[:, task], item[labels[..., task] > 0])
            users.append(batch["user_id"].numpy())
            requests += len(item)
    exposures[PADDING_ROW] = behaviors[PADDING_ROW] = 0
    user_id, user_requests = np.unique(np.concatenate(users), return_counts=True)
    return SampleCounts(requests, exposures, positives, behaviors, user_id, user_requests)


def _count(counts: np.ndarray, rows: np.ndarray) -> None:
    """Adds one to `counts` at each of `rows`, as often as it comes.

    In place: `np.bincount` would fill an array of the catalog's length for every batch.
    """
    if rows.size and not 0 <= rows.min() <= rows.max() < len(counts):
        raise ValueError(
            f"Samples must hold rows of their catalog, 0 to {len(counts) - 1}. Received: rows {rows.min()} to {rows.max()}. Remedy: prepare the data"
            " again, `python -m pipelines.prepare`."
        )
    np.add.at(counts, rows, 1)
