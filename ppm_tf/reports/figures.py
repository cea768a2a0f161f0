"""A table of figures: models by row, metrics by column."""

from __future__ import annotations

import math
from collections.abc import Iterable

from ppm_tf.evaluation import Record
from ppm_tf.reports.markdown import markdown_table


def figures_table(records: Iterable[Record]) -> str:
    """Markdown: a row a model, a column a metric, both in the order of their first record; intervals in brackets, and a line on them."""
    records = list(records)
    models, metrics = (list(dict.fromkeys(getattr(record, name) for record in records)) for name in ("model", "metric"))
    cells = {(record.model, record.metric): _cell(record) for record in records}
    lines = [markdown_table(["model", *metrics], [[model, *(cells.get((model, metric), "") for metric in metrics)] for model in models])]
    if any(not math.isnan(record.low) for record in records):
        lines += ["", "In brackets: interval over the held-out part alone, resampled, of one training; another seed moves a figure besides."]
    return "\n".join(lines)


def _cell(record: Record) -> str:
    if math.isnan(record.value):
        return f"({record.reason or 'undefined'})"
    text = f"{record.value:.4f}" if abs(record.value) < 100 else f"{record.value:,.0f}"
    return text if math.isnan(record.low) else f"{text} [{record.low:.4f}, {record.high:.4f}]"
