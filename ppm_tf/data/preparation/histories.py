"""What users did before a day: the last positives of each, a file a partition, from which the day's histories go on."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ppm_tf.data.preparation.requests import sort_rows
from ppm_tf.data.raw.column_times import TICKS
from ppm_tf.data.schema import Schema


@dataclass(frozen=True)
class Behaviors:
    """Positives of some users, by user, and oldest first.

    Attributes:
        user_id: int64 `[B]`, growing.
        item: int32 `[B]`, rows of the catalog.
        time: uint32 `[B]`, seconds since 1970.
    """

    user_id: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    item: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int32))
    time: np.ndarray = field(default_factory=lambda: np.zeros(0, np.uint32))

    def __len__(self) -> int:
        return len(self.item)

    def keep(self, kept: np.ndarray) -> Behaviors:
        """Some of the behaviors."""
        return Behaviors(self.user_id[kept], self.item[kept], self.time[kept])

    def then(self, later: Behaviors, length: int) -> Behaviors:
        """The last `length` of each user, with `later` ones behind these.

        >>> old = Behaviors(np.array([1, 1, 3]), np.array([5, 6, 7]), np.array([10, 20, 30]))
        >>> new = old.then(Behaviors(np.array([1, 2]), np.array([8, 9]), np.array([40, 40])), 2)
        >>> new.user_id.tolist(), new.item.tolist(), new.time.tolist()
        ([1, 1, 2, 3], [6, 8, 9, 7], [20, 40, 40, 30])
        """
        both = Behaviors(*(np.concatenate([getattr(self, name), getattr(later, name)]) for name in ("user_id", "item", "time")))
        both = both.keep(np.argsort(both.user_id, kind="stable"))
        _, first, count = np.unique(both.user_id, return_index=True, return_counts=True)
        back = np.repeat(first + count, count) - np.arange(len(both))  # 1 for a user's newest
        return both.keep(back <= length)

    def write(self, path: Path) -> None:
        """Writes an npz file, a user's id once; it appears under its name when it is whole, whoever else writes it at once."""
        user_id, count = np.unique(self.user_id, return_counts=True)
        temporary = path.with_name(f".{uuid.uuid4().hex}.npz")
        np.savez(temporary, user_id=user_id, count=count.astype(np.uint32), item=self.item, time=self.time)
        os.replace(temporary, path)

    @classmethod
    def read(cls, path: Path) -> Behaviors:
        """Reads what `write` wrote; a file that is not there holds none."""
        if not path.is_file():
            return cls()
        with np.load(path) as file:
            return cls(np.repeat(file["user_id"], file["count"]), file["item"], file["time"])


class DayHistories:
    """Histories that go on over a day.

    Args:
        before: folder of what was before the day; `None` = nothing was.
        folder: the day's artifact; what is before the next day goes into `state/histories`.
        schema: says what positives are, and how many count.
    """

    def __init__(self, before: str | None, folder: str, schema: Schema):
        self.source = before and Path(before)
        self.target = Path(folder, "state", "histories")
        self.label = f"label/{schema.history_task}"
        self.length = schema.history_length

    def before(self, partition: int, rows: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The rows of a day in a partition, with the earlier positives of their users as rows that are `past`, sorted."""
        past = self._read(partition)
        past = past.keep(np.isin(past.user_id, rows["user_id"]))
        known = {
            "user_id": past.user_id,
            "item": past.item,
            "time": past.time,
            "moment": past.time.astype(np.int64) * TICKS,
            "origin": np.arange(-len(past), 0),  # in the order that they have
            self.label: np.ones(len(past)),
        }
        both = {}
        for name, values in rows.items():
            kind = name.partition("/")[0]
            nothing = {"label": -1, "slot": -1, "truth": np.nan}.get(kind, 0)
            earlier = known.get(name, np.full((len(past), *values.shape[1:]), nothing))
            both[name] = np.concatenate([earlier.astype(values.dtype), values])
        return sort_rows(both | {"past": np.arange(len(both["item"])) < len(past)})

    def write(self, partition: int, rows: Mapping[str, np.ndarray]) -> None:
        """Writes what is before the next day, of all users of a partition; `rows` are those that `before` gave."""
        new = np.flatnonzero(~rows["past"] & (rows[self.label] == 1))
        later = Behaviors(rows["user_id"][new], rows["item"][new].astype(np.int32), rows["time"][new].astype(np.uint32))
        self.target.mkdir(parents=True, exist_ok=True)
        self._read(partition).then(later, self.length).write(self.target / name_of(partition))

    def _read(self, partition: int) -> Behaviors:
        return Behaviors.read(self.source / name_of(partition)) if self.source else Behaviors()


def name_of(partition: int) -> str:
    """The file of a partition."""
    return f"part-{partition:05d}.npz"
