"""What a raw value means is decided once, for every file, every day and the server: tried through the command lines."""

import gzip
import json
import logging

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from pipelines import evaluate, export, prepare, train
from pipelines.stage import main
from ppm_tf.data.catalog import ItemCatalog
from ppm_tf.data.schema import Schema
from tests.raw_logs import read_samples, write_file

ITEMS = {"item_id": [10, 20, 30, 40, 50], "title": ["red shoe", "blue shoe", "green hat", "wide hat", "cap"]}
LOG = {"user_id": "user_id", "item_id": "item_id", "time": "time"}


def rows(users=8, each=6, start=1_700_000_000):
    """A log in which a user's rows are an hour apart, every second one a click."""
    count = users * each
    place = np.arange(count)
    return {
        "user_id": (place // each + 1).tolist(),
        "item_id": (place * 7 % 5 * 10 + 10).tolist(),
        "time": (start + place % each * 3600 + place // each * 10).tolist(),
        "click": (place % 2).tolist(),
    }


def command(folder, *settings, stage=prepare.STAGE, run="run", **log):
    """Runs a stage on the files of a folder; every setting that is not of the log is given as on a command line."""
    log = {"files": "log*", "time": "time", **log}
    mapping = {
        "run": str(folder / run),
        "data": {
            "source": "columnar",
            "path": str(folder),
            "items": {"files": "items*"},
            "log": log,
            "requests": "single",
            "shards": 2,
            "split": {"valid": 0.2, "test": 0.2},
        },
    }
    path = folder / "settings.yaml"
    path.write_text(yaml.safe_dump(mapping), encoding="utf-8")
    main(stage, [str(path), *settings])
    return folder / run / "data"


def refused(folder, capsys, *settings, **more):
    """The message of a command that ends with 1 or 2."""
    with pytest.raises(SystemExit) as end:
        command(folder, *settings, **more)
    assert end.value.code in (1, 2)
    return capsys.readouterr().err


def samples(data):
    return [sample for split in ("train", "valid", "test") for sample in read_samples(data / "samples" / split)]


def users_of(data):
    return {sample["user_id"] for sample in samples(data)}


def statistics(data):
    return json.loads((data / "statistics.json").read_text())


def schema_of(data):
    return Schema.read(data / "schema.json")


def vocabulary(data, name):
    return next(field.vocabulary for field in schema_of(data).fields if field.name == name)


def csv(path, columns):
    """Cells as they are given, as text."""
    lines = [",".join(columns), *(",".join("" if cell is None else str(cell) for cell in row) for row in zip(*columns.values(), strict=True))]
    path.write_text("\n".join(lines) + "\n")


# === Types and forms ===


def test_one_literal_with_a_fraction_does_not_merge_ids_of_19_digits(tmp_path, monkeypatch):
    monkeypatch.setattr("ppm_tf.data.raw.json_lines._TEXT_BLOCK", 400)  # a block every few lines, each with types of its own
    write_file(tmp_path / "items.parquet", ITEMS)
    log = rows()
    ids = [1234567890123456000 + user for user in log["user_id"]]
    lines = [json.dumps({**{name: values[place] for name, values in log.items()}, "user_id": ids[place]}) for place in range(len(ids))]
    lines[20] = lines[20].replace(f"{ids[20]}", f"{ids[20]}.0")
    (tmp_path / "log.jsonl").write_text("\n".join(lines) + "\n")
    data = command(tmp_path)
    assert users_of(data) == set(ids) and schema_of(data).user_id_type == "int"


def test_a_whole_number_is_the_same_in_every_spelling(tmp_path):
    """A gap makes a table tool write 5.0 for 5, in one of two files."""
    write_file(tmp_path / "items.parquet", {**ITEMS, "code": pa.array([2e10, 3e10, 2.5, None, 2e10]), "flag": [True, False, True, None, True]})
    log = rows()
    half = len(log["user_id"]) // 2
    hours = [place % 3 + 9 for place in range(2 * half)]
    csv(tmp_path / "log-1.csv", {**{name: values[:half] for name, values in log.items()}, "hour": hours[:half]})
    csv(
        tmp_path / "log-2.csv",
        {
            **{name: values[half:] for name, values in log.items()},
            "user_id": [float(user) for user in log["user_id"][half:]],
            "hour": [float(hour) for hour in hours[half:]],
        },
    )
    data = command(tmp_path, "data.items.fields={code: code, flag: flag}", context={"hour": "hour"})
    assert users_of(data) == set(log["user_id"]) and schema_of(data).user_id_type == "int"
    assert set(vocabulary(data, "hour")) == {"9", "10", "11"}
    assert vocabulary(data, "code") == ("20000000000", "2.5", "30000000000") and vocabulary(data, "flag") == ("true", "false")


def test_truth_is_spelt_alike_in_csv_and_parquet(tmp_path):
    write_file(tmp_path / "items.parquet", ITEMS)
    log = {**rows(), "app": ["True" if place % 3 else "FALSE" for place in range(48)]}
    csv(tmp_path / "log.csv", log)
    assert vocabulary(command(tmp_path, context={"app": "app"}), "app") == ("true", "false")


@pytest.mark.parametrize("largest", [2**63 - 1, 2**64 - 1])
@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_ids_of_19_digits_and_unsigned_ones(tmp_path, largest, ending):
    """What int64 holds is an integer, whatever the file format; larger ids are strings, and no two become one."""
    ids = [largest - place for place in range(5)]
    write_file(tmp_path / "items.csv", {"item_id": pa.array(ids, pa.uint64())})
    log = rows()
    write_file(tmp_path / f"log{ending}", {**log, "item_id": pa.array([ids[item // 10 - 1] for item in log["item_id"]], pa.uint64())})
    data = command(tmp_path)
    assert schema_of(data).item_id_type == ("int" if largest < 2**63 else "string")
    assert {row for sample in samples(data) for row in sample["item"]} == {2, 3, 4, 5, 6} and statistics(data)["rows_rejected"] == {}


def test_ids_that_a_float_column_rounds_are_refused(tmp_path, capsys):
    write_file(tmp_path / "items.parquet", ITEMS)
    write_file(tmp_path / "log.parquet", {**rows(), "user_id": pa.array([2.0**53 + 2 * user for user in rows()["user_id"]])})
    assert (
        "log.parquet, row 1, column user_id must hold an id that its column can tell from the next one. Received: 9007199254740994 in a column of"
        " type double" in refused(tmp_path, capsys)
    )


@pytest.mark.parametrize(
    ("spelling", "hint"),
    [(" {}", "without white space around them"), ("000{}", "without leading zeros"), ("{}.", "without a fraction")],
)
def test_ids_that_nearly_match_are_shown_beside_the_catalogs(tmp_path, capsys, spelling, hint):
    write_file(tmp_path / "items.parquet", ITEMS)
    log = rows()
    csv(tmp_path / "log.csv", {**log, "item_id": [spelling.format(item) for item in log["item_id"]]})
    error = refused(tmp_path, capsys)
    assert f"The catalog's ids look like 10, 20, 30, the log's unknown ones like {spelling.format(10)!r}" in error
    assert f"48 of 48 would match {hint}" in error and "Ids are compared as they are written" in error


def test_ids_in_another_case_are_shown(tmp_path, capsys):
    write_file(tmp_path / "items.parquet", {"item_id": ["aa", "ab", "ac", "ad", "ae"]})
    csv(tmp_path / "log.csv", {**rows(), "item_id": [f"A{'ABCDE'[item // 10 - 1]}" for item in rows()["item_id"]]})
    assert "48 of 48 would match in lower case" in refused(tmp_path, capsys)


def test_users_and_queries_that_nearly_match_are_said(tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    write_file(tmp_path / "items.parquet", ITEMS)
    write_file(tmp_path / "log.parquet", rows())
    csv(tmp_path / "users.csv", {"user_id": [f" {user}" for user in range(1, 9)], "age": ["old"] * 8})
    csv(tmp_path / "queries.csv", {"query": ["shoe", "hat"], "item_id": ["010", "020"]})
    command(tmp_path, "data.users={files: users.csv, fields: {age: age}}", "data.queries.files=queries.csv", user_id_type="string")
    assert "8 of 8 users are not in users.csv; their fields are missing. Ids are compared as they are written" in caplog.text
    assert (
        "queries: 2 rows of unknown items. The catalog's ids look like 10, 20, 30, the query file's unknown ones like '010', '020'; 2 of 2 would"
        " match without leading zeros" in caplog.text
    )


def test_labels_in_words(tmp_path):
    write_file(tmp_path / "items.parquet", ITEMS)
    spellings = {"a": ("True", "False"), "b": ("yes", "no"), "c": ("Y", "n"), "d": ("1", "0"), "e": ("1.0", "0.0")}
    csv(tmp_path / "log.csv", rows() | {name: [words[0] if click else words[1] for click in rows()["click"]] for name, words in spellings.items()})
    for found in statistics(command(tmp_path, labels={name: name for name in ("click", *spellings)}))["splits"].values():
        for kind in ("positives", "negatives", "missing"):
            assert set(found[kind].values()) == {found[kind]["click"]}


def test_event_words_need_the_positive_ones(tmp_path, capsys):
    write_file(tmp_path / "items.parquet", ITEMS)
    csv(tmp_path / "log.csv", {**rows(), "click": ["click" if click else "view" for click in rows()["click"]]})
    assert (
        "row 1, column click must hold 0, 1, true, false, yes, no or nothing. Received: 'view'" in (error := refused(tmp_path, capsys))
        and "data.log.labels.click.equals=" in error
    )
    data = command(tmp_path, labels={"click": {"column": "click", "equals": "click"}})
    assert sum(found["positives"]["click"] for found in statistics(data)["splits"].values()) == sum(rows()["click"])


# === Missing ===


@pytest.mark.parametrize("ending", [".csv", ".parquet", ".jsonl"])
def test_a_word_for_missing_is_no_user_no_request_and_no_category(tmp_path, ending):
    write_file(tmp_path / "items.parquet", ITEMS)
    log = rows()
    words = ["", "\\N", "NULL", "NaN", "None", " NA "] * 8
    gone = [place % 4 == 0 for place in range(48)]
    log |= {
        "user_id": [words[place // 4] if gone[place] and place > 24 else str(user) for place, user in enumerate(log["user_id"])],
        "request": [words[place // 4] if gone[place] else f"r{place}" for place in range(48)],
        "device": [words[place // 4] if gone[place] else "app" for place in range(48)],
        "click": [words[place // 6] if place % 6 == 5 else str(click) for place, click in enumerate(log["click"])],
    }
    write_file(tmp_path / f"log{ending}", log)
    data = command(tmp_path, "data.requests=column", "data.max_rejected=0.5", request="request", context={"device": "device"})
    found = statistics(data)
    assert found["rows_rejected"] == {"no user id": 5} and schema_of(data).user_id_type == "int" and found["users"] == 8
    assert sum(one["requests"] for one in found["splits"].values()) == 36  # rows without a request enter histories only
    assert vocabulary(data, "device") == ("app",)
    assert sum(one["missing"]["click"] for one in found["splits"].values()) > 0


def test_the_words_for_missing_are_a_setting(tmp_path):
    write_file(tmp_path / "items.parquet", ITEMS)
    csv(tmp_path / "log.csv", {**rows(), "country": ["NA" if place % 2 else "-" for place in range(48)]})
    assert vocabulary(command(tmp_path, "data.missing=['','-']", context={"country": "country"}), "country") == ("NA",)


def test_columns_without_information_are_named(tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    largest = np.finfo("float64").max
    write_file(
        tmp_path / "items.parquet",
        {
            **ITEMS,
            "title": [""] * 5,
            "brand": pa.nulls(5, pa.string()),
            "price": [1.0, largest, 2.0, largest, 3.0],
            "weight": pa.nulls(5, pa.float64()),
        },
    )
    write_file(tmp_path / "log.parquet", {**rows(), "time": [1_700_000_000] * 48, "city": pa.nulls(48, pa.string())})
    command(
        tmp_path,
        "data.items.text=[title]",
        "data.items.fields={brand: brand}",
        "data.items.numbers=[price, weight]",
        "data.split.by=user",
        context={"city": "city"},
    )
    said = [record.getMessage() for record in caplog.records]
    for expected in (
        "catalog: the text of every item is empty", "catalog: brand has no value at all", "catalog: weight has no value at all",
        "catalog: 2 values of price are larger than any float32",
        "log: column city (context field city) has no value at all", "log: all 48 rows have one and the same time",
    ):  # fmt: skip
        assert sum(expected in line for line in said) == 1, expected


# === Time and order ===

DAY = {
    "user_id": [1] * 12,
    "item_id": [10, 20, 30, 40, 50, 10] * 2,
    "place": [5, 4, 3, 2, 1, 0, 11, 10, 9, 8, 7, 6],
    "click": [1, 0, 1, 0, 1, 1, 1, 1, 0, 1, 0, 1],
}


def test_an_order_breaks_the_ties_of_a_coarse_clock(tmp_path, caplog):
    """Reviews carry days: without an order the six of a day do not see each other, and that is said."""
    write_file(tmp_path / "items.parquet", ITEMS)
    write_file(tmp_path / "log.parquet", {**DAY, "time": [1_700_000_000] * 6 + [1_700_086_400] * 6})
    by_user = ["data.split.by=user", "data.repeats=keep"]
    lengths = lambda data: sorted(len(sample["history"]) for sample in samples(data))
    caplog.set_level(logging.WARNING)
    assert lengths(command(tmp_path, *by_user)) == [0] * 6 + [4] * 6
    assert "12 requests share their time with other behaviors of their user, and nothing says which came first" in caplog.text
    caplog.clear()
    told = samples(command(tmp_path, *by_user, run="told", order="place"))
    # Newest of the day by the order 0 to 5: items 10, 50, 40, 30, 20, 10, of which 10, 50, 30, 10 are clicks.
    assert [(sample["item"], sample["history"]) for sample in told[:6]] == [
        ([2], []),
        ([6], [2]),
        ([5], [6, 2]),
        ([4], [6, 2]),
        ([3], [4, 6, 2]),
        ([2], []),
    ]
    assert "share their time" not in caplog.text
    assert lengths(command(tmp_path, *by_user, run="in-files", rows_in_order=True))[-1] == 7  # four of the day before, and three


def test_a_candidate_never_finds_its_own_row_in_its_history(tmp_path):
    """The last row of the day above is of an item clicked earlier on that day: it sees no row of that day."""
    write_file(tmp_path / "items.parquet", ITEMS)
    write_file(tmp_path / "log.parquet", {**DAY, "time": [1_700_000_000] * 6 + [1_700_086_400] * 6})
    for repeats, requests in (("keep", 12), ("merge", 10)):
        found = samples(command(tmp_path, "data.split.by=user", f"data.repeats={repeats}", run=repeats, order="place"))
        assert len(found) == requests
        for sample in found:
            assert (sample["item"][0], sample["time"]) not in zip(sample["history"], sample["history_time"], strict=True)


@pytest.mark.parametrize("form", ["timestamps", "text", "numbers"])
def test_the_order_inside_a_second_is_kept(tmp_path, form):
    """Clicks at .1, .5 and .9 s in a file that is written newest first."""
    write_file(tmp_path / "items.parquet", ITEMS)
    nanoseconds = [1_700_000_000 * 10**9 + part * 10**8 for part in (9, 5, 1)]
    more = [1_700_000_001 * 10**9 + place * 10**10 for place in range(9)]
    times = pa.array(nanoseconds + more, pa.timestamp("ns"))
    columns = {
        "timestamps": times,
        "text": [str(moment)[:23] for moment in times.to_numpy()],
        "numbers": [moment / 10**9 for moment in nanoseconds + more],
    }
    log = {"user_id": [1] * 12, "item_id": [30, 20, 10, *[40] * 9], "time": columns[form], "click": [1, 1, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0]}
    write_file(tmp_path / ("log.csv" if form == "text" else "log.parquet"), log)
    found = samples(command(tmp_path, "data.split.by=user"))
    assert [sample["item"] for sample in found[:3]] == [[2], [3], [4]] and found[3]["history"] == [4, 3, 2]
    if form == "text":  # an order takes what a time takes
        data = command(tmp_path, "data.split.by=user", run="ordered", time=None, order="time")
        assert [sample["item"] for sample in samples(data)[:3]] == [[2], [3], [4]]


def test_the_last_request_of_a_user_is_the_last_by_the_files_own_clock(tmp_path):
    write_file(tmp_path / "items.parquet", ITEMS)
    write_file(
        tmp_path / "log.parquet",
        {
            "user_id": [1] * 6,
            "item_id": [50, 40, 30, 20, 10, 10],
            "time": [1_700_000_000.9 - 0.1 * place for place in range(6)],
            "click": [1, 0, 1, 0, 1, 0],
        },
    )
    data = command(tmp_path, "data.split={by: user, last: 1, valid: 0.1, test: 0.1}")
    assert [sample["item"] for sample in read_samples(data / "samples" / "test")] == [[6]]


@pytest.mark.parametrize(
    ("unit", "time"),
    [
        ("ms", lambda moment: moment * 1000), ("us", lambda moment: moment * 10**6), ("ns", lambda moment: moment * 10**9),
        ("yyyymmdd", lambda moment: int(np.datetime64(moment, "s").astype("datetime64[D]").astype(str).replace("-", ""))),
        ("yyyymmddhhmmss", lambda moment: int(str(np.datetime64(moment, "s")).translate({ord(one): None for one in "-T:"}))),
    ],
)  # fmt: skip
def test_a_clock_that_is_no_second_is_asked_about_and_the_remedy_works(tmp_path, capsys, unit, time):
    ending = ".parquet" if unit in ("ms", "yyyymmdd") else ".csv"
    write_file(tmp_path / "items.parquet", ITEMS)
    log = rows(each=12)
    log["time"] = [moment + 86400 * (place % 12) for place, moment in enumerate(log["time"])]
    write_file(tmp_path / f"log{ending}", {**log, "time": [time(moment) for moment in log["time"]]})
    assert f"set data.log.time_unit={unit}" in refused(tmp_path, capsys)
    data = command(tmp_path, time_unit=unit)
    first = {sample["time"] for sample in samples(data)}
    assert first == {moment - moment % 86400 if unit == "yyyymmdd" else moment for moment in log["time"]}
    assert schema_of(data).time_unit == (unit if unit in ("ms", "us", "ns") else "s")


def test_dates_that_do_count_seconds_can_be_said(tmp_path):
    write_file(tmp_path / "items.parquet", ITEMS)
    write_file(tmp_path / "log.parquet", {**rows(), "time": [20231101 + place % 29 for place in range(48)]})
    assert schema_of(command(tmp_path, time_unit="s")).time_range[0] == 20231101


# === Twice ===


def twice(folder):
    """Every eighth row stands in the file again; every ninth row's click arrives later, as a row of its own."""
    log = rows(each=12)
    log["request"] = [f"r{place // 4}" for place in range(96)]
    log["item_id"] = [place % 4 * 10 + 10 for place in range(96)]
    again = [*range(0, 96, 8), *(place for place in range(0, 96, 9) if not log["click"][place])]
    late = len(again) - 12
    copies = {name: [values[place] for place in again] for name, values in log.items()}
    copies["click"][-late:] = [1] * late
    write_file(folder / "items.parquet", ITEMS)
    write_file(folder / "log.parquet", {name: log[name] + copies[name] for name in log})
    return len(again), late


@pytest.mark.parametrize(("choice", "candidates", "positives"), [("merge", 96, "more"), ("drop", 96, "same"), ("keep", None, None)])
def test_an_event_in_several_rows(tmp_path, caplog, choice, candidates, positives):
    caplog.set_level(logging.WARNING)
    repeats, late = twice(tmp_path)
    data = command(tmp_path, "data.requests=column", "data.split={by: user, valid: 0.34, test: 0.34}", f"data.repeats={choice}", request="request")
    found = statistics(data)
    assert found["rows_repeated"] == repeats
    assert (
        f"{repeats} rows repeat an event (one user and item in one request), {late} of them with another label; the first is {tmp_path}/log.parquet,"
        f" row 97; data.repeats={choice}" in caplog.text
    )
    assert sum(one["candidates"] for one in found["splits"].values()) == (candidates or 96 + repeats)
    clicks = sum(rows(each=12)["click"])
    if positives:
        assert sum(one["positives"]["click"] for one in found["splits"].values()) == clicks + (late if positives == "more" else 0)
        assert all(len(set(sample["item"])) == len(sample["item"]) for sample in samples(data))


def test_repeats_can_be_refused(tmp_path, capsys):
    repeats, _ = twice(tmp_path)
    error = refused(
        tmp_path, capsys, "data.requests=column", "data.split={by: user, valid: 0.34, test: 0.34}", "data.repeats=refuse", request="request"
    )
    assert (
        f"Every event must stand in one row, because data.repeats=refuse. Received: {repeats} rows repeat an event" in error
        and not (tmp_path / "run" / "data").exists()
    )


@pytest.mark.parametrize(("choice", "requests"), [("first", 24), ("drop", 23), ("refuse", None)])
def test_a_request_whose_rows_disagree(tmp_path, capsys, caplog, choice, requests):
    caplog.set_level(logging.WARNING)
    write_file(tmp_path / "items.parquet", ITEMS)
    log = rows(each=12)
    device = ["app"] * 96
    device[2] = "web"
    write_file(
        tmp_path / "log.parquet",
        {**log, "request": [place // 4 for place in range(96)], "item_id": [place % 4 * 10 + 10 for place in range(96)], "device": device},
    )
    arguments = ["data.requests=column", "data.split={by: user, valid: 0.34, test: 0.34}", f"data.mixed_requests={choice}", "data.max_rejected=0.1"]
    settings = {"request": "request", "context": {"device": "device"}}
    if choice == "refuse":
        assert "The rows of a request must agree in its fields, because data.mixed_requests=refuse. Received: 1 requests" in refused(
            tmp_path, capsys, *arguments, **settings
        )
        return
    data = command(tmp_path, *arguments, **settings)
    assert f"1 requests hold rows that differ in a field of the request; the first is at {tmp_path}/log.parquet, row 1" in caplog.text
    assert sum(one["requests"] for one in statistics(data)["splits"].values()) == requests and statistics(data)["requests_mixed"] == 1


def test_ties_are_never_broken_by_the_item(tmp_path):
    """Rows of one time stay as the files have them, whatever their ids."""
    write_file(tmp_path / "items.parquet", ITEMS)
    items = [30, 10, 50, 20, 40] * 4
    write_file(
        tmp_path / "log.parquet",
        {"user_id": [1] * 20, "item_id": items, "time": [1_700_000_000 + place // 5 for place in range(20)], "click": [1, 0] * 10},
    )
    found = samples(command(tmp_path, "data.requests=bursts", "data.candidates=5", "data.split.by=user"))
    assert [row for sample in found for row in sample["item"]] == [item // 10 + 1 for item in items]


# === Files ===


def test_a_folder_that_spark_wrote_stands_for_its_parts(tmp_path):
    write_file(tmp_path / "items.parquet", ITEMS)
    log = rows()
    for part in range(2):
        write_file(tmp_path / "log" / f"day={part}" / f"part-0000{part}.parquet", {name: values[part::2] for name, values in log.items()})
    (tmp_path / "log" / "_SUCCESS").write_text("")
    (tmp_path / "log" / "_delta_log").mkdir()
    write_file(tmp_path / "log" / "_delta_log" / "part-9.parquet", {"x": [1]})
    assert statistics(command(tmp_path, files="log"))["rows_read"] == 48


def test_rows_of_damaged_text_are_counted_after_the_names(tmp_path, capsys):
    write_file(tmp_path / "items.parquet", ITEMS)
    (tmp_path / "log.csv").write_text("user_id,item_id,time,click\n1,10,1700000000,1\n1,10\n")
    assert "log.csv must be a readable csv file" in (error := refused(tmp_path, capsys)) and "row 2: Expected 4 columns, got 2" in error


@pytest.mark.parametrize(
    ("name", "settings"), [("log.csv", ["data.csv.delimiter=;", "data.csv.encoding=latin-1"]), ("log.tsv", ["data.csv.encoding=latin-1"])]
)
def test_csv_of_another_delimiter_and_encoding(tmp_path, capsys, name, settings):
    write_file(tmp_path / "items.parquet", ITEMS)
    log = {**rows(), "city": ["Zürich" if place % 2 else "Bern" for place in range(48)]}
    csv(tmp_path / name, log)
    text = (tmp_path / name).read_text().replace(",", ";" if name.endswith(".csv") else "\t")
    (tmp_path / name).write_bytes(text.encode("latin-1"))
    assert vocabulary(command(tmp_path, *settings, context={"city": "city"}), "city") == ("Bern", "Zürich")
    assert "Set data.csv.encoding to how its characters are written" in refused(
        tmp_path, capsys, *settings[:-1], context={"city": "city"}, run="again"
    )


# === Every form gives the same data set ===


def written(folder, form, log, items):
    """The log in one of its forms."""
    if form.startswith("parquet-"):
        kind = form.removeprefix("parquet-")
        whole = {"user_id": pa.int64(), "item_id": pa.int32(), "code": pa.int64()}
        to = {
            "int": lambda column: column,
            "double": lambda column: column.cast(pa.float64()),
            "string": lambda column: column.cast(pa.string()),
            "dictionary": lambda column: column.cast(pa.string()).dictionary_encode(),
        }[kind]
        table = pa.table({name: to(pa.array(values, whole[name])) if name in whole else values for name, values in log.items()})
        pq.write_table(table, folder / "log.parquet", row_group_size=7)
    elif form == "csv-parts":
        third = len(log["user_id"]) // 3
        for part in range(3):
            rows_ = slice(part * third, None if part == 2 else (part + 1) * third)
            csv(folder / f"log-{part}.csv", {name: values[rows_] for name, values in log.items()})
    elif form == "csv-floats":
        csv(
            folder / "log.csv",
            {
                name: [None if value is None else float(value) for value in values] if name in ("user_id", "code") else values
                for name, values in log.items()
            },
        )
    else:
        csv(folder / "log.csv", log)
        if form == "csv.gz":
            (folder / "log.csv.gz").write_bytes(gzip.compress((folder / "log.csv").read_bytes()))
            (folder / "log.csv").unlink()
        elif form == "jsonl":
            (folder / "log.csv").unlink()
            (folder / "log.jsonl").write_text("".join(json.dumps(dict(zip(log, row, strict=True))) + "\n" for row in zip(*log.values(), strict=True)))


def content(data):
    """All that a data set says, byte by byte."""
    found = {
        str(path.relative_to(data)): path.read_bytes()
        for path in sorted(data.rglob("*"))
        if path.is_file() and path.suffix not in (".npz", ".yaml") and path.name != "rejected.jsonl"
    }
    for path in data.rglob("*.npz"):
        with np.load(path) as arrays:
            found |= {f"{path.name}:{name}": arrays[name].tobytes() for name in arrays.files}
    return found


def test_every_form_of_a_log_gives_the_same_data_set(tmp_path):
    rng = np.random.default_rng(0)
    count = 60
    log = {
        "user_id": rng.integers(1, 9, count).tolist(),
        "item_id": (rng.integers(1, 6, count) * 10).tolist(),
        "time": rng.permutation(np.arange(count) * 61 + 1_700_000_000).tolist(),
        "click": rng.integers(0, 2, count).tolist(),
        "code": [None if one == 3 else int(one) * 10**10 for one in rng.integers(0, 5, count)],
    }
    places = rng.permutation(count)
    shuffled = {name: [values[place] for place in places] for name, values in log.items()}
    reference = None
    for form in (
        "parquet-int",
        "csv",
        "csv.gz",
        "csv-parts",
        "csv-floats",
        "jsonl",
        "parquet-double",
        "parquet-string",
        "parquet-dictionary",
        "shuffled",
    ):
        folder = tmp_path / form
        folder.mkdir()
        write_file(folder / "items.parquet", ITEMS)
        written(folder, "csv" if form == "shuffled" else form, shuffled if form == "shuffled" else log, ITEMS)
        found = content(command(folder, context={"code": "code"}))
        reference = reference or found
        assert found.keys() == reference.keys()
        assert [name for name in reference if found[name] != reference[name]] == [], form


# === From one day to the next, and to the server ===

DIN = [
    "model.backbone={name: din, mlp_units: [8], attention_units: [4]}",
    "model.ppm=none",
    "model.dim=4",
    "model.train.batch_size=16",
    "model.train.learning_rate=0.03",
    "model.train.epochs=6",
]


def learnable(unit=1):
    """Each user clicks one item of two."""
    rng = np.random.default_rng(0)
    users, items = rng.integers(1, 21, 800), rng.integers(1, 6, 800)
    time = (1_700_000_000 + np.arange(800) * 60) * unit
    return {"user_id": users.tolist(), "item_id": (items * 10).tolist(), "time": time.tolist(), "click": ((users + items) % 2).tolist()}


def ranker(folder, *settings, **more):
    command(folder, *DIN, *settings, stage=train.STAGE, **more)
    model = next((folder / more.get("run", "run") / "models").iterdir())
    return model, json.loads((model / "summary.json").read_text())["valid_auc"]


@pytest.fixture(scope="module")
def first_day(tmp_path_factory):
    """A ranker of integer users and items, from CSV."""
    folder = tmp_path_factory.mktemp("first")
    csv(folder / "items.csv", {"item_id": ITEMS["item_id"]})
    csv(folder / "log.csv", learnable())
    model, auc = ranker(folder)
    assert auc > 0.8
    return folder, model, auc


def test_a_gap_on_the_second_day_forgets_no_id(first_day, tmp_path):
    folder, model, auc = first_day
    csv(tmp_path / "items.csv", {"item_id": ITEMS["item_id"]})
    log = learnable()
    csv(tmp_path / "log.csv", {**log, "user_id": ["NULL" if place == 5 else user for place, user in enumerate(log["user_id"])]})
    _, again = ranker(
        tmp_path,
        f"model.warm_start={model}",
        "model.name=second",
        "model.train.learning_rate=1.0e-9",
        "model.train.epochs=1",
        "data.max_rejected=0.01",
    )
    assert again == pytest.approx(auc, abs=0.02)


@pytest.mark.parametrize(("column", "setting"), [("user_id", "data.log.user_id_type"), ("item_id", "data.items.id_type")])
def test_ids_of_another_type_are_refused_by_name(first_day, tmp_path, capsys, caplog, column, setting):
    caplog.set_level(logging.INFO)
    folder, model, auc = first_day
    items = {"item_id": [*ITEMS["item_id"], *(["A12"] if column == "item_id" else [])]}
    csv(tmp_path / "items.csv", items)
    log = learnable()
    csv(tmp_path / "log.csv", {**log, column: ["A12" if place == 5 else one for place, one in enumerate(log[column])]})
    start = [f"model.warm_start={model}", "model.name=second", "model.train.learning_rate=1.0e-9", "model.train.epochs=1", "data.max_rejected=0.01"]
    error = refused(tmp_path, capsys, *DIN, *start, stage=train.STAGE)
    assert f"{column}_type was int and is string (set {setting} to have it as it was)" in error
    assert f"{column.removesuffix('_id')} ids are kept as strings; the first that is no whole number is 'A12' ({tmp_path}" in caplog.text
    if column == "user_id":  # the remedy works: the row with the other id is set aside
        _, again = ranker(tmp_path, *start, user_id_type="int", run="again")
        assert again == pytest.approx(auc, abs=0.02)
        assert statistics(tmp_path / "again" / "data")["rows_rejected"] == {"no integer user id": 1}
    else:
        assert "Every item id must be a whole number below 2^63, because data.items.id_type=int. Received: 'A12' in" in refused(
            tmp_path, capsys, "data.items.id_type=int", run="again"
        )


def exported(folder, *settings):
    """The newest export of a run, as a function of a request."""
    import tensorflow as tf

    export.main([str(folder / "settings.yaml"), *DIN, *settings])
    version = max((folder / "run" / "exports").glob("*/[0-9]*"), key=lambda path: int(path.name))
    module = tf.saved_model.load(str(version))
    answer = module.signatures["serving_default"]

    def ask(**inputs):
        found = answer(**{name: tf.constant(value, tf.string if name.startswith("context") else tf.int64) for name, value in inputs.items()})
        return found["click"].numpy().tolist()

    ask.module = module  # the signature does not keep it
    ask.about = json.loads((version / "assets.extra" / "export.json").read_text())
    return ask


def test_a_request_speaks_the_units_and_spellings_of_the_log(tmp_path):
    """Milliseconds in the log, milliseconds in the request; numbers that the log wrote with an exponent, and missing words."""
    import tensorflow as tf

    write_file(tmp_path / "items.parquet", ITEMS)
    log = learnable(unit=1000)
    write_file(tmp_path / "log.parquet", {**log, "code": [float(3 * 10**10 if click else 2 * 10**10) for click in log["click"]]})
    ranker(tmp_path, time_unit="ms", context={"code": "code"})
    ask = exported(tmp_path)
    assert ask.about["times"] == "milliseconds since 1970"
    assert ask.about["time_window"][0] < log["time"][0] < log["time"][-1] < ask.about["time_window"][1]
    now = log["time"][-1] + 1000
    request = {
        "candidate_ids": [[10, 20]],
        "history_ids": [[30, 20]],
        "history_times": [[now - 60_000, now - 120_000]],
        "time": [now],
        "user_id": [1],
        "context_code": [["30000000000"]],
    }
    scores = ask(**request)
    assert ask(**{**request, "context_code": [["30000000000.0"]]}) == scores
    assert ask(**{**request, "context_code": [["NULL"]]}) == ask(**{**request, "context_code": [[""]]}) != scores
    for wrong, message in (
        ({"time": [now // 1000]}, "history_times must not be after time"),
        (
            {"time": [now // 1000], "history_times": [[now // 1000 - 60, now // 1000 - 120]]},
            "time must count milliseconds since 1970 and lie between",
        ),
        ({"time": [10**18]}, "time must count milliseconds since 1970 and lie between"),
        ({"history_times": [[now - 120_000, now - 60_000]]}, "history_ids and history_times must be newest first"),
    ):
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            ask(**{**request, **wrong})


def test_a_catalog_of_other_ids_is_refused_by_an_export_of_tables(first_day, tmp_path, capsys):
    folder, _, _ = first_day
    exported(folder)
    csv(folder / "items.csv", {"item_id": [*ITEMS["item_id"], "A12"]})
    main(prepare.STAGE, [str(folder / "settings.yaml")])
    with pytest.raises(SystemExit):
        export.main([str(folder / "settings.yaml"), *DIN, "--tables-only"])
    assert "item_id_type was int and is string (set data.items.id_type to have it as it was)" in capsys.readouterr().err


def test_what_reads_a_model_never_trains_it_anew(tmp_path, capsys, caplog):
    """New items come in: the model is used as it is. A history of another length: it is refused, with the choices."""
    csv(tmp_path / "items.csv", {"item_id": ITEMS["item_id"]})
    csv(tmp_path / "log.csv", learnable())
    model, _ = ranker(tmp_path)
    before = (model / "ranking.weights.h5").read_bytes()
    csv(tmp_path / "items.csv", {"item_id": [*ITEMS["item_id"], 60, 70]})
    command(tmp_path)
    caplog.set_level(logging.INFO)
    command(tmp_path, *DIN, "evaluate.bootstrap=10", stage=evaluate.STAGE)
    assert f"{model} was made from earlier data and stays; `python -m pipelines.train {tmp_path}" in caplog.text
    assert (model / "ranking.weights.h5").read_bytes() == before
    command(tmp_path, "data.history_length=5")
    with pytest.raises(SystemExit):
        command(tmp_path, *DIN, "evaluate.bootstrap=10", "data.history_length=5", stage=evaluate.STAGE)
    error = capsys.readouterr().err
    assert "data.history_length: 30 in the training, 5 now. Remedy: prepare the data as it was, or train the model anew" in error
    assert (model / "ranking.weights.h5").read_bytes() == before
    caplog.clear()
    command(tmp_path, *DIN, "data.history_length=5", stage=train.STAGE)
    assert f"{model} (made " in caplog.text and "is made anew; it stays as it is until the new one is whole" in caplog.text
    kept = list((tmp_path / "run" / ".state" / "replaced-models-din").iterdir())
    assert [(path / "ranking.weights.h5").read_bytes() for path in kept] == [before]


def test_a_data_set_of_an_earlier_version_is_refused_with_the_command(tmp_path):
    write_file(tmp_path / "items.parquet", ITEMS)
    write_file(tmp_path / "log.parquet", rows())
    path = command(tmp_path) / "schema.json"
    old = {name: value for name, value in json.loads(path.read_text()).items() if name not in ("version", "time_unit", "time_range", "missing")}
    path.write_text(json.dumps(old))
    with pytest.raises(
        ValueError, match=r"schema.json must be a schema of version 2.* one of an earlier version. Make it anew: `python -m pipelines.prepare`"
    ):
        Schema.read(path)


def test_ids_that_differ_in_a_closing_zero_byte_are_two(tmp_path):
    write_file(tmp_path / "items.parquet", {"item_id": ["k1", "k1\0", "k2"]})
    data = command_catalog(tmp_path)
    assert ItemCatalog.read(data / "catalog").rows_of(["k1", "k1\0", "k2", "k"]).tolist() == [2, 3, 4, 1]


def command_catalog(folder):
    main(prepare.STAGE, [f"run={folder / 'run'}", "data.source=columnar", f"data.path={folder}", "data.log=null"])
    return folder / "run" / "data"
