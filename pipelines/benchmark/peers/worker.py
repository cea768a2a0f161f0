"""What every process of the comparison does: take an order, time it, answer. Needs NumPy alone, since peers have environments of their own.

An order is a line of JSON on standard input, `{"do": "train", "steps": 20}`; the answer is one on standard output.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from pathlib import Path


def serve(build) -> None:
    """Answers orders until there are no more.

    Args:
        build: gives the model, which has a method for every order; it takes the order's other values and returns a dict that joins the answer.
    """
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what the packages print must not mix with the answers
    model = build()
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        start, cpu = time.perf_counter(), time.process_time()
        found = getattr(model, order.pop("do"))(**order)
        spent = {"seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - cpu}
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({**spent, "peak_mib": peak, **found}), file=answers, flush=True)


def median_ms(call, times: int) -> float:
    """Milliseconds that a call takes, the median of so many, after three that do not count."""
    taken = []
    for number in range(times + 3):
        start = time.perf_counter()
        call()
        if number >= 3:
            taken.append(1000 * (time.perf_counter() - start))
    return sorted(taken)[len(taken) // 2]


class Rows:
    """The rows of a split, a candidate each: the columns that the comparison wrote as NumPy files.

    Attributes:
        columns: dict of name -> array `[rows]`, or `[rows, T]` where the name begins with `hist_`.
        labels: `[rows]`, 0 or 1.
    """

    def __init__(self, folder: str, split: str):
        import numpy as np

        columns = {path.stem: np.load(path) for path in sorted((Path(folder) / split).glob("*.npy"))}
        self.labels = columns.pop("label")
        self.columns = columns

    def __len__(self) -> int:
        return len(self.labels)

    def of_one_request(self, candidates: int) -> dict:
        """So many rows as the candidates of the first request: its user and its history with each."""
        import numpy as np

        item = {name for name in self.columns if not name.startswith(("hist_", "user_", "context_"))}
        places = np.arange(candidates) % len(self)
        return {name: values[places] if name in item else np.repeat(values[:1], candidates, axis=0) for name, values in self.columns.items()}
