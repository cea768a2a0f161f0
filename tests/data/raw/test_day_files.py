from datetime import date

import pytest

from ppm_tf.config import ColumnarData
from ppm_tf.data.raw.day_files import check_days, days_of, of_day
from ppm_tf.data.raw.files import find

DAY = date(2026, 11, 20)


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("day={day}/*.parquet", ("day=2026-11-20/a.parquet", "day=2026-11-22/a.parquet", "day=2026-13-01/a.parquet", "day=x/a.parquet")),
        ("log-{day:%Y%m%d}.csv", ("log-20261120.csv", "log-20261122.csv", "log-20261199.csv", "log-2026112.csv")),
        ("{day:%Y/%m}/{day:%d}/part-*.csv", ("2026/11/20/part-1.csv", "2026/11/22/part-1.csv", "2026/11/x/part-1.csv")),
        ("{day:%Y-%m}/log-{day}.csv", ("2026-11/log-2026-11-20.csv", "2026-11/log-2026-11-22.csv", "2026-10/log-2026-11-23.csv")),
        ("{day:%Y-%j}.csv", ("2026-324.csv", "2026-326.csv", "2026-999.csv")),
    ],
)
def test_days_of_which_there_are_files(tmp_path, pattern, names):
    touch(tmp_path, *names)
    assert days_of(tmp_path, pattern) == days_of("elsewhere", str(tmp_path / pattern)) == [DAY, date(2026, 11, 22)]


def test_a_name_with_a_day_stands_for_any_day_where_none_is_asked_for(tmp_path):
    touch(tmp_path, "day=2026-11-20/a.parquet", "day=2026-11-21/b.parquet", "day=2026-11-21/c.parquet", "other/a.parquet")
    expected = [tmp_path / name for name in ("day=2026-11-20/a.parquet", "day=2026-11-21/b.parquet", "day=2026-11-21/c.parquet")]
    assert find(tmp_path, "day={day}/*.parquet", "data.log.files") == expected
    assert find("elsewhere", str(tmp_path / "day={day}/*.parquet"), "data.log.files") == expected


def test_each_name_of_files_has_the_day():
    columns = ColumnarData(
        path="x",
        items={"files": "{day}/i.csv", "text_files": "{day}/t.csv", "image_files": "{day:%d}.csv"},
        users={"files": "users.csv"},
        log={"files": "{day}/l.csv", "done": "{day}/_SUCCESS"},
        queries={"files": "q-{day}.csv"},
    )
    found = of_day(columns, DAY)
    assert (found.items.files, found.items.text_files, found.items.image_files) == ("2026-11-20/i.csv", "2026-11-20/t.csv", "20.csv")
    assert (found.users.files, found.log.files, found.log.done, found.queries.files) == (
        "users.csv",
        "2026-11-20/l.csv",
        "2026-11-20/_SUCCESS",
        "q-2026-11-20.csv",
    )
    assert columns.items.files == "{day}/i.csv"


@pytest.mark.parametrize("pattern", ["{day:%d}.csv", "{day:%Y}.csv", "{Day}.csv", "{day:%Y-%m-%d %H}.csv"])
def test_names_that_do_not_tell_days_apart(pattern):
    with pytest.raises(ValueError, match=r"data\.log\.files must name the day as \{day\}, which is 2026-11-20.*Received: "):
        check_days(ColumnarData(path="x", log={"files": pattern}))
