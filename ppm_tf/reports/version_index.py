"""The index of all versions: `index.md`, `index.html` (whole in itself) and `plots/`, with a line an update and plots over the days."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ppm_tf.daily import NOT_JUDGED, UPDATES, Figure, UpdateManifest, published
from ppm_tf.reports.experiment_plots import WITHOUT
from ppm_tf.reports.model_card import CARD, METRICS, _change, _number
from ppm_tf.reports.online_plots import _panels, _with_reach
from ppm_tf.reports.pages import ALARM, Link, Part, page_html, page_markdown
from ppm_tf.reports.ranking import MODEL_STYLES, UNDEFINED, _save

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

INDEX = "index"
_MOST_STEPS = 8  # of the plot of seconds; what is left is "other"
_REFUSED = "#D55E00"


def write_index(manifests: Sequence[UpdateManifest], folder: str | Path, cards: str = f"{UPDATES}/{{day}}/card") -> Path:
    """Writes the index of a run's updates into a folder; returns its HTML file.

    Args:
        manifests: of all updates, in any order.
        folder: where to, usually the run folder.
        cards: where the folder of a day's card lies, relative to this folder.
    """
    folder, manifests = Path(folder), sorted(manifests, key=lambda one: one.day)
    folder.mkdir(parents=True, exist_ok=True)
    title = f"Versions of {next((one.model for one in reversed(manifests) if one.model), 'the model')}"
    plots = {}
    for name, draw in _PLOTS.items():
        if (drawing := draw(manifests)) is not None:
            plots[name] = folder / "plots" / f"{name}.png"
            _save(drawing, plots[name])
    parts = index_parts(manifests, cards)
    (folder / f"{INDEX}.md").write_text(page_markdown(title, parts, plots), encoding="utf-8")
    path = folder / f"{INDEX}.html"
    path.write_text(page_html(title, parts, plots), encoding="utf-8")
    return path


def index_parts(manifests: Sequence[UpdateManifest], cards: str) -> list[Part]:
    """The parts of the index, in order."""
    done = published(manifests)
    lines = [f"Live: version {done[-1].version}, of {done[-1].day}." if done else "No version was published yet."]
    if manifests and manifests[-1].status == "refused":
        lines.append(f"{ALARM}: the newest update, {manifests[-1].day}, was refused: {manifests[-1].reason or _refusal(manifests[-1])}")
    counts = {status: sum(one.status == status for one in manifests) for status in ("published", "refused", "nothing")}
    lines.append(f"{len(manifests)} updates: {counts['published']} published, {counts['refused']} refused, {counts['nothing']} with nothing to do.")
    tasks = _tasks(manifests)
    header = ["day", "version", "status", *(f"AUC {task}" for task in tasks), *(f"change, {task}" for task in tasks), "bounds", "seconds", "why"]
    rows = [
        [
            Link(one.day, f"{cards.format(day=one.day)}/{CARD}.md", f"{cards.format(day=one.day)}/{CARD}.html"),
            UNDEFINED if one.version is None else str(one.version),
            one.status + (", by hand" if one.verdict and one.verdict.override and not one.verdict.kept else ""),
            *(_number(found.value) if (found := _figure(one, "auc", task)) else UNDEFINED for task in tasks),
            *(_change(found) if (found := _figure(one, "auc", task)) else UNDEFINED for task in tasks),
            _bounds(one),
            f"{sum(one.seconds.values()):,.0f}",
            _short(one.reason or (_refusal(one) if one.status == "refused" else "")),
        ]
        for one in reversed(manifests)
    ]
    parts = [Part("", lines), Part("All updates, the newest first", ["A day leads to its card."], header, rows)]
    parts += [Part(title, [text], plot=name) for name, (title, text) in _CAPTIONS.items()]
    return parts


_MARKS = (
    "On the newest rows of each day, which nothing was trained on. Dots: published; crosses on a shaded day: refused, at the edge where"
    " the figure lies beyond it; grey: the live model on the same rows."
)
_CAPTIONS = {
    "auc": ("AUC by day", f"{_MARKS} Bars: intervals over resampled users."),
    "log_loss": ("Log loss by day", f"{_MARKS} Days differ in their rate of positives: compare with the live model, not with other days."),
    "calibration": ("Calibration by day", f"{_MARKS} Predicted over observed positives; the bound's band is shaded."),
    "seconds": ("Seconds by day", "By step, as far as each update came."),
}


# === Plots ===


def _of_metric(manifests: Sequence[UpdateManifest], metric: str) -> Drawing | None:
    """A panel a task: the new versions over the days, published or refused, and the live model on the same rows."""
    tasks = [task for task in _tasks(manifests) if any(_figure(one, metric, task) for one in manifests)]
    if not tasks:
        return None
    drawing, (panels,) = _panels(1, len(tasks), (4.8 + 0.02 * len(manifests), 3.4))
    places, status = np.arange(len(manifests)), np.array([one.status for one in manifests])
    for panel, task in zip(panels, tasks, strict=True):
        found = [_figure(one, metric, task) for one in manifests]
        values, reach = _with_reach([(math.nan,) * 3 if one is None else (one.value, one.low, one.high) for one in found])
        live = np.array([math.nan if one is None else one.live for one in found])
        done, refused = (status == "published") & ~np.isnan(values), (status == "refused") & ~np.isnan(values)
        if done.any():  # a refused day may lie so far off that nothing else could be read
            low, high = _window(values[done], reach[:, done], live[done])
            panel.set_ylim(low, high)
            values[refused], live = np.clip(values[refused], low, high), np.clip(live, low, high)
        panel.plot(places, live, color=WITHOUT, marker="s", markersize=4, linewidth=1.2, label="live model")
        panel.errorbar(
            places[done] + 0.12, values[done], yerr=reach[:, done], fmt="o", color=MODEL_STYLES[0][0], capsize=2, linewidth=1.2, label="published"
        )
        if refused.any():
            panel.plot(places[refused] + 0.12, values[refused], "X", color=_REFUSED, markersize=8, label="refused", clip_on=False)
        for place in places[status == "refused"]:
            panel.axvspan(place - 0.5, place + 0.5, color=_REFUSED, alpha=0.1, zorder=0)
        for place in places[refused]:
            note = {"xytext": (0, 8), "textcoords": "offset points", "ha": "center", "fontsize": 8, "color": _REFUSED}
            panel.annotate(f"{found[place].value:.3f}", (place, values[place]), **note)
        if metric == "calibration":
            panel.axhline(1, color="0.5", linewidth=1)
            if (band := _band(manifests)) is not None:
                panel.axhspan(*band, color="#009E73", alpha=0.1, zorder=0)
        panel.set_title(task, loc="left")
        _days(panel, manifests)
    panels[0].set_ylabel(METRICS[metric])
    panels[-1].legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return drawing


def _window(values: np.ndarray, reach: np.ndarray, live: np.ndarray) -> tuple[float, float]:
    """What a panel shows: the published versions with their intervals and the live model beside them, and some room around."""
    ends = np.concatenate([values - reach[0], values + reach[1], live[~np.isnan(live)]])
    room = 0.35 * max(float(np.ptp(ends)), 1e-3)
    return float(ends.min()) - room, float(ends.max()) + room


def _seconds(manifests: Sequence[UpdateManifest]) -> Drawing | None:
    """Stacked bars of the steps."""
    totals: dict[str, float] = {}
    for one in manifests:
        for step, seconds in one.seconds.items():
            totals[step] = totals.get(step, 0.0) + seconds
    if not totals:
        return None
    largest = sorted(totals, key=lambda step: -totals[step])[:_MOST_STEPS]
    steps = [step for step in totals if step in largest]
    drawing, ((panel,),) = _panels(1, 1, (5.5 + 0.12 * len(manifests), 3.4))
    places, foot = np.arange(len(manifests)), np.zeros(len(manifests))
    colors = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#4D4D4D")
    stacks = [(step, np.array([one.seconds.get(step, 0.0) for one in manifests])) for step in steps]
    other = np.array([sum(one.seconds.values()) for one in manifests]) - sum(heights for _, heights in stacks)
    stacks += [("other", other)] if len(totals) > len(steps) else []
    for (step, heights), color in zip(stacks, (*colors[: len(steps)], WITHOUT), strict=False):
        panel.bar(places, heights, 0.7, bottom=foot, color=color, label=step)
        foot = foot + heights
    _days(panel, manifests)
    panel.set_ylabel("seconds")
    handles, labels = panel.get_legend_handles_labels()
    panel.legend(handles[::-1], labels[::-1], frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return drawing


_PLOTS: dict[str, Callable[[Sequence[UpdateManifest]], Drawing | None]] = {
    "auc": lambda manifests: _of_metric(manifests, "auc"),
    "log_loss": lambda manifests: _of_metric(manifests, "log_loss"),
    "calibration": lambda manifests: _of_metric(manifests, "calibration"),
    "seconds": _seconds,
}


def _days(panel, manifests: Sequence[UpdateManifest]) -> None:
    step = max(1, math.ceil(len(manifests) / 7))
    panel.set_xticks(np.arange(len(manifests))[::step], [one.day[5:] for one in manifests][::step])
    panel.set_xlim(-0.6, len(manifests) - 0.4)


# === Parts of a row ===


def _tasks(manifests: Sequence[UpdateManifest]) -> list[str]:
    return list(dict.fromkeys(figure.task for one in manifests if one.verdict for figure in one.verdict.figures))


def _figure(manifest: UpdateManifest, metric: str, task: str) -> Figure | None:
    figures = manifest.verdict.figures if manifest.verdict else ()
    return next((one for one in figures if (one.metric, one.task, one.slice) == (metric, task, "all")), None)


def _band(manifests: Sequence[UpdateManifest]) -> tuple[float, float] | None:
    lines = (line for one in reversed(manifests) if one.verdict for line in one.verdict.lines if line.bound == "calibration")
    return next(((line.least, line.most) for line in lines if line.least is not None and line.most is not None), None)


def _bounds(manifest: UpdateManifest) -> str:
    if manifest.verdict is None:
        return UNDEFINED
    judged = [line for line in manifest.verdict.lines if line.outcome != NOT_JUDGED]
    return f"{len(judged) - len(manifest.verdict.failed)} of {len(judged)}"


def _refusal(manifest: UpdateManifest) -> str:
    found = manifest.verdict.refusals() if manifest.verdict else []
    return found[0] if found else "no reason recorded"


def _short(text: str, most: int = 140) -> str:
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"
