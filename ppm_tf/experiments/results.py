"""What the cells of a benchmark gave: figures by place, gains of one place over another, and the files that hold them."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

from ppm_tf.config import Config
from ppm_tf.evaluation import ALL, BUCKET, MEAN, Measure, Measures, first_of, mean_of, mean_of_seeds, minus, records_of, subtract
from ppm_tf.experiments.benchmark import Cell
from ppm_tf.experiments.costs import Cost
from ppm_tf.experiments.costs import mean_of as mean_of_costs
from ppm_tf.metrics.standing import MARKS

Place = dict[str, str]
NOTHING = Measure(math.nan, reason="no result")


@dataclass(frozen=True)
class Outcome:
    """What became of a cell: its measures, the summary of its training, its validation by step and, where asked for, its cost; or an error."""

    cell: Cell
    measures: Measures = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    error: str = ""
    curve: list[tuple[int, float]] = field(default_factory=list)
    cost: Cost | None = None

    def marked(self) -> Measures:
        """The measures, with the mark of a training that was not done."""
        mark = MARKS.get(self.summary.get("standing", ""), "")
        return {key: replace(one, mark=mark) for key, one in self.measures.items()} if mark else self.measures


class Results:
    """The outcomes of a benchmark, looked up by place.

    Args:
        outcomes: of the cells so far, in any number.
        axes: axis -> names, in the order of a table.
        confidence: level of the intervals.
        metrics: those of a plain table's columns.
        over: axis -> name: which row a plain table compares each with; see `BenchmarkSettings.over`.
    """

    def __init__(
        self,
        outcomes: Iterable[Outcome],
        axes: dict[str, Sequence[str]],
        confidence: float = 0.95,
        metrics: Sequence[str] = ("auc",),
        over: Place | None = None,
    ):
        self.metrics, self.over = tuple(metrics), over or {}
        self.outcomes, self.axes, self.confidence = list(outcomes), {axis: list(names) for axis, names in axes.items()}, confidence
        self._found = {(*one.cell.place.items(), one.cell.seed): one.marked() for one in self.outcomes if one.measures}
        keys = [key for measures in self._found.values() for key in measures]
        self.tasks = [task for task in dict.fromkeys(task for task, _, _ in keys) if task != MEAN]
        self.average = MEAN if any(task == MEAN for task, _, _ in keys) else (self.tasks or [MEAN])[0]
        self.precision = next((metric for _, _, metric in keys if metric.startswith("precision_at_")), "precision_at_2")
        self.buckets = sorted({name for _, name, _ in keys if name.startswith(BUCKET)}, key=first_of)

    def at(self, **place: str) -> Measures:
        """The measures at a place, mean over its seeds; empty where there is none yet."""
        return mean_of_seeds(list(self._by_seed(place).values()))

    def gain(self, place: Place, over: Place) -> Measures:
        """The metrics at a place less those at another, seed by seed, then the mean over the seeds that both have.

        Where they share no seed, the difference of the two means: see `subtract`.
        """
        by_seed = self.gain_by_seed(place, over)
        return mean_of_seeds(list(by_seed.values())) if by_seed else minus(self.at(**place), self.at(**over), every=True)

    def gain_by_seed(self, place: Place, over: Place) -> dict[int, Measures]:
        """The same for each seed that both have."""
        first, second = self._by_seed(place), self._by_seed(over)
        return {seed: minus(first[seed], second[seed], every=True) for seed in first if seed in second}

    def cost(self, place: Place) -> Cost | None:
        """What the model at a place costs, its training the mean over seeds; `None` where that is not known."""
        found = [one.cost for one in self.outcomes if one.cost and one.cell.place == place]
        return mean_of_costs(found) if found else None

    def config(self, place: Place) -> Config | None:
        """The settings of the model at a place, of its first seed."""
        return next((one.cell.config for one in self.outcomes if one.cell.place == place), None)

    def places(self) -> list[Place]:
        """Every place, in the order of a table."""
        return [dict(zip(self.axes, names, strict=True)) for names in product(*self.axes.values())]

    def base_of(self, place: Place) -> Place:
        """The place that a plain table compares this one with."""
        return {**place, **self.over} if self.over else self.places()[0]

    def figure(self, measures: Measures, task: str | None = None, slice_name: str = ALL, metric: str = "auc") -> Measure:
        """One measure; that of the average over tasks, on all candidates, if nothing is said."""
        return measures.get((task or self.average, slice_name, metric), NOTHING)

    def change(self, first: tuple[Place, Place, str], second: tuple[Place, Place, str]) -> Measure:
        """How much more one gain is than another, each of a place over a place on a slice, seed by seed; of the average AUC."""
        one, other = (
            {seed: self.figure(gains, slice_name=name) for seed, gains in self.gain_by_seed(place, over).items()}
            for place, over, name in (first, second)
        )
        changes = [subtract(one[seed], other[seed]) for seed in one if seed in other]
        return mean_of(changes) if changes else NOTHING

    def interval(self, one: Measure) -> tuple[float, float]:
        """Low and high end; nan where there is none."""
        return one.interval(self.confidence)[:2]

    def _by_seed(self, place: Place) -> dict[int, Measures]:
        wanted = tuple((axis, place[axis]) for axis in self.axes)
        return {key[-1]: measures for key, measures in self._found.items() if key[:-1] == wanted}


# === Files ===


def write_results(results: Results, path: Path) -> None:
    """Writes `results.jsonl`: a line a cell, seed, task, slice and metric, and a line a cell that failed."""
    lines = []
    for one in results.outcomes:
        its = about(one.cell)
        if one.error:
            lines.append({**its, "error": one.error})
        for record in records_of(one.measures, results.confidence):
            lines.append({**its, **{name: value for name, value in asdict(record).items() if name not in its}})
    _write_lines(lines, path)


def about(cell: Cell) -> dict[str, Any]:
    """What a line of a file of results says of the cell it is of."""
    return {"place": cell.place, "seed": cell.seed, "model": cell.config.model.folder, "run": cell.config.run}


def write_gains(results: Results, pairs: Iterable[tuple[Place, Place]], path: Path) -> None:
    """Writes `gains.jsonl`: of each pair of places, the mean over seeds of the paired difference, its spread and interval."""
    lines = []
    for place, over in pairs:
        for (task, slice_name, metric), one in results.gain(place, over).items():
            low, high, reason = one.interval(results.confidence)
            lines.append({
                "place": place, "over": over, "task": task, "slice": slice_name, "metric": metric, "value": one.value, "low": low, "high": high,
                "seeds": one.seeds, "spread": one.spread, "count": one.count, "reason": reason,
            })  # fmt: skip
    _write_lines(lines, path)


def _write_lines(lines: Iterable[dict[str, Any]], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("w", encoding="utf-8") as file:
        for line in lines:
            plain = {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in line.items()}
            file.write(json.dumps(plain, allow_nan=False, ensure_ascii=False) + "\n")
    os.replace(temporary, path)
