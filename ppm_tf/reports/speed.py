"""Speed of models beside those of other packages, as a table."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ppm_tf.reports.markdown import markdown_table

_RATES = {"train": "training, candidates/s", "epoch": "a pass with reading, candidates/s", "infer": "inference, candidates/s"}
_WAITS = {"ms_1": "1 candidate, ms", "ms_100": "100 candidates, ms", "ms_500": "500 candidates, ms"}


def speed_table(lines: Iterable[dict[str, Any]]) -> str:
    """Markdown: a row a workload, model and measure; how many times as fast as the faster peer, and the share of the floor.

    Args:
        lines: of the benchmark `speed`.
    """
    lines = list(lines)
    peers = list(dict.fromkeys(line["system"] for line in lines if line["system"] != "ppm_tf"))
    rows = []
    for ours in (line for line in lines if line["system"] == "ppm_tf"):
        theirs = {line["system"]: line for line in lines if line["workload"] == ours["workload"] and line["model"] == ours["model"]}
        for what, title in {**_RATES, **_WAITS, "peak_mib": "peak memory, MiB", "auc": "AUC after a pass"}.items():
            if what not in ours:
                continue
            others = [theirs[peer][what] for peer in peers if peer in theirs]
            ratio = ""
            if others and what != "auc":
                ratio = f"{ours[what] / max(others) if what in _RATES else min(others) / ours[what]:.2f}"
            share = ours.get(f"{what}_of_floor")
            beside = [_shown(what, theirs[peer][what]) if peer in theirs else "" for peer in peers]
            title = f"{ours['workload']}, {ours['model']}: {title}"
            rows.append([title, _shown(what, ours[what]), *beside, ratio, "" if share is None else f"{share:.0%}"])
    return markdown_table(["", "ppm_tf", *peers, "times the best peer", "of the floor"], rows)


def _shown(what: str, value: float) -> str:
    if what == "auc":
        return f"{value:.4f}"
    return f"{value:.2f}" if what in _WAITS else f"{value:,.0f}"
