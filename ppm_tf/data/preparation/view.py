"""A data set made of parts of prepared days: the artifact `data/` of one update, by hard links, without reading a record."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from ppm_tf.data.catalog import ItemCatalog
from ppm_tf.data.manifest import Manifest, Shard
from ppm_tf.data.preparation.day import HALVES
from ppm_tf.data.preparation.user_features import FILE_NAME as USERS
from ppm_tf.data.queries import SCHEMA as QUERIES
from ppm_tf.data.raw.rejected import MAX_CASES
from ppm_tf.data.schema import Schema
from ppm_tf.data.splits import SPLITS
from ppm_tf.storage import write_json
from ppm_tf.workspace import link_or_copy

logger = logging.getLogger(__name__)

Part = tuple[date, str]  # a day, and "head" or "tail"
_TRAINED = SPLITS[:2]


def write_view(days: Path, pretrain: Sequence[Part], train: Sequence[Part], held_out: Sequence[Part], newest: date, folder: Path) -> dict[str, Any]:
    """Writes a data set that every stage reads as it reads that of `prepare`.

    The catalog, the schema and the users are those of the newest day. The item counts of the splits pretrain and train are of all days
    up to the newest part of the split, of each half: what a model that goes on from day to day has been trained on by then.
    `statistics.json` is made of the parts' own; queries are those of the days that are trained on.

    Args:
        days: folder of the days' artifacts, `<days>/2026-11-20/`.
        pretrain: what PPM is trained on; may be nothing.
        train: what the ranking model is trained on.
        held_out: what both are judged on: the splits valid and test.
        newest: the day whose catalog counts.
        folder: empty or new folder; the caller moves it into place.

    Returns:
        The content of `statistics.json`.

    Raises:
        FileNotFoundError: a day is not prepared.
        ValueError: parts overlap, or a split cannot be trained or scored on.
    """
    parts = {"pretrain": list(pretrain), "train": list(train), "valid": list(held_out), "test": list(held_out)}
    _check_parts(days, parts, newest)
    (folder / "catalog").mkdir(parents=True)
    source = days / newest.isoformat()
    for name in ("schema.json", USERS, "catalog/items.parquet", "catalog/fields.npz", "catalog/numbers.npz"):
        if (source / name).is_file():
            link_or_copy(source / name, folder / name)
    _write_counts(days, parts, ItemCatalog.read(source / "catalog"), folder / "catalog" / "counts.npz")
    for split, chosen in parts.items():
        _link_shards(days, split, chosen, folder / "samples" / split)
    schema = Schema.read(source / "schema.json")
    statistics = _statistics(days, parts, newest, schema)
    _check_labels(statistics["splits"], parts, schema)
    statistics["queries"] = _write_queries(days, sorted({day for split in _TRAINED for day, _ in parts[split]}), source, folder)
    _write_rejected(days, _days_in(parts), folder / "rejected.jsonl")
    write_json(folder / "statistics.json", statistics)
    counts = ", ".join(f"{statistics['splits'][split]['requests']} {split}" for split in SPLITS)
    logger.info("data set of %d days up to %s: %s requests", len(_days_in(parts)), newest, counts)
    return statistics


def _check_parts(days: Path, parts: Mapping[str, Sequence[Part]], newest: date) -> None:
    for split, chosen in parts.items():
        for day, half in chosen:
            if half not in HALVES or day > newest:
                raise ValueError(
                    f"A part must be the head or the tail of a day up to the newest. Received: {half} of {day} for {split}, newest {newest}."
                )
        if len(set(chosen)) < len(chosen):
            raise ValueError(f"A part must stand in a split once. Received: {_listed(chosen)} for {split}.")
    if shared := sorted({*parts["pretrain"], *parts["train"]} & set(parts["valid"])):
        raise ValueError(f"What models are judged on must not be trained on. Received: {_listed(shared)} for both.")
    for day in [*_days_in(parts), newest]:
        if not (days / day.isoformat() / "statistics.json").is_file():
            raise FileNotFoundError(f"{days / day.isoformat()} must hold a prepared day. Remedy: `python -m pipelines.prepare day={day}`.")


def _days_in(parts: Mapping[str, Iterable[Part]]) -> list[date]:
    return sorted({day for chosen in parts.values() for day, _ in chosen})


def _listed(parts: Iterable[Part]) -> str:
    return ", ".join(f"{half} of {day}" for day, half in parts) or "nothing"


def _link_shards(days: Path, split: str, parts: Sequence[Part], folder: Path) -> None:
    folder.mkdir(parents=True)
    shards: list[Shard] = []
    compression = "none"
    for day, half in sorted(parts):
        source = days / day.isoformat() / "samples" / half
        manifest = Manifest.read(source)
        compression = manifest.compression
        for shard in manifest.shards:
            name = f"part-{day}-{half}-{shard.file.removeprefix('part-')}"
            link_or_copy(source / shard.file, folder / name)
            shards.append(replace(shard, file=name))
    Manifest(tuple(shards), compression, {"split": split, "parts": [[day.isoformat(), half] for day, half in sorted(parts)]}).write(folder)


def _write_counts(days: Path, parts: Mapping[str, Sequence[Part]], catalog: ItemCatalog, path: Path) -> None:
    """A day's counts are those of all days up to it."""
    found = {}
    for split in _TRAINED:
        for name in ("exposures", "positives"):
            table = np.zeros_like(catalog.counts[f"{name}_head"])
            for half in HALVES:
                last = max((day for day, its in parts[split] if its == half), default=None)
                if last is not None:
                    counts = ItemCatalog.read(days / last.isoformat() / "catalog").counts[f"{name}_{half}"]
                    table[: len(counts)] += counts
            found[f"{name}_{split}"] = table
    np.savez(path, **found)


def _statistics(days: Path, parts: Mapping[str, Sequence[Part]], newest: date, schema: Schema) -> dict[str, Any]:
    by_day = {day: _read_statistics(days, day) for day in [*_days_in(parts), newest]}
    splits: dict[str, dict[str, Any]] = {}
    for split, chosen in parts.items():
        halves = [by_day[day]["splits"][half] for day, half in chosen]
        splits[split] = {
            **{name: sum(half[name] for half in halves) for name in ("requests", "candidates")},
            **{name: {task: sum(half[name][task] for half in halves) for task in schema.tasks} for name in ("positives", "negatives", "missing")},
        }
        if timed := [half for half in halves if half["requests"]]:
            splits[split] |= {"first_time": min(half["first_time"] for half in timed), "last_time": max(half["last_time"] for half in timed)}
    read = [by_day[day] for day in _days_in(parts)]
    rejected: Counter[str] = Counter()
    for one in read:
        rejected.update(one["rows_rejected"])
    items = ("items", "items_with_text", "items_with_image", "image_files_not_found", "repeated_item_rows")
    return {
        "days": [day.isoformat() for day in _days_in(parts)],
        **{name: by_day[newest][name] for name in items},
        **{name: sum(one[name] for one in read) for name in ("rows_read", "rows_repeated", "requests_mixed")},
        "ties": {name: sum(one["ties"][name] for one in read) for name in ("requests", "behaviors")},
        "rows_rejected": dict(sorted(rejected.items())),
        "splits": splits,
        "cut_times": None,
    }


def _read_statistics(days: Path, day: date) -> dict[str, Any]:
    return json.loads((days / day.isoformat() / "statistics.json").read_text(encoding="utf-8"))


def _check_labels(splits: Mapping[str, Mapping[str, Any]], parts: Mapping[str, Sequence[Part]], schema: Schema) -> None:
    """Refuses splits that cannot be trained or scored on."""
    for split, found in splits.items():
        if not found["requests"] and (parts[split] or split != "pretrain"):
            raise ValueError(f"The {split} split must hold at least one request. Received: none in {_listed(parts[split])}.")
    for split, tasks in (("pretrain", schema.tasks[:1] if parts["pretrain"] else ()), ("train", schema.tasks)):
        for task in tasks:
            positives, negatives = splits[split]["positives"][task], splits[split]["negatives"][task]
            if not positives or not negatives:
                raise ValueError(
                    f"The {split} split must hold both positives and negatives of the task {task}. Received: {positives} positives and {negatives}"
                    f" negatives in {_listed(parts[split])}. Remedy: look at the labels of these days, or train on more of them."
                )


def _write_queries(days: Path, trained: Sequence[date], source: Path, folder: Path) -> dict[str, int] | None:
    """The queries of the days that are trained on; where they do not come by day, those that the newest day read."""
    found = json.loads((source / "statistics.json").read_text(encoding="utf-8"))["queries"]
    if found is None:
        return None
    if not found.pop("by_day"):
        link_or_copy(source / "queries.parquet", folder / "queries.parquet")
        return found
    counts: Counter[str] = Counter(dict.fromkeys(found, 0))
    with pq.ParquetWriter(folder / "queries.parquet", QUERIES, compression="zstd") as writer:
        for day in trained:
            counts.update({name: count for name, count in _read_statistics(days, day)["queries"].items() if name != "by_day"})
            writer.write_table(pq.read_table(days / day.isoformat() / "queries.parquet"))
    return dict(counts)


def _write_rejected(days: Path, chosen: Sequence[date], path: Path) -> None:
    lines: list[str] = []
    for day in chosen:
        lines += (days / day.isoformat() / "rejected.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join(lines[:MAX_CASES]), encoding="utf-8")
