"""From `metrics.jsonl` and the training log to a table for the terminal and plots (PNG)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ppm_tf.evaluation import ALL, BUCKET, Record
from ppm_tf.metrics import mean_interval
from ppm_tf.reports.markdown import markdown_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

REFERENCE = "item_mean"  # what a ranking model has to beat
CONTENT = "content"  # what a model of texts and images has to beat
BASELINES = (REFERENCE, "popularity", CONTENT, "bayes")  # in the order of a table, after the models
# Colours of Okabe and Ito 2008, which colour-blind readers can tell apart. A baseline looks the same in every plot.
TRAIN_COLOR, VALID_COLOR = "#0072B2", "#D55E00"
MODEL_STYLES = (("#0072B2", "o"), ("#009E73", "v"), ("#CC79A7", "P"), ("#56B4E9", "X"))
BASELINE_STYLES = {REFERENCE: ("#D55E00", "s"), "popularity": ("#E69F00", "D"), CONTENT: ("#009E73", "v"), "bayes": ("#4D4D4D", "^")}
UNDEFINED = "-"

# === Tables ===


def metrics_table(records: Iterable[Record], confidence: float = 0.95) -> str:
    """The figures of a run, or of several runs that differ in their seed, as Markdown tables that are aligned in a terminal too.

    A task at a time: a row a model with the metrics of all candidates, then a row a bucket of items by train frequency with the AUC of
    each model and its gain over the item mean. A last line says what the brackets hold. Of one seed, intervals over resampled users. Where
    a model has records of several seeds, a figure is their mean, their standard deviation and Student's t interval of the mean.

    Args:
        records: of any number of models, tasks and seeds, with the slice `all`.
        confidence: level of the intervals; that of one seed's is in the records already. Defaults to 0.95.
    """
    book = _Book(records, confidence)
    parts = [part for task in book.tasks for part in (_overall(book, task), _by_bucket(book, task)) if part]
    return "\n\n".join([*parts, *filter(None, [_legend(book)])])


def _legend(book: _Book) -> str:
    seeds = book.seeds
    if len(seeds) > 1:
        return (
            f"Means of {len(seeds)} seeds ({', '.join(map(str, seeds))}). After ±: standard deviation over the seeds. In brackets:"
            f" {book.confidence:.0%} interval over seeds (Student's t), on the same test users; of a figure without ±, which one seed alone has, over"
            " users."
        )
    if any(not math.isnan(record.low) for records in book.records.values() for record in records):
        return (
            f"In brackets: {book.confidence:.0%} interval over users alone, resampled, of one training; another seed or processor moves a figure"
            " besides."
        )
    return ""


def _overall(book: _Book, task: str) -> str:
    depths = [metric for metric in book.metrics if metric.startswith("precision_at_")]
    columns = {
        "AUC": "auc",
        "group AUC": "group_auc",
        **{f"P@{depth.rsplit('_', 1)[1]}": depth for depth in depths[:1]},
        "log loss": "log_loss",
        "calibration": "calibration",
    }
    rows = [[model, *(_cell(book.figure(model, task, ALL, metric)) for metric in columns.values())] for model in book.models]
    return f"Task {task}, {book.count(task, ALL):,} candidates\n\n" + markdown_table(["model", *columns], rows)


def _by_bucket(book: _Book, task: str) -> str:
    slices = book.buckets(task)
    if not slices:
        return ""
    gaining = [model for model in book.models if model not in BASELINES] if REFERENCE in book.models else []
    total, rows = book.count(task, ALL), []
    for name in (*slices, ALL):
        count = book.count(task, name)
        figures = [book.figure(model, task, name, "auc") for model in book.models]
        gains = [_cell(book.gain(model, task, name), sign="+") for model in gaining]
        rows.append(
            [name.removeprefix(BUCKET), f"{count:,}", f"{count / max(total, 1):.1%}", *(_cell(figure, interval=False) for figure in figures), *gains]
        )
    header = ["train frequency", "candidates", "share", *(f"AUC {model}" for model in book.models), *(f"{model} - {REFERENCE}" for model in gaining)]
    return f"Task {task}, by how often the training data holds the item\n\n" + markdown_table(header, rows)


def _cell(figure: _Figure, sign: str = "", interval: bool = True) -> str:
    """A figure in words. What no seed moves, such as a baseline, has no interval over seeds: one of width 0 would claim too much."""
    if math.isnan(figure.value):
        return UNDEFINED
    text = f"{figure.value:{sign}.4f}" + (f" ± {figure.deviation:.4f}" if figure.num_seeds > 1 else "")
    return (
        f"{text} [{figure.low:{sign}.4f}, {figure.high:{sign}.4f}]"
        if interval and not math.isnan(figure.low) and not figure.deviation == 0.0
        else text
    )


# === Plots ===


def plot_learning_curve(rows: Iterable[Mapping[str, Any]], path: str | Path, title: str = "") -> None:
    """Draws training loss, validation log loss and validation AUC over the steps.

    Args:
        rows: the training log, whose rows hold `step` and either `loss` or `valid_auc` and `valid_log_loss`. Where a step comes twice, as
            after a resumed run, the later row counts.
        path: PNG file.
        title: data set and model. Defaults to `""`.
    """
    curves: dict[str, dict[int, float]] = {"loss": {}, "valid_log_loss": {}, "valid_auc": {}}
    for row in rows:
        for name, curve in curves.items():
            if row.get(name) is not None and math.isfinite(row[name]):
                curve[int(row["step"])] = float(row[name])
    if not curves["loss"]:
        raise ValueError("A learning curve needs rows with step and loss. Received: none.")
    loss, valid_loss, valid_auc = (tuple(np.array(sorted(curve.items()), dtype=float).reshape(-1, 2).T) for curve in curves.values())

    figure, (top, *below) = _figure((8, 6.5), heights=(1, 1)) if valid_auc[0].size else _figure((8, 3.8), heights=(1,))
    top.set_title(title or "Learning curve", loc="left")
    smooth = loss[0].size >= 20
    top.plot(*loss, color=TRAIN_COLOR, linewidth=1 if smooth else 2, alpha=0.35 if smooth else 1.0, label=None if smooth else "train")
    if smooth:
        top.plot(loss[0], _running_mean(loss[1], loss[0].size // 40 + 1), color=TRAIN_COLOR, linewidth=2, label="train, running mean")
    if valid_loss[0].size:
        top.plot(*valid_loss, color=VALID_COLOR, marker="o", markersize=5, linewidth=1.5, label="validation")
    top.set_ylabel("log loss a label")
    top.legend(frameon=False)
    for bottom in below:
        best = int(np.argmax(valid_auc[1]))
        bottom.plot(*valid_auc, color=VALID_COLOR, marker="o", markersize=5, linewidth=1.5)
        label = f"best: {valid_auc[1][best]:.4f} at step {valid_auc[0][best]:,.0f}"
        bottom.plot(valid_auc[0][best], valid_auc[1][best], "o", markersize=12, markerfacecolor="none", markeredgecolor="black", label=label)
        bottom.margins(y=0.15)
        bottom.set_ylabel("validation AUC")
        bottom.legend(frameon=False, loc="lower right")
    last = [top, *below][-1]
    last.set_xlabel("training step")
    last.xaxis.set_major_formatter(lambda step, _: f"{step:,.0f}")
    _save(figure, path)


def plot_bucket_auc(records: Iterable[Record], path: str | Path, title: str = "", task: str | None = None) -> None:
    """Draws the AUC of each model by train frequency of the item, with intervals, over the share of candidates in each bucket.

    Args:
        records: as in `metrics_table`; bars are its intervals, over users of one seed, over seeds of several.
        path: PNG file.
        title: data set and models. Defaults to `""`.
        task: the label. Defaults to the first task of the records.
    """
    book = _Book(records)
    task = task or next(iter(book.tasks), "")
    slices = book.buckets(task)
    if not slices:
        raise ValueError(f"The plot needs records of buckets by train frequency. Received: tasks {book.tasks}, none with buckets for task {task!r}.")

    figure, (top, bottom) = _figure((9, 6), heights=(3, 1))
    places, step = np.arange(len(slices)), 0.7 / max(len(book.models), 2)
    styles = {**dict(zip((name for name in book.models if name not in BASELINES), cycle(MODEL_STYLES), strict=False)), **BASELINE_STYLES}
    bars = several = False
    for number, model in enumerate(book.models):
        figures = [book.figure(model, task, name, "auc") for name in slices]
        value, low, high = (np.array([getattr(one, end) for one in figures]) for end in ("value", "low", "high"))  # of several seeds: Student's t
        spread = np.nan_to_num(np.stack([value - low, high - value]))  # no bar where there is no interval
        bars, several = bars or bool(spread.any()), several or any(one.num_seeds > 1 for one in figures)
        top.errorbar(
            places + (number - (len(book.models) - 1) / 2) * step, value, yerr=spread, label=model,
            color=styles[model][0], fmt=styles[model][1], markersize=6, capsize=3, linewidth=1.5,
        )  # fmt: skip
    top.axhline(0.5, color="black", linewidth=1, linestyle=":", zorder=0)
    top.annotate("chance", (1, 0.5), xycoords=("axes fraction", "data"), xytext=(-4, 3), textcoords="offset points", ha="right", fontsize=9)
    top.set_title(title or f"AUC of task {task} by train frequency of the item", loc="left")
    kind = "interval over seeds (Student's t)" if several else "interval over resampled users"
    top.set_ylabel(f"AUC ({task})" + (f"\nbars: {kind}" if bars else ""))
    for left in places[:-1]:
        top.axvline(left + 0.5, color="0.9", linewidth=1, zorder=0)
    # Beside the axes: inside, some bucket's bars would lie under the names.
    top.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))

    shares = np.array([book.count(task, name) for name in slices]) / max(book.count(task, ALL), 1)
    for bar, share in zip(bottom.bar(places, shares, width=0.7, color="0.7"), shares, strict=True):
        bottom.annotate(
            f"{share:.1%}", (bar.get_x() + bar.get_width() / 2, share), xytext=(0, 2), textcoords="offset points", ha="center", fontsize=9
        )
    bottom.set_ylim(0, max(shares.max() * 1.25, 1e-3))
    bottom.yaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    bottom.set_ylabel("share of\ncandidates")
    bottom.set_xlabel("times the training data holds the item")
    bottom.set_xticks(places, [name.removeprefix(BUCKET).replace("-", "–") for name in slices])
    _save(figure, path)


def _figure(size: tuple[float, float], heights: Sequence[float]) -> tuple[Figure, Sequence[Axes]]:
    """A figure of panels above each other, `size` in inches, that share their x axis."""
    # A Figure of its own draws with Agg and leaves pyplot's global state, and so any notebook's, alone.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    for one in axes:
        one.spines[["top", "right"]].set_visible(False)
        one.grid(axis="y", color="0.9")
        one.set_axisbelow(True)
    figure.align_ylabels(axes)
    return figure, axes


def _save(figure: Figure, path: str | Path) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130, format="png")


def _running_mean(values: np.ndarray, reach: int) -> np.ndarray:
    """Mean of each value and of up to `reach` on either side, as many on the one as on the other."""
    sums = np.cumsum(np.r_[0.0, values])
    place = np.arange(values.size)
    reach = np.minimum(reach, np.minimum(place, values.size - 1 - place))
    return (sums[place + reach + 1] - sums[place - reach]) / (2 * reach + 1)


# === Records, looked up ===


class _Figure(NamedTuple):
    value: float
    low: float
    high: float
    num_seeds: int
    deviation: float = math.nan


class _Book:
    """Records by model, task, slice and metric, in the order of a table."""

    def __init__(self, records: Iterable[Record], confidence: float = 0.95) -> None:
        self.confidence = confidence
        self.records: dict[tuple[str, str, str, str], list[Record]] = {}
        for record in records:
            self.records.setdefault((record.model, record.task, record.slice, record.metric), []).append(record)
        models, tasks, _, metrics = (list(dict.fromkeys(names)) for names in zip(*self.records, strict=True)) if self.records else ([], [], [], [])
        self.models = [name for name in models if name not in BASELINES] + [name for name in BASELINES if name in models]
        self.tasks, self.metrics = tasks, metrics

    def figure(self, model: str, task: str, slice_name: str, metric: str) -> _Figure:
        """The value and its interval; of several seeds, the mean with Student's t interval over them, and their standard deviation."""
        records = self.records.get((model, task, slice_name, metric), [])
        defined = [record for record in records if not math.isnan(record.value)]
        if len(defined) > 1:
            found = mean_interval([record.value for record in defined], self.confidence)
            return _Figure(found.mean, found.low, found.high, found.num_values, found.deviation)
        return _Figure(defined[0].value, defined[0].low, defined[0].high, 1) if defined else _Figure(math.nan, math.nan, math.nan, 0)

    def gain(self, model: str, task: str, slice_name: str) -> _Figure:
        """AUC over the reference's: with its paired interval where it was measured, else the plain difference."""
        measured = self.figure(model, task, slice_name, f"auc_gain_over_{REFERENCE}")
        if not math.isnan(measured.value):
            return measured
        first, second = (self.figure(name, task, slice_name, "auc").value for name in (model, REFERENCE))
        return _Figure(first - second, math.nan, math.nan, 1)

    @property
    def seeds(self) -> list[int]:
        """The seeds of the model that has most."""
        found = ({record.seed for (name, *_), records in self.records.items() if name == model for record in records} for model in self.models)
        return sorted(max(found, key=len, default=set()))

    def count(self, task: str, slice_name: str) -> int:
        """Candidates in the slice."""
        return max((record.count for model in self.models for record in self.records.get((model, task, slice_name, "auc"), [])), default=0)

    def buckets(self, task: str) -> list[str]:
        """The buckets, by rising train frequency."""
        names = {name for _, one, name, _ in self.records if one == task and name.startswith(BUCKET)}
        return sorted(names, key=lambda name: int(name.removeprefix(BUCKET).rstrip("+").split("-")[0]))
