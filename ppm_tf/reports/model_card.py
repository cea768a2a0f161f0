"""The model card of a version: `card.md`, `card.html` (whole in itself) and `plots/`, from the manifest of its update.

A refused update has a card too: what spoke against it is what a person wants to read. The manifest's keys: `ppm_tf.daily.update_manifest`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ppm_tf.daily import FAILED, NOT_JUDGED, Figure, UpdateManifest, Verdict
from ppm_tf.daily.update_manifest import changes
from ppm_tf.reports.experiment_plots import WITHOUT
from ppm_tf.reports.online_plots import _panels, _with_reach
from ppm_tf.reports.pages import ALARM, Part, page_html, page_markdown
from ppm_tf.reports.ranking import MODEL_STYLES, UNDEFINED, _save
from ppm_tf.storage import in_words

CARD = "card"  # card.md and card.html
METRICS = {"auc": "AUC", "log_loss": "log loss", "calibration": "predicted / observed"}
_DONE = {"published": "Published", "refused": "Refused", "nothing": "Nothing to do"}


def write_card(manifest: UpdateManifest, folder: str | Path, before: UpdateManifest | None = None) -> Path:
    """Writes the card of an update into a folder; returns its HTML file.

    Args:
        manifest: of the update.
        folder: where to; made if it is not there.
        before: of the last published update before it, whose version it is compared with.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    plots = {}
    if manifest.verdict and any(not math.isnan(one.change) for one in manifest.verdict.figures):
        plots["change"] = folder / "plots" / "change.png"
        plot_changes(manifest.verdict, plots["change"])
    parts, title = card_parts(manifest, before), title_of(manifest)
    (folder / f"{CARD}.md").write_text(page_markdown(title, parts, plots), encoding="utf-8")
    path = folder / f"{CARD}.html"
    path.write_text(page_html(title, parts, plots), encoding="utf-8")
    return path


def title_of(manifest: UpdateManifest) -> str:
    """The heading of a card."""
    return f"{manifest.model or 'Update'}{f', version {manifest.version}' if manifest.version is not None else ''}: {manifest.day}"


def card_parts(manifest: UpdateManifest, before: UpdateManifest | None = None) -> list[Part]:
    """The parts of a card, in order; those with nothing to say are left out."""
    found = [
        Part("", _standing(manifest, before)),
        Part("Data", *_data(manifest)),
        Part("Against the last version", *_metrics(manifest.verdict, before), plot="change"),
        *verdict_parts(manifest.verdict),
        Part("Parents and encoders", *_parents(manifest, before)),
        Part("Counts and sizes", *_counts(manifest, before)),
        Part("Settings that differ from the defaults", *_settings(manifest, before)),
        Part("Seconds by step", *_seconds(manifest)),
    ]
    return [part for part in found if part.lines or part.rows]


def verdict_parts(verdict: Verdict | None) -> list[Part]:
    """The gate: a row a bound, what broke first."""
    if verdict is None:
        return []
    order = {FAILED: 0, NOT_JUDGED: 2}
    lines = sorted(verdict.lines, key=lambda line: order.get(line.outcome, 1))
    rows = [
        [line.where(), line.value(), line.must(), f"{line.count:,}" if line.count else UNDEFINED, line.outcome, line.group, f"gate.{line.bound}",
         line.why if line.outcome == NOT_JUDGED else ""]
        for line in lines
    ]  # fmt: skip
    header = ["figure", "value", "must be", "rows", "", "about", "setting", "why"]
    return [Part("Gate", [f"{verdict.summary()[:1].upper()}{verdict.summary()[1:]}."], header, rows)]


def verdict_markdown(verdict: Verdict) -> str:
    """A verdict alone, in Markdown: the refusals, then every bound."""
    refusals = Part("", [f"- {one}" for one in verdict.refusals()])
    return page_markdown(f"Gate of {verdict.day}", [refusals, *verdict_parts(verdict)], {})


# === Parts ===


def _standing(manifest: UpdateManifest, before: UpdateManifest | None) -> list[str]:
    verdict, live = manifest.verdict, manifest.live or {}
    made = f", made {manifest.made_at}" if manifest.made_at else ""
    word = f"{_DONE[manifest.status]}{f' as version {manifest.version}' if manifest.status == 'published' else ''}{made}."
    lines = [word if manifest.status == "published" else f"{ALARM}: {word}" if manifest.status == "refused" else word]
    lines += [f"{ALARM}: {manifest.reason}"] if manifest.reason and manifest.status == "refused" else [manifest.reason] if manifest.reason else []
    if verdict and verdict.override:
        lines.append(f"{ALARM}: passed by hand: {verdict.override}. What spoke against it:")
    lines += [f"{ALARM}: {one}" for one in (verdict.refusals() if verdict else ()) if one not in manifest.reason]
    if live.get("served"):
        lines.append(f"The server answered from it after {live['seconds']:.1f} s, with its golden scores to {live['difference']:.1g}.")
    elif live.get("reason") and live["reason"] not in manifest.reason:
        back = live.get("rolled_back_to")
        lines.append(f"{ALARM}: {live['reason']}. " + (f"Version {back} is published in its place." if back else "None is published in its place."))
    if before is not None:
        lines.append(f"The last version before: {before.version}, of {before.day}.")
    return lines


def _data(manifest: UpdateManifest) -> tuple[list[str], list[str], list[list[str]]]:
    rows = [[name, ", ".join(days) or UNDEFINED] for name, days in manifest.window.items()]
    rows += [[f"log of {day}", digest[:16] or "no rows"] for day, digest in manifest.inputs.items()]
    if (day := manifest.data) is not None:
        rows.append([f"rows, requests, shown items of {day.day}", f"{day.rows:,}, {day.requests:,}, {day.shown:,}"])
        rows += [[f"positives a label, {task}", f"{day.rate(task):.4f}"] for task in day.labelled]
    return [], ["", "days, content, counts"], rows


def _metrics(verdict: Verdict | None, before: UpdateManifest | None) -> tuple[list[str], list[str], list[list[str]]]:
    if verdict is None or not verdict.figures:
        return [], [], []
    lines = [f"The newest rows, which nothing was trained on. {verdict.no_live}." if verdict.no_live else ""]
    if not verdict.no_live:
        lines = [
            f"The newest rows, which nothing was trained on, under this version and under the live one{f' ({before.version})' if before else ''}. In"
            " brackets: paired interval over resampled users; the change of the log loss is a share of the live model's."
        ]
    rows = []
    for one in verdict.figures:
        rows.append([
            f"{METRICS.get(one.metric, one.metric)} of {one.task}, {one.slice}", _interval(one.value, one.low, one.high), _number(one.live),
            _change(one), f"{one.count:,}", f"{one.positives:,}", one.reason,
        ])  # fmt: skip
    header = ["figure", "this version", "live", "change", "rows", "positives", "why not"]
    return lines, header, rows


def _parents(manifest: UpdateManifest, before: UpdateManifest | None) -> tuple[list[str], list[str], list[list[str]]]:
    earlier = before.encoders if before else {}
    rows = [[f"goes on from: {name}", str(one), ""] for name, one in manifest.parents.items()]
    rows += [
        [f"encoder of {name}", str(one), f"made anew; was {earlier[name]}" if earlier.get(name, one) != one else ""]
        for name, one in manifest.encoders.items()
    ]
    return [], ["", "id", ""], rows


def _counts(manifest: UpdateManifest, before: UpdateManifest | None) -> tuple[list[str], list[str], list[list[str]]]:
    rows = []
    for values, old, show in (
        (manifest.counts, before.counts if before else {}, _count),
        (manifest.sizes, before.sizes if before else {}, in_words),
        (manifest.latency, before.latency if before else {}, lambda value: f"{value:.3g} ms"),
    ):
        rows += [[name, show(value), show(old[name]) if old.get(name) is not None else UNDEFINED] for name, value in values.items()]
    return [], ["", "this version", "last version"], rows


def _settings(manifest: UpdateManifest, before: UpdateManifest | None) -> tuple[list[str], list[str], list[list[str]]]:
    known = before.settings if before else manifest.settings
    rows = [[name, _value(value), "" if known.get(name) == value else f"was {_value(known.get(name))}"] for name, value in manifest.settings.items()]
    rows += [[name, "default", f"was {_value(old)}"] for name, old, new in changes(known, manifest.settings) if name not in manifest.settings]
    return [], ["setting", "value", "since the last version"], rows


def _seconds(manifest: UpdateManifest) -> tuple[list[str], list[str], list[list[str]]]:
    total = sum(manifest.seconds.values())
    rows = [[name, f"{seconds:,.1f}", f"{seconds / total:.0%}" if total else UNDEFINED] for name, seconds in manifest.seconds.items()]
    return [], ["step", "seconds", "share"], [*rows, ["in all", f"{total:,.1f}", ""]] if rows else []


# === Plot ===


def plot_changes(verdict: Verdict, path: str | Path) -> None:
    """Draws the change of AUC and of log loss against the live model, a row a task and slice, with intervals and the bounds."""
    metrics = [metric for metric in ("auc", "log_loss") if any(one.metric == metric and not math.isnan(one.change) for one in verdict.figures)]
    if not metrics:
        return
    places = list(dict.fromkeys((one.task, one.slice) for one in verdict.figures))
    figure, (panels,) = _panels(1, len(metrics), (5.6, 1.3 + 0.42 * len(places)))
    heights = np.arange(len(places))[::-1].astype(float)
    for panel, metric in zip(panels, metrics, strict=True):
        found = {(one.task, one.slice): one for one in verdict.figures if one.metric == metric}
        setting = "min_auc_change" if metric == "auc" else "max_log_loss_change"
        lines = {(line.task, line.slice): line for line in verdict.lines if line.bound.startswith(setting)}
        for place, height in zip(places, heights, strict=True):
            one, line = found[place], lines.get(place)
            failed = line is not None and line.outcome == FAILED
            judged = line is not None and line.outcome != NOT_JUDGED
            color = "#D55E00" if failed else MODEL_STYLES[0][0] if judged else WITHOUT
            values, reach = _with_reach([(one.change, one.change_low, one.change_high)])
            panel.errorbar(values, [height], xerr=reach, fmt="o", color=color, capsize=3, markerfacecolor=color if judged else "white")
            bound = None if line is None else line.least if line.least is not None else line.most
            if bound is not None:
                panel.plot([bound, bound], [height - 0.32, height + 0.32], color="black", linewidth=1.5)
        panel.axvline(0, color="0.6", linewidth=1)
        panel.set_yticks(heights, [f"{task}, {name}" for task, name in places] if panel is panels[0] else [""] * len(places))
        panel.set_ylim(-0.6, len(places) - 0.4)
        panel.grid(axis="y", visible=False)
        panel.grid(axis="x", color="0.9")
        panel.ticklabel_format(axis="x", useOffset=False)
        panel.locator_params(axis="x", nbins=5)
        panel.set_xlabel(f"change of {METRICS[metric]}" + (", share of the live model's" if metric == "log_loss" else ""))
    figure.suptitle(f"{verdict.day}: against the live model (bars: interval, black: bound, hollow: not judged)", x=0.01, ha="left", fontsize=10)
    _save(figure, path)


# === Cells ===


def _number(value: float) -> str:
    return UNDEFINED if math.isnan(value) else f"{value:.4f}"


def _interval(value: float, low: float, high: float) -> str:
    return _number(value) + ("" if math.isnan(low) else f" [{low:.4f}, {high:.4f}]")


def _change(one: Figure) -> str:
    if math.isnan(one.change):
        return UNDEFINED
    as_share = one.metric == "log_loss"
    show = (lambda value: f"{value:+.2%}") if as_share else (lambda value: f"{value:+.4f}")
    return show(one.change) + ("" if math.isnan(one.change_low) else f" [{show(one.change_low)}, {show(one.change_high)}]")


def _count(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.4g}"


def _value(value: Any) -> str:
    if value is None:
        return "default"
    return f"[{', '.join(map(str, value))}]" if isinstance(value, Sequence) and not isinstance(value, str) else str(value)
