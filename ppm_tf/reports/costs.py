"""CELA's table 2 and its plot: what models weigh, how long they are trained and how long they take to serve."""

from __future__ import annotations

import math
import statistics
from pathlib import Path

import numpy as np

from ppm_tf.experiments.cost_claims import ratio_text, served_over
from ppm_tf.experiments.costs import NAMES, RANKER, Cost
from ppm_tf.experiments.results import Results
from ppm_tf.reports.experiment_plots import WITH, WITHOUT, _panels
from ppm_tf.reports.markdown import markdown_table
from ppm_tf.reports.ranking import UNDEFINED, _save

_NOTES = """\
Weights are numbers; a language model's count for every model that one was trained for, in whatever stage. Served are those that answer a request,
and item tables, folded. In brackets: the lowest and the highest round; a ratio is that of the same round.

An hour is an hour of the machine, looks at the validation part included. *As they were trained*: models may have had different parts of the log and
numbers of passes. *A pass* makes them alike: what steps through requests (ids, alignment by interaction, ranking model, masked prompts) as if it had
met the {requests:,} requests of {base} once, what steps through items as it is."""


def cela_table2(results: Results) -> str:
    """Two tables, a row a model each: weights and serving, and training by stage; ratios over the first row."""
    base, names = results.axes["model"][0], results.axes["model"]
    found = {name: results.cost({"model": name}) for name in names}
    first = found[base]
    parts = [part for part in NAMES if part == RANKER or any(stage.part == part for cost in found.values() if cost for stage in cost.stages)]
    serving, training = [], []
    for name, cost in found.items():
        serving.append([name, *_weights(cost), _milliseconds(cost), ratio_text(served_over({"model": name}, {"model": base}, results))])
        training.append([name, *_trained(cost, first, parts)])
    about = _NOTES.format(requests=first.requests if first else 0, base=base)
    if unknown := sorted({stage.artifact for cost in found.values() if cost for stage in cost.stages if math.isnan(stage.seconds)}):
        about += f"\n\nNot known, since it was made before costs were written down: {', '.join(unknown)}. Remedy: make it anew."
    over = f"over {base}"
    return "\n\n".join((
        markdown_table(["model", "id tables", "other weights", "language model", "served weights", "cached table", "ms a batch", over], serving),
        markdown_table(
            ["model", *(f"{NAMES[part]}, h" for part in parts), "as they were trained, h", over, "s/1,000 requests", "a pass, h", over], training
        ),
        about,
    ))  # fmt: skip


def _weights(cost: Cost | None) -> list[str]:
    weights = [cost.weights.get(name, 0) for name in ("id_tables", "other", "language_model")] if cost else [math.nan] * 3
    served = [cost.served.weights, cost.served.cached_values] if cost and cost.served else [math.nan] * 2
    return [UNDEFINED if math.isnan(one) else f"{one:,}" for one in (*weights, *served)]


def _milliseconds(cost: Cost | None) -> str:
    return ratio_text(cost.served.milliseconds) if cost and cost.served else UNDEFINED


def _trained(cost: Cost | None, base: Cost | None, parts: list[str]) -> list[str]:
    if cost is None:
        return [UNDEFINED] * (len(parts) + 5)
    requests = base.requests if base else 0
    there = {stage.part for stage in cost.stages}
    hours = [_hours(cost.seconds(part)) if part in there else "" for part in parts]
    total, pass_of = cost.seconds(), cost.of_a_pass(requests)
    over = [(mine / theirs,) if base and theirs else () for mine, theirs in ((total, base.seconds()), (pass_of, base.of_a_pass(requests)))]
    return [*hours, _hours(total), ratio_text(over[0]), _short(cost.per_thousand()), _hours(pass_of), ratio_text(over[1])]


def _hours(seconds: float) -> str:
    return _short(seconds / 3600)


def _short(value: float) -> str:
    """Three digits that count.

    >>> [_short(value) for value in (0.000123, 0.5, 12.345, 1234.5, math.nan)]
    ['0.000123', '0.5', '12.3', '1,234', '-']
    """
    return UNDEFINED if math.isnan(value) else f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def plot_costs(results: Results, path: Path, title: str = "") -> None:
    """Draws how many times as long as the first model each takes to serve a batch, and to train for a pass; on logarithmic axes."""
    base, names = results.axes["model"][0], results.axes["model"]
    found = {name: results.cost({"model": name}) for name in names}
    first = found[base]
    if first is None:
        return
    requests = first.requests
    serving = [served_over({"model": name}, {"model": base}, results) for name in names]
    training = [(cost.of_a_pass(requests) / first.of_a_pass(requests),) if cost and requests else () for cost in found.values()]
    figure, panels = _panels(2, (2 + 0.75 * len(names), 4.4))
    for panel, what, values in zip(panels, ("serving a batch", "a pass of training, all stages"), (serving, training), strict=True):
        heights = np.array([statistics.median(one) if one else math.nan for one in values])
        ends = np.array([[middle - min(one), max(one) - middle] if one else [0, 0] for one, middle in zip(values, heights, strict=True)]).T
        panel.bar(np.arange(len(names)), heights, 0.6, color=[WITHOUT, *[WITH] * (len(names) - 1)], yerr=ends, capsize=3)
        for place, height in enumerate(heights):
            if height == height:
                panel.annotate(
                    ratio_text((height,)), (place, height + ends[1, place]), xytext=(0, 2), textcoords="offset points", ha="center", fontsize=8
                )
        panel.set_xticks(np.arange(len(names)), names, rotation=20, ha="right")
        panel.set_title(what, loc="left")
        panel.set_yscale("log")
        panel.axhline(1, color="black", linewidth=1)
    panels[0].set_ylabel(f"times {base}; bars: lowest and highest round")
    figure.suptitle(title, x=0.01, ha="left")
    _save(figure, path)
