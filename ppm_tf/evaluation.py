"""From scored candidates to the figures of a report: all metrics, by slice, with intervals; baselines; `metrics.jsonl`."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from ppm_tf.config import EvaluateSettings
from ppm_tf.metrics import (
    MetricOfWeights,
    Value,
    auc,
    auc_by_group,
    auc_of_weights,
    bootstrap_interval,
    calibration,
    expected_calibration_error,
    log_loss,
    ndcg_by_group,
    paired_bootstrap,
    precision_by_group,
    ratio_of_weights,
    reciprocal_rank_by_group,
    row_log_loss,
)

ALL = "all"
BUCKET = "train_frequency="
MIN_USERS = 10  # with fewer users behind a class, resampled users show less spread than new ones would
PADDING_ROW = 0


@dataclass(frozen=True)
class Record:
    """One line of `metrics.jsonl`: a metric of a model on a slice.

    Attributes:
        task: name of the label.
        slice: `"all"`, or a bucket of items by train frequency, such as `"train_frequency=1-4"`.
        metric: name of the metric.
        value: the metric; nan where undefined.
        low: lower end of its interval; nan where there is none.
        high: upper end of its interval; nan where there is none.
        count: candidates behind the value; missing labels do not count.
        groups: users or requests behind a mean over groups, else None.
        reason: why the value or its interval is missing, else `""`.
        model: name of the model.
        seed: seed of the run.
    """

    task: str
    slice: str
    metric: str
    value: float
    low: float = math.nan
    high: float = math.nan
    count: int = 0
    groups: int | None = None
    reason: str = ""
    model: str = ""
    seed: int = 0


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
    probability: bool = True

    def __post_init__(self) -> None:
        for name in ("scores", "labels", "truth"):
            values = getattr(self, name)
            if values is not None and np.ndim(values) == 1:
                object.__setattr__(self, name, np.asarray(values)[:, None])
        n = self.scores.shape[0]
        sizes = {field.name: np.shape(getattr(self, field.name)) for field in fields(self) if isinstance(getattr(self, field.name), np.ndarray)}
        if any(shape[0] != n for shape in sizes.values()) or any(len(sizes[name]) != 1 for name in ("request", "user", "item_row")):
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
        batches: pairs of a batch with `item [R, N]`, `labels [R, N, K]`, `request [R]`, `user_id [R]` and, if there is one, `truth
            [R, N, K]`, and of its probabilities `[R, N]` or `[R, N, S]`. N may differ between batches.
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
        for name, values in columns.items():
            parts.setdefault(name, []).append(values)
    if not parts:
        raise ValueError("There must be a batch to evaluate. Received: none. Is the split empty?")
    return Scores(**{name: np.concatenate(values) for name, values in parts.items()}, tasks=tasks)


# === Metrics by slice ===


def evaluate(scores: Scores, train_frequency: ArrayLike, settings: EvaluateSettings, seed: int = 0) -> Iterator[Record]:
    """Yields every metric of every scored task on `all` and on each bucket of items by train frequency.

    Metrics: `auc`; `group_auc`, by user, weighted by impressions; `precision_at_<N>`, `ndcg` and `mrr`, by request; and for
    probabilities `log_loss`, `calibration` (sum predicted / sum observed) and `ece`. Inside a bucket, users and requests are judged on
    the candidates of the bucket alone. Intervals resample users; `ece` has none, since its bootstrap is biased upwards.

    Args:
        scores: the candidates. Those with a missing label are left out of the task.
        train_frequency: `[V]`, how often the training data holds each item row.
        settings: N, resamples, level, bucket edges.
        seed: int. Seed of the resamples. Defaults to 0.
    """
    for task, slice_name, column, rows in _slices(scores, train_frequency, settings):
        part = _Part(scores, column, rows)
        for metric, value, of_weights, clusters in _metrics(part, settings.precision_at, scores.probability):
            low = high = math.nan
            reason = value.reason
            if settings.bootstrap and of_weights is not None and not reason:
                reason = part.why_no_interval()
                if not reason:
                    low, high, _, reason = bootstrap_interval(of_weights(), clusters, settings.bootstrap, settings.confidence, seed)
            yield Record(task, slice_name, metric, float(value), low, high, value.rows, value.groups, reason)


def compare(
    scores: Scores, reference: Scores, name: str, train_frequency: ArrayLike, settings: EvaluateSettings, seed: int = 0
) -> Iterator[Record]:
    """Yields `auc_gain_over_<name>` on each slice: the AUC of `scores` less that of `reference`, with the paired interval.

    Args:
        scores: the candidates under one model.
        reference: the same candidates, in the same order, under another.
        name: name of the other model.
        train_frequency: as in `evaluate`.
        settings: as in `evaluate`.
        seed: as in `evaluate`.
    """
    if not all(np.array_equal(getattr(scores, column), getattr(reference, column)) for column in ("labels", "request", "item_row")):
        raise ValueError("Both models must score the same candidates in the same order. Received: tables that differ in labels, request or item_row.")
    for task, slice_name, column, rows in _slices(scores, train_frequency, settings):
        part, other = _Part(scores, column, rows), _Part(reference, column, rows)
        first, second = auc(part.labels, part.scores), auc(other.labels, other.scores)
        low = high = math.nan
        reason = first.reason or second.reason
        if settings.bootstrap and not reason:
            reason = part.why_no_interval()
            if not reason:
                metrics = (auc_of_weights(one.labels, one.scores) for one in (part, other))
                difference = paired_bootstrap(*metrics, part.user, settings.bootstrap, settings.confidence, seed)
                low, high, reason = difference.low, difference.high, difference.reason
        yield Record(task, slice_name, f"auc_gain_over_{name}", float(first) - float(second), low, high, first.rows, None, reason)


def bucket_names(edges: Iterable[int]) -> tuple[str, ...]:
    """Slice names of the buckets that start at `edges`; the last one is open.

    >>> bucket_names((0, 1, 5, 500))
    ('train_frequency=0', 'train_frequency=1-4', 'train_frequency=5-499', 'train_frequency=500+')
    """
    edges = tuple(edges)
    if not edges or edges[0] != 0 or any(right <= left for left, right in pairwise(edges)):
        raise ValueError(f"bucket_edges must start at 0 and rise. Received: {edges}.")
    closed = [f"{left}" if right == left + 1 else f"{left}-{right - 1}" for left, right in pairwise(edges)]
    return tuple(BUCKET + name for name in (*closed, f"{edges[-1]}+"))


class _Part:
    """The rows of one task in one slice; its users are numbered from 0."""

    def __init__(self, scores: Scores, column: int, rows: np.ndarray) -> None:
        self.labels, self.scores = scores.labels[rows, column], scores.scores[rows, column]
        self.request, self.item_row = scores.request[rows], scores.item_row[rows]
        names, self.user = np.unique(scores.user[rows], return_inverse=True)
        self.users = np.arange(names.size)

    def why_no_interval(self) -> str:
        users = min(np.count_nonzero(np.bincount(self.user[self.labels == label])) for label in (0, 1))
        return "" if users >= MIN_USERS else f"no interval: fewer than {MIN_USERS} users behind a label"

    def ratio(self, numerator: np.ndarray, denominator: np.ndarray, user: np.ndarray) -> MetricOfWeights:
        """`sum a / sum b` as a function of user weights: a resample then costs as much as there are users, not rows."""
        return ratio_of_weights(*(np.bincount(user, weights=values, minlength=self.users.size) for values in (numerator, denominator)))


def _slices(scores: Scores, train_frequency: ArrayLike, settings: EvaluateSettings) -> Iterator[tuple[str, str, int, np.ndarray]]:
    """Task, slice, column of the task, and the rows whose label is known."""
    names, frequency = bucket_names(settings.bucket_edges), np.asarray(train_frequency)
    if scores.item_row.size and not 0 <= scores.item_row.min() <= scores.item_row.max() < frequency.size:
        raise ValueError(f"item_row must be a row of train_frequency, which has {frequency.size}. Received: {scores.item_row.min()} to {scores.item_row.max()}.")
    bucket = np.searchsorted(settings.bucket_edges, frequency[scores.item_row], side="right") - 1
    for column, task in enumerate(scores.tasks[: scores.scores.shape[1]]):
        known = scores.labels[:, column] >= 0
        yield task, ALL, column, np.flatnonzero(known)
        for number, name in enumerate(names):
            yield task, name, column, np.flatnonzero(known & (bucket == number))


def _metrics(part: _Part, n: int, probability: bool) -> Iterator[tuple[str, Value, Callable[[], MetricOfWeights] | None, np.ndarray]]:
    """Name, value, maker of the function of weights (None: no interval), and the cluster of each weight."""
    labels, scores, user, users = part.labels, part.scores, part.user, part.users
    yield "auc", auc(labels, scores), lambda: auc_of_weights(labels, scores), user
    by_user = auc_by_group(labels, scores, user)
    yield "group_auc", by_user.mean("impressions"), lambda: part.ratio(by_user.size * by_user.value, by_user.size, user[by_user.row]), users
    by_request = {
        f"precision_at_{n}": precision_by_group(labels, scores, part.request, n, part.item_row),
        "ndcg": ndcg_by_group(labels, scores, part.request, None, part.item_row),
        "mrr": reciprocal_rank_by_group(labels, scores, part.request, part.item_row),
    }
    for name, groups in by_request.items():
        yield name, groups.mean("equal"), partial(part.ratio, groups.value, np.ones(groups.size.size), user[groups.row]), users
    if probability:
        yield "log_loss", log_loss(labels, scores), lambda: part.ratio(row_log_loss(labels, scores), np.ones(labels.size), user), users
        yield "calibration", calibration(labels, scores), lambda: part.ratio(scores, labels, user), users
        yield "ece", expected_calibration_error(labels, scores), None, users


# === Baselines ===


def baselines(scores: Scores, exposures: ArrayLike, positives: ArrayLike, prior_strength: float = 20.0) -> dict[str, Scores]:
    """The same candidates under models that need no training; a ranking model has to beat the first two and cannot beat the last.

    - `item_mean`: the item's smoothed train rate, `(positives + s * base) / (exposures + s)`, where base is the rate over all items and s
      the `prior_strength`; an item never seen gets the base rate.
    - `popularity`: the item's positives in the training data; no probability.
    - `bayes`: the true probabilities, where the data is simulated: the best that any model can do.

    Args:
        scores: the candidates; the tasks scored there are scored here.
        exposures: `[V]`, times each item row was a candidate in the training data.
        positives: `[V, K]`, positive labels of each item row in the training data.
        prior_strength: float. Exposures that the base rate counts for. Defaults to 20.
    """
    num_tasks, exposures = scores.scores.shape[1], np.asarray(exposures, dtype=np.float64)[:, None]
    positives = np.asarray(positives, dtype=np.float64)[:, :num_tasks]
    if exposures.sum() <= 0 or prior_strength <= 0:
        raise ValueError(f"Baselines need training data and a positive prior_strength. Received: {exposures.sum():g} exposures, {prior_strength}.")
    base_rate = positives.sum(axis=0) / exposures.sum()
    rate = (positives + prior_strength * base_rate) / (exposures + prior_strength)
    result = {
        "item_mean": replace(scores, scores=rate[scores.item_row], probability=True),
        "popularity": replace(scores, scores=positives[scores.item_row], probability=False),
    }
    if scores.truth is not None:
        result["bayes"] = replace(scores, scores=scores.truth[:, :num_tasks], probability=True)
    return result


# === metrics.jsonl ===


def write_metrics(records: Iterable[Record], path: str | Path, model: str, seed: int) -> None:
    """Writes the records of a model and seed, one JSON object a line; nan becomes null.

    Lines of other models or seeds that the file holds are kept, those of this one replaced. The file is whole at any moment: the new one
    is written beside it and renamed.
    """
    path = Path(path)
    kept = [record for record in (read_metrics(path) if path.exists() else []) if (record.model, record.seed) != (model, seed)]
    kept += [replace(record, model=model, seed=seed) for record in records]
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            for record in kept:
                values = {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in asdict(record).items()}
                file.write(json.dumps(values, allow_nan=False, ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def read_metrics(path: str | Path) -> list[Record]:
    """Reads the records that `write_metrics` wrote.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a line is no record.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"Metrics must be there. Received: {path}. Run `python -m pipelines.evaluate` first.")
    records = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            values = json.loads(line)
            records.append(Record(**{**values, **{name: math.nan for name in ("value", "low", "high") if values[name] is None}}))
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path} must hold one metric a line. Received, in line {number}: {line[:80]!r} ({error!r}).") from error
    return records
