import gzip

import pyarrow as pa
import pytest

from ppm_tf.data.raw import files as raw_files
from ppm_tf.data.raw import json_lines
from ppm_tf.data.raw.column_times import TICKS, moments, ordering
from ppm_tf.data.raw.columns import Place, categories, labels
from ppm_tf.data.sources import columnar
from tests.raw_logs import LOG, SINGLE, mapping, write_file, write_raw

PLACE = Place("log.csv", "c", "data.log.c", 10)


def read(path, columns, batch_rows=100, **arguments):
    return [
        (row, batch.to_pydict()) for split in raw_files.splits([path]) for row, batch in raw_files.batches(split, columns, batch_rows, **arguments)
    ]


# === Reading ===


@pytest.mark.parametrize("ending", [".parquet", ".csv", ".csv.gz", ".jsonl", ".jsonl.gz"])
def test_batches_know_their_row(tmp_path, ending):
    path = tmp_path / f"log{ending}"
    write_file(path, {"a": ["x", "y", None, "z", "x"], "b": ["1", "2", "3", "4", "5"]})
    found = read(path, ["b", "a"], batch_rows=2)
    assert [row for row, _ in found] == [sum(len(batch["a"]) for _, batch in found[:place]) for place in range(len(found))]
    assert max(len(batch["a"]) for _, batch in found) == 2
    assert [value for _, batch in found for value in batch["a"]] == ["x", "y", None, "z", "x"]
    assert list(found[0][1]) == ["b", "a"]


def test_row_groups_are_spread_over_splits(tmp_path):
    write_file(tmp_path / "log.parquet", {"a": list(range(40))})  # row groups of 4 rows
    pieces = raw_files.splits([tmp_path / "log.parquet"])
    assert [(piece.first_row, len(piece.row_groups)) for piece in pieces] == [(0, 8), (32, 2)]
    assert [row for piece in pieces for row, _ in raw_files.batches(piece, ["a"], 100)] == [0, 32]


def test_json_columns_may_come_late_and_change_between_whole_and_broken_numbers(tmp_path, monkeypatch):
    monkeypatch.setattr(json_lines, "_TEXT_BLOCK", 30)  # a block every few lines
    path = tmp_path / "log.jsonl"
    path.write_text('{"a": 1, "t": "2020-01-01"}\n\n{"a": 2}\n{"a": 4.5, "b": "x"}\n{"a": null}\n')
    found = read(path, ["a", "b", "t"], exact=())
    assert [value for _, batch in found for value in batch["a"]] == [1, 2, 4.5, None]
    assert [value for _, batch in found for value in batch["b"]] == [None, None, "x", None]
    assert [value for _, batch in found for value in batch["t"]] == ["2020-01-01", None, None, None]  # text stays text
    assert [row for row, _ in found] == [0, 2]
    assert [batch["a"] for _, batch in read(path, ["a"], exact=())] == [[1, 2], [4.5, None]]  # with the type of the first block known
    assert [batch["a"] for _, batch in read(path, ["a"])] == [[1, 2], ["4.5", None]]  # no float stands for a number as it is written


def test_types_are_few_after_reading(tmp_path):
    path = tmp_path / "log.parquet"
    write_file(
        path,
        {
            "a": pa.array(["x", "y"]).dictionary_encode(),
            "b": pa.array(["x", "y"], pa.large_string()),
            "c": pa.array([["x"], []], pa.large_list(pa.large_string())),
        },
    )
    ((_, batch),) = list(raw_files.batches(raw_files.splits([path])[0], ["a", "b", "c"], 10))
    assert batch.schema.types == [pa.string(), pa.string(), pa.list_(pa.string())]


def test_globs_are_sorted_and_absolute_paths_work(tmp_path):
    for name in ("b.csv", "a.csv"):
        write_file(tmp_path / name, {"a": ["1"]})
    expected = [tmp_path / "a.csv", tmp_path / "b.csv"]
    assert raw_files.find(tmp_path, "*.csv", "s") == raw_files.find("elsewhere", str(tmp_path / "*.csv"), "s") == expected


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        ("log.jsonl", b'{"a": 1}\n{"a": 2\n', r"log.jsonl:2 must hold one JSON object. Received: .*a.*: 2.* Mend or remove the line"),
        ("log.jsonl", b'{"a": 1}\n[1]\n', r"log.jsonl:2 must hold one JSON object"),
        ("log.jsonl", b'{"a": 1.5}\n{"a": 2}\n{"a": {"b": 1}}\n',
        r"log.jsonl:3, column a must hold one value or a list of values. Received: {'b': '1'}"),
        ("log.csv", b"a,b\n1,2\n3\n", r"log.csv must be a readable csv file. Received: 10 bytes, CSV parse error: row 2: Expected 2 columns, got 1"),
        ("log.csv", b"", r"log.csv must be a readable csv file. Received: 0 bytes, Empty CSV file"),
        ("log.csv.gz", gzip.compress(b"a\n" + b"1\n" * 1000, mtime=0)[:-12], r"log.csv.gz must be a readable csv file. Received: .* bytes, .*"),
        ("log.parquet", b"PAR1 and then nothing of the kind",
        r"log.parquet must be a readable parquet file. Received: 33 bytes, .* Restore or mend the file"),
    ],
)  # fmt: skip
def test_refuses_damaged_files(tmp_path, name, content, match):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=match):
        read(tmp_path / name, ["a"])


def test_refuses_files_that_are_not_there_or_of_no_known_format(tmp_path):
    (tmp_path / "log.xlsx").write_bytes(b"")
    with pytest.raises(
        FileNotFoundError, match=r"data.log.files must name files in .*Received: log.csv, which matches none. The folder holds: log.xlsx"
    ):
        raw_files.find(tmp_path, "log.csv", "data.log.files")
    with pytest.raises(FileNotFoundError, match="The folder holds: no such folder"):
        raw_files.find(tmp_path / "away", "log.csv", "data.log.files")
    with pytest.raises(ValueError, match=r"A raw file must end in one of .parquet, .*Received: .*log.xlsx"):
        raw_files.find(tmp_path, "log.xlsx", "data.log.files")


# === Values ===


@pytest.mark.parametrize(
    ("column", "unit"),
    [
        (pa.array([1_600_000_000, 5]), "s"),
        (pa.array([1_600_000_000_999, 5_000]), "ms"),
        (pa.array([1_600_000_000.9, 5.0]), "s"),
        (pa.array([1_600_000_000, 5], pa.timestamp("s")), "ms"),
        (pa.array([1_600_000_000_999_999, 5_000_000], pa.timestamp("us", "Europe/Prague")), "s"),
        (pa.array(["1600000000", "5"]), "s"),
        (pa.array(["2020-09-13T12:26:40", "1970-01-01 00:00:05.75"]), "s"),
        (pa.array(["2020-09-13T12:26:40Z", "1970-01-01T01:00:05+01:00"]), "s"),
    ],
)  # fmt: skip
def test_times_become_seconds(column, unit):
    assert (moments(column, unit, PLACE) // TICKS).tolist() == [1_600_000_000, 5]


def test_dates_become_seconds():
    assert moments(pa.array([1], pa.date32()), "s", PLACE).tolist() == [86_400 * TICKS]


def test_labels_of_any_numeric_type():
    assert labels(pa.array([True, False, None]), None, PLACE).tolist() == [1, 0, -1]
    assert labels(pa.array([3.5, 4.0, float("nan"), None]), 4.0, PLACE).tolist() == [0, 1, -1, -1]
    assert labels(pa.array(["5", "1", None]), 4.0, PLACE).tolist() == [1, 0, -1]


def test_a_threshold_is_reached_in_the_precision_of_the_column():
    for kind in (pa.float16(), pa.float32(), pa.float64()):
        assert labels(pa.array([2.25, 2.33, 2.5], pa.float64()).cast(kind), 2.33, PLACE).tolist() == [0, 1, 1], kind


def test_orders_of_any_type():
    assert ordering(pa.array([2**60 + 1, 2**60]), PLACE)[0].tolist() == [2**60 + 1, 2**60]  # beyond what a double holds
    assert ordering(pa.array(["0.5", "2"]), PLACE)[0].tolist() == [0.5, 2.0]


def test_categories_of_any_type():
    assert categories(pa.array([1995.0, None, 7.5]), None)[1].to_pylist() == ["1995", "7.5"]
    counts, values = categories(pa.array([[1, 2], None, [3]])[1:], None)
    assert (counts.tolist(), values.to_pylist()) == ([0, 1], ["3"])


@pytest.mark.parametrize(
    ("convert", "match"),
    [
        (lambda: moments(pa.array(["5", "soon"]), "s", PLACE),
        r"log.csv, row 12, column c must hold a time. Received: 'soon'. Remedy: write seconds since 1970"),
        (lambda: labels(pa.array(["0", "1", "view", "1"]), None, PLACE),
        r"log.csv, row 13, column c must hold 0, 1, true, false, yes, no or nothing. Received: 'view'. Remedy: .*data.log.c.equals=view"),
        (lambda: ordering(pa.array([1.0, float("nan")]), PLACE), r"row 12, column c must hold a number below 2\^63. Received: nan"),
        (lambda: ordering(pa.array([1, None]), PLACE), r"row 12, column c must hold a number. Received: nothing"),
    ],
)  # fmt: skip
def test_refused_values(convert, match):
    with pytest.raises(ValueError, match=match):
        convert()


# === The mapping against the files ===


@pytest.mark.parametrize(
    ("raw", "settings", "match"),
    [
        ({}, {"log": {"time": "time", "item": "sku"}},
        r"data.log.item must name a column of .*interactions.parquet. Received: sku. Its columns are: user_id, item_id, time, click"),
        ({}, {"items": {"text": ("plot",)}}, r"data.items.text must name a column of .*items.parquet. Received: plot"),
        ({"click": [[1]] * 10}, {},
        r"data.log.labels.click must name a column of numbers, booleans or words. Received: column click "
        r"of .*, of type list.* Remedy: store 0 and 1"),
        ({"user_id": [[1]] * 10}, {},
        r"data.log.user must name a column of integers or strings. Received: column user_id of .*, of type list.* Remedy: store the ids"),
        ({"time": [[1]] * 10}, {}, r"data.log.time must name a column of numbers or timestamps. Received: column time of .*, of type list"),
        ({}, {"requests": "column"},
        r"data.requests=column needs the column of the request id. Received: "
        r"data.log.request is not set. Remedy: set it, or set data.requests=bursts"),
        ({}, {"log": {}}, r"data.split.by=time needs the column of the time. Received: "
        r"data.log.time is not set. Remedy: set it, or set data.split.by=user"),
        ({}, {"history_task": "order"}, r"data.history_task must be one of the tasks click. Received: order"),
        ({}, {"log": {"time": "time", "truth": {"order": "p"}}}, r"data.log.truth must name tasks of data.log.labels \(click\). Received: order"),
        ({}, {"items": {"fields": {"age": "brand"}}, "log": {"time": "time", "context": {"age": "time"}}},
        r"must have names of their own.* Received: age more than once"),
    ],
)  # fmt: skip
def test_refused_mappings(tmp_path, raw, settings, match):
    write_raw(tmp_path, log={**LOG, **raw})
    columns = mapping(tmp_path, **{**SINGLE, **settings})
    with pytest.raises(ValueError, match=match):
        columnar.check(columns)


def test_refuses_a_missing_file(tmp_path):
    write_raw(tmp_path)
    (tmp_path / "interactions.parquet").unlink()
    with pytest.raises(
        FileNotFoundError,
        match=r"data.log.files must name files in .*Received: interactions.parquet, which matches none. The folder holds: items.parquet",
    ):
        columnar.check(mapping(tmp_path, **SINGLE))


def test_raw_inputs_lists_each_file_once(tmp_path):
    write_raw(tmp_path, users={"user_id": [1], "age": ["x"]})
    write_file(tmp_path / "texts.csv", {"item_id": [10], "plot": ["x"]})
    columns = mapping(tmp_path, users={"fields": {"age": "age"}}, items={"text": ("plot",), "text_files": "texts.csv"}, **SINGLE)
    assert [path.name for path in columnar.raw_inputs(columns)] == ["items.parquet", "texts.csv", "users.parquet", "interactions.parquet"]
    assert columnar.columns(columns, tmp_path) is columns
