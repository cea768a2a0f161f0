"""What the passes over a log come to: schema, statistics, manifests, and requests set aside."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from ppm_tf.config import ColumnarData
from ppm_tf.data.manifest import Manifest, Shard
from ppm_tf.data.preparation.log_judgement import judge_rows, place_of, say_strangers
from ppm_tf.data.preparation.survey import Survey
from ppm_tf.data.raw import files as raw_files
from ppm_tf.data.raw.column_forms import plain_numbers
from ppm_tf.data.raw.column_times import CALENDAR
from ppm_tf.data.raw.columns import Place
from ppm_tf.data.raw.rejected import Rejected
from ppm_tf.data.schema import Field, Schema

SPANS_CUT = "a request on both sides of a cut in time"
MIXED = "a request whose rows differ in a field of the request"


def context_counts(survey: Survey, name: str, numeric: bool) -> Counter[str]:
    """How often each value of a context field occurs, in the one spelling that it has as a number or a word."""
    counts = survey.context.get(name, Counter())
    if not numeric:
        return counts
    plain = plain_numbers(pa.array(list(counts), pa.string())).to_pylist()
    merged: Counter[str] = Counter()
    for word, count in zip(plain, counts.values(), strict=True):
        merged[word] += count
    return merged


def schema_of(columns: ColumnarData, item_id_type: str, user_id_type: str, fields: tuple[Field, ...]) -> Schema:
    """The schema of a data set with these fields; without the range of its times."""
    log = columns.log
    tasks = tuple(log.labels) if log else ()
    return Schema(
        fields=fields,
        numbers=columns.items.numbers,
        tasks=tasks,
        history_task=(columns.history_task or tasks[0]) if log else "",
        history_length=columns.history_length,
        num_candidates=1 if columns.requests == "single" else columns.candidates,
        item_id_type=item_id_type,
        user_id_type=user_id_type,
        has_time=log is not None and log.time is not None,
        has_slot=log is not None and log.slot is not None,
        has_truth=log is not None and bool(log.truth),
        time_unit="s" if log is None or log.time_unit == "auto" or log.time_unit in CALENDAR else log.time_unit,
        missing=columns.missing,
    )


def judge_partitions(partitions: list[dict], pieces: list[raw_files.FileSplit], survey: Survey, columns: ColumnarData) -> None:
    """Says, and where it is too much refuses, what the second pass over the log found.

    Raises:
        ValueError: too many rows are of no use, or rows contradict each other.
    """
    set_aside(partitions, "spanning", SPANS_CUT, pieces, survey, columns)
    judge_rows(partitions, pieces, columns)
    say_strangers(partitions, columns)
    if columns.mixed_requests == "drop":
        set_aside(partitions, "mixed", MIXED, pieces, survey, columns)


def set_aside(partitions: list[dict], what: str, reason: str, pieces: list[raw_files.FileSplit], survey: Survey, columns: ColumnarData) -> None:
    """Counts the requests that were left out for a reason that their rows show together."""
    affected = [found[what] for found in partitions if found[what]["rows"]]
    if not affected:
        return
    path, row = place_of(min(found["origin"] for found in affected), pieces)
    aside = Rejected()
    aside.add_case(reason, Place(path, columns.log.request or "", "data.log.request"), row, None)
    aside.counts[reason] = sum(found["rows"] for found in affected)
    survey.rejected.update(aside)
    survey.rejected.refuse_above(columns.max_rejected, survey.rows)


def statistics_of(survey: Survey, partitions: list[dict], schema: Schema, names: Sequence[str], cuts: tuple[int, ...] | None) -> dict[str, Any]:
    """The log's part of `statistics.json`, for splits of these names."""
    splits = {}
    for split in names:
        parts = [found["splits"][split] for found in partitions if split in found["splits"]]
        labels = {task: [sum(part["labels"][task][place] for part in parts) for place in range(3)] for task in schema.tasks}
        splits[split] = {
            "requests": sum(part["shard"]["records"] for part in parts),
            "candidates": sum(part["shard"]["candidates"] for part in parts),
            "positives": {task: counts[2] for task, counts in labels.items()},
            "negatives": {task: counts[1] for task, counts in labels.items()},
            "missing": {task: counts[0] for task, counts in labels.items()},
        }
        if schema.has_time and parts:
            splits[split] |= {"first_time": min(part["first_time"] for part in parts), "last_time": max(part["last_time"] for part in parts)}
    return {
        "users": sum(found["users"] for found in partitions),
        "users_without_row": sum(found["users"] - found["described"] for found in partitions),
        "rows_read": survey.rows,
        "rows_repeated": sum(found["repeats"]["rows"] for found in partitions),
        "requests_mixed": sum(found["mixed"]["requests"] for found in partitions),
        "ties": {name: sum(found["ties"][name] for found in partitions) for name in ("requests", "behaviors")},
        "rows_rejected": dict(sorted(survey.rejected.counts.items())),
        "splits": splits,
        "cut_times": dict(zip(names[1:], cuts, strict=True)) if cuts else None,
    }


def write_manifests(folder: Path, partitions: list[dict], names: Sequence[str], compression: str) -> None:
    """Writes the manifest of each split's folder of shards."""
    for split in names:
        shards = tuple(Shard(**found["splits"][split]["shard"]) for found in partitions if split in found["splits"])
        (folder / split).mkdir(parents=True, exist_ok=True)
        Manifest(shards, compression, {"split": split}).write(folder / split)
