"""`Rejected`: raw rows that were set aside, counted by reason and listed in `rejected.jsonl`."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa

from ppm_tf.data.raw.columns import Place

MAX_CASES = 10_000  # rows listed one by one; all are counted


@dataclass
class Rejected:
    """Rows set aside: how many for which reason, and the first cases.

    Attributes:
        counts: number of rows by reason.
        cases: the first ones as `{"file", "row", "column", "value", "reason"}`; rows count from 1.
    """

    counts: Counter[str] = field(default_factory=Counter)
    cases: list[dict] = field(default_factory=list)

    @property
    def total(self) -> int:
        """Rows set aside."""
        return sum(self.counts.values())

    def add(self, reason: str, place: Place, at: np.ndarray, column: pa.Array) -> None:
        """Sets rows of a batch aside.

        Args:
            reason: why, in a few words.
            place: where the batch comes from.
            at: the rows, counted in the batch.
            column: the column at fault.
        """
        if at.size:
            values = column.take(pa.array(at[:MAX_CASES])).to_pylist()
            for row, value in zip(at[:MAX_CASES].tolist(), values, strict=True):
                self.add_case(reason, place, row, value)
            self.counts[reason] += max(0, at.size - MAX_CASES)

    def add_case(self, reason: str, place: Place, row: int, value: object) -> None:
        """Sets one row aside."""
        self.counts[reason] += 1
        if len(self.cases) < MAX_CASES:
            self.cases.append({"file": place.path, "row": place.first_row + row + 1, "column": place.column, "value": value, "reason": reason})

    def update(self, other: Rejected) -> None:
        """Adds other rows; the cases kept are the first ones by file and row, whatever the order of arrival."""
        self.counts.update(other.counts)
        self.cases = sorted([*self.cases, *other.cases], key=lambda case: (case["file"], case["row"], case["reason"]))[:MAX_CASES]

    def write(self, path: Path) -> None:
        """Writes the cases, one JSON object a line."""
        path.write_text("".join(json.dumps(case, ensure_ascii=False, default=str) + "\n" for case in self.cases), encoding="utf-8")

    def refuse_above(self, share: float, rows: int, hint: str = "") -> None:
        """Refuses a log of which more than this share was set aside; `hint` is a further sentence that helps to mend it."""
        if self.total > share * rows:
            reasons = ", ".join(f"{count} with {reason}" for reason, count in sorted(self.counts.items()))
            first = self.cases[0]
            value = "" if first["value"] is None else f", value {first['value']!r}"
            raise ValueError(
                f"At most a share of {share:g} of the log rows may be set aside (data.max_rejected). Received: {self.total} of {rows} rows:"
                f" {reasons}. The first is {first['file']}, row {first['row']}, column {first['column']}{value}.{hint} Remedy: mend the files, or"
                " raise data.max_rejected."
            )
