"""The trials of a sweep as a table."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from ppm_tf.reports.markdown import markdown_table
from ppm_tf.reports.ranking import UNDEFINED


def trials_table(found: Iterable[tuple[dict[str, Any], dict[str, Any]]]) -> str:
    """Markdown: a row a trial, the best by validation AUC first, those that failed last.

    Args:
        found: pairs of a point (setting -> value) and the summary of its training, or `{"error": ...}`.
    """
    found = sorted(found, key=lambda one: -_auc(one[1]) if _auc(one[1]) == _auc(one[1]) else math.inf)
    names = list(dict.fromkeys(name for point, _ in found for name in point))
    rows = []
    for place, (point, summary) in enumerate(found, start=1):
        settings = [str(point.get(name, UNDEFINED)) for name in names]
        if "error" in summary:
            rows.append([UNDEFINED, *settings, "failed", summary["error"].splitlines()[0][:60], UNDEFINED])
        else:
            rows.append(
                [str(place), *settings, f"{_auc(summary):.4f}", f"{summary['best_step']:,} of {summary['steps']:,}", f"{summary['seconds']:,.0f}"]
            )
    return markdown_table(["rank", *(name.removeprefix("model.") for name in names), "validation AUC", "best step", "seconds"], rows)


def _auc(summary: dict[str, Any]) -> float:
    return summary.get("valid_auc", math.nan)
