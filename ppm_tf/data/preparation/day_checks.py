"""What is refused of a day of the log before its rows are read, how errors become the day's own, and the ledger of its files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from ppm_tf.config import ColumnarData
from ppm_tf.data.day_errors import DayDamagedError, DayError, DayMissingError, DayOrderError, DayRefusedError, DayUnfinishedError
from ppm_tf.data.manifest import day_hash, sha256
from ppm_tf.data.raw import files as raw_files
from ppm_tf.data.raw.day_files import at_day, check_days, days_of, files_of, has_day
from ppm_tf.storage import write_json

LEDGER = "ledger.json"


def check_settings(columns: ColumnarData, held_out_hours: float) -> None:
    """Refuses settings that do not go with days.

    Raises:
        ValueError: the log has no day in its name or no clock, or the tail is no part of a day.
    """
    check_days(columns)
    if columns.log is None or not has_day(columns.log.files):
        raise ValueError(
            "data.log.files must hold {day} for a log by days. Received:"
            f" {columns.log.files if columns.log else 'data.log=null'}. Remedy: data.log.files=day={{day}}/*.parquet, as the files are named."
        )
    if columns.log.time is None or columns.log.time_unit == "step":
        raise ValueError(
            "A log by days needs the column of the time, on a clock. Received:"
            f" data.log.time={columns.log.time}, data.log.time_unit={columns.log.time_unit}. Remedy: set data.log.time."
        )
    if not 0 < held_out_hours < 24:
        raise ValueError(f"held_out_hours must be above 0 and below 24. Received: {held_out_hours}.")


def check_order(day: date, before: date) -> None:
    """Refuses a day that does not come next.

    Raises:
        DayOrderError: it is not the one after `before`.
    """
    if day == before + timedelta(1):
        return
    remedy = (
        f"prepare {before + timedelta(1)} first"
        if day > before
        else "a late day cannot be put between others, whose histories are without it; to have it, prepare all days anew with run=<folder>"
    )
    raise DayOrderError(f"A day must be the one after the last. Received: {day} after {before}. Remedy: {remedy}.")


def find_files(columns: ColumnarData, day: date) -> None:
    """Refuses a day whose files are not all there.

    Raises:
        DayUnfinishedError: the file that says that the day is whole is not there.
        DayMissingError: a name of files that holds a day matches none.
        FileNotFoundError: one that holds none does.
    """
    done = columns.log.done and at_day(columns.log.done, day)
    if done and not Path(columns.path, done).is_file():
        raise DayUnfinishedError(
            f"{Path(columns.path, done)} must say that the day is whole (data.log.done). Received: no such file. Remedy: wait for it, and run the"
            " same command again."
        )
    for setting, pattern in files_of(columns):
        if setting == "data.log.done":
            continue
        try:
            raw_files.find(columns.path, at_day(pattern, day), setting)
        except FileNotFoundError as error:
            if not has_day(pattern):
                raise
            there = days_of(columns.path, pattern)
            span = f"{len(there)} days from {there[0]} to {there[-1]}" if there else "no day at all"
            raise DayMissingError(
                f"{setting} must name files of the day. Received: {at_day(pattern, day)}, which matches none in {columns.path}; there are files of"
                f" {span}. Remedy: wait for them, and run the same command again; an empty file stands for nothing new."
            ) from error


@contextmanager
def errors_of(day: date) -> Iterator[None]:
    """Turns what the block refuses into errors of the day, which name it."""
    try:
        yield
    except DayError as error:
        raise type(error)(f"{day}: {error}") from error
    except raw_files.DamagedFileError as error:
        raise DayDamagedError(f"{day}: {error}") from error
    except ValueError as error:
        raise DayRefusedError(f"{day}: {error}") from error


def content_of(columns: ColumnarData, day: date) -> str:
    """What a day's log holds now, as its ledger says it: a hash of the files of the log alone, so that the same rows a second time are the same.

    Raises:
        FileNotFoundError: it has no files.
    """
    return day_hash(sha256(path) for path in raw_files.find(columns.path, at_day(columns.log.files, day), "data.log.files"))


def write_ledger(columns: ColumnarData, day: date, rows: int, folder: Path) -> None:
    """Writes which files the day was made of."""
    files = []
    for setting, pattern in files_of(columns):
        if setting == "data.log.done":
            continue
        for path in raw_files.find(columns.path, at_day(pattern, day), setting):
            name = path.relative_to(columns.path).as_posix() if path.is_relative_to(columns.path) else str(path)
            files.append({"file": name, "setting": setting, "bytes": path.stat().st_size, "sha256": sha256(path)})
    content = day_hash(one["sha256"] for one in files if one["setting"] == "data.log.files")
    write_json(folder / LEDGER, {"day": day.isoformat(), "files": files, "rows": rows, "content": content})


def read_ledger(folder: Path) -> dict[str, Any]:
    """The ledger of a day's artifact."""
    return json.loads((folder / LEDGER).read_text(encoding="utf-8"))
