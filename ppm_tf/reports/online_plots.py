"""Plots (PNG) of an online experiment: differences to control, figures by day, exposure of the long tail and by popularity."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ppm_tf.config import OnlineSettings
from ppm_tf.evaluation.online import DAY, GROUP, OF_GROUP, SHARE, OnlineRecord, OnlineResult
from ppm_tf.reports.experiment_plots import GAIN, WITH, WITHOUT
from ppm_tf.reports.ranking import MODEL_STYLES, _save

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TAIL = "long-tail share"
_MOST = 300  # percent, where the plot of the groups is cut


def write_plots(result: OnlineResult, settings: OnlineSettings, folder: Path, title: str) -> dict[str, Path]:
    """Draws what there is to draw; name -> file. Of one day there is no plot by day, and without groups none by popularity."""
    drawn: dict[str, Callable[[OnlineResult, str, str], Figure]] = {"differences": differences, "long_tail": long_tail}
    drawn |= {"days": days} if len(result.days) > 1 else {}
    drawn |= {"groups": groups} if result.popularity.groups > 1 else {}
    files = {}
    for name, draw in drawn.items():
        files[name] = folder / f"{name}.png"
        _save(draw(result, title, f"bars: {settings.confidence:.0%} interval"), files[name])
    return files


def differences(result: OnlineResult, title: str, bars: str) -> Figure:
    """Relative differences to control in total, a figure a row; hollow marks with CUPED."""
    names = result.figures
    figure, ((panel,),) = _panels(1, 1, (8, 1.4 + 0.5 * len(names) * max(len(result.buckets) - 1, 1) ** 0.5))
    places = np.arange(len(names))[::-1].astype(float)
    series = [(place, cuped) for place in range(1, len(result.buckets)) for cuped in ((False, True) if result.has_before else (False,))]
    for number, (place, cuped) in enumerate(series):
        found = [result.find(name)[place] for name in names]
        ones = [record.cuped if cuped else record.difference for record in found]
        color = MODEL_STYLES[(place - 1) % len(MODEL_STYLES)][0]
        values, reach = _with_reach([(one.relative, one.relative_low, one.relative_high) for one in ones])
        label = result.buckets[place] + (", CUPED" if cuped else "")
        panel.errorbar(
            100 * values, places + (0.5 * (len(series) - 1) - number) * 0.7 / len(series), xerr=100 * reach, fmt="o", color=color, capsize=3,
            markerfacecolor="white" if cuped else color, label=label,
        )  # fmt: skip
    panel.axvline(0, color="black", linewidth=1)
    panel.set_yticks(places, names)
    panel.set_ylim(-0.6, len(names) - 0.4)
    panel.grid(axis="x", color="0.9")
    panel.set_xlabel(f"difference to {result.buckets[0]}, %\n{bars}")
    return _finished(figure, panel, title)


def days(result: OnlineResult, title: str, bars: str) -> Figure:
    """A panel a figure: a line a bucket over the days."""
    names = [name for name in result.figures if result.find(name, DAY + result.days[0])]
    width = min(3, len(names))
    figure, panels = _panels(math.ceil(len(names) / width), width, (4.6, 3.0))
    flat = [panel for row in panels for panel in row]
    for panel, name in zip(flat, names, strict=False):
        for place in range(len(result.buckets)):
            _line(panel, [result.find(name, DAY + day)[place] for day in result.days], place, len(result.buckets), result.buckets[place])
        panel.set_title(name, loc="left")
        step = max(1, len(result.days) // 5)
        panel.set_xticks(np.arange(len(result.days))[::step], [day[5:] for day in result.days][::step])
    for panel in flat[len(names) :]:
        panel.set_visible(False)
    flat[0].set_ylabel(bars)
    return _finished(figure, flat[width - 1], title)


def long_tail(result: OnlineResult, title: str, bars: str) -> Figure:
    """The share of the exposures that long-tail items have, in total and over the days."""
    figure, ((whole, daily),) = _panels(1, 2, (4.2, 3.4))
    found = result.find(TAIL)
    values, reach = _with_reach([record.ratio[:3] for record in found])
    colors = [_style(place)[0] for place in range(len(found))]
    whole.bar(np.arange(len(found)), 100 * values, 0.6, color=colors, yerr=100 * reach, capsize=3)
    whole.set_xticks(np.arange(len(found)), result.buckets)
    whole.set_ylabel(f"exposures of long-tail items, %\n{bars}")
    for place, name in enumerate(result.buckets):
        _line(daily, [result.find(TAIL, DAY + day)[place] for day in result.days], place, len(result.buckets), name, 100.0)
    step = max(1, len(result.days) // 5)
    daily.set_xticks(np.arange(len(result.days))[::step], [day[5:] for day in result.days][::step])
    return _finished(figure, daily, title)


def groups(result: OnlineResult, title: str, bars: str) -> Figure:
    """CELA's figure 7: bars, control's exposures by popularity group; lines, the relative differences of each other bucket there."""
    scopes = [f"{GROUP}{number + 1}" for number in range(result.popularity.groups)]
    places, treatments = np.arange(len(scopes)), range(1, len(result.buckets))
    figure, panels = _panels(len(treatments), 1, (1.5 + 0.45 * max(len(scopes), 12), 3.4))
    names = [SHARE.name, *(name for name in OF_GROUP if name in result.figures)]
    for place, (panel,) in zip(treatments, panels, strict=True):
        shares = panel.twinx()
        shares.bar(places, [100 * result.find(SHARE.name, scope)[0].ratio.value for scope in scopes], 0.7, color=WITHOUT, alpha=0.35)
        shares.set_ylabel(f"exposures of {result.buckets[0]}, %")
        shares.spines[["top"]].set_visible(False)
        panel.set_zorder(shares.get_zorder() + 1)
        panel.patch.set_visible(False)
        for number, name in enumerate(names):
            ones = [result.find(name, scope)[place].difference for scope in scopes]
            values, reach = _with_reach([(one.relative, one.relative_low, one.relative_high) for one in ones])
            color, marker = ((WITH, "o"), (GAIN, "s"), ("#009E73", "v"), ("#CC79A7", "P"))[number]
            shift = (number - (len(names) - 1) / 2) * 0.12
            panel.errorbar(
                places + shift, 100 * values, yerr=100 * reach, color=color, marker=marker, markersize=4, capsize=2, linewidth=1, label=name
            )
        panel.axhline(0, color="black", linewidth=1)
        if panel.get_ylim()[1] > _MOST:  # a group of few clicks would hide all others
            panel.set_ylim(-110, _MOST)
            panel.set_title(f"cut at +{_MOST} %", loc="right", fontsize=8, color="0.4")
        panel.set_xticks(places, [str(number + 1) for number in places])
        panel.set_ylabel(f"{result.buckets[place]} over {result.buckets[0]}, %\n{bars}")
    panels[-1][0].set_xlabel("popularity group, from the least popular items")
    return _finished(figure, panels[0][0], title, 1.1)


def _line(panel: Axes, found: Sequence[OnlineRecord], place: int, buckets: int, label: str, scale: float = 1.0) -> None:
    values, reach = _with_reach([record.ratio[:3] for record in found])
    color, marker = _style(place)
    shift = (place - (buckets - 1) / 2) * 0.1  # beside each other, so that no interval hides another
    panel.errorbar(
        np.arange(len(found)) + shift,
        scale * values,
        yerr=scale * reach,
        color=color,
        marker=marker,
        markersize=4,
        capsize=2,
        linewidth=1.2,
        label=label,
    )


def _style(place: int) -> tuple[str, str]:
    return MODEL_STYLES[(place - 1) % len(MODEL_STYLES)] if place else (WITHOUT, "s")


def _with_reach(found: Sequence[Sequence[float]]) -> tuple[np.ndarray, np.ndarray]:
    """Values `[n]`, and how far their intervals reach below and above `[2, n]`; 0 where there is none."""
    values, low, high = np.array(found, np.float64).T
    return values, np.nan_to_num(np.maximum(np.stack([values - low, high - values]), 0))


def _panels(rows: int, columns: int, size: tuple[float, float]) -> tuple[Figure, np.ndarray]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(size[0] * columns, size[1] * rows), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(rows, columns, squeeze=False)
    for one in panels.ravel():
        one.spines[["top", "right"]].set_visible(False)
        one.grid(axis="y", color="0.9")
        one.set_axisbelow(True)
    return figure, panels


def _finished(figure: Figure, panel: Axes, title: str, right: float = 1.0) -> Figure:
    panel.legend(frameon=False, loc="upper left", bbox_to_anchor=(right, 1.0))
    figure.suptitle(title, x=0.01, ha="left")
    return figure
