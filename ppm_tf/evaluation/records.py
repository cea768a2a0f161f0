"""`Record`, one figure of a report, and the file `metrics.jsonl` that holds them."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path


@dataclass(frozen=True)
class Record:
    """One line of `metrics.jsonl`: a metric of a model on a slice.

    Attributes:
        task: name of the label, or `"mean"` for the mean over the tasks.
        slice: `"all"`, or a bucket, such as `"train_frequency=1-4"`; see `slices`.
        metric: name of the metric.
        value: the metric; nan where undefined.
        low: lower end of its interval; nan where there is none.
        high: upper end of its interval; nan where there is none.
        count: candidates behind the value; missing labels do not count.
        groups: users or requests behind a mean over groups, else None.
        reason: why the value or its interval is missing, else `""`.
        model: name of the model.
        seed: seed of the run.
    """

    task: str
    slice: str
    metric: str
    value: float
    low: float = math.nan
    high: float = math.nan
    count: int = 0
    groups: int | None = None
    reason: str = ""
    model: str = ""
    seed: int = 0


# === metrics.jsonl ===


def write_metrics(records: Iterable[Record], path: str | Path, model: str, seed: int) -> None:
    """Writes the records of a model and seed, one JSON object a line; nan becomes null.

    Lines of other models or seeds that the file holds are kept, those of this one replaced. The file is whole at any moment: the new one
    is written beside it and renamed.
    """
    path = Path(path)
    kept = [record for record in (read_metrics(path) if path.exists() else []) if (record.model, record.seed) != (model, seed)]
    kept += [replace(record, model=model, seed=seed) for record in records]
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            for record in kept:
                values = {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in asdict(record).items()}
                file.write(json.dumps(values, allow_nan=False, ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def read_metrics(path: str | Path) -> list[Record]:
    """Reads the records that `write_metrics` wrote.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a line is no record.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"Metrics must be there. Received: {path}. Run `python -m pipelines.evaluate` first.")
    records = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            values = json.loads(line)
            records.append(Record(**{**values, **{name: math.nan for name in ("value", "low", "high") if values[name] is None}}))
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path} must hold one metric a line. Received, in line {number}: {line[:80]!r} ({error!r}).") from error
    return records
