"""The report of an alternation: a row a round, and its plot."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ppm_tf.metrics.standing import MARKS
from ppm_tf.reports.markdown import markdown_table
from ppm_tf.reports.ranking import _save

_COLUMNS = {
    "valid_auc": "validation AUC",
    "auc": "test AUC",
    "auc_never_seen": "of items never seen",
    "log_loss": "log loss",
    "recall_at_1": "text to id recall@1",
    "recall_at_10": "recall@10",
    "neighbors_changed": "neighbours changed",
}


def rounds_table(rounds: Sequence[Mapping[str, Any]]) -> str:
    """A Markdown table, a row a round.

    Args:
        rounds: dicts of `round`, `standing` and figures; what a round does not have is left out.
    """

    def cell(one: Mapping[str, Any], name: str) -> str:
        value = one.get(name)
        if value is None or math.isnan(value):
            return ""
        mark = f" {MARKS[one['standing']]}" if name == "valid_auc" and one.get("standing") in MARKS else ""
        return f"{value:.4f}{mark}"

    rows = [[("ids alone" if not one["round"] else str(one["round"])), *(cell(one, name) for name in _COLUMNS)] for one in rounds]
    return markdown_table(["round", *_COLUMNS.values()], rows)


def plot_rounds(rounds: Sequence[Mapping[str, Any]], path: str | Path, title: str = "") -> None:
    """Draws AUC, log loss and the alignment's recall by round."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, 3)
    series = (
        ("AUC", {"validation": "valid_auc", "test": "auc", "test, items never seen": "auc_never_seen"}),
        ("test log loss", {"": "log_loss"}),
        ("held-out items", {"text to id recall@1": "recall_at_1", "recall@10": "recall_at_10", "neighbours changed": "neighbors_changed"}),
    )
    for panel, (label, lines) in zip(panels, series, strict=True):
        for name, key in lines.items():
            known = [(one["round"], one[key]) for one in rounds if one.get(key) is not None and not math.isnan(one[key])]
            if known:
                panel.plot(*zip(*known, strict=True), marker="o", label=name or None)
        panel.set_title(label, loc="left")
        panel.set_xlabel("round (0: ids alone)")
        panel.set_xticks([one["round"] for one in rounds])
        panel.grid(axis="y", color="0.9")
        panel.spines[["top", "right"]].set_visible(False)
        if panel.get_legend_handles_labels()[0]:
            panel.legend(frameon=False)
    figure.suptitle(title, x=0.01, ha="left")
    _save(figure, path)
