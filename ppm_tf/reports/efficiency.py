"""What ranking models cost, as a table."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ppm_tf.reports.markdown import markdown_table


def efficiency_table(lines: Iterable[dict[str, Any]]) -> str:
    """Markdown: a row a model, alone, with PPM and with a table, the latter also with their cost beside the model alone; models of texts last.

    Args:
        lines: of the benchmark `efficiency`.
    """
    lines = list(lines)
    alone = {line["model"]: line for line in lines if not line["with"]}
    rows = []
    for line in lines:
        base = alone.get(line["model"]) if line["with"] else None
        factor = ["", ""]
        if base:
            factor = [f" ({line[name] / base[name]:.2f} x)" for name in ("train_candidates_per_second", "inference_ms_per_request")]
        rows.append([
            line["model"] + (f" + {line['with']}" if line["with"] else ""), f"{line['id_table_weights']:,}", f"{line['dense_weights']:,}",
            f"{line['language_weights']:,}" if line["language_weights"] else "",
            f"{line['train_candidates_per_second']:,.0f}{factor[0]}", f"{line['inference_ms_per_request']:.2f}{factor[1]}",
        ])  # fmt: skip
    about = (
        f"\n\nSteps of {lines[0]['batch_size']} requests; a request has up to {lines[0]['candidates']} candidates and {lines[0]['history']}"
        " behaviors."
        if lines
        else ""
    )
    return (
        markdown_table(["model", "weights of id tables", "other weights", "language model", "training candidates/s", "inference ms/request"], rows)
        + about
    )
