"""Plots (PNG) of a benchmark's average AUC: bars by model, less data against more, lines by train frequency; all with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ppm_tf.evaluation import Measure
from ppm_tf.experiments.results import Results
from ppm_tf.reports.ranking import MODEL_STYLES, _save

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WITHOUT, WITH, GAIN = "#999999", "#0072B2", "#D55E00"


def plot_table2(results: Results, path: Path, title: str = "") -> None:
    """Draws a panel a data set: two bars a model, without and with PPM."""
    axes, names = results.axes, results.axes["model"]
    figure, panels = _panels(len(axes["data"]), (1.6 + 1.1 * len(names), 4.2))
    places = np.arange(len(names))
    for panel, data in zip(panels, axes["data"], strict=True):
        for number, (ppm, color) in enumerate(zip(axes["ppm"], (WITHOUT, WITH), strict=True)):
            found = [results.figure(results.at(data=data, model=name, ppm=ppm)) for name in names]
            _bars(panel, results, places + (number - 0.5) * 0.38, found, 0.36, color, ppm)
        panel.set_title(data, loc="left")
        panel.set_xticks(places, names, rotation=20, ha="right")
    _finish(figure, panels, results, title, path)


def plot_data_efficiency(results: Results, path: Path, title: str = "") -> None:
    """Draws, a model a line, the average AUC of less data with PPM beside that of more data without; empty for one data set."""
    axes, names = results.axes, results.axes["model"]
    small, large = axes["data"][0], axes["data"][-1]
    if small == large:
        return
    figure, (panel,) = _panels(1, (8, 1.6 + 0.55 * len(names)))
    places = np.arange(len(names))[::-1]
    series = (((small, axes["ppm"][0]), WITHOUT, "s"), ((large, axes["ppm"][0]), GAIN, "D"), ((small, axes["ppm"][1]), WITH, "o"))
    for number, ((data, ppm), color, marker) in enumerate(series):
        found = [results.figure(results.at(data=data, model=name, ppm=ppm)) for name in names]
        values, spread = _values(results, found)
        panel.errorbar(values, places + (1 - number) * 0.16, xerr=spread, fmt=marker, color=color, capsize=3, label=f"{data}, {ppm}")
    panel.set_yticks(places, names)
    panel.set_ylim(-0.5, len(names) - 0.5)
    panel.set_xlabel(f"average AUC\nbars: {results.confidence:.0%} interval")
    panel.grid(axis="x", color="0.9")
    panel.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    panel.set_title(title, loc="left")
    _save(figure, path)


def plot_gain_by_bucket(results: Results, path: Path, title: str = "") -> None:
    """Draws, a panel a data set, what PPM adds to each model by train frequency of the item."""
    axes = results.axes
    figure, panels = _panels(len(axes["data"]), (6.5, 4.2))
    for panel, data in zip(panels, axes["data"], strict=True):
        gains = {
            name: results.gain({"data": data, "model": name, "ppm": axes["ppm"][1]}, {"data": data, "model": name, "ppm": axes["ppm"][0]})
            for name in axes["model"]
        }
        _lines(panel, results, {name: [results.figure(one, slice_name=bucket) for bucket in results.buckets] for name, one in gains.items()})
        panel.axhline(0, color="black", linewidth=1)
        panel.set_title(data, loc="left")
    _finish(figure, panels, results, title, path, "gain of average AUC", fit=False)


def plot_rows(results: Results, path: Path, title: str = "") -> None:
    """Draws a bar a row, the average AUC with its interval; the first stands for what the others add to."""
    places = results.places()
    names = [", ".join(place.values()) for place in places]
    figure, panels = _panels(1, (2 + 1.3 * len(names), 4.4))
    found = [results.figure(results.at(**place)) for place in places]
    _bars(panels[0], results, np.arange(len(names)), found, 0.6, [WITHOUT, *[WITH] * (len(names) - 1)], None)
    panels[0].set_xticks(np.arange(len(names)), names, rotation=15, ha="right")
    _finish(figure, panels, results, title, path)


def plot_figure2(results: Results, path: Path, title: str = "") -> None:
    """Draws the average AUC of each model by train frequency; the gain of the last model over the first is shaded."""
    names = results.axes["model"]
    figure, panels = _panels(1, (8, 4.6))
    found = {name: results.at(model=name) for name in names}
    lines = {name: [results.figure(one, slice_name=bucket) for bucket in results.buckets] for name, one in found.items()}
    _lines(panels[0], results, lines)
    low, high = (_values(results, lines[name])[0] for name in (names[0], names[-1]))
    panels[0].fill_between(np.arange(low.size), low, high, where=high >= low, color=GAIN, alpha=0.2, interpolate=True, label=f"gain of {names[-1]}")
    _finish(figure, panels, results, title, path, fit=False)


def plot_learning_curves(results: Results, path: Path, title: str = "") -> None:
    """Draws the validation AUC by step of every model: a panel a name of the first axis, a colour a place on the others, a line a seed."""
    first, *others = results.axes
    figure, panels = _panels(len(results.axes[first]), (5.0, 3.8))
    labels = list(dict.fromkeys(" · ".join(one.cell.place[axis] for axis in others) for one in results.outcomes))
    colors = dict(zip(labels, (f"C{number}" for number in range(len(labels))), strict=True))
    drawn: dict[str, Any] = {}  # a line of each place, for the legend
    for panel, name in zip(panels, results.axes[first], strict=True):
        for one in results.outcomes:
            if one.cell.place[first] == name and one.curve:
                label = " · ".join(one.cell.place[axis] for axis in others)
                (drawn[label],) = panel.plot(
                    *zip(*one.curve, strict=True), color=colors[label], marker="o", markersize=3, linewidth=1.2, alpha=0.8
                )  # fmt: skip
        panel.set_title(name, loc="left")
        panel.set_xlabel("training step")
        panel.grid(axis="y", color="0.9")
        panel.margins(y=0.1)
    panels[0].set_ylabel("validation AUC, mean over tasks")
    if others and drawn:
        known = [label for label in labels if label in drawn]
        panels[-1].legend([drawn[label] for label in known], known, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    figure.suptitle(f"{title}: learning curves" if title else "Learning curves", x=0.01, ha="left")
    _save(figure, path)


def _panels(number: int, size: tuple[float, float]) -> tuple[Figure, Sequence[Axes]]:
    """Panels side by side, each of `size` inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(size[0] * number, size[1]), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, number, sharey=True, squeeze=False)[0]
    for one in panels:
        one.spines[["top", "right"]].set_visible(False)
        one.grid(axis="y", color="0.9")
        one.set_axisbelow(True)
    return figure, panels


def _values(results: Results, found: Sequence[Measure]) -> tuple[np.ndarray, np.ndarray]:
    """Values, and how far their intervals reach below and above `[2, n]`; 0 where there is none."""
    values, ends = np.array([one.value for one in found]), np.array([results.interval(one) for one in found]).reshape(-1, 2)
    return values, np.nan_to_num(np.maximum(np.stack([values - ends[:, 0], ends[:, 1] - values]), 0))


def _bars(panel: Axes, results: Results, places: np.ndarray, found: Sequence[Measure], width: float, color, label: str | None) -> None:
    values, spread = _values(results, found)
    panel.bar(places, values, width, color=color, label=label, yerr=spread, capsize=3)
    for place, value, reach in zip(places, values, spread[1], strict=True):
        if value == value:
            panel.annotate(f"{value:.3f}", (place, value + reach), xytext=(0, 2), textcoords="offset points", ha="center", fontsize=8)


def _lines(panel: Axes, results: Results, lines: dict[str, list[Measure]]) -> None:
    step = min(0.08, 0.5 / max(len(lines), 1))  # beside each other, so that no interval hides another
    for number, (name, found) in enumerate(lines.items()):
        color, marker = MODEL_STYLES[number % len(MODEL_STYLES)]
        style = "-" if number < len(MODEL_STYLES) else "--"
        values, spread = _values(results, found)
        places = np.arange(values.size) + (number - (len(lines) - 1) / 2) * step
        panel.errorbar(places, values, yerr=spread, color=color, marker=marker, linestyle=style, capsize=3, label=name)
    panel.set_xticks(np.arange(len(results.buckets)), [name.partition("=")[2].replace("-", "–") for name in results.buckets])
    panel.set_xlim(-0.5, len(results.buckets) - 0.5)
    panel.set_xlabel("times the training data holds the item")


def _finish(figure: Figure, panels: Sequence[Axes], results: Results, title: str, path: Path, what: str = "average AUC", fit: bool = True) -> None:
    tops = [text.xy[1] for panel in panels for text in panel.texts] if fit else []
    if tops:  # bars from 0 would hide every difference
        bottoms = [bar.get_height() for panel in panels for bar in panel.patches if bar.get_height() == bar.get_height()]
        panels[0].set_ylim(max(0.0, min(bottoms) - 0.6 * max(max(tops) - min(bottoms), 0.01)), max(tops) + 0.15 * max(max(tops) - min(bottoms), 0.01))
    panels[0].set_ylabel(f"{what}\nbars: {results.confidence:.0%} interval")
    if any(panel.get_legend_handles_labels()[1] for panel in panels):
        panels[-1].legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    figure.suptitle(title, x=0.01, ha="left")
    _save(figure, path)
