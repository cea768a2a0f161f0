import json

import numpy as np
import pytest

from ppm_tf.config import BeamSettings
from ppm_tf.data.preparation.prepare import prepare
from tests.raw_logs import LOG, SINGLE, mapping, prepared, write_file, write_raw

# === Rows set aside ===


def test_unusable_rows_are_set_aside_and_counted(tmp_path):
    log = {
        name: [*values, *more] for (name, values), more in zip(LOG.items(), ([None, 7, 7], [10, 99, None], [130, 140, 150], [1, 1, 1]), strict=True)
    }
    write_raw(tmp_path, log=log)
    samples = prepared(mapping(tmp_path, max_rejected=0.3, **SINGLE), tmp_path / "out")
    assert sum(len(found) for found in samples.values()) == 10
    statistics = json.loads((tmp_path / "out" / "statistics.json").read_text())
    assert statistics["rows_rejected"] == {"no item id": 1, "no user id": 1, "unknown item": 1}
    path = str(tmp_path / "interactions.parquet")
    assert [json.loads(line) for line in (tmp_path / "out" / "rejected.jsonl").read_text().splitlines()] == [
        {"file": path, "row": 11, "column": "user_id", "value": None, "reason": "no user id"},
        {"file": path, "row": 12, "column": "item_id", "value": 99, "reason": "unknown item"},
        {"file": path, "row": 13, "column": "item_id", "value": None, "reason": "no item id"},
    ]
    with pytest.raises(
        ValueError,
        match=(
            r"share of 0.1 .*data.max_rejected.* 3 of 13 rows: 1 with no item id, 1 with no user id, 1 with unknown item.*row 11, column"
            r" user_id.*raise data.max_rejected"
        ),
    ):
        prepare(mapping(tmp_path, max_rejected=0.1, **SINGLE), BeamSettings(), tmp_path / "again")


def test_a_request_on_both_sides_of_a_cut_is_set_aside(tmp_path):
    log = {
        "user_id": [1] * 10,
        "item_id": [10, 20] * 5,
        "time": [1, 1, 2, 2, 3, 9, 4, 4, 8, 9],
        "request": [1, 1, 2, 2, 3, 3, 4, 4, 5, 5],
        "click": [0, 1] * 5,
    }
    write_raw(tmp_path, log=log)
    settings = {"candidates": 2, "split": {"by": "time", "valid": 0.0, "test": 0.3}, "log": {"time": "time", "request": "request"}}
    samples = prepared(mapping(tmp_path, max_rejected=0.2, **settings), tmp_path / "out")
    assert [found["time"] for found in samples["train"]] == [1, 2, 4]
    assert json.loads((tmp_path / "out" / "statistics.json").read_text())["rows_rejected"] == {"a request on both sides of a cut in time": 2}
    with pytest.raises(ValueError, match=r"2 of 10 rows: 2 with a request on both sides of a cut in time.*row 5, column request"):
        prepare(mapping(tmp_path, **settings), BeamSettings(), tmp_path / "again")


# === Refusals ===


def refused(tmp_path, match, log=None, settings=None, **others):
    write_raw(tmp_path, log={**LOG, **(log or {})}, **others)
    with pytest.raises(ValueError, match=match):
        prepare(mapping(tmp_path, **{**SINGLE, **(settings or {})}), BeamSettings(), tmp_path / "out")
    assert not (tmp_path / "out" / "statistics.json").exists()


@pytest.mark.parametrize(
    ("log", "settings", "match"),
    [
        ({"click": [1] * 10}, {},
        r"train split must hold both positives and negatives of the task click. Received: 7 positives and 0 negatives "
        r"in column click.*data.log.labels.click.* A log of clicks alone needs negatives: add rows of what was shown and not clicked"),
        ({"click": [0] * 10}, {}, r"Received: 0 positives and 7 negatives"),
        ({"click": [1, 0, 2, 1, 0, 1, 1, 0, 0, 1]}, {},
        r"interactions.parquet, row 3, column click must hold 0, 1 or nothing. Received: 2. .*data.log.labels.click.at_least"),
        ({"time": [100.0, 200, float("nan"), 300, 400, 500, 150, 250, 120, 600]}, {}, r"row 3, column time must hold a time. Received: nan"),
        ({"time": [100, -200, 300, 300, 400, 500, 150, 250, 120, 600]}, {}, r"row 2, column time must hold a time from 1970 on. Received: -200"),
        ({"time": [100, None, 300, 300, 400, 500, 150, 250, 120, 600]}, {}, r"row 2, column time must hold a time. Received: nothing"),
        ({"time": [time * 10**10 for time in LOG["time"]]}, {},
        r"row 1, column time must hold a time before the year 2100. Received: 1000000000000.*data.log.time_unit=ms"),
        ({"user_id": [None] * 10}, {"max_rejected": 0.9}, r"At most a share of 0.9"),
        ({}, {"split": {"by": "user", "test": 0.1, "valid": 0.1}},
        r"test split must hold at least one request. Received: pretrain 0, train 9, valid 1, test 0 requests. Remedy: change data.split.test"),
        ({}, {"split": {"by": "time", "test": 0.01, "valid": 0.95}}, r"train split must hold at least one request"),
    ],
)  # fmt: skip
def test_refused_logs(tmp_path, log, settings, match):
    refused(tmp_path, match, log, settings)


def test_refuses_a_slot_that_is_no_position(tmp_path):
    refused(
        tmp_path,
        r"row 1, column slot must hold a display position from 0 on. Received: -1",
        {"slot": [-1] * 10},
        {"log": {"time": "time", "slot": "slot"}},
    )


def test_refuses_an_empty_log(tmp_path):
    import pyarrow as pa

    refused(tmp_path, "must hold at least one row. Received: none in interactions.parquet", {name: pa.array([], pa.int64()) for name in LOG})


def test_refuses_duplicate_users(tmp_path):
    refused(
        tmp_path,
        r"User ids must be unique. Received: the user of row 1 again in row 3",
        settings={"users": {"fields": {}}},
        users={"user_id": [4, 5, 4]},
    )


def test_names_file_and_line_of_a_damaged_log(tmp_path):
    write_raw(tmp_path, ending=".jsonl")
    path = tmp_path / "interactions.jsonl"
    path.write_text(path.read_text() + '{"user_id": 1\n{"user_id": 2}\n')
    with pytest.raises(ValueError, match=r"interactions.jsonl:11 must hold one JSON object. Received: .*Mend or remove the line"):
        prepare(mapping(tmp_path, ".jsonl", **SINGLE), BeamSettings(), tmp_path / "out")


def test_names_the_file_whose_pages_are_damaged(tmp_path):
    write_raw(tmp_path)
    path = tmp_path / "interactions.parquet"
    content = bytearray(path.read_bytes())
    content[4:40] = bytes(36)  # the first page; the footer stays whole
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"interactions.parquet must be a readable parquet file. Received: .* Restore or mend the file"):
        prepare(mapping(tmp_path, **SINGLE), BeamSettings(), tmp_path / "out")


def test_the_first_problem_of_many_files_is_named(tmp_path):
    write_raw(tmp_path)
    for name in ("b", "a"):
        write_file(tmp_path / f"log-{name}.parquet", {**LOG, "click": [7] * 10})
    with pytest.raises(ValueError, match="log-a.parquet, row 1, column click"):
        prepare(mapping(tmp_path, **{**SINGLE, "log": {"time": "time", "files": "log-*.parquet"}}), BeamSettings(), tmp_path / "out")


def test_a_split_past_its_cut_is_never_written(tmp_path, monkeypatch):
    write_raw(tmp_path)
    monkeypatch.setattr(
        "ppm_tf.data.preparation.requests.split_by_time",
        lambda times, cuts: np.where(times == 600, 1, np.searchsorted(cuts, times, side="right")).astype(np.int8),
    )
    with pytest.raises(RuntimeError, match="The train split must end before its cut at 400. Received: a row at 600"):
        prepare(mapping(tmp_path, **SINGLE), BeamSettings(), tmp_path / "out")
