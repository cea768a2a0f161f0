"""The layouts of a benchmark: a table like the paper's, plots, the pairs whose gain counts, and the claims."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from ppm_tf.evaluation import ALL, NEVER_SEEN, Measure
from ppm_tf.experiments.claims import Claim, claims_of_cela_table3, claims_of_figure2, claims_of_table2, claims_of_table3
from ppm_tf.experiments.cost_claims import CostClaim, claims_of_cela_table2
from ppm_tf.experiments.results import Place, Results
from ppm_tf.metrics.standing import MARKS
from ppm_tf.reports import experiment_plots as plots
from ppm_tf.reports.costs import cela_table2, plot_costs
from ppm_tf.reports.markdown import markdown_table
from ppm_tf.reports.ranking import UNDEFINED


class Layout(NamedTuple):
    """How the results of a benchmark are shown.

    Attributes:
        table: the table.
        claims: what the paper claims of it.
        pairs: the places whose gains are written down.
        plots: name -> what draws it.
        of_costs: whether it shows what models cost, and not how good they are: the grid times them at its end.
    """

    table: Callable[[Results], str]
    claims: Callable[[Results], Sequence[Claim | CostClaim]]
    pairs: Callable[[Results], Iterator[tuple[Place, Place]]]
    plots: dict[str, Callable[[Results, Path, str], None]]
    of_costs: bool = False


def write_report(results: Results, layout: Layout, folder: Path, title: str, about: str = "") -> str:
    """Writes `table.md` and, where anything was measured, `plots/`; returns the text of the table."""
    failed = [f"- {one.cell.title}: {one.error.splitlines()[0]}" for one in results.outcomes if one.error]
    parts = [
        f"# {title}",
        about,
        layout.table(results),
        "" if layout.of_costs else _legend(results),
        _unfinished(results),
    ]
    if claims := layout.claims(results):
        what = "ratios, with the lowest and the highest round" if layout.of_costs else "differences of the average AUC, with intervals"
        parts += [f"What the paper claims, in these results ({what}):"]
        parts += ["\n".join(claim.line(results) for claim in claims)]
    parts += ["Cells that failed:", "\n".join(failed)] if failed else []
    text = "\n\n".join(part for part in parts if part) + "\n"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "table.md").write_text(text, encoding="utf-8")
    drawn = {**layout.plots, "learning_curves": plots.plot_learning_curves} if layout.plots else {}
    for name, draw in drawn.items():
        if any(one.measures for one in results.outcomes):
            draw(results, folder / "plots" / f"{name}.png", title)
    return text


def figure_text(one: Measure, sign: str = "") -> str:
    """A figure, and its standard deviation over seeds."""
    if math.isnan(one.value):
        return UNDEFINED
    return f"{one.value:{sign}.4f}" + ("" if math.isnan(one.spread) else f" ± {one.spread:.4f}") + (f" {one.mark}" if one.mark else "")


def gain_text(one: Measure, results: Results) -> str:
    """A gain, its standard deviation over seeds and its interval."""
    low, high = results.interval(one)
    return figure_text(one, "+") + ("" if math.isnan(low) or math.isnan(one.value) else f" [{low:+.4f}, {high:+.4f}]")


def _legend(results: Results) -> str:
    seeds = {one.cell.seed for one in results.outcomes}
    over = (
        "over users, resampled for both models at once, and over seeds: Student's t, with Welch's degrees of freedom where both count."
        if len(seeds) > 1
        else "over users alone, resampled for both models at once; another seed moves a figure besides."
    )
    return (
        f"Test split; seeds {', '.join(map(str, sorted(seeds))) or 'none'}. After ±: standard deviation over seeds. In brackets:"
        f" {results.confidence:.0%} interval {over}"
    )


def _unfinished(results: Results) -> str:
    """What the marks mean, where there are any, and whose they are."""
    found: dict[str, list[str]] = {}
    for one in results.outcomes:
        if one.measures and (state := one.summary.get("standing")) in MARKS:
            found.setdefault(state, []).append(one.cell.title)
    meant = {
        "rising": "its training ended while validation was still rising (raise model.train.epochs)",
        "overfit": "its training went past its best (validation loss rose; fewer passes, a lower rate or regularisation)",
    }
    return "\n".join(f"{MARKS[state]}: {meant[state]}: {'; '.join(names)}." for state, names in sorted(found.items()))


# === Any axes ===


def plain_table(results: Results) -> str:
    """A row a cell: each metric of each task, of the average where it has one, and the gains over the row that it is compared with."""
    columns = [(task, metric) for metric in results.metrics for task in _tasks(results) if _is_known(results, task, metric)]
    gained = [(task, metric) for task, metric in columns if task == results.average or not _is_known(results, results.average, metric)]
    rows = []
    for place in results.places():
        base, measures = results.base_of(place), results.at(**place)
        gains = {} if place == base else results.gain(place, base)
        improvements = ["-" if place == base else gain_text(results.figure(gains, task, metric=metric), results) for task, metric in gained]
        rows.append([*place.values(), *(figure_text(results.figure(measures, task, metric=metric)) for task, metric in columns), *improvements])
    name = lambda task, metric: metric if not results.tasks or len(results.tasks) == 1 else f"{_task_name(results, task)} {metric}"
    over = ", ".join((results.over or results.places()[0]).values())
    return markdown_table([*results.axes, *(name(*column) for column in columns), *(f"{name(*column)} over {over}" for column in gained)], rows)


def plain_pairs(results: Results) -> Iterator[tuple[Place, Place]]:
    """Each row over the one that it is compared with."""
    for place in results.places():
        if place != results.base_of(place):
            yield place, results.base_of(place)


def _is_known(results: Results, task: str, metric: str) -> bool:
    return any((task, ALL, metric) in one.measures for one in results.outcomes)


# === Table 2 ===


def table2(results: Results) -> str:
    """A row a data set and model: each task's AUC and precision without PPM, then with, and the improvement of their average."""
    without, with_ppm = results.axes["ppm"]
    rows = []
    for data in results.axes["data"]:
        for model in results.axes["model"]:
            places = [{"data": data, "model": model, "ppm": name} for name in (without, with_ppm)]
            gains = results.gain(places[1], places[0])
            figures = [figure_text(one) for place in places for one in _columns(results, place)]
            rows.append([data, model, *figures, *(gain_text(results.figure(gains, metric=metric), results) for metric in ("auc", results.precision))])
    names = [f"{ppm} {name}" for ppm in (without, with_ppm) for name in _names(results)]
    return markdown_table(["data", "model", *names, "improv. AUC", f"improv. {_depth(results)}"], rows)


def pairs2(results: Results) -> Iterator[tuple[Place, Place]]:
    """With over without, and each data set with PPM over the next one without."""
    without, with_ppm = results.axes["ppm"]
    for model in results.axes["model"]:
        for data in results.axes["data"]:
            yield {"data": data, "model": model, "ppm": with_ppm}, {"data": data, "model": model, "ppm": without}
        for small, large in zip(results.axes["data"], results.axes["data"][1:], strict=False):
            yield {"data": small, "model": model, "ppm": with_ppm}, {"data": large, "model": model, "ppm": without}


# === Table 3 ===


def table3(results: Results) -> str:
    """A row a model: each task's AUC and precision, their average, and the improvement over the first row."""
    base, rows = results.axes["model"][0], []
    for name in results.axes["model"]:
        gains = results.gain({"model": name}, {"model": base})
        improvements = (
            ["-", "-"] if name == base else [gain_text(results.figure(gains, metric=metric), results) for metric in ("auc", results.precision)]
        )
        rows.append([name, *(figure_text(one) for one in _columns(results, {"model": name})), *improvements])
    return markdown_table(["model", *_names(results), f"AUC over {base}", f"{_depth(results)} over {base}"], rows)


def pairs3(results: Results) -> Iterator[tuple[Place, Place]]:
    """Each row over the first and over the one before."""
    names = results.axes["model"]
    for number, name in enumerate(names[1:], start=1):
        yield {"model": name}, {"model": names[0]}
        if number > 1:
            yield {"model": name}, {"model": names[number - 1]}


# === CELA's table 3 ===


def cela_table3(results: Results) -> str:
    """A row a variant: average AUC, log loss and group AUC, AUC on never-seen items, AUC over the first row, and that of the last row over it."""
    first, *_, last = results.axes["model"]
    rows = []
    for name in results.axes["model"]:
        found = results.at(model=name)
        figures = [figure_text(results.figure(found, metric=metric)) for metric in ("auc", "log_loss", "group_auc")]
        figures.append(figure_text(results.figure(found, slice_name=NEVER_SEEN)))
        over = [
            "-" if one == other else gain_text(results.figure(results.gain({"model": one}, {"model": other})), results)
            for one, other in ((name, first), (last, name))
        ]
        rows.append([name, *figures, *over])
    return markdown_table(["model", "AUC", "log loss", "group AUC", "AUC, items never seen", f"AUC over {first}", f"AUC of {last} over it"], rows)


def cela_pairs3(results: Results) -> Iterator[tuple[Place, Place]]:
    """Each row over the first, and the last over each."""
    first, *others = results.axes["model"]
    yield from (({"model": name}, {"model": first}) for name in others)
    yield from (({"model": others[-1]}, {"model": name}) for name in others[:-1])


# === Figure 2 ===


def table_of_figure2(results: Results) -> str:
    """A row a bucket by train frequency: its candidates, the average AUC of each model, and the gain over the first."""
    base, *others = results.axes["model"]
    found = {name: results.at(model=name) for name in (base, *others)}
    gains = {name: results.gain({"model": name}, {"model": base}) for name in others}
    total, rows = results.figure(found[base]).count, []
    for name in (*results.buckets, "all"):
        count = results.figure(found[base], slice_name=name).count
        figures = [figure_text(results.figure(found[model], slice_name=name)) for model in found]
        improvements = [gain_text(results.figure(gains[model], slice_name=name), results) for model in others]
        rows.append([name.partition("=")[2] or name, f"{count:,}", f"{count / max(total, 1):.1%}", *figures, *improvements])
    return markdown_table(
        ["train frequency", "candidates", "share", *(f"AUC {name}" for name in found), *(f"{name} over {base}" for name in others)], rows
    )


def _columns(results: Results, place: Place) -> list[Measure]:
    measures = results.at(**place)
    return [results.figure(measures, task, metric=metric) for task in _tasks(results) for metric in ("auc", results.precision)]


def _names(results: Results) -> list[str]:
    return [f"{_task_name(results, task)} {name}" for task in _tasks(results) for name in ("AUC", _depth(results))]


def _task_name(results: Results, task: str) -> str:
    return task if task in results.tasks else "average"


def _tasks(results: Results) -> list[str]:
    return [*results.tasks, *([results.average] if results.average not in results.tasks else [])]


def _depth(results: Results) -> str:
    return f"P@{results.precision.rpartition('_')[2]}"


_BY_FREQUENCY = Layout(
    table_of_figure2,
    claims_of_figure2,
    lambda results: (pair for pair in pairs3(results) if pair[1]["model"] == results.axes["model"][0]),
    {"figure2": plots.plot_figure2},
)
LAYOUTS = {
    "plain": Layout(plain_table, lambda results: [], plain_pairs, {"rows": plots.plot_rows}),
    "ppm_table2": Layout(
        table2,
        claims_of_table2,
        pairs2,
        {"table2": plots.plot_table2, "data_efficiency": plots.plot_data_efficiency, "gain_by_bucket": plots.plot_gain_by_bucket},
    ),
    "ppm_table3": Layout(table3, claims_of_table3, pairs3, {"table3": plots.plot_rows}),
    "cela_table2": Layout(cela_table2, claims_of_cela_table2, lambda results: iter(()), {"costs": plot_costs}, of_costs=True),
    "cela_table3": Layout(cela_table3, claims_of_cela_table3, cela_pairs3, {"table3": plots.plot_rows, "by_frequency": plots.plot_figure2}),
    "cela_figure3": _BY_FREQUENCY,
    "ppm_figure2": _BY_FREQUENCY,
}
