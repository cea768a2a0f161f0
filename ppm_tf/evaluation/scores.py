"""`Scores`, the scored candidates of a model: from batches, and as the file `scores.npz`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

PADDING_ROW = 0
_PLAIN = frozenset(("request", "user", "item_row", "history"))  # columns without a task axis


@dataclass(frozen=True)
class Scores:
    """Scored candidates, one a row.

    Attributes:
        scores: `[n, S]`, column s scores the s-th task; `[n]` scores the first task alone.
        labels: `[n, K]`, 0 or 1, -1 = missing, K >= S; `[n]` for one task.
        request: int `[n]`, the request that the candidate belongs to.
        user: int `[n]`, the user of the request.
        item_row: int `[n]`, catalog row of the candidate.
        tasks: names of the K tasks.
        history: int `[n]`, behaviours in the history of the request, or None.
        truth: `[n, K]`, true probabilities of simulated data, or None.
        probability: whether the scores are probabilities.
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


def collect(batches: Iterable[tuple[Mapping[str, ArrayLike], ArrayLike]], tasks: tuple[str, ...]) -> Scores:
    """Joins padded batches of requests and their scores into one table of candidates; padding candidates are dropped.

    Args:
        batches: pairs of a batch with `item [R, N]`, `labels [R, N, K]`, `request [R]`, `user_id [R]` and, if they are there, `truth
            [R, N, K]` and `history [R, T]` (0 = padding), and of its probabilities `[R, N]` or `[R, N, S]`. N may differ between batches.
        tasks: names of the K tasks.
    """
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
        if "truth" in batch:
            columns["truth"] = np.asarray(batch["truth"])[real]
        if "history" in batch:
            behaviours = np.count_nonzero(np.asarray(batch["history"]) != PADDING_ROW, axis=1).astype(np.int32)
            columns["history"] = np.broadcast_to(behaviours[:, None], item.shape)[real]
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
