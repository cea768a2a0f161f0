"""What a preparation refuses, and what it says in one line, once a log was read as a whole."""

from __future__ import annotations

import logging
from contextlib import suppress
from datetime import UTC, date, datetime

import pyarrow as pa

from ppm_tf.config import ColumnarData
from ppm_tf.data.catalog import ItemCatalog
from ppm_tf.data.near_matches import near_matches
from ppm_tf.data.preparation.catalog_builder import CatalogReport
from ppm_tf.data.preparation.log_batches import DAY_SECONDS, OTHER_DAY, UNKNOWN_ITEM, LogForms, day_seconds
from ppm_tf.data.preparation.survey import Survey
from ppm_tf.data.raw import files as raw_files
from ppm_tf.data.raw.column_forms import ColumnForm
from ppm_tf.data.raw.column_survey import is_numeric, survey_column
from ppm_tf.data.raw.column_times import CALENDAR, TICKS, UNITS, moments
from ppm_tf.data.raw.columns import Place
from ppm_tf.data.sources.columnar import chosen_id_type

logger = logging.getLogger(__name__)


def say_what_is_empty(report: CatalogReport) -> None:
    """One line each for item columns that hold nothing, and for numbers that are none."""
    if report.has_texts and not report.with_text:
        logger.warning("catalog: the text of every item is empty; look at data.items.text and data.missing")
    for name in [*(field.name for field in report.fields if not field.vocabulary), *report.empty]:
        logger.warning("catalog: %s has no value at all", name)
    for name, count in report.beyond.items():
        logger.warning(
            "catalog: %d values of %s are larger than any float32, such as a database writes for nothing; they are taken as missing", count, name
        )


def check_survey(survey: Survey, columns: ColumnarData, catalog: ItemCatalog, hint: str = "") -> None:
    """Refuses a log that cannot be used, and says what is odd about it.

    Args:
        survey: the log.
        columns: where its columns are.
        catalog: the items.
        hint: a further sentence where too many rows are set aside.

    Raises:
        DamagedFileError: a file cannot be read.
        ValueError: a cell is not what its column must hold, too many rows would be set aside, or dates are taken for seconds.
    """
    if survey.problem is not None:
        raise (raw_files.DamagedFileError if survey.problem[3] else ValueError)(survey.problem[2])
    if survey.rows == 0:
        raise ValueError(f"data.log.files must hold at least one row. Received: none in {columns.log.files} of {columns.path}.")
    near = near_matches([str(case["value"]) for case in survey.rejected.cases if case["reason"] == UNKNOWN_ITEM], catalog)
    survey.rejected.refuse_above(columns.max_rejected, survey.rows, near + hint)
    if survey.rows == survey.rejected.total:
        raise ValueError(f"At least one log row must have a user and a known item. Received: none of {survey.rows}.{near}{hint}")
    if survey.dates:
        unit = survey.dates[0]
        raise ValueError(
            f"data.log.time_unit must say what the numbers in column {columns.log.time} of {columns.log.files} count. Received: auto, and each of"
            f" them is a date written as {unit}; as seconds they would lie in 1970. Remedy: set data.log.time_unit={unit}, or data.log.time_unit=s if"
            " they do count seconds."
        )
    if near:
        logger.warning("log: %d rows of unknown items.%s", survey.rejected.counts[UNKNOWN_ITEM], near)
    if len(survey.order_forms) > 1 and "time" in survey.order_forms:
        raise ValueError(
            f"data.log.order must name a column of numbers or one of times. Received: column {columns.log.order}, which holds"
            f" {' and '.join(survey.order_forms)}. Remedy: write its values alike."
        )
    if columns.log.time and len(survey.histogram.bins) == 1 and survey.rows > 1:
        logger.warning("log: all %d rows have one and the same time, so no row is before another; look at data.log.time", survey.rows)
    for name, field in columns.log.context.items():
        if not survey.context.get(name):
            logger.warning("log: column %s (context field %s) has no value at all", field.column, name)
    for task, (_, negatives, positives) in survey.labels.items():
        if not negatives and not positives:
            logger.warning("log: column %s (task %s) has no label at all", columns.log.labels[task].column, task)
    logger.info("survey: %d rows, %d set aside", survey.rows, survey.rejected.total)


def log_forms(survey: Survey, columns: ColumnarData) -> LogForms:
    """How each column of the log is read, by what all its cells hold and by the settings.

    Raises:
        ValueError: users' ids must be integers by the settings, and the user file holds another one.
    """
    log, user = columns.log, survey.forms.get("user", ColumnForm())
    if columns.users:
        user.update(survey_column(columns, columns.users.files, "data.users.files", columns.users.id))
    return LogForms(
        # With an integer type set, rows with other ids were set aside already; the users' file has its own check.
        user="int" if log.user_id_type == "int" else chosen_id_type(log.user_id_type, user, "user", "data.log.user_id_type"),
        request=survey.forms.get("request", ColumnForm()).id_type,
        order=order_form(survey),
        numeric=frozenset(name for name, field in log.context.items() if is_numeric(field, survey.forms.get(f"context.{name}", ColumnForm()))),
    )


def order_form(survey: Survey) -> str | None:
    """What the column of the order holds as a whole; `None` without one."""
    return survey.order_forms[0] if len(survey.order_forms) == 1 else "number" if survey.order_forms else None


def other_day_hint(survey: Survey, columns: ColumnarData, day: date) -> str:
    """When the first row of another day was, as its time is read, and in which units it would be one of this day; "" without such rows."""
    case = next((case for case in survey.rejected.cases if case["reason"] == OTHER_DAY), None)
    if case is None:
        return ""
    log = columns.log
    found = {}
    for unit in ("auto", *UNITS, *CALENDAR):
        with suppress(ValueError, pa.ArrowException, OverflowError):
            found[unit] = int(moments(pa.array([case["value"]]), unit, Place("", "", ""), columns.missing)[0]) // TICKS
    start = day_seconds(day)
    fitting = [unit for unit, seconds in found.items() if unit not in ("auto", "step", log.time_unit) and start <= seconds < start + DAY_SECONDS]
    read = datetime.fromtimestamp(found[log.time_unit], UTC) if log.time_unit in found else "no time"
    remedy = (
        f"set data.log.time_unit={' or '.join(fitting)}, if that is what the numbers count"
        if fitting and len(set(found.values())) > 1
        else "look whether the files are another day's"
    )
    return f" Read as data.log.time_unit={log.time_unit}, that is {read:%Y-%m-%d %H:%M:%S} UTC, and the day is {day}: {remedy}."


def judge_rows(partitions: list[dict], pieces: list[raw_files.FileSplit], columns: ColumnarData) -> None:
    """Says how many events came more than once, which requests disagree with themselves, and what ties cost; refuses what the settings refuse.

    Raises:
        ValueError: data.repeats or data.mixed_requests is "refuse", and there are some.
    """
    repeats = {name: sum(found["repeats"][name] for found in partitions) for name in ("rows", "differing")}
    if repeats["rows"]:
        path, row = place_of(min(found["repeats"]["origin"] for found in partitions), pieces)
        where = "in one request" if columns.requests == "column" else "at one time"
        text = (
            f"{repeats['rows']} rows repeat an event (one user and item {where}), {repeats['differing']} of them with another label; the first is"
            f" {path}, row {row + 1}"
        )
        if columns.repeats == "refuse":
            raise ValueError(
                f"Every event must stand in one row, because data.repeats=refuse. Received: {text}. Remedy: set data.repeats=merge, drop or keep."
            )
        logger.warning("log: %s; data.repeats=%s", text, columns.repeats)
    mixed = sum(found["mixed"]["requests"] for found in partitions)
    if mixed:
        path, row = place_of(min(found["mixed"]["origin"] for found in partitions), pieces)
        text = f"{mixed} requests hold rows that differ in a field of the request; the first is at {path}, row {row + 1}"
        if columns.mixed_requests == "refuse":
            raise ValueError(
                f"The rows of a request must agree in its fields, because data.mixed_requests=refuse. Received: {text}. Remedy: set"
                " data.mixed_requests=first or drop."
            )
        logger.warning("log: %s; data.mixed_requests=%s", text, columns.mixed_requests)
    ties = {name: sum(found["ties"][name] for found in partitions) for name in ("requests", "behaviors")}
    if ties["requests"]:
        logger.warning(
            "log: %d requests share their time with other behaviors of their user, and nothing says which came first: "
            "%d behaviors are missing from their histories. "
            "Remedy: data.log.order=<column>, or data.log.rows_in_order=true if the rows stand in their order",
            ties["requests"], ties["behaviors"],
        )  # fmt: skip


def say_strangers(partitions: list[dict], columns: ColumnarData) -> None:
    """Says how many users of the log the user file does not hold; all of them is a sign that ids are spelt in two ways."""
    users, described = (sum(found[name] for found in partitions) for name in ("users", "described"))
    if columns.users and described < users:
        logger.warning(
            "log: %d of %d users are not in %s; their fields are missing%s", users - described, users, columns.users.files,
            "" if described else ". Ids are compared as they are written: look at data.users.id and data.log.user",
        )  # fmt: skip


def place_of(origin: int, pieces: list[raw_files.FileSplit]) -> tuple[str, int]:
    """File and row, from 0, of a row by its place among all."""
    file, row = divmod(origin, 1 << 40)
    return next(piece.path for piece in pieces if piece.file == file), row
