"""Days that are not there yet, that cannot be used, or that come at the wrong time: each refused by a type and a sentence of its own."""

import json
import re
import shutil
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from ppm_tf.config import BeamSettings
from ppm_tf.data import day_errors
from ppm_tf.data.preparation.day import prepare_day
from ppm_tf.data.preparation.log_batches import OTHER_DAY
from tests.day_logs import DAY, FIRST, START, items, mapping, prepare_days, rows, write_day

GOOD = [(user, 10, 60 * user, user % 2) for user in range(1, 9)]


def first_day(folder, log_rows=None, **settings):
    write_day(folder, 0, log_rows or rows(0, *GOOD), items([10, 20]))
    columns = mapping(folder, **settings)
    prepare_days(columns, folder / "days", 1)
    return columns


def refused(columns, error, match, number=1):
    with pytest.raises(error, match=match) as found:
        prepare_days(columns, folder_of(columns), number + 1, first=number)
    assert type(found.value) is error
    assert str(FIRST)[:8] in str(found.value)


def folder_of(columns):
    return Path(columns.path, "days")


# === Not there yet ===


def test_a_day_without_files(tmp_path):
    columns = first_day(tmp_path)
    refused(columns, day_errors.DayMissingError, r"2026-11-21: data\.log\.files .*matches none.*1 days from 2026-11-20 to 2026-11-20.*wait for them")
    write_day(tmp_path, 1, rows(1, *GOOD))
    refused(columns, day_errors.DayMissingError, r"data\.items\.files .*day=2026-11-21/items\.parquet, which matches none")
    assert issubclass(day_errors.DayMissingError, day_errors.DayNotThereError)


def test_a_day_whose_marker_is_not_there(tmp_path):
    (tmp_path / f"day={FIRST}").mkdir()
    (tmp_path / f"day={FIRST}" / "_SUCCESS").touch()
    columns = first_day(tmp_path, log={"done": "day={day}/_SUCCESS"})
    write_day(tmp_path, 1, rows(1, *GOOD), items([]))
    refused(columns, day_errors.DayUnfinishedError, r"day=2026-11-21/_SUCCESS must say that the day is whole \(data\.log\.done\).*wait for it")
    (tmp_path / "day=2026-11-21" / "_SUCCESS").touch()
    assert prepare_days(columns, tmp_path / "days", 2, first=1)[0]["rows_read"] == len(GOOD)


# === Broken ===


def test_a_day_without_rows(tmp_path):
    columns = first_day(tmp_path)
    write_day(tmp_path, 1, rows(1), items([]))
    refused(columns, day_errors.DayEmptyError, r"2026-11-21: The log must have a row\. Received: none in day=2026-11-21/log\.parquet")


@pytest.mark.parametrize("name", ["log", "items"])
def test_a_file_that_is_half_written(tmp_path, name):
    columns = first_day(tmp_path)
    write_day(tmp_path, 1, rows(1, *GOOD), items([30]))
    path = tmp_path / "day=2026-11-21" / f"{name}.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    refused(columns, day_errors.DayDamagedError, rf"{name}\.parquet must be a readable parquet file")


def test_a_log_that_is_cut_off_inside(tmp_path):
    settings = {"log": {"files": "day={day}/log.csv.gz"}}
    for number in range(2):
        log = rows(number, *((user, 10, 60 + user, user % 2) for user in range(4000)))
        write_day(tmp_path, number, log, ending=".csv.gz")
        write_day(tmp_path, number, items=items([10] if not number else []))
    columns = mapping(tmp_path, **settings)
    prepare_days(columns, tmp_path / "days", 1)
    path = tmp_path / "day=2026-11-21" / "log.csv.gz"
    path.write_bytes(path.read_bytes()[:-2000])
    refused(columns, day_errors.DayDamagedError, r"log\.csv\.gz must be a readable csv file")


def test_a_few_rows_of_another_day_are_set_aside_and_counted(tmp_path):
    columns = first_day(tmp_path, max_rejected=0.3)
    write_day(tmp_path, 1, rows(1, *GOOD, (3, 10, -1, 1), (4, 10, DAY, 1)), items([]))
    statistics = prepare_days(columns, tmp_path / "days", 2, first=1)[0]
    assert statistics["rows_rejected"] == {OTHER_DAY: 2} and statistics["splits"]["head"]["requests"] == len(GOOD)
    cases = [json.loads(line) for line in (tmp_path / "days" / "2026-11-21" / "rejected.jsonl").read_text().splitlines()]
    assert [(case["row"], case["column"], case["value"], case["reason"]) for case in cases] == [
        (9, "time", START + DAY - 1, OTHER_DAY), (10, "time", START + 2 * DAY, OTHER_DAY),
    ]  # fmt: skip


def test_many_rows_of_another_day_refuse_it(tmp_path):
    columns = first_day(tmp_path)
    write_day(tmp_path, 1, rows(0, *GOOD), items([]))
    match = (
        rf"8 of 8 rows: 8 with {OTHER_DAY}\. The first is .*log\.parquet, row 1, column time, value {START + 60}\. "
        r"Read as data\.log\.time_unit=auto, that is 2026-11-20 00:01:00 UTC, and the day is 2026-11-21: look whether the files are another day's\."
    )
    refused(columns, day_errors.DayRefusedError, match)


def test_times_in_another_unit_refuse_the_day(tmp_path):
    columns = first_day(tmp_path)
    seconds = rows(1, *GOOD)
    write_day(tmp_path, 1, {**seconds, "time": pa.array([one.as_py() * 1000 for one in seconds["time"]])}, items([]))
    refused(
        columns, day_errors.DayRefusedError, r"log\.parquet, row 1, column time must hold a time before the year 2100.*set data\.log\.time_unit=ms"
    )


def test_times_in_too_large_a_unit_refuse_the_day(tmp_path):
    first = rows(0, *GOOD)
    columns = first_day(tmp_path, {**first, "time": pa.array([one.as_py() * 1000 for one in first["time"]])}, log={"time_unit": "ms"})
    write_day(tmp_path, 1, rows(1, *GOOD), items([]))
    refused(columns, day_errors.DayRefusedError, r"that is 1970-01-21 .* UTC, and the day is 2026-11-21: set data\.log\.time_unit=s, if that is what")


def test_ids_of_another_catalog_refuse_the_day(tmp_path):
    columns = first_day(tmp_path)
    write_day(tmp_path, 1, rows(1, *((user, 7000 + user, 60, 1) for user in range(1, 9))), items([30]))
    match = (
        r"share of 0\.001 of the log rows .*data\.max_rejected.* 8 of 8 rows: 8 with unknown item\. The first is .*row 1, column item_id, value 7001"
        r"\. The catalog's ids look like '?10'?, .*unknown ones like '7001'"
    )
    refused(columns, day_errors.DayRefusedError, match)


# === In order ===


@pytest.mark.parametrize(
    ("number", "match"),
    [
        (2, r"Received: 2026-11-22 after 2026-11-20\. Remedy: prepare 2026-11-21 first"),
        (0, r"Received: 2026-11-20 after 2026-11-20\. Remedy: a late day cannot be put between others"),
        (-1, r"Received: 2026-11-19 after 2026-11-20\. Remedy: a late day cannot be put between others.*run=<folder>"),
    ],
)
def test_a_day_that_is_not_the_next(tmp_path, number, match):
    columns = first_day(tmp_path)
    with pytest.raises(day_errors.DayOrderError, match=match):
        prepare_day(columns, BeamSettings(), FIRST + timedelta(number), tmp_path / "days" / str(FIRST), tmp_path / "out", 3.0)


# === What columns mean stays ===


def test_user_ids_stay_whole_numbers(tmp_path):
    columns = first_day(tmp_path)
    log = rows(1, *GOOD)
    write_day(tmp_path, 1, {**log, "user_id": pa.array([*map(str, range(7)), "u7"])}, items([]))
    match = r"log\.parquet, row 8, column user_id must hold a whole number.* Received: 'u7'\. Remedy: .*data\.log\.user_id_type=int to have such rows"
    refused(columns, day_errors.DayRefusedError, match)


def test_item_ids_stay_whole_numbers(tmp_path):
    columns = first_day(tmp_path)
    log = rows(1, *GOOD)
    write_day(tmp_path, 1, log, {**items([30, 40]), "item_id": pa.array(["30", "A40"])})
    refused(columns, day_errors.DayRefusedError, r"items\.parquet, row 2, column item_id must hold a whole number.* Received: 'A40'.*id_type=string")


@pytest.mark.parametrize(
    ("first", "second", "match"),
    [
        (["1", "2.50"], ["3", "x"], r"row 2, column device must hold a number\. Received: 'x'.*set data\.log\.context\.device\.type=number"),
        (["1", "2"], ["3", "1e3"], r"row 2, column device must hold a number without exponents.* Received: '1e3'.*context\.device\.type=string"),
    ],
)
def test_numbers_stay_numbers_and_words_words(tmp_path, first, second, match):
    settings = {"log": {"context": {"device": "device"}}}
    columns = first_day(tmp_path, {**rows(0, *GOOD[:2]), "device": pa.array(first)}, **settings)
    write_day(tmp_path, 1, {**rows(1, *GOOD[:2]), "device": pa.array(second)}, items([]))
    refused(columns, day_errors.DayRefusedError, match)
    # As the remedy says, the day is read on as those before it.
    kind = re.search(r"type=(\w+)", match.replace("\\", ""))[1]
    settings = {"log": {"context": {"device": {"column": "device", "type": kind}}}}
    shutil.rmtree(tmp_path / "days" / "2026-11-21")
    assert prepare_days(mapping(tmp_path, **settings), tmp_path / "days", 2, first=1)[0]["rows_read"] == 2


def test_settings_stay(tmp_path):
    columns = first_day(tmp_path)
    write_day(tmp_path, 1, rows(1, *GOOD), items([]))
    changed = columns.model_copy(update={"history_length": 9, "shards": 3})
    match = r"Received: data\.history_length=9, which was 4 on 2026-11-20; and 1 more\. Remedy: set it as it was, or prepare all days anew with run="
    refused(changed, day_errors.DayRefusedError, match)


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"log": {"files": "log.parquet"}}, r"data\.log\.files must hold \{day\} for a log by days\. Received: log\.parquet"),
        ({"log": {"time": None}}, r"A log by days needs the column of the time, on a clock\. Received: data\.log\.time=None"),
        ({"log": {"time_unit": "step"}}, r"on a clock\. Received: .*data\.log\.time_unit=step"),
        ({"log": {"files": "day={date}/x.parquet"}}, r"data\.log\.files must name the day as \{day\}.* Received: day=\{date\}/x\.parquet"),
        ({"items": {"files": "{day:%B}.parquet"}}, r"data\.items\.files must name the day .* Received: \{day:%B\}\.parquet"),
    ],
)
def test_settings_that_do_not_go_with_days(tmp_path, settings, match):
    with pytest.raises(ValueError, match=match):
        prepare_days(mapping(tmp_path, **settings), tmp_path / "days", 1)


def test_a_file_that_is_no_days_and_is_not_there(tmp_path):
    columns = mapping(tmp_path, users={"files": "users.parquet", "fields": {}})
    write_day(tmp_path, 0, rows(0, *GOOD), items([10, 20]))
    with pytest.raises(FileNotFoundError, match=r"data\.users\.files must name files"):
        prepare_days(columns, tmp_path / "days", 1)
