"""Parts of prepared days as one data set: its shards are the days' own, and what it says of them is what they hold."""

import json
import os
from datetime import timedelta

import numpy as np
import pyarrow.parquet as pq
import pytest

from ppm_tf.data.catalog import ItemCatalog
from ppm_tf.data.manifest import Manifest
from ppm_tf.data.preparation.view import write_view
from ppm_tf.data.samples import find_shards, read
from ppm_tf.data.schema import Schema
from tests.day_logs import DAY, FIRST, items, mapping, prepare_days, rows, write_day
from tests.raw_logs import read_samples

D = [FIRST + timedelta(number) for number in range(4)]
PARTS = {"pretrain": [(D[0], "tail"), (D[1], "head")], "train": [(D[1], "tail"), (D[2], "head")], "held_out": [(D[3], "tail")]}


@pytest.fixture(scope="module")
def days(tmp_path_factory):
    """Four days with a new item each, and queries."""
    folder = tmp_path_factory.mktemp("days")
    rng = np.random.default_rng(0)
    for number in range(4):
        known = 3 + number
        found = [(int(rng.integers(6)), int(rng.integers(known)), int(time), int(rng.integers(2))) for time in rng.integers(0, DAY, 40)]
        found += [(1, 9, 70, 0)] if number == 1 else []  # an unknown item
        queries = {"query": [f"day {number}", "nothing"], "item_id": [known - 1, 77]}
        write_day(folder, number, rows(number, *found), items(range(3) if not number else [known - 1]), queries=queries)
    write_day(folder, 0, users={"user_id": [1, 2], "age": ["old", "young"]})
    users = {"files": "day=2026-11-20/users.parquet", "fields": {"age": "age"}}
    columns = mapping(folder, requests="bursts", candidates=2, max_rejected=0.1, queries={"files": "day={day}/queries.parquet"}, users=users)
    prepare_days(columns, folder / "days", 4, held_out_hours=8.0)
    return folder / "days"


@pytest.fixture(scope="module")
def view(days, tmp_path_factory):
    folder = tmp_path_factory.mktemp("view") / "data"
    write_view(days, **PARTS, newest=D[3], folder=folder)
    return folder


def parts_of(days, split):
    name = split if split in PARTS else "held_out"
    return [one for day, half in PARTS[name] for one in read_samples(days / str(day) / "samples" / half)]


def test_records_are_those_of_the_parts(days, view):
    schema = Schema.read(view / "schema.json")
    for split in ("pretrain", "train", "valid", "test"):
        expected = {one["request"]: one for one in parts_of(days, split)}
        found = read_samples(view / "samples" / split)
        assert len(found) == len(expected) > 3 and {one["request"]: one for one in found} == expected
        files = find_shards(view / "samples", [split])
        assert sum(len(batch["item"]) for batch in read(files, schema, 8)) == files.records == len(found)
        assert files.candidates == sum(len(one["item"]) for one in found)


def test_files_are_the_days_own(days, view):
    newest = days / str(D[3])
    for name in ("schema.json", "users.npz", "catalog/items.parquet", "catalog/fields.npz", "catalog/numbers.npz"):
        assert (view / name).samefile(newest / name)
    manifest = Manifest.read(view / "samples" / "train")
    assert manifest.about == {"split": "train", "parts": [[str(D[1]), "tail"], [str(D[2]), "head"]]}
    for shard in manifest.shards:
        day, half, rest = shard.file[5:15], shard.file[16:20], shard.file[21:]
        assert (view / "samples" / "train" / shard.file).samefile(days / day / "samples" / half / f"part-{rest}")


def test_files_are_copied_where_they_cannot_be_linked(days, view, tmp_path, monkeypatch):
    def refuse(source, target):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    write_view(days, **PARTS, newest=D[3], folder=tmp_path / "data")
    for path in sorted(view.rglob("*")):
        copy = tmp_path / "data" / path.relative_to(view)
        assert path.is_dir() or (copy.read_bytes() == path.read_bytes() and (path.stat().st_nlink == 1 or not copy.samefile(path)))


def test_statistics_are_those_of_the_records(days, view):
    statistics = json.loads((view / "statistics.json").read_text())
    for split in ("pretrain", "train", "valid", "test"):
        found = read_samples(view / "samples" / split)
        labels = np.concatenate([one["labels"] for one in found])
        assert statistics["splits"][split] == {
            "requests": len(found),
            "candidates": len(labels),
            "positives": {"click": int((labels == 1).sum())},
            "negatives": {"click": int((labels == 0).sum())},
            "missing": {"click": 0},
            "first_time": min(one["time"] for one in found),
            "last_time": statistics["splits"][split]["last_time"],
        }
        # The last time is that of a row, which may be a later one of its request.
        assert max(one["time"] for one in found) <= statistics["splits"][split]["last_time"]
    assert statistics["items"] == 6 and statistics["days"] == [str(day) for day in D]
    assert statistics["rows_rejected"] == {"unknown item": 1} and statistics["rows_read"] == 161
    assert [json.loads(line)["value"] for line in (view / "rejected.jsonl").read_text().splitlines()] == [9]


def test_counts_are_of_all_days_up_to_the_newest_part_of_each_half(days, view):
    counts = ItemCatalog.read(view / "catalog").counts
    assert set(counts) == {f"{kind}_{split}" for kind in ("exposures", "positives") for split in ("pretrain", "train")}
    for split, halves in {"pretrain": {"tail": D[:1], "head": D[:2]}, "train": {"tail": D[:2], "head": D[:3]}}.items():
        exposures, positives = np.zeros(8, int), np.zeros(8, int)
        for half, chosen in halves.items():
            for day in chosen:
                for one in read_samples(days / str(day) / "samples" / half):
                    np.add.at(exposures, one["item"], 1)
                    np.add.at(positives, one["item"], one["labels"])
        assert counts[f"exposures_{split}"].tolist() == exposures.tolist() and exposures.sum() > 40
        assert counts[f"positives_{split}"].ravel().tolist() == positives.tolist()


def test_queries_are_of_the_days_that_are_trained_on(view):
    assert pq.read_table(view / "queries.parquet").column("query").to_pylist() == ["day 0", "day 1", "day 2"]
    assert json.loads((view / "statistics.json").read_text())["queries"] == {"read": 6, "kept": 3, "below_grade": 0, "empty": 0, "unknown_item": 3}


def test_without_a_pretrain_part(days, tmp_path):
    write_view(days, [], PARTS["train"], PARTS["held_out"], D[3], tmp_path / "data")
    counts = ItemCatalog.read(tmp_path / "data" / "catalog").counts
    assert not counts["exposures_pretrain"].any() and counts["exposures_train"].any()
    assert Manifest.read(tmp_path / "data" / "samples" / "pretrain").records == 0
    assert find_shards(tmp_path / "data" / "samples", ["pretrain", "train"]).records == len(parts_of(days, "train"))


@pytest.mark.parametrize(
    ("changes", "error", "match"),
    [
        ({"held_out": [(D[2], "head")]}, ValueError, r"What models are judged on must not be trained on\. Received: head of 2026-11-22 for both"),
        ({"train": [(D[2], "body")]}, ValueError, r"the head or the tail of a day up to the newest\. Received: body of 2026-11-22 for train"),
        ({"newest": D[2]}, ValueError, r"Received: tail of 2026-11-23 for valid, newest 2026-11-22"),
        ({"train": [(D[2], "head")] * 2}, ValueError, r"must stand in a split once\. Received: head of 2026-11-22, head of 2026-11-22 for train"),
        ({"held_out": []}, ValueError, r"The valid split must hold at least one request\. Received: none in nothing"),
        ({"train": []}, ValueError, r"The train split must hold at least one request"),
        ({"train": [(FIRST - timedelta(1), "head")]}, FileNotFoundError, r"2026-11-19 must hold a prepared day.*pipelines\.prepare day=2026-11-19"),
    ],
)
def test_parts_that_make_no_data_set(days, tmp_path, changes, error, match):
    with pytest.raises(error, match=match):
        write_view(days, **{**PARTS, "newest": D[3], **changes}, folder=tmp_path / "data")


def test_a_split_without_negatives(tmp_path):
    for number in range(2):
        write_day(tmp_path, number, rows(number, (1, 10, 5, 1), (2, 10, 6, 1), (1, 10, DAY - 5, 0)), items([10] if not number else []))
    prepare_days(mapping(tmp_path), tmp_path / "days", 2)
    with pytest.raises(
        ValueError, match=r"both positives and negatives of the task click\. Received: 2 positives and 0 negatives in head of 2026-11-20"
    ):
        write_view(tmp_path / "days", [], [(D[0], "head")], [(D[1], "tail")], D[1], tmp_path / "data")
