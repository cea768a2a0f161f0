"""The report of an online experiment: `report.md`, `report.html` (whole in itself, with the plots), `figures.jsonl`, `plots/`."""

from __future__ import annotations

import json
import math
from pathlib import Path

from ppm_tf.config import OnlineSettings
from ppm_tf.evaluation.online import DAY, FIGURES, GROUP, OF_GROUP, SHARE, OnlineResult
from ppm_tf.evaluation.popularity import Popularity
from ppm_tf.metrics.user_ratio import Difference
from ppm_tf.reports.markdown import markdown_table
from ppm_tf.reports.online_plots import write_plots
from ppm_tf.reports.pages import Part, page_html, page_markdown
from ppm_tf.reports.ranking import UNDEFINED

_SOURCES = {  # what an item's popularity was taken from, in words
    "train": "exposures in the training data",
    "before": "exposures in the pre-period",
    "pooled": "exposures in all buckets of the experiment",
    "control": "exposures in control",
}


def write_online_report(result: OnlineResult, settings: OnlineSettings, folder: Path, title: str) -> None:
    """Writes all files of the report into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = (json.dumps(_finite(record.plain()), ensure_ascii=False, allow_nan=False) + "\n" for record in result.records)
    (folder / "figures.jsonl").write_text("".join(lines), encoding="utf-8")
    plots = write_plots(result, settings, folder / "plots", title)
    parts = [part for part in parts_of(result, settings) if not part.plot or part.plot in plots or part.rows]
    (folder / "report.md").write_text(page_markdown(title, parts, plots), encoding="utf-8")
    (folder / "report.html").write_text(page_html(title, parts, plots), encoding="utf-8")


def parts_of(result: OnlineResult, settings: OnlineSettings) -> list[Part]:
    """The parts of the report, in order."""
    return [
        Part("", _alarms(result, settings) + [_about(result, settings)]),
        Part("In total", [_meaning(result), _intervals(result, settings)], *_totals(result), plot="differences"),
        *_checks(result, settings),
        Part("By day", ["Relative differences to control. Of many days and figures some leave 0 out by chance alone."], *_days(result), plot="days"),
        Part("Long tail", [_tail(result.popularity)], plot="long_tail"),
        Part("By popularity", [_group_text(result.popularity)] if result.popularity.groups else [], *_groups(result), plot="groups"),
        Part("What was read", [], ("", "number"), [(name, f"{number:,}") for name, number in result.counts.items()]),
    ]


def totals_of(result: OnlineResult, settings: OnlineSettings) -> str:
    """Alarms, the period and the figures in total, for the terminal."""
    return "\n\n".join([*_alarms(result, settings), _about(result, settings), markdown_table(*_totals(result))]) + "\n"


# === Tables ===


def _totals(result: OnlineResult) -> tuple[list[str], list[list[str]]]:
    header, rows = ["figure", *result.buckets], []
    for name in result.buckets[1:]:
        header += [f"{name}, relative", f"{name}, absolute", "p"] + ([f"{name}, relative, CUPED"] if result.has_before else [])
    for figure in result.figures:
        found = result.find(figure)
        row = [figure, *(_number(record.ratio.value) for record in found)]
        for record in found[1:]:
            one = record.difference or Difference.undefined("")
            row += [relative_text(one), _absolute(one), _p(one.p_value)]
            row += [relative_text(record.cuped or Difference.undefined(""))] if result.has_before else []
        rows.append(row)
    return header, rows


def _days(result: OnlineResult) -> tuple[list[str], list[list[str]]]:
    names = [one for one in result.figures if result.find(one, DAY + result.days[0])]
    header = ["day", "bucket", "users", *names]
    rows = []
    for day in result.days:
        for number, bucket in enumerate(result.buckets):
            found = [result.find(name, DAY + day)[number] for name in names]
            cells = [
                _number(record.ratio.value) + (f" ({relative_text(record.difference)})" if record.difference is not None else "") for record in found
            ]
            rows.append([day, bucket, f"{found[0].ratio.users:,}", *cells])
    return header, rows


def _groups(result: OnlineResult) -> tuple[list[str], list[list[str]]]:
    if not result.popularity.groups:
        return [], []
    others = [name for name in OF_GROUP if name in result.figures]
    control, *treatments = result.buckets
    header = ["group", "most exposures of an item", f"share, {control}"]
    header += [f"{bucket}: {name}" for bucket in treatments for name in (SHARE.name, *others)]
    rows = []
    for number in range(result.popularity.groups):
        scope = f"{GROUP}{number + 1}"
        row = [str(number + 1), f"{result.popularity.most_of_group[number]:,}", f"{result.find(SHARE.name, scope)[0].ratio.value:.2%}"]
        for place in range(1, len(result.buckets)):
            row += [relative_text(result.find(name, scope)[place].difference) for name in (SHARE.name, *others)]
        rows.append(row)
    return header, rows


def _checks(result: OnlineResult, settings: OnlineSettings) -> list[Part]:
    found = result.sample_ratio
    rows = [(name, f"{count:,}", f"{found.expected[name]:,.1f}") for name, count in found.counted.items()]
    text = f"Pearson's chi-squared against the configured split: p = {_p(found.p_value)}; below {settings.ratio_alarm:g} it raises an alarm."
    parts = [Part("Sample ratio", [text], ("bucket", "users", "expected"), rows)]
    if result.aa:
        text = (
            f"{settings.aa_splits} random halvings of {result.buckets[0]}, compared as buckets are; right are {1 - settings.confidence:.0%} false"
            " positives and uniform p-values. Where a figure fails, its intervals cannot be trusted on this log."
        )
        verdicts = {None: "undefined", True: "passed", False: "failed"}
        rows = [
            (
                name,
                f"{one.false_positives:.1%} [{one.low:.1%}, {one.high:.1%}]" if one.p_values.size else UNDEFINED,
                _p(one.uniform),
                verdicts[one.passed],
            )
            for name, one in result.aa.items()
        ]
        parts.append(Part("A/A check", [text], ("figure", "false positives", "p of uniformity", ""), rows))
    return parts


# === Sentences ===


def _alarms(result: OnlineResult, settings: OnlineSettings) -> list[str]:
    found, p_value = [], result.sample_ratio.p_value
    if p_value < settings.ratio_alarm:
        found.append(
            f"ALARM: the users by bucket do not fit the split (p = {_p(p_value)}). No figure below can be believed before that is explained."
        )
    if failed := [name for name, one in result.aa.items() if one.passed is False]:
        found.append(f"ALARM: the A/A check fails for {', '.join(failed)}; do not trust their intervals.")
    return found


def _about(result: OnlineResult, settings: OnlineSettings) -> str:
    users = ", ".join(f"{name} {count:,}" for name, count in result.sample_ratio.counted.items())
    period = result.days[0] if len(result.days) == 1 else f"{result.days[0]} to {result.days[-1]}"
    return f"{period}, {len(result.days)} day{'s' * (len(result.days) > 1)}; users: {users}. Control: {result.buckets[0]}."


def _meaning(result: OnlineResult) -> str:
    return " ".join(f"{one.name}: {one.meaning}{f' ({one.source})' if one.source else ''}." for one in FIGURES if one.name in result.figures)


def _intervals(result: OnlineResult, settings: OnlineSettings) -> str:
    kind = (
        f"valid at every look (asymptotic confidence sequence, tightest at {settings.tuning:,} users)"
        if settings.interval == "always_valid"
        else "for one look at an end that was chosen beforehand (Welch's t)"
    )
    cuped = " CUPED: the same figure of the pre-period is taken out by regression." if result.has_before else ""
    return f"In brackets: {settings.confidence:.0%} intervals over users by the delta method, {kind}.{cuped}"


def _tail(one: Popularity) -> str:
    text = f"{one.tail_items:,} of {one.items:,} items are the long tail, with at most {one.most:,} each; popularity is {_SOURCES[one.by]}."
    return f"{text} {one.note}".strip()


def _group_text(one: Popularity) -> str:
    return f"{one.groups} groups of equally many items, 1 the least popular (CELA, figure 7); relative differences to control."


# === Cells ===


def relative_text(one: Difference | None) -> str:
    """
    >>> relative_text(Difference(0.1, 0.0, 0.2, 0.0148, 0.001, 0.03, 0.04))
    '+1.48% [+0.10%, +3.00%]'
    """
    if one is None or math.isnan(one.relative):
        return UNDEFINED
    return f"{one.relative:+.2%} [{one.relative_low:+.2%}, {one.relative_high:+.2%}]"


def _absolute(one: Difference) -> str:
    if math.isnan(one.value):
        return UNDEFINED
    return f"{one.value:+.3g}" + ("" if math.isnan(one.low) else f" [{one.low:+.3g}, {one.high:+.3g}]")


def _number(value: float) -> str:
    return UNDEFINED if math.isnan(value) else f"{value:.4g}"


def _p(value: float) -> str:
    return UNDEFINED if math.isnan(value) else f"{value:.3f}" if value >= 0.001 else f"{value:.1e}"


def _finite(record: dict) -> dict:
    return {key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in record.items()}
