"""The report of a simulated month: a row an arm, and figures by day."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ppm_tf.evaluation.online import DAY, TOTAL
from ppm_tf.evaluation.paired import PairedRecord
from ppm_tf.reports.markdown import markdown_table
from ppm_tf.reports.online import relative_text
from ppm_tf.reports.online_plots import _panels
from ppm_tf.reports.ranking import _save

COMPARED = ("UCTR", "UCVR", "long-tail share", "new-item share")
_DRAWN = {"UCTR": "clicks per user and day", "long-tail share": "share of exposures, %", "new-item share": "share of exposures, %"}

_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")  # Okabe and Ito's, told apart by everybody
_MARKERS = "osv^DPX"


def arms_table(records: Sequence[PairedRecord], updates: Mapping[str, str], bounds: tuple[str, str]) -> str:
    """A Markdown table, a row an arm: figures, their relative differences to the arm's control, and how much of the possible it reaches.

    Args:
        records: figures in total.
        updates: arm -> what became of its updates, in words.
        bounds: names of the lines of the best possible ranking and of chance.
    """
    found = {(one.arm, one.figure): one for one in records if one.scope == TOTAL}
    best, chance = (found[name, "UCTR"].ratio.value for name in bounds)
    rows = []
    for arm in dict.fromkeys(one.arm for one in records):
        reached = (found[arm, "UCTR"].ratio.value - chance) / (best - chance) if best > chance else math.nan
        control = found[arm, "UCTR"].control
        cells = [arm, updates.get(arm, ""), "" if arm in bounds else f"{reached:.1%}", control or ""]
        for figure in COMPARED:
            one = found[arm, figure]
            value = f"{one.ratio.value:.1%}" if "share" in figure else f"{one.ratio.value:.4f}"
            cells += [value, relative_text(one.difference) if one.difference else ""]
        rows.append(cells)
    header = ["arm", "updates", "of the possible UCTR", "control"]
    for figure in COMPARED:
        header += [figure, "to control"]
    return markdown_table(header, rows)


def plot_days(records: Sequence[PairedRecord], bounds: tuple[str, str], frozen: Collection[str], path: str | Path, title: str = "") -> None:
    """Draws UCTR and exposure shares by day, a line an arm, those of `frozen` broken and hollow; `bounds` in grey."""
    daily = [one for one in records if one.scope.startswith(DAY)]
    days, arms = list(dict.fromkeys(one.scope for one in daily)), list(dict.fromkeys(one.arm for one in daily))
    figure, (panels,) = _panels(1, len(_DRAWN), (5.2, 3.8))
    for panel, (name, unit) in zip(panels, _DRAWN.items(), strict=True):
        scale = 100 if "%" in unit else 1
        for number, arm in enumerate(arms):
            values = [scale * one.ratio.value for one in daily if one.arm == arm and one.figure == name]
            if arm in bounds:
                panel.plot(np.arange(len(days)), values, color="0.6", linestyle=("--", ":")[bounds.index(arm)], linewidth=1.2, label=arm)
            else:
                color, still = _COLORS[number % len(_COLORS)], arm in frozen
                panel.plot(
                    np.arange(len(days)), values, color=color, marker=_MARKERS[number % len(_MARKERS)], markersize=4, linewidth=1.2,
                    linestyle="--" if still else "-", markerfacecolor="white" if still else color, label=arm,
                )  # fmt: skip
        step = max(1, len(days) // 5)
        panel.set_xticks(np.arange(len(days))[::step], [day.removeprefix(DAY)[5:] for day in days][::step])
        panel.set_title(name, loc="left")
        panel.set_ylabel(unit)
    panels[-1].legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    figure.suptitle(title, x=0.01, ha="left")
    _save(figure, path)


def month_text(table: str, about: Mapping[str, Any]) -> str:
    """The table with what its columns mean."""
    return f"""{table}

{about["days"]} days after {about["start_days"]} on which the shop itself chose; {about["users"]:,} users, {about["items"]:,} items,
{about["requests"]:,} requests an arm. UCTR and UCVR: clicks and orders per user and day (PPM, equation 12). Of the possible UCTR: chance is 0 %, and
the best possible ranking of the same candidates, by the true probability of a click, 100 %. Long tail: the {about["tail"]:.0%} of the items that the
first days showed least; new: items that they never showed. To control: relative, with {about["confidence"]:.0%} intervals over users, who are the
same in all arms and are compared in pairs; an A/B test, in which they are not, has wider ones: {about["reports"]}.

{about["seconds"]}
"""
