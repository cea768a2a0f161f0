"""`Scores`, the scored candidates of a model: from batches, and as the file `scores.npz`.

The file is read with `numpy.load` alone: an array a column of `Scores`, one entry a candidate, `tasks` and `probability`. Its rows are joined to
the raw log by `item_id`, `user` and `time`:

    columns = numpy.load("scores.npz")
    table = pandas.DataFrame({name: columns[name] for name in ("user", "item_id", "time")}).assign(click=columns["scores"][:, 0])
    log.merge(table, on=["user", "item_id", "time"])

`user` is the raw id where ids are integers; string ids are stored as `ppm_tf.data.ids.fingerprints` of them, so the log's go through that first.
`time` is the log's in seconds; in a request of several log rows it is the first one's.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from ppm_tf.rows import FIRST_ROW, PADDING_ROW

_PLAIN = frozenset(("request", "user", "item_row", "history", "item_id", "time"))  # columns without a task axis


@dataclass(frozen=True)
class Scores:
    """Scored candidates, one a row.

    Attributes:
        scores: `[n, S]`, column s scores the s-th task; `[n]` scores the first task alone.
        labels: `[n, K]`, 0 or 1, -1 = missing, K >= S; `[n]` for one task.
        request: int `[n]`, the request that the candidate belongs to; a number of the preparation, not the log's id.
        user: int `[n]`, the user of the request: the raw id, or the fingerprint of a string id.
        item_row: int `[n]`, catalog row of the candidate.
        tasks: names of the K tasks.
        history: int `[n]`, behaviors in the history of the request, or None.
        truth: `[n, K]`, true probabilities of simulated data, or None.
        probability: whether the scores are probabilities.
        item_id: int or text `[n]`, raw id of the candidate, or None.
        time: int `[n]`, time of the request, or None where the data has no times.
    """

    scores: np.ndarray
    labels: np.ndarray
    request: np.ndarray
    user: np.ndarray
    item_row: np.ndarray
    tasks: tuple[str, ...] = ("click",)
    truth: np.ndarray | None = None
    history: np.ndarray | None = None
    probability: bool = True
    item_id: np.ndarray | None = None
    time: np.ndarray | None = None

    def __post_init__(self) -> None:
        for name in ("scores", "labels", "truth"):
            values = getattr(self, name)
            if values is not None and np.ndim(values) == 1:
                object.__setattr__(self, name, np.asarray(values)[:, None])
        n = self.scores.shape[0]
        sizes = {field.name: np.shape(getattr(self, field.name)) for field in fields(self) if isinstance(getattr(self, field.name), np.ndarray)}
        if any(shape[0] != n for shape in sizes.values()) or any(len(sizes[name]) != 1 for name in sizes.keys() & _PLAIN):
            raise ValueError(f"Each column of Scores must have one entry a candidate. Received: {sizes}.")
        if self.labels.shape[1] != len(self.tasks) or not 1 <= self.scores.shape[1] <= len(self.tasks):
            raise ValueError(f"labels must have a column for each of the tasks {self.tasks}, scores at most as many. Received: {sizes}.")
        if self.truth is not None and self.truth.shape != self.labels.shape:
            raise ValueError(f"truth must have the shape of labels. Received: {sizes}.")
        wrong = ~np.isin(self.labels, (-1, 0, 1))
        if wrong.any():
            raise ValueError(f"labels must be 0, 1 or -1 (missing). Received: {self.labels[wrong][0]}.")


def collect(batches: Iterable[tuple[Mapping[str, ArrayLike], ArrayLike]], tasks: tuple[str, ...], item_ids: ArrayLike | None = None) -> Scores:
    """Joins padded batches of requests and their scores into one table of candidates; padding candidates are dropped.

    Args:
        batches: pairs of a batch with `item [R, N]`, `labels [R, N, K]`, `request [R]`, `user_id [R]` and, if they are there, `truth
            [R, N, K]`, `time [R]` and `history [R, T]` (0 = padding), and of its probabilities `[R, N]` or `[R, N, S]`. N may differ between batches.
        tasks: names of the K tasks.
        item_ids: raw ids of the catalog's items, in catalog order, for `item_id`.
    """
    ids = None if item_ids is None else np.asarray(item_ids)
    ids = ids.astype(str) if ids is not None and ids.dtype == object else ids
    parts: dict[str, list[np.ndarray]] = {}
    for batch, scores in batches:
        item = np.asarray(batch["item"])
        real = item != PADDING_ROW
        columns = {
            "scores": np.asarray(scores).astype(np.float32)[real],
            "labels": np.asarray(batch["labels"])[real].astype(np.int8),
            "item_row": item[real],
            "request": np.broadcast_to(np.asarray(batch["request"])[:, None], item.shape)[real],
            "user": np.broadcast_to(np.asarray(batch["user_id"])[:, None], item.shape)[real],
        }
        if ids is not None:
            columns["item_id"] = ids[item[real] - FIRST_ROW]
        if "time" in batch:
            columns["time"] = np.broadcast_to(np.asarray(batch["time"])[:, None], item.shape)[real]
        if "truth" in batch:
            columns["truth"] = np.asarray(batch["truth"])[real]
        if "history" in batch:
            behaviors = np.count_nonzero(np.asarray(batch["history"]) != PADDING_ROW, axis=1).astype(np.int32)
            columns["history"] = np.broadcast_to(behaviors[:, None], item.shape)[real]
        for name, values in columns.items():
            parts.setdefault(name, []).append(values)
    if not parts:
        raise ValueError("There must be a batch to evaluate. Received: none. Is the split empty?")
    return Scores(**{name: np.concatenate(values) for name, values in parts.items()}, tasks=tasks)


# === scores.npz ===


def save_scores(scores: Scores, path: str | Path) -> None:
    """Writes the columns as one compressed file, whole at any moment; `load_scores` reads it."""
    columns = {field.name: getattr(scores, field.name) for field in fields(scores)}
    columns["tasks"] = np.array(scores.tasks)
    write_arrays({name: values for name, values in columns.items() if values is not None}, path)


def load_scores(path: str | Path) -> Scores:
    """Reads what `save_scores` wrote.

    Raises:
        FileNotFoundError: there is no such file.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"Scores must be there. Received: {path}. Run `python -m pipelines.evaluate` first.")
    with np.load(path) as file:
        columns = dict(file)
    tasks, probability = tuple(columns.pop("tasks").tolist()), bool(columns.pop("probability"))
    return Scores(**columns, tasks=tasks, probability=probability)


def write_arrays(arrays: Mapping[str, ArrayLike], path: str | Path) -> None:
    """Writes named arrays to a compressed `.npz` file beside it, then renames."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            np.savez_compressed(file, **arrays)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
