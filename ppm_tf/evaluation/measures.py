"""From scored candidates to figures with intervals: all metrics by slice, their mean over tasks, differences between models.

A `Measure` is a figure together with its value in many resamples of the users. Measures of several models or seeds, taken on the same
candidates, are subtracted and averaged as they are; the interval comes last.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from ppm_tf.config import EvaluateSettings
from ppm_tf.evaluation.records import Record
from ppm_tf.evaluation.scores import Scores, write_arrays
from ppm_tf.evaluation.slices import slices
from ppm_tf.metrics import (
    Value,
    auc,
    auc_by_group,
    calibration,
    delong_test,
    draw_users,
    expected_calibration_error,
    joint_freedom,
    log_loss,
    mean_interval,
    percentile_interval,
    ranked_by_group,
    resampled_auc,
    resampled_ratio,
    row_log_loss,
    t_quantile,
)

MEASURES = "measures.npz"  # their file in a report
MEAN = "mean"  # the task that stands for the mean over the tasks
MIN_USERS = 10  # with fewer users behind a class, resampled users show less spread than new ones would
Key = tuple[str, str, str]  # task, slice, metric


@dataclass(frozen=True)
class Measure:
    """A metric of a task on a slice, and its values in resamples of the users.

    Attributes:
        value: the metric; nan where undefined.
        count: candidates behind the value; for the mean over tasks those of the task that has most.
        groups: users or requests behind a mean over groups, else None.
        reason: why the value, or its interval, is missing, else `""`.
        resamples: float `[B]`, nan where undefined; None where there is no interval.
        seeds: seeds that the value is the mean of.
        spread: standard deviation over the seeds; nan for one, and for the difference of means that share no seed.
        seed_variance: variance of the value that is due to the seeds, `spread^2 / seeds`; nan for one seed.
        freedom: degrees of freedom of `seed_variance`, `seeds - 1`; nan for one seed.
        mark: what stands behind the figure of a model whose training was not done; see `metrics.standing`.
    """

    value: float
    count: int = 0
    groups: int | None = None
    reason: str = ""
    resamples: np.ndarray | None = None
    seeds: int = 1
    spread: float = math.nan
    seed_variance: float = math.nan
    freedom: float = math.nan
    mark: str = ""

    def interval(self, confidence: float) -> tuple[float, float, str]:
        """Low and high end, or nan and why.

        Of one seed: percentiles over the resampled users; what another training would give is not in it. Of several:
        `value -+ t sqrt(var_users + var_seeds)`, so that the interval covers both another draw of users and another training. `t` is
        Student's, with the degrees of freedom of the sum of both variances by Welch and Satterthwaite: those of the seeds, 2 for three,
        where their spread is most of it, many where the users' is.
        """
        if self.resamples is None or self.reason:
            return math.nan, math.nan, self.reason
        defined = self.resamples[~np.isnan(self.resamples)]
        if 2 * defined.size <= self.resamples.size:
            return math.nan, math.nan, "undefined in most resamples"
        if math.isnan(self.freedom):
            found = percentile_interval(self.resamples, confidence)
            return found.low, found.high, found.reason
        variances = (float(defined.var(ddof=1)), self.seed_variance)
        reach = t_quantile(confidence, joint_freedom(variances, (defined.size - 1, self.freedom))) * math.sqrt(sum(variances))
        return self.value - reach, self.value + reach, ""


Measures = dict[Key, Measure]


def measure(
    scores: Scores, train_frequency: ArrayLike, settings: EvaluateSettings, seed: int = 0, user_frequency: ArrayLike | None = None
) -> Measures:
    """Every metric of every scored task on every slice, and the mean over the tasks of AUC, group AUC, precision and log loss, as task `mean`.

    Metrics: `auc`; `group_auc`, by user, weighted by impressions; `precision_at_<N>`, `ndcg` and `mrr`, by request; and for
    probabilities `log_loss`, `calibration` (sum predicted / sum observed) and `ece`. Inside a slice, users and requests are judged on the
    candidates of the slice alone. Users are resampled; `ece` has no interval, since its bootstrap is biased upwards.

    Args:
        scores: the candidates. Those with a missing label are left out of the task.
        train_frequency: `[V]`, how often the training data holds each item row.
        settings: N, resamples, edges of the buckets.
        seed: int. Seed of the resamples. Defaults to 0.
        user_frequency: `[n]`, requests that the user of each candidate has in the training data; without it there are no slices by user.
    """
    tasks = scores.tasks[: scores.scores.shape[1]]
    if MEAN in scores.tasks:
        raise ValueError(f"No task may have the name of the mean over tasks, {MEAN!r}. Received: tasks {scores.tasks}.")
    names, user = np.unique(scores.user, return_inverse=True)
    draws = draw_users(names.size, settings.bootstrap, seed) if settings.bootstrap else None
    of_slices: list[tuple[str, str, dict[str, Measure]]] = []
    depth = _telling_depth(scores, settings.precision_at)
    for name, rows in slices(scores, train_frequency, settings, user_frequency):
        for column, task in enumerate(tasks):
            known = rows[scores.labels[rows, column] >= 0]
            of_slices.append((task, name, _of_part(scores, column, known, user[known], depth, draws)))
    result = {(task, name, metric): one for task in tasks for other, name, found in of_slices if other == task for metric, one in found.items()}
    if len(tasks) > 1:
        for name in dict.fromkeys(name for _, name, _ in of_slices):
            for metric in ("auc", "group_auc", f"precision_at_{depth}", "log_loss"):
                if all((task, name, metric) in result for task in tasks):  # scores that are no probabilities have no log loss
                    result[MEAN, name, metric] = _mean_over_tasks({task: result[task, name, metric] for task in tasks})
    return result


def evaluate(
    scores: Scores, train_frequency: ArrayLike, settings: EvaluateSettings, seed: int = 0, user_frequency: ArrayLike | None = None
) -> Iterator[Record]:
    """Yields what `measure` gives, as records with intervals."""
    yield from records_of(measure(scores, train_frequency, settings, seed, user_frequency), settings.confidence)


def records_of(measures: Measures, confidence: float) -> Iterator[Record]:
    """The records of measures."""
    for (task, name, metric), one in measures.items():
        low, high, reason = one.interval(confidence)
        yield Record(task, name, metric, one.value, low, high, one.count, one.groups, reason)


# === Differences ===


def compare(
    scores: Scores, reference: Scores, name: str, train_frequency: ArrayLike, settings: EvaluateSettings, seed: int = 0,
    user_frequency: ArrayLike | None = None, measured: tuple[Measures, Measures] | None = None,
) -> Iterator[Record]:  # fmt: skip
    """Yields `<metric>_gain_over_<name>` of AUC and precision on each slice: the figure of `scores` less that of `reference`.

    Intervals are paired: both models meet the same resampled users. With `settings.difference = "delong"` those of a task's AUC are
    `difference -+ z standard error` by DeLong's formula, which takes rows as independent.

    Args:
        scores: the candidates under one model.
        reference: the same candidates, in the same order, under another.
        name: name of the other model.
        train_frequency: as in `measure`.
        settings: as in `measure`.
        seed: as in `measure`.
        user_frequency: as in `measure`.
        measured: what `measure` gave for both, where that is known already.
    """
    if not all(np.array_equal(getattr(scores, column), getattr(reference, column)) for column in ("labels", "request", "item_row")):
        raise ValueError("Both models must score the same candidates in the same order. Received: tables that differ in labels, request or item_row.")
    first, second = measured or (measure(one, train_frequency, settings, seed, user_frequency) for one in (scores, reference))
    gains = minus(first, second)
    rows = dict(slices(scores, train_frequency, settings, user_frequency))
    for record in records_of(gains, settings.confidence):
        if record.metric == "auc" and settings.difference == "delong" and settings.bootstrap:
            low, high, reason = math.nan, math.nan, record.reason or "no interval: DeLong's test has none for a mean over tasks"
            if record.task != MEAN and not math.isnan(record.value):
                column = scores.tasks.index(record.task)
                known = rows[record.slice][scores.labels[rows[record.slice], column] >= 0]
                tested = delong_test(scores.labels[known, column], scores.scores[known, column], reference.scores[known, column])
                reach = t_quantile(settings.confidence, math.inf) * tested.standard_error  # of many rows: normal
                low, high, reason = tested.difference - reach, tested.difference + reach, tested.reason
            record = replace(record, low=low, high=high, reason=reason)
        yield replace(record, metric=f"{record.metric}_gain_over_{name}")


def subtract(one: Measure, other: Measure) -> Measure:
    """One measure less another, resample by resample: paired, if both were measured on the same resampled users.

    Of two means over seeds, which are then not paired, the variances of the seeds add up, with Welch's degrees of freedom. Where one side
    alone has several seeds, the other's share is not known, and there is no interval. Measures of one seed each are paired by seed:
    `mean_of` of such differences brings the seeds in.
    """
    paired = None if one.resamples is None or other.resamples is None else one.resamples - other.resamples
    found = Measure(one.value - other.value, one.count, one.groups, one.reason or other.reason, paired, mark=_marks((one, other)))
    sides = (one, other)
    several = [not math.isnan(side.freedom) for side in sides]
    if all(several):
        variances = [side.seed_variance for side in sides]
        freedom = joint_freedom(variances, [side.freedom for side in sides])
        return replace(found, seeds=min(side.seeds for side in sides), seed_variance=sum(variances), freedom=freedom)
    if any(several):
        return replace(found, reason=found.reason or "no interval: one seed on one side has no spread, and the other's seeds are not paired with it")
    return found


def mean_of(found: Sequence[Measure]) -> Measure:
    """The mean of one measure over seeds, resample by resample, with the standard deviation over the seeds.

    It is undefined where one of them is.
    """
    if len(found) == 1:
        return found[0]
    vectors, seeds = [one.resamples for one in found], len(found)
    together = None if any(vector is None for vector in vectors) else np.mean(vectors, axis=0)
    reason = next((one.reason for one in found if one.reason), "")
    values = np.array([one.value for one in found])
    spread = mean_interval(values).deviation if not np.isnan(values).any() else math.nan
    variance, freedom = spread**2 / seeds, seeds - 1
    return Measure(float(values.mean()), found[0].count, found[0].groups, reason, together, seeds, spread, variance, freedom, _marks(found))


def _marks(found: Iterable[Measure]) -> str:
    """The marks of several figures, each once."""
    return "".join(sorted({mark for one in found for mark in one.mark}))


def minus(first: Measures, second: Measures, every: bool = False) -> Measures:
    """`subtract` for each AUC and precision that both have, or for `every` metric.

    On a slice whose candidates differ, as buckets do where the models saw other training data, it is undefined.
    """
    result: Measures = {}
    for key, one in first.items():
        if key in second and (every or key[2] == "auc" or key[2].startswith("precision_at_")):
            alike = one.count == second[key].count
            result[key] = subtract(one, second[key]) if alike else Measure(math.nan, one.count, reason="the two have other candidates in the slice")
    return result


def mean_of_seeds(of_seeds: Sequence[Measures]) -> Measures:
    """`mean_of` for each key that all seeds have."""
    if not of_seeds:
        return {}
    return {key: mean_of([measures[key] for measures in of_seeds]) for key in of_seeds[0] if all(key in measures for measures in of_seeds)}


# === File ===


def save_measures(measures: Measures, path: str | Path) -> None:
    """Writes measures of one seed as one `.npz` file."""
    plain = [{**asdict(replace(one, resamples=None)), "key": key} for key, one in measures.items()]
    size = next((one.resamples.size for one in measures.values() if one.resamples is not None), 0)
    empty = np.full(size, np.nan)
    vectors = np.array([empty if one.resamples is None else one.resamples for one in measures.values()]).reshape(len(measures), size)
    has = [one.resamples is not None for one in measures.values()]
    write_arrays({"measures": np.array(json.dumps(plain)), "resamples": vectors, "has": np.array(has)}, path)


def load_measures(path: str | Path) -> Measures:
    """Reads what `save_measures` wrote."""
    with np.load(path) as file:
        plain, vectors, has = json.loads(str(file["measures"])), file["resamples"], file["has"]
    return {
        tuple(one.pop("key")): Measure(**{**one, "resamples": vector if kept else None})
        for one, vector, kept in zip(plain, vectors, has, strict=True)
    }


# === One task on one slice ===


def _of_part(scores: Scores, column: int, rows: np.ndarray, user: np.ndarray, depth: int, draws: np.ndarray | None) -> dict[str, Measure]:
    """The metrics of one task on rows whose label is known; `user` are their columns of `draws`."""
    labels, values = scores.labels[rows, column], scores.scores[rows, column]
    request, item = scores.request[rows], scores.item_row[rows]
    positive = labels == 1
    users = min(np.unique(user[kind]).size for kind in (positive, ~positive)) if draws is not None else 0
    why = "" if users >= MIN_USERS or draws is None else f"no interval: fewer than {MIN_USERS} users behind a label"
    found: dict[str, Measure] = {}

    def add(
        name: str, value: Value, numerator: np.ndarray | None = None, denominator: np.ndarray | None = None, of: np.ndarray | None = None
    ) -> None:
        """Notes a metric; `of` are the users of the ratio's parts."""
        resampled, reason = None, value.reason
        if draws is not None and not reason and (name == "auc" or numerator is not None):
            reason = why
            if not reason:
                resampled = resampled_auc(positive, values, user, draws) if name == "auc" else resampled_ratio(numerator, denominator, of, draws)
        found[name] = Measure(float(value), value.rows, value.groups, reason, resampled)

    add("auc", auc(labels, values))
    by_user = auc_by_group(labels, values, user)
    add("group_auc", by_user.mean("impressions"), by_user.size * by_user.value, by_user.size, user[by_user.row])
    by_request = dict(zip((f"precision_at_{depth}", "ndcg", "mrr"), ranked_by_group(labels, values, request, depth or 1, item), strict=True))
    if not depth:
        del by_request["precision_at_0"]
    for name, groups in by_request.items():
        add(name, groups.mean("equal"), groups.value, np.ones(groups.size.size), user[groups.row])
    if scores.probability:
        add("log_loss", log_loss(labels, values), row_log_loss(labels, values) if labels.size else np.zeros(0), np.ones(labels.size), user)
        add("calibration", calibration(labels, values), values, labels, user)
        add("ece", expected_calibration_error(labels, values))
    return found


def _telling_depth(scores: Scores, depth: int) -> int:
    """N of Precision@N; 0 where no request has more candidates than N, for then every order of them has the same precision."""
    _, sizes = np.unique(scores.request, return_counts=True)
    return depth if sizes.max(initial=0) > depth else 0


def _mean_over_tasks(of_tasks: dict[str, Measure]) -> Measure:
    found = of_tasks.values()
    reason = next((f"{task}: {one.reason}" for task, one in of_tasks.items() if one.reason), "")
    groups = [one.groups for one in found if one.groups is not None]
    vectors = [one.resamples for one in found]
    together = None if any(vector is None for vector in vectors) else np.mean(vectors, axis=0)
    return Measure(float(np.mean([one.value for one in found])), max(one.count for one in found), max(groups, default=None), reason, together)
