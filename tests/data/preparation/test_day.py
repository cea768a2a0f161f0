"""A log by days: each day prepared from the one before it equals the log prepared as a whole."""

import json
import shutil
from datetime import timedelta

import numpy as np
import pytest

from ppm_tf.config import BeamSettings
from ppm_tf.data.manifest import Manifest, whole_shards
from ppm_tf.data.preparation.day_checks import read_ledger
from ppm_tf.data.preparation.prepare import prepare
from ppm_tf.data.schema import Schema
from tests.day_logs import DAY, FIRST, START, digests, in_words, items, mapping, prepare_days, rows, samples_of, write_day
from tests.processes import run_python
from tests.raw_logs import read_samples, sample

TAIL = DAY - 3 * 3600


def day(number):
    return str(FIRST + timedelta(number))


# === By hand ===


def test_histories_go_on_from_the_day_before(tmp_path):
    write_day(tmp_path, 0, rows(0, (1, 10, 100, 1), (1, 20, 200, 1), (2, 20, 300, 0), (1, 10, TAIL, 0)), items([10, 20]))
    write_day(tmp_path, 1, rows(1, (3, 30, 0, 1), (2, 30, 50, 1)), items([30]))
    write_day(tmp_path, 2, rows(2, (1, 30, 100, 1), (2, 10, 86_399, 0)), items([]))
    prepare_days(mapping(tmp_path, history_length=2), tmp_path / "days", 3)
    first, second = START + DAY, START + 2 * DAY
    found = {
        (number, half): [
            {name: value for name, value in one.items() if name != "request"}
            for one in read_samples(tmp_path / "days" / day(number) / "samples" / half)
        ]
        for number in range(3)
        for half in ("head", "tail")
    }
    assert found[0, "head"] == [
        sample(1, START + 100, [], [2], [1], []),
        sample(1, START + 200, [2], [3], [1], [START + 100]),
        sample(2, START + 300, [], [3], [0], []),
    ]
    assert found[0, "tail"] == [sample(1, START + TAIL, [3, 2], [2], [0], [START + 200, START + 100])]
    assert found[1, "head"] == [sample(2, first + 50, [], [4], [1], []), sample(3, first, [], [4], [1], [])]
    assert found[1, "tail"] == []
    assert found[2, "head"] == [sample(1, second + 100, [3, 2], [4], [1], [START + 200, START + 100])]
    assert found[2, "tail"] == [sample(2, second + 86_399, [4], [2], [0], [first + 50])]


def test_bursts_end_at_midnight_and_where_the_tail_begins(tmp_path):
    write_day(tmp_path, 0, rows(0, (1, 10, TAIL - 2, 1), (1, 20, TAIL - 1, 0), (1, 10, TAIL, 1), (1, 20, DAY - 1, 1)), items([10, 20]))
    write_day(tmp_path, 1, rows(1, (1, 10, 0, 1), (1, 20, 1, 1)), items([]))
    prepare_days(mapping(tmp_path, requests="bursts", candidates=3), tmp_path / "days", 2)
    found = samples_of(tmp_path / "days", 2)
    assert sorted((one["time"], one["item"], one["history"]) for one in found) == [
        (START + TAIL - 2, [10, 20], []),
        (START + TAIL, [10, 20], [10]),
        (START + DAY, [10, 20], [20, 10, 10]),
    ]


def test_ordinals_of_days_differ(tmp_path):
    for number in range(2):
        write_day(
            tmp_path, number, rows(number, *((user, 10, time, 1) for user in range(4) for time in (5, 80_000))), items([10] if not number else [])
        )
    prepare_days(mapping(tmp_path), tmp_path / "days", 2)
    found = [
        one["request"] for number in range(2) for half in ("head", "tail") for one in read_samples(tmp_path / "days" / day(number) / "samples" / half)
    ]
    assert len(found) == len(set(found)) == 16
    assert {one >> 40 for one in found} == {0, 1}  # the partition, as in any data set


def test_statistics_ledger_and_manifests(tmp_path):
    write_day(tmp_path, 0, rows(0, (1, 10, 5, 1), (2, 20, 6, 0), (1, 20, TAIL + 1, 0)), items([10, 20]))
    write_day(tmp_path, 1, rows(1, (1, 10, 5, 1)), items([20, 30], brand="bolt"))
    shutil.copytree(tmp_path / f"day={day(0)}", tmp_path / "copy")
    statistics = prepare_days(mapping(tmp_path), tmp_path / "days", 2)
    assert statistics[1] == json.loads((tmp_path / "days" / day(1) / "statistics.json").read_text())
    assert [(one["day"], one["items"], one["items_new"], one["items_changed"], one["rows_read"]) for one in statistics] == [
        (day(0), 2, 2, 0, 3), (day(1), 3, 1, 1, 1),
    ]  # fmt: skip
    assert statistics[0]["splits"]["head"] == {
        "requests": 2, "candidates": 2, "positives": {"click": 1}, "negatives": {"click": 1}, "missing": {"click": 0},
        "first_time": START + 5, "last_time": START + 6,
    }  # fmt: skip
    assert statistics[0]["cut_times"] == {"tail": START + TAIL}
    ledgers = [read_ledger(tmp_path / "days" / day(number)) for number in range(2)]
    assert [(one["file"], one["setting"]) for one in ledgers[0]["files"]] == [
        (f"day={day(0)}/log.parquet", "data.log.files"), (f"day={day(0)}/items.parquet", "data.items.files"),
    ]  # fmt: skip
    assert ledgers[0]["rows"] == 3 and ledgers[0]["files"][0]["bytes"] == (tmp_path / "copy" / "log.parquet").stat().st_size
    assert ledgers[0]["content"] != ledgers[1]["content"] and len(ledgers[0]["content"]) == 64
    for half, count in (("head", 2), ("tail", 1)):
        folder = tmp_path / "days" / day(0) / "samples" / half
        manifest = Manifest.read(folder)
        assert manifest.records == count and whole_shards(folder, manifest) == manifest.shards


def test_the_same_rows_are_the_same_content(tmp_path):
    contents = []
    for name, brand in (("one", "ace"), ("two", "bolt")):
        write_day(tmp_path / name, 0, rows(0, (1, 10, 5, 1)), items([10], brand=brand))
        prepare_days(mapping(tmp_path / name), tmp_path / name / "days", 1)
        contents.append(read_ledger(tmp_path / name / "days" / day(0))["content"])
    assert contents[0] == contents[1]


# === Beside the log as a whole ===


def random_days(folder, count, seed, ordered=False):
    """Days with ties, users without a description, three tasks, requests and rows that belong to none."""
    rng = np.random.default_rng(seed)
    known = 3
    for number in range(count):
        new = [] if number == 2 else range(known, known + 3)
        known += len(new)
        size = 60
        # Few moments, so that many rows share one; no request lies on both sides of a cut.
        base = rng.choice([10, 20, 3600, 40_000, TAIL - 50, TAIL, TAIL + 40, DAY - 30], size)
        request = rng.integers(0, 12, size)
        users = rng.integers(1, 6, size)
        for one in range(12):
            base[request == one] = base[request == one][:1].repeat((request == one).sum())
        log = {
            "user_id": [f"u{one}" for one in users],
            "item_id": rng.integers(3, known, size).tolist(),
            "time": (START + number * DAY + base + rng.integers(0, 3, size)).tolist(),
            "request": [f"{number}-{one}" if one < 10 else None for one in request.tolist()],
            "device": rng.choice(["app", "web", f"device {number}"], size).tolist(),
            **{task: rng.integers(0, 2, size).tolist() for task in ("click", "order", "cart")},
            "p": rng.random(size).astype(np.float32),
            "slot": rng.integers(0, 5, size).tolist(),
        }
        write_day(folder, number, log, items(list(new), brand=f"brand {number}"))
    from tests.raw_logs import write_file

    write_file(folder / "users.parquet", {"user_id": ["u1", "u3", "u9"], "age": ["young", "old", "old"]})
    return mapping(
        folder,
        requests="single",
        candidates=3,
        history_task="order",
        users={"fields": {"age": "age"}},
        mixed_requests="first",
        log={
            "request": "request",
            "slot": "slot",
            "rows_in_order": ordered,
            "labels": {task: task for task in ("click", "order", "cart")},
            "context": {"device": "device"},
            "truth": {"click": "p"},
        },
    )


@pytest.mark.parametrize(("requests", "repeats", "ordered"), [("single", "merge", False), ("column", "merge", True), ("column", "keep", False)])
def test_three_days_equal_the_log_as_a_whole(tmp_path, requests, repeats, ordered):
    columns = random_days(tmp_path, 3, seed=len(requests), ordered=ordered).model_copy(update={"requests": requests, "repeats": repeats})
    statistics = prepare_days(columns, tmp_path / "days", 3)
    whole = columns.model_copy(update={"split": columns.split.model_copy(update={"by": "user", "valid": 0.0, "test": 0.05})})
    together = prepare(whole, BeamSettings(), tmp_path / "whole")
    expected = [one for split in ("train", "test") for one in read_samples(tmp_path / "whole" / "samples" / split)]
    found = samples_of(tmp_path / "days", 3)
    assert len(found) > 60 and found == in_words(tmp_path / "whole", expected)
    assert any(len(one["history"]) == 4 for one in found)
    for name in ("rows_read", "rows_repeated", "requests_mixed"):
        assert sum(one[name] for one in statistics) == together[name]
    assert {name: sum(one["ties"][name] for one in statistics) for name in ("requests", "behaviors")} == together["ties"]
    days, one_shot = Schema.read(tmp_path / "days" / day(2) / "schema.json"), Schema.read(tmp_path / "whole" / "schema.json")
    assert {field.name: set(field.vocabulary) for field in days.fields} == {field.name: set(field.vocabulary) for field in one_shot.fields}
    assert (days.time_range, days.user_id_type, days.tasks) == (one_shot.time_range, "string", ("click", "order", "cart"))


def test_bursts_of_two_days_equal_a_log_that_is_cut_at_the_same_times(tmp_path):
    columns = random_days(tmp_path, 2, seed=5).model_copy(update={"requests": "bursts", "repeats": "keep"})
    halves = [(number, half) for number in range(2) for half in ("head", "tail")]
    days = prepare_days(columns, tmp_path / "days", 2)
    sizes = [days[number]["splits"][half]["candidates"] for number, half in halves]
    shares = {"pretrain": sizes[0] / 120, "valid": sizes[2] / 120, "test": sizes[3] / 120}
    prepare(columns.model_copy(update={"split": columns.split.model_copy(update=shares)}), BeamSettings(), tmp_path / "whole")
    for (number, half), split in zip(halves, ("pretrain", "train", "valid", "test"), strict=True):
        found = in_words(tmp_path / "days" / day(1), read_samples(tmp_path / "days" / day(number) / "samples" / half))
        assert found == in_words(tmp_path / "whole", read_samples(tmp_path / "whole" / "samples" / split)), split


# === Bytes ===


def test_days_one_by_one_in_other_processes_and_batches_give_the_same_bytes(tmp_path):
    columns = random_days(tmp_path / "raw", 3, seed=1)
    prepare_days(columns, tmp_path / "loop", 3, batch_rows=1000)
    prepare_days(columns, tmp_path / "days", 2, batch_rows=1)
    code = (
        "import sys; from pathlib import Path; from ppm_tf.config import ColumnarData; from tests.day_logs import prepare_days;"
        "prepare_days(ColumnarData.model_validate_json(sys.argv[1]), Path(sys.argv[2]), 3, first=2, batch_rows=7)"
    )
    done = run_python(code, columns.model_dump_json(), tmp_path / "days")
    assert done.returncode == 0, done.stderr
    expected = digests(tmp_path / "loop")
    assert len(expected) > 40 and digests(tmp_path / "days") == expected


def test_a_later_day_leaves_earlier_ones_as_they_are(tmp_path):
    columns = random_days(tmp_path, 2, seed=3)
    prepare_days(columns, tmp_path / "days", 1)
    before = digests(tmp_path / "days" / day(0))
    prepare_days(columns, tmp_path / "days", 2, first=1)
    assert digests(tmp_path / "days" / day(0)) == before
