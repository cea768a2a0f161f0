import hashlib
import json
import os
import random
from pathlib import Path

import numpy as np
import pytest

from ppm_tf.config import BeamSettings
from ppm_tf.data.catalog import ItemCatalog
from ppm_tf.data.manifest import Manifest
from ppm_tf.data.preparation.prepare import prepare
from ppm_tf.data.schema import Schema
from ppm_tf.data.splits import SPLITS
from tests.raw_logs import LOG, SINGLE, mapping, prepared, read_samples, sample, write_raw


def digests(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".npz"
    }


# === Values by hand ===


def test_single_requests_split_by_time(tmp_path):
    write_raw(tmp_path)
    samples = prepared(mapping(tmp_path, **SINGLE), tmp_path / "out")
    assert samples["pretrain"] == []
    assert samples["train"] == [
        sample(1, 100, [], [2], [1], []),
        sample(1, 200, [2], [3], [0], [100]),
        sample(1, 300, [2], [4], [1], [100]),
        sample(1, 300, [2], [5], [1], [100]),  # the row at the same second is not before it
        sample(2, 150, [], [3], [1], []),
        sample(2, 250, [3], [6], [0], [150]),
        sample(3, 120, [], [4], [0], []),
    ]
    assert samples["valid"] == [sample(1, 400, [5, 4, 2], [6], [0], [300, 300, 100])]  # newest first
    assert samples["test"] == [sample(1, 500, [5, 4, 2], [2], [1], [300, 300, 100]), sample(3, 600, [], [5], [1], [])]


def test_history_keeps_the_most_recent(tmp_path):
    write_raw(tmp_path)
    samples = prepared(mapping(tmp_path, history_length=2, **SINGLE), tmp_path / "out")
    assert samples["valid"] == [sample(1, 400, [5, 4], [6], [0], [300, 300])]


def test_bursts_share_the_history_before_their_first_row_and_end_at_a_cut(tmp_path):
    write_raw(tmp_path)
    samples = prepared(mapping(tmp_path, **{**SINGLE, "requests": "bursts", "candidates": 3}), tmp_path / "out")
    assert samples["train"] == [
        sample(1, 100, [], [2, 3, 4], [1, 0, 1], []),
        sample(1, 300, [2], [5], [1], [100]),
        sample(2, 150, [], [3, 6], [1, 0], []),
        sample(3, 120, [], [4], [0], []),
    ]
    assert samples["valid"] == [sample(1, 400, [5, 4, 2], [6], [0], [300, 300, 100])]


REQUESTS = {
    "user_id": [1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 1, 1],
    "item_id": [10, 20, 40, 50, 10, 20, 30, 30, 10, 20, 40, 50],
    "time": [100, 100, 200, 201, 202, 203, 150, 204, 100, 100, 900, 900],
    "request": ["a", "a", "b", "b", "b", "b", None, "c", "a", "a", "d", "d"],
    "slot": [1, 0, 0, 1, 2, 3, None, None, 0, 1, 0, 1],
    "click": [1, 0, 0, 1, None, 1, 1, 0, 0, 1, 0, 1],
    "order": [0, None, 0, 1, None, 1, 0, 0, 0, 0, 0, 1],
    "device": ["app", "app", "web", "web", "web", "web", "app", None, "tv", "tv", "app", "app"],
    "p": [0.5, 0.25, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5],
}


def test_requests_by_column(tmp_path):
    write_raw(tmp_path, log=REQUESTS, users={"user_id": [2, 1], "age": ["old", "young"]})
    columns = mapping(
        tmp_path,
        candidates=3,
        split={"by": "time", "valid": 0.0, "test": 0.1},
        log={
            "time": "time",
            "request": "request",
            "slot": "slot",
            "labels": {"click": "click", "order": "order"},
            "context": {"device": "device"},
            "truth": {"click": "p"},
        },
        users={"fields": {"age": "age"}},
    )
    samples = prepared(columns, tmp_path / "out")
    nan = pytest.approx(float("nan"), nan_ok=True)
    # device by count: web 4, app 4 (5 with the row of no request), tv 2, so app is row 2, web 3, tv 4; age: old 2, young 3
    first = sample(1, 100, [], [2, 3], [1, 0, 0, -1], [], slot=[1, 0], context=[2], user=[3], truth=[0.5, nan, 0.25, nan])
    long = {"context": [3], "user": [3]}
    assert samples["train"] == [
        first,
        sample(1, 200, [4, 2], [5, 6, 2], [0, 0, 1, 1, -1, -1], [150, 100], slot=[0, 1, 2], truth=[0.5, nan] * 3, **long),
        sample(1, 200, [4, 2], [3], [1, 1], [150, 100], slot=[3], truth=[0.5, nan], **long),
        sample(1, 204, [3, 6, 4, 2], [4], [0, 0], [203, 201, 150, 100], slot=[-1], context=[0], user=[3], truth=[0.5, nan]),
        sample(2, 100, [], [2, 3], [0, 0, 1, 0], [], slot=[0, 1], context=[4], user=[2], truth=[0.5, nan] * 2),
    ]
    assert [found["item"] for found in samples["test"]] == [[5, 6]]
    schema = Schema.read(tmp_path / "out" / "schema.json")
    assert (schema.tasks, schema.num_candidates, schema.has_slot, schema.has_truth) == (("click", "order"), 3, True, True)
    assert {field.name: field.vocabulary for field in schema.fields} == {"age": ("old", "young"), "device": ("app", "web", "tv")}


def test_history_of_another_task(tmp_path):
    write_raw(tmp_path, log={**LOG, "order": [0, 0, 1, 0, 0, 0, 1, 0, 0, 1]})
    samples = prepared(
        mapping(tmp_path, history_task="order", **{**SINGLE, "log": {"time": "time", "labels": {"click": "click", "order": "order"}}}),
        tmp_path / "out",
    )
    assert samples["valid"] == [sample(1, 400, [4], [6], [0, 0], [300])]


def test_without_times_the_order_decides_and_ties_are_left_out(tmp_path):
    log = {"user_id": [1] * 6, "item_id": [50, 40, 30, 20, 10, 10], "place": [5, 4, 2, 2, 1, 0], "rating": [5, 1, 4, 5, 1, 4]}
    write_raw(tmp_path, log=log)
    columns = mapping(
        tmp_path,
        requests="single",
        split={"by": "user", "test": 0.2, "valid": 0.2},
        log={"order": "place", "labels": {"click": {"column": "rating", "at_least": 4}}},
    )
    samples = prepared(columns, tmp_path / "out")
    assert samples["train"] == [
        sample(1, 0, [], [2], [1]),
        sample(1, 0, [2], [2], [0]),
        sample(1, 0, [2], [4], [1]),
        sample(1, 0, [2], [3], [1]),
    ]
    assert (samples["valid"], samples["test"]) == ([sample(1, 0, [3, 4, 2], [5], [0])], [sample(1, 0, [3, 4, 2], [6], [1])])


def test_without_times_and_order_the_log_decides(tmp_path):
    write_raw(tmp_path, log={"user_id": [1] * 5, "item_id": [10, 20, 30, 40, 50], "click": [1, 0, 1, 1, 1]})
    samples = prepared(mapping(tmp_path, requests="single", split={"by": "user", "test": 0.2, "valid": 0.2}), tmp_path / "out")
    assert samples["test"] == [sample(1, 0, [5, 4, 2], [6], [1])]


def test_user_split_leaves_short_users_in_train_and_takes_the_oldest_for_pretraining(tmp_path):
    log = {
        "user_id": [1] * 10 + [2] * 3,
        "item_id": [10, 20] * 5 + [10, 20, 30],
        "time": list(range(13)),
        "click": [0, 1, 1, 0, 1, 0, 1, 0, 1, 0, 1, 1, 0],
    }
    write_raw(tmp_path, log=log)
    samples = prepared(mapping(tmp_path, **{**SINGLE, "split": {"by": "user", "pretrain": 0.3, "valid": 0.1, "test": 0.2}}), tmp_path / "out")
    times = {split: [found["time"] for found in samples[split]] for split in SPLITS}
    assert times == {"pretrain": [0, 1, 2], "train": [3, 4, 5, 6, 10, 11, 12], "valid": [7], "test": [8, 9]}


def test_last_requests_of_each_user(tmp_path):
    write_raw(tmp_path)
    samples = prepared(mapping(tmp_path, **{**SINGLE, "split": {"by": "user", "last": 1}}), tmp_path / "out")
    times = {split: [(found["user_id"], found["time"]) for found in samples[split]] for split in SPLITS}
    assert times["test"] == [(1, 500), (2, 250), (3, 600)]
    assert times["valid"] == [(1, 400), (2, 150), (3, 120)]


def test_one_whole_request_is_the_unit_of_a_user_split(tmp_path):
    write_raw(tmp_path, log=REQUESTS)
    columns = mapping(tmp_path, candidates=3, split={"by": "user", "last": 1}, log={"time": "time", "request": "request"})
    samples = prepared(columns, tmp_path / "out")
    assert [found["time"] for found in samples["valid"]] == [204]
    assert [found["item"] for found in samples["train"]] == [[2, 3], [5, 6, 2], [3]]


# === Formats, batches, order ===


@pytest.mark.parametrize("ending", [".csv", ".csv.gz", ".jsonl", ".jsonl.gz", ".json.gz"])
def test_formats_give_equal_data(tmp_path, ending):
    settings = {
        **SINGLE,
        "items": {"text": ("title",), "fields": {"brand": "brand", "tags": {"column": "tags", "separator": "|"}}, "numbers": ("price",)},
    }
    users = {"user_id": [3, 1], "age": [30, None]}
    for kind in (".parquet", ending):
        write_raw(tmp_path / kind, ending=kind, users=users)
        prepare(mapping(tmp_path / kind, kind, users={"fields": {"age": "age"}}, **settings), BeamSettings(), tmp_path / kind / "out")
    assert digests(tmp_path / ending / "out") == digests(tmp_path / ".parquet" / "out")
    for name in ("fields.npz", "numbers.npz", "counts.npz"):
        first, second = (np.load(tmp_path / kind / "out" / "catalog" / name) for kind in (".parquet", ending))
        for key in first.files:
            np.testing.assert_array_equal(first[key], second[key])
    first, second = (np.load(tmp_path / kind / "out" / "users.npz") for kind in (".parquet", ending))
    assert (
        {key: first[key].tolist() for key in first.files}
        == {key: second[key].tolist() for key in second.files}
        == {"user_id": [1, 3], "age": [[0], [2]]}
    )


@pytest.mark.parametrize("batch_rows", [1, 4])
def test_bytes_do_not_depend_on_the_batch_size(tmp_path, batch_rows):
    write_raw(tmp_path)
    for name, rows in (("first", 1000), ("second", batch_rows)):
        prepare(mapping(tmp_path, **{**SINGLE, "requests": "bursts"}), BeamSettings(batch_rows=rows), tmp_path / name)
    assert digests(tmp_path / "first") == digests(tmp_path / "second")


def test_samples_do_not_depend_on_the_order_of_the_rows(tmp_path):
    places = [place for place in range(10) if place != 3]  # without the tie in time, whose order is that of the file
    shuffled = random.Random(0).sample(places, len(places))
    results = []
    for name, chosen in (("first", places), ("second", shuffled)):
        write_raw(tmp_path / name, log={column: [values[place] for place in chosen] for column, values in LOG.items()})
        results.append(prepared(mapping(tmp_path / name, **SINGLE), tmp_path / name / "out"))
    assert results[0] == results[1]


def test_shards_without_compression(tmp_path):
    write_raw(tmp_path)
    prepare(mapping(tmp_path, compression="none", **SINGLE), BeamSettings(), tmp_path / "out")
    manifest = Manifest.read(tmp_path / "out" / "samples" / "train")
    assert manifest.records == 7 and manifest.candidates == 7 and manifest.about == {"split": "train"}
    assert all(shard.file.endswith(".tfrecord") for shard in manifest.shards)
    assert len(read_samples(tmp_path / "out" / "samples" / "train")) == 7


def test_ordinals_are_unique(tmp_path):
    write_raw(tmp_path)
    prepare(mapping(tmp_path, **SINGLE), BeamSettings(), tmp_path / "out")
    ordinals = [found["request"] for split in SPLITS for found in read_samples(tmp_path / "out" / "samples" / split)]
    assert len(set(ordinals)) == len(ordinals) == 10
    assert {ordinal >> 40 for ordinal in ordinals} <= {0, 1}


# === Ids, counts, statistics, queries ===


@pytest.mark.parametrize("ending", [".parquet", ".csv"])
def test_string_user_ids_are_stored_as_the_fingerprints_that_a_graph_computes(tmp_path, ending):
    import tensorflow as tf

    names = ["u1", "u1", "u1", "u1", "u1", "u1", "žofie", "žofie", "007", "007"]
    write_raw(tmp_path, log={**LOG, "user_id": names}, ending=ending, users={"user_id": ["007", "u1"], "age": ["x", "y"]})
    samples = prepared(mapping(tmp_path, ending, users={"fields": {"age": "age"}}, **SINGLE), tmp_path / "out")
    expected = tf.strings.to_hash_bucket_fast(["u1", "žofie", "007"], 2**63 - 1).numpy().tolist()
    assert {found["user_id"]: found["user"] for split in SPLITS for found in samples[split]} == dict(zip(expected, [[3], [0], [2]], strict=True))
    assert Schema.read(tmp_path / "out" / "schema.json").user_id_type == "string"


def test_counts_are_those_of_pretrain_and_train(tmp_path):
    write_raw(tmp_path)
    prepare(mapping(tmp_path, **{**SINGLE, "split": {"by": "time", "pretrain": 0.4, "valid": 0.1, "test": 0.2}}), BeamSettings(), tmp_path / "out")
    counts = ItemCatalog.read(tmp_path / "out" / "catalog").counts
    # pretrain: times 100, 120, 150, 200; train: 250, 300, 300
    assert {name: values.tolist() for name, values in counts.items()} == {
        "exposures_pretrain": [0, 0, 1, 2, 1, 0, 0],
        "positives_pretrain": [[0], [0], [1], [1], [0], [0], [0]],
        "exposures_train": [0, 0, 0, 0, 1, 1, 1],
        "positives_train": [[0], [0], [0], [0], [1], [1], [0]],
    }


def test_statistics(tmp_path):
    write_raw(tmp_path, log={**LOG, "click": [1, 0, 1, None, 0, 1, 1, 0, 0, 1]})
    statistics = prepare(mapping(tmp_path, **SINGLE), BeamSettings(), tmp_path / "out")
    assert statistics == json.loads((tmp_path / "out" / "statistics.json").read_text())
    assert (statistics["items"], statistics["users"], statistics["rows_read"], statistics["rows_rejected"]) == (5, 3, 10, {})
    assert statistics["cut_times"] == {"train": 100, "valid": 400, "test": 500}
    assert statistics["splits"]["train"] == {
        "requests": 7, "candidates": 7, "positives": {"click": 3}, "negatives": {"click": 3}, "missing": {"click": 1}, "first_time": 100,
        "last_time": 300,
    }  # fmt: skip
    assert not (tmp_path / "out" / ".work").exists()


def test_queries_keep_clicks_on_known_items(tmp_path):
    import pyarrow.parquet as pq

    write_raw(tmp_path, queries={"query": ["shoe", "hat", "", "car", "cap"], "item_id": [20, 40, 10, 99, 50], "grade": [3.0, 1.0, 3.0, 3.0, 2.5]})
    columns = mapping(tmp_path, queries={"label": "grade", "at_least": 2.0}, **SINGLE)
    statistics = prepare(columns, BeamSettings(), tmp_path / "out")
    assert pq.read_table(tmp_path / "out" / "queries.parquet").to_pydict() == {"query": ["shoe", "cap"], "item_row": [3, 6]}
    assert statistics["queries"] == {"read": 5, "kept": 2, "below_grade": 1, "empty": 1, "unknown_item": 1}


# === Properties ===


def reference(log, requests, candidates, length, repeats, ordered):
    """Requests and histories by their definition, row by row; `log` is a list of (user, item row, time, click, request id).

    With `ordered` a row's place in the log is its order within its time.
    """
    log = [list(row) for row in log]
    places = sorted(range(len(log)), key=lambda place: (log[place][0], log[place][2], place))
    if repeats != "keep":
        stays: dict[tuple, int] = {}
        for place in places:
            user, item, time, click, request = log[place]
            first = stays.setdefault((user, item, request if requests == "column" else time), place)
            if repeats == "merge":
                log[first][3] = max(log[first][3], click)
        places = [place for place in places if place in stays.values()]
    groups: list[list[int]] = []
    for place in places:
        user, _, _, _, request = log[place]
        open_group = None
        if requests == "column":
            open_group = next((group for group in groups if (log[group[0]][0], log[group[0]][4]) == (user, request)), None)
        elif requests == "bursts" and groups and log[groups[-1][0]][0] == user and len(groups[-1]) < candidates:
            open_group = groups[-1]
        if open_group is None:
            groups.append([place])
        else:
            open_group.append(place)
    samples = []
    for group in groups:
        user, _, time, _, _ = log[group[0]]
        earlier = [place for place in places if log[place][0] == user and log[place][3] == 1 and log[place][2] < time]
        tied = [place for place in places if log[place][0] == user and log[place][3] == 1 and log[place][2] == time and place < group[0]]
        for start in range(0, len(group), candidates):
            part = group[start : start + candidates]
            own = {log[place][1] for place in part if log[place][2] == time}
            told = ordered and not any(log[place][1] in own for place in tied)  # a row of one item and time tells the label
            recent = [*earlier, *(tied if told else [])][::-1][:length]
            samples.append(
                sample(
                    user,
                    time,
                    [log[place][1] for place in recent],
                    [log[place][1] for place in part],
                    [log[place][3] for place in part],
                    [log[place][2] for place in recent],
                )
            )
    return samples


@pytest.mark.parametrize("requests", ["single", "bursts", "column"])
@pytest.mark.parametrize(("seed", "repeats", "ordered"), [(0, "keep", False), (1, "merge", False), (2, "drop", True), (3, "keep", True)])
def test_random_logs_equal_the_definition(tmp_path, requests, seed, repeats, ordered):
    rng = np.random.default_rng(seed)
    count, candidates = 120, 1 if requests == "single" else 3
    log = {
        "user_id": rng.integers(1, 6, count).tolist(),
        "item_id": (rng.integers(1, 6, count) * 10).tolist(),
        "time": rng.integers(0, 40, count).tolist(),
        "click": rng.integers(0, 2, count).tolist(),
        "request": rng.integers(0, 12, count).tolist(),
    }
    rows = list(zip(log["user_id"], [item // 10 + 1 for item in log["item_id"]], log["time"], log["click"], log["request"], strict=True))
    # With a share this small only user 9 is long enough for a test part, so the reference need not know of splits.
    long = [(9, 10, time, time % 2, time) for time in range(200)]
    write_raw(tmp_path, log={name: [*values, *more] for (name, values), more in zip(log.items(), zip(*long, strict=True), strict=True)})
    settings = {
        "requests": requests,
        "candidates": candidates,
        "history_length": 4,
        "shards": 3,
        "split": {"by": "user", "valid": 0.0, "test": 0.01},
        "log": {"time": "time", "request": "request", "rows_in_order": ordered},
        "repeats": repeats,
    }
    samples = prepared(mapping(tmp_path, **settings), tmp_path / "out", batch_rows=100)
    found = [found for found in samples["train"] if found["user_id"] != 9]
    assert found == reference(rows, requests, candidates, 4, repeats, ordered)
    for split in samples.values():
        for request in split:
            assert all(time < request["time"] or (ordered and time == request["time"]) for time in request["history_time"])


@pytest.mark.skipif("PPM_TF_ML1M" not in os.environ, reason="PPM_TF_ML1M names no folder with MovieLens-1M")
def test_movielens_1m(tmp_path):
    from ppm_tf.config import MovieLensData
    from ppm_tf.data.sources import movielens

    settings = MovieLensData(path=os.environ["PPM_TF_ML1M"])
    statistics = prepare(movielens.columns(settings, tmp_path / "raw"), BeamSettings(), tmp_path / "out")
    assert (statistics["items"], statistics["users"], statistics["rows_read"]) == (3883, 6040, 1_000_209)
    assert sum(found["candidates"] for found in statistics["splits"].values()) == 1_000_209
    assert sum(found["positives"]["click"] for found in statistics["splits"].values()) == 348_971 + 226_310  # ratings of 4 and 5
    assert Path(tmp_path, "out", "users.npz").is_file()
