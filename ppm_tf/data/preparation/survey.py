"""`Survey`: what the first pass over a log finds out, combined from its parts in any order."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from ppm_tf.data.preparation.log_batches import LogBatch
from ppm_tf.data.preparation.vocabulary import value_counts
from ppm_tf.data.raw.column_forms import ColumnForm
from ppm_tf.data.raw.column_times import TICKS
from ppm_tf.data.raw.rejected import Rejected
from ppm_tf.data.splits import TimeHistogram


@dataclass
class Survey:
    """Counts over a log, or over a part of it.

    Attributes:
        rows: rows read.
        rejected: rows set aside.
        histogram: rows by time.
        labels: by task, how many labels of the kept rows are missing, 0 and 1.
        context: how often each value of each context field occurs.
        context_values: most values a row has at once, by context field.
        forms: what all cells of a column have in common: `user`, `request` and `context.<name>`.
        order_forms: what the column of the order holds, by batch.
        dates: calendar units in which every time is a date, although no unit was set; `None` before the first batch.
        problem: the first reason, by file and row, to refuse the log, as `[file, row, message, whether a file is damaged]`.
    """

    rows: int = 0
    rejected: Rejected = field(default_factory=Rejected)
    histogram: TimeHistogram = field(default_factory=TimeHistogram)
    labels: dict[str, list[int]] = field(default_factory=dict)
    context: dict[str, Counter[str]] = field(default_factory=dict)
    context_values: dict[str, int] = field(default_factory=dict)
    forms: dict[str, ColumnForm] = field(default_factory=dict)
    order_forms: list[str] = field(default_factory=list)
    dates: list[str] | None = None
    problem: list | None = None

    def add(self, batch: LogBatch) -> None:
        """Counts a batch."""
        self.rows += batch.num_read
        self.rejected.update(batch.rejected)
        if "moment" in batch.arrays:
            self.histogram.add(batch.arrays["moment"] // TICKS)
        for name, values in batch.arrays.items():
            kind, _, task = name.partition("/")
            if kind == "label":
                self._add_labels(task, np.bincount(values + 1, minlength=3).tolist())
        for name, (counts, values) in batch.context.items():
            self.context.setdefault(name, Counter()).update(value_counts(values))
            self.context_values[name] = max(self.context_values.get(name, 1), int(counts.max(initial=0)))
        for name, form in batch.forms.items():
            self.forms.setdefault(name, ColumnForm()).update(form)
        self._add_hints([batch.order_form] if batch.order_form else [], list(batch.dates))

    def add_problem(self, file: int, row: int, message: str, damaged: bool = False) -> None:
        """Notes a reason to refuse the log; the first one by file and row stays."""
        if self.problem is None or [file, row] < self.problem[:2]:
            self.problem = [file, row, message, damaged]

    def update(self, other: Survey) -> None:
        """Adds what was counted elsewhere."""
        self.rows += other.rows
        self.rejected.update(other.rejected)
        self.histogram.update(other.histogram)
        for task, counts in other.labels.items():
            self._add_labels(task, counts)
        for name, counts in other.context.items():
            self.context.setdefault(name, Counter()).update(counts)
        for name, count in other.context_values.items():
            self.context_values[name] = max(self.context_values.get(name, 1), count)
        for name, form in other.forms.items():
            self.forms.setdefault(name, ColumnForm()).update(form)
        self._add_hints(other.order_forms, other.dates)
        if other.problem is not None:
            self.add_problem(*other.problem)

    def _add_hints(self, order_forms: list[str], dates: list[str] | None) -> None:
        self.order_forms = sorted({*self.order_forms, *order_forms})
        if dates is not None:
            self.dates = dates if self.dates is None else [unit for unit in self.dates if unit in dates]

    def _add_labels(self, task: str, counts: list[int]) -> None:
        self.labels[task] = [old + new for old, new in zip(self.labels.get(task, [0, 0, 0]), counts, strict=True)]

    def write(self, path: Path) -> None:
        """Writes the survey as JSON, for the process that started the job."""
        content = {
            **{name: getattr(self, name) for name in ("rows", "labels", "context", "context_values", "order_forms", "dates", "problem")},
            "forms": {name: asdict(form) for name, form in self.forms.items()},
            "rejected": {"counts": self.rejected.counts, "cases": self.rejected.cases},
            "histogram": {"shift": self.histogram.shift, "bins": self.histogram.bins.tolist(), "counts": self.histogram.counts.tolist()},
        }
        path.write_text(json.dumps(content, default=str), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Survey:
        """Reads what `write` wrote."""
        content = json.loads(path.read_text(encoding="utf-8"))
        rejected, histogram = content.pop("rejected"), content.pop("histogram")
        forms = {name: ColumnForm(**form) for name, form in content.pop("forms").items()}
        return cls(
            forms=forms,
            rejected=Rejected(Counter(rejected["counts"]), rejected["cases"]),
            histogram=TimeHistogram(histogram["shift"], np.array(histogram["bins"], np.int64), np.array(histogram["counts"], np.int64)),
            **content,
        )
