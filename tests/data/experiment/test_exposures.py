"""Exposure logs: what is kept, joined, set aside and counted, and what is refused by file, row and column."""

import json

import pytest

from ppm_tf.config import ConfigError, load
from ppm_tf.data.experiment.exposures import read_exposures
from ppm_tf.data.experiment.log import day_name
from tests.raw_logs import write_file

DAY = 86_400
FIRST = 20_000 * DAY  # 2024-10-04, in seconds
# five users, two days: users 1, 2 and 5 in A, 3 and 4 in B
LOG = {
    "user_id": [1, 1, 2, 3, 4, 4, 1, 3, 5],
    "item_id": [7, 8, 7, 7, 9, 8, 7, 8, 9],
    "time": [FIRST + second for second in (10, 20, 30, 40, 50, 60, DAY, DAY + 10, DAY + 20)],
    "bucket": ["A", "A", "A", "B", "B", "B", "A", "B", "A"],
    "click": [1, 0, 0, 1, 0, 1, 1, 0, 0],
}


def settings(folder, *arguments, log=None, ending=".csv", **others):
    """Writes the log, and further ones by name, and gives the settings that read it."""
    write_file(folder / f"log{ending}", LOG if log is None else log)
    for name, columns in others.items():
        write_file(folder / f"{name}{ending}", columns)
    return load([f"online.exposures={folder / f'log{ending}'}", "online.control=A", *arguments]).online


def changed(row, **values):
    return {name: [values.get(name, cell) if number == row else cell for number, cell in enumerate(cells)] for name, cells in LOG.items()}


def without(*names):
    return {name: cells for name, cells in LOG.items() if name not in names}


@pytest.mark.parametrize("ending", [".csv", ".csv.gz", ".parquet", ".jsonl", ".jsonl.gz"])
def test_a_log_means_the_same_in_every_format(tmp_path, ending):
    log = read_exposures(settings(tmp_path, ending=ending))
    assert log.buckets == ("A", "B")
    assert log.bucket[log.user].tolist() == [0, 0, 0, 1, 1, 1, 0, 1, 0]
    assert [log.items[int(item)].as_py() for item in log.item] == ["7", "8", "7", "7", "9", "8", "7", "8", "9"]
    assert log.events["click"].tolist() == LOG["click"] and log.revenue is None
    assert [day_name(day) for day in log.days] == ["2024-10-04", "2024-10-05"]
    assert log.counts["rows read"] == log.counts["rows kept"] == 9 and log.rejected.total == 0


def test_tabs_and_a_folder_of_files(tmp_path):
    for number, rows in enumerate((slice(0, 4), slice(4, 9))):
        lines = ["\t".join(LOG), *("\t".join(map(str, row)) for row in zip(*(cells[rows] for cells in LOG.values()), strict=True))]
        (tmp_path / f"part-{number}.tsv").write_text("\n".join(lines) + "\n")
    log = read_exposures(load([f"online.exposures={tmp_path}", "online.control=B"]).online)
    assert log.buckets == ("B", "A") and log.events["click"].tolist() == LOG["click"]


def test_days_begin_at_the_offset(tmp_path):
    """An exposure of 22:00 UTC is of the next day where days are two hours ahead."""
    log = changed(0, time=FIRST + 22 * 3600)
    assert read_exposures(settings(tmp_path, log=log)).day[0] == 20_000
    assert read_exposures(settings(tmp_path, "online.utc_offset=2", log=log)).day[0] == 20_001


def test_bids_earn_where_their_event_is(tmp_path):
    log = {**LOG, "order": [1, 0, 0, 0, 0, 1, 0, 0, 0], "bid": [0.5, 1, 1, 2, 1, 3, 4, 1, 1]}
    assert read_exposures(settings(tmp_path, "online.bid=bid", log=log)).revenue.tolist() == [0.5, 0, 0, 2, 0, 3, 4, 0, 0]
    paid = read_exposures(settings(tmp_path, "online.bid=bid", "online.order=order", "online.bid_per=order", log=log))
    assert paid.revenue.tolist() == [0.5, 0, 0, 0, 0, 3, 0, 0, 0]
    earned = {**LOG, "paid": [0.5, None, 1, 0, 0, 0, 0, 0, 2]}
    assert read_exposures(settings(tmp_path, "online.revenue=paid", log=earned)).revenue.tolist() == [0.5, 0, 1, 0, 0, 0, 0, 0, 2]


def test_the_pre_period_takes_its_bucket_from_the_experiment(tmp_path):
    """Of the first day neither the bucket nor its absence counts; users 2 and 4 are in no bucket then, and left out."""
    log = {**LOG, "bucket": ["old", None, "old", None, "A", "B", "A", "B", "A"]}
    found = read_exposures(settings(tmp_path, "online.start=2024-10-05", log=log))
    assert found.in_experiment.tolist() == [False, False, False, True, True, True]
    assert found.bucket[found.user].tolist() == [0, 0, 1, 0, 1, 0]
    assert found.counts["rows of the pre-period among them"] == 3
    assert found.counts["rows of the pre-period whose user is in no bucket, left out"] == 3


# === Outcomes ===

OUTCOMES = {
    "user_id": [1, 1, 3, 4, 2, 99, 3],
    "item_id": [7, 7, 7, 9, 7, 7, 8],
    # 5 s after the second exposure of item 7; again; 1 s before its exposure; 25 h after; at once; of nobody; after
    "time": [FIRST + DAY + 5, FIRST + DAY + 6, FIRST + 39, FIRST + 50 + 25 * 3600, FIRST + 30, FIRST + 30, FIRST + DAY + 11],
    "event": ["order", "order", "order", "order", "click", "order", "order"],
    "money": [5.0, 2.0, 9, 9, 1, 9, 3.0],
}
JOINED = [
    "online.outcomes.order={column: event, equals: order}", "online.outcomes.click={column: event, equals: click}", "online.click=null",
    "online.outcomes.revenue=money",
]  # fmt: skip


def test_an_outcome_belongs_to_the_last_exposure_before_it(tmp_path):
    found = read_exposures(settings(tmp_path, f"online.outcomes.files={tmp_path}/then.csv", *JOINED, log=without("click"), then=OUTCOMES))
    assert found.events["order"].tolist() == [0, 0, 0, 0, 0, 0, 1, 1, 0]
    assert found.events["click"].tolist() == [0, 0, 1, 0, 0, 0, 0, 0, 0]
    assert found.revenue.tolist() == [0, 0, 1, 0, 0, 0, 7, 3, 0]
    assert found.counts["outcomes read"] == 7 and found.counts["outcomes that follow no exposure, left out"] == 3
    longer = settings(tmp_path, f"online.outcomes.files={tmp_path}/then.csv", "online.outcomes.window=26", *JOINED, log=without("click"))
    assert read_exposures(longer).events["order"].tolist() == [0, 0, 0, 0, 1, 0, 1, 1, 0]


def test_outcomes_of_other_ids_are_refused(tmp_path):
    then = {**OUTCOMES, "user_id": [f"u{user}" for user in OUTCOMES["user_id"]]}
    with pytest.raises(ValueError, match=r"7 outcomes, none of which does; the first is .*then.csv, row 1, column user_id, user u1, item 7. Remedy"):
        read_exposures(settings(tmp_path, f"online.outcomes.files={tmp_path}/then.csv", *JOINED, log=without("click"), then=then))


# === Set aside ===


def test_rows_that_cannot_be_used_are_set_aside_and_counted(tmp_path):
    log = {name: [*cells, extra] for (name, cells), extra in zip(LOG.items(), (None, 7, FIRST + 99, "A", 1), strict=True)}
    log = {name: [*cells, extra] for (name, cells), extra in zip(log.items(), (1, 7, FIRST + 98, None, 1), strict=True)}
    log = {name: [*cells, extra] for (name, cells), extra in zip(log.items(), (1, 9, FIRST + 97, "A", None), strict=True)}
    log = {name: [*cells, cells[0]] for name, cells in log.items()}
    found = read_exposures(settings(tmp_path, "online.max_rejected=0.5", log=log))
    assert found.counts["rows set aside"] == 4 and found.counts["rows kept"] == 9
    assert found.rejected.counts == {
        "no user": 1, "no bucket": 1, "no click label": 1, "an exposure that was there already (same user, item and time)": 1,
    }  # fmt: skip
    found.rejected.write(tmp_path / "rejected.jsonl")
    cases = {case["reason"][:5]: case for case in map(json.loads, (tmp_path / "rejected.jsonl").read_text().splitlines())}
    assert cases["an ex"]["row"] == 13 and cases["no us"]["row"] == 10 and cases["no us"]["file"].endswith("log.csv")
    with pytest.raises(ValueError, match=r"share of 0.01 of the rows.*Received: 4 of 13: 1 with an exposure.*The first is .*log.csv, row 10, column"):
        read_exposures(settings(tmp_path, log=log))
    assert read_exposures(settings(tmp_path, "online.max_rejected=0.5", "online.repeats=keep", log=log)).counts["rows kept"] == 10


def test_users_in_two_buckets_are_set_aside_or_refused(tmp_path):
    log = changed(1, bucket="B")  # user 1
    found = read_exposures(settings(tmp_path, "online.max_crossed=0.2", log=log))
    assert found.counts["users in two buckets, set aside"] == 1 and found.counts["rows kept"] == 6
    with pytest.raises(ValueError, match="Received: 1 of 5 users, such as 1 in A and B"):
        read_exposures(settings(tmp_path, log=log))


def test_other_buckets_may_be_left_out(tmp_path):
    log = {name: [*cells, extra] for (name, cells), extra in zip(LOG.items(), (6, 7, FIRST, "holdback", 1), strict=True)}
    assert read_exposures(settings(tmp_path, "online.gaps=true", log=log)).buckets == ("A", "B", "holdback")
    assert read_exposures(settings(tmp_path, "online.ignore=holdback", "online.split={A: 1, B: 1}", log=log)).counts["rows kept"] == 9
    with pytest.raises(ValueError, match=r"log.csv, row 10, column bucket must hold a bucket of online.split \(A, B\). Received: 'holdback'"):
        read_exposures(settings(tmp_path, "online.split={A: 1, B: 1}", log=log))


# === Refused ===


@pytest.mark.parametrize(
    ("log", "arguments", "message"),
    [
        (changed(2, click="maybe"), [], r"log.csv, row 3, column click must hold 0, 1, true.* Received: 'maybe'.*online.click.equals=maybe"),
        (changed(2, click=4), [], r"log.csv, row 3, column click must hold 0, 1 or nothing. Received: 4.*online.click.at_least"),
        (without("bucket"), [], r"online.bucket must name a column of .*log.csv. Received: bucket. Its columns are: user_id, item_id, time, click"),
        (LOG, ["online.order=bought"], "online.order must name a column of .* Received: bought"),
        (changed(3, time=(FIRST + 40) * 1000), [], r"log.csv, row 4, column time must hold a time before the year 2100.*online.time_unit=ms"),
        (changed(3, time="noon"), [], r"log.csv, row 4, column time must hold a time. Received: 'noon'"),
        (changed(3, time=None), [], r"log.csv, row 4, column time must hold a time. Received: nothing"),
        (LOG, ["online.control=null"], r"online.control=<bucket>. Received: none. The log's buckets are: A, B"),
        (LOG, ["online.control=C"], "online.control must be a bucket of the log. Received: C. The log's buckets are: A, B"),
        (LOG, ["online.split={A: 1, B: 1, C: 1}"], "Each bucket of online.split must have exposures. Received: none of C"),
        ({**LOG, "bucket": ["A"] * 9}, [], "a bucket to compare with control. Received: A alone"),
        (LOG, ["online.start=2024-11-01"], "must have exposures from online.start=2024-11-01 on. Received: none"),
        (changed(7, time=FIRST + 70), [], "exposures of every bucket. Received: none on 2024-10-05 of B. Remedy"),
        ({**LOG, "time": [second + 5 * DAY * (second > FIRST + DAY - 1) for second in LOG["time"]]}, [], "none on 2024-10-05 of A, .* and 5 more"),
        (
            {name: cells * 12 if name != "bucket" else [f"word {n}" for n in range(108)] for name, cells in LOG.items()},
            ["online.repeats=keep"],
            "online.bucket must name the column of the bucket. Received: bucket, with 108 different words, such as word 0, word 1",
        ),
        ({name: [] for name in LOG}, [], "must hold rows. Received: none"),
        ({**LOG, "bid": [1, 1, 1, None, 1, 1, 1, 1, 1]}, ["online.bid=bid"], "Received: 1 of 9: 1 with no bid. The first is .*row 4, column bid"),
        ({**LOG, "bid": [1, 1, 1, -2, 1, 1, 1, 1, 1]}, ["online.bid=bid"], "1 with a bid below 0. The first is .*row 4, column bid"),
        ({**LOG, "paid": [1, 1, "?", 1, 1, 1, 1, 1, 1]}, ["online.revenue=paid"], "row 3, column paid must hold a number. Received: '\\?'"),
    ],
)
def test_what_spoils_the_report_is_refused_with_its_place(tmp_path, log, arguments, message):
    log = {
        name: cells if len({type(cell) for cell in cells}) == 1 else [None if cell is None else str(cell) for cell in cells]
        for name, cells in log.items()
    }
    with pytest.raises(ValueError, match=message):
        read_exposures(settings(tmp_path, *arguments, log=log))


def test_a_day_may_be_empty_where_that_is_said(tmp_path):
    assert read_exposures(settings(tmp_path, "online.gaps=true", log=changed(7, time=FIRST + 70))).counts["rows kept"] == 9


def test_files_that_are_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="online.exposures must name files"):
        read_exposures(load([f"online.exposures={tmp_path}/none.csv", "online.control=A"]).online)


def test_the_way_a_csv_file_is_written_is_a_setting_of_its_own(tmp_path):
    text = "user_id;item_id;time;bucket;click\n" + "".join(f"é{n};{n};{FIRST};{'AB'[n % 2]};1\n" for n in range(4))
    (tmp_path / "log.csv").write_bytes(text.encode("latin-1"))
    arguments = [f"online.exposures={tmp_path}/log.csv", "online.control=A", "online.csv.delimiter=;"]
    with pytest.raises(ValueError, match="Set online.csv.encoding to how its characters are written"):
        read_exposures(load(arguments).online)
    assert read_exposures(load([*arguments, "online.csv.encoding=latin-1"]).online).counts["rows kept"] == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["online.start=yesterday"], "start must be a day, YYYY-MM-DD"),
        (["online.bid=bid", "online.revenue=paid"], "what was earned must be said once. Received: online.revenue and online.bid"),
        (["online.bid=bid", "online.bid_per=download"], "a bid per download needs the column of downloads: online.download"),
        (["online.click=null"], "clicks must be said by a column: online.click"),
        (["online.outcomes.files=x", "online.outcomes.click=click"], "click must be said by one log"),
        (["online.control=C", "online.split={A: 1, B: 1}"], r"control must be a bucket of split \(A, B\). Received: C"),
        (["online.split={A: 1}"], "split must hold at least two buckets. Received: A"),
        (["online.contrl=A"], "Did you mean online.control"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(arguments, message):
    with pytest.raises(ConfigError, match=message):
        load(arguments)
