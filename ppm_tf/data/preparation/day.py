"""One closed day of the log, prepared from the day before: what it costs is the day's rows, the catalog once, and a compact state."""

from __future__ import annotations

import logging
import shutil
import time
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from ppm_tf.config import BeamSettings, ColumnarData
from ppm_tf.data.catalog import ItemCatalog
from ppm_tf.data.day_errors import DayEmptyError, DayRefusedError
from ppm_tf.data.preparation import day_forms, histories
from ppm_tf.data.preparation.catalog_growth import GrowthReport, grow_catalog
from ppm_tf.data.preparation.day_checks import check_order, check_settings, errors_of, find_files, write_ledger
from ppm_tf.data.preparation.day_state import FOLDER, DayState
from ppm_tf.data.preparation.growing_words import GrowingWords
from ppm_tf.data.preparation.jobs import SampleJob, survey_log, write_samples
from ppm_tf.data.preparation.log_batches import DAY_SECONDS, LogForms, day_seconds
from ppm_tf.data.preparation.log_judgement import check_survey, order_form, other_day_hint, say_what_is_empty
from ppm_tf.data.preparation.results import context_counts, judge_partitions, schema_of, statistics_of, write_manifests
from ppm_tf.data.preparation.survey import Survey
from ppm_tf.data.preparation.user_growth import grow_users
from ppm_tf.data.queries import write_queries
from ppm_tf.data.raw import files as raw_files
from ppm_tf.data.raw.column_forms import ColumnForm
from ppm_tf.data.raw.column_survey import survey_column
from ppm_tf.data.raw.day_files import has_day, of_day
from ppm_tf.data.raw.image_files import refuse_missing
from ppm_tf.data.raw.rejected import Rejected
from ppm_tf.data.schema import Field, Schema
from ppm_tf.data.sources import columnar
from ppm_tf.storage import write_json
from ppm_tf.workspace import link_or_copy

logger = logging.getLogger(__name__)

HALVES = ("head", "tail")  # a day's samples: what is trained on at once, and what models are judged on first


def prepare_day(columns: ColumnarData, beam: BeamSettings, day: date, earlier: Path | None, folder: Path, held_out_hours: float) -> dict[str, Any]:
    """Writes the artifact of a day: `samples/{head,tail}/`, `catalog/`, `schema.json`, `users.npz`, `queries.parquet`, `state/`,
    `statistics.json`, `rejected.jsonl` and `ledger.json`.

    Days prepared one by one give the same bytes as all of them in one go, whatever the batch size or the number of workers.
    Requests, histories and labels are those of `prepare` over the same files, but that a request ends with its day.

    Args:
        columns: the mapping; names of files may hold `{day}`, that of the log must.
        beam: where the jobs run.
        day: the day, UTC.
        earlier: artifact of the day before; `None` on the first day.
        folder: empty or new folder; the caller moves it into place.
        held_out_hours: newest hours of the day that are its tail.

    Returns:
        The content of `statistics.json`.

    Raises:
        DayNotThereError: the day has not come as a whole yet.
        DayBrokenError: its files cannot be used.
        DayOrderError: it is not the day after `earlier`.
        FileNotFoundError: a setting names files that are not there, on whatever day.
        ValueError: settings do not go with days.
    """
    started = time.monotonic()
    check_settings(columns, held_out_hours)
    if earlier is not None:
        check_order(day, DayState.read(earlier).day)
    with errors_of(day):
        today = of_day(columns, day)
        state = DayState.of(day, columns, earlier)
        find_files(columns, day)
        columnar.check(today)
        folder = folder.absolute()  # workers may run in another folder
        folder.mkdir(parents=True, exist_ok=True)
        statistics, rejected = _prepare(columns, today, beam, state, earlier and earlier.absolute(), folder, held_out_hours)
        rejected.write(folder / "rejected.jsonl")
        state.write(folder)
        write_json(folder / "statistics.json", statistics)
        write_ledger(columns, day, statistics["rows_read"], folder)
    counts = ", ".join(f"{found['requests']} {half}" for half, found in statistics["splits"].items())
    logger.info("prepared %s, %d rows: %s requests in %.1f s", day, statistics["rows_read"], counts, time.monotonic() - started)
    return statistics


def _prepare(
    columns: ColumnarData, today: ColumnarData, beam: BeamSettings, state: DayState, earlier: Path | None, folder: Path, held_out_hours: float
) -> tuple[dict[str, Any], Rejected]:
    report = _catalog(columns, today, state, earlier, folder)
    catalog, work = ItemCatalog.read(folder / "catalog"), folder / ".work"
    queries = None
    if today.queries:
        queries = write_queries(today, catalog, folder / "queries.parquet") | {"by_day": has_day(columns.queries.files)}
    work.mkdir()
    pieces = raw_files.splits(raw_files.find(today.path, today.log.files, "data.log.files"), today.csv)
    survey = survey_log(today, pieces, folder / "catalog", beam, work, state.day)
    if not survey.rows and survey.problem is None:
        raise DayEmptyError(f"The log must have a row. Received: none in {today.log.files} of {today.path}. Remedy: deliver the day's rows.")
    check_survey(survey, today, catalog, other_day_hint(survey, today, state.day))
    forms = _forms(today, survey, state)
    user_fields = grow_users(today, state, earlier, folder) if today.users else ()
    before = Schema.read(earlier / "schema.json") if earlier else None
    fields = (*report.fields, *user_fields, *_context_fields(today, survey, forms, state, before))
    schema = schema_of(today, state.item_id_type, state.user_id_type, fields)
    cut = day_seconds(state.day) + DAY_SECONDS - round(held_out_hours * 3600)
    past = str(earlier / FOLDER / "histories") if earlier else None
    job = SampleJob(today, schema, str(folder), forms, (cut,), beam.batch_rows, HALVES, HALVES, state.day, past)
    partitions = write_samples(job, pieces, beam, work)
    judge_partitions(partitions, pieces, survey, today)
    _carry_histories(past, folder, today.shards)
    _add_counts(earlier, folder)
    log = statistics_of(survey, partitions, schema, HALVES, (cut,))
    times = [found[name] for found in log["splits"].values() if found["requests"] for name in ("first_time", "last_time")]
    times += before.time_range or () if before else ()
    schema = replace(schema, time_range=(min(times), max(times)) if times else None)
    schema.write(folder / "schema.json")
    write_manifests(folder / "samples", partitions, HALVES, today.compression)
    shutil.rmtree(work)
    survey.rejected.update(report.missing_images)
    statistics = {
        "day": state.day.isoformat(),
        "items": report.num_items,
        "items_new": report.new_items,
        "items_changed": report.changed_items,
        "items_with_text": report.with_text,
        "items_with_image": report.with_image,
        "image_files_not_found": report.missing_images.total,
        "repeated_item_rows": report.repeated_rows,
        **log,
        "queries": queries,
    }
    return statistics, survey.rejected


def _catalog(columns: ColumnarData, today: ColumnarData, state: DayState, earlier: Path | None, folder: Path) -> GrowthReport:
    items = today.items
    form = survey_column(today, items.files, "data.items.files", items.id)
    state.item_id_type = day_forms.id_type(state, "item", items.id_type, form, items.id, "data.items.id_type")
    report = grow_catalog(today, state, earlier, folder, has_day(columns.items.image_files or columns.items.files))
    try:
        refuse_missing(report.missing_images, report.images_read, today.max_missing_images)
    except FileNotFoundError as error:
        raise DayRefusedError(str(error)) from error
    logger.info(
        "catalog: %d items, %d new, %d changed, %d with text, %d with image",
        report.num_items, report.new_items, report.changed_items, report.with_text, report.with_image,
    )  # fmt: skip
    say_what_is_empty(report)
    return report


def _forms(today: ColumnarData, survey: Survey, state: DayState) -> LogForms:
    """How the columns of the log are read: ids of users and numbers as on the first day; what no other day sees, as this day holds it."""
    log, user = today.log, survey.forms.get("user", ColumnForm())
    if today.users:
        user.update(survey_column(today, today.users.files, "data.users.files", today.users.id))
    state.user_id_type = day_forms.id_type(state, "user", log.user_id_type, user, log.user, "data.log.user_id_type")
    numeric = {
        name: day_forms.numeric(
            state, f"context.{name}", field, survey.forms.get(f"context.{name}", ColumnForm()), today, log.files, f"data.log.context.{name}"
        )
        for name, field in log.context.items()
    }
    return LogForms(
        user=state.user_id_type,
        request=survey.forms.get("request", ColumnForm()).id_type,
        order=order_form(survey),
        numeric=frozenset(name for name, is_number in numeric.items() if is_number),
    )


def _context_fields(today: ColumnarData, survey: Survey, forms: LogForms, state: DayState, before: Schema | None) -> tuple[Field, ...]:
    widths = {field.name: field.num_values for field in before.side("context")} if before else survey.context_values
    fields = []
    for name, column in today.log.context.items():
        words = state.words.setdefault(f"context.{name}", GrowingWords())
        words.count(context_counts(survey, name, name in forms.numeric), column.min_count)
        width = widths.get(name, 1)
        day_forms.say_what_is_left_out("log", name, survey.context_values.get(name, 1), width)
        fields.append(Field(name, "context", words.vocabulary, width, name in forms.numeric))
    return tuple(fields)


def _carry_histories(past: str | None, folder: Path, partitions: int) -> None:
    """Keeps what is before the next day of the partitions that have no row on this one."""
    target = folder / FOLDER / "histories"
    target.mkdir(parents=True, exist_ok=True)
    for name in map(histories.name_of, range(partitions)):
        if past and not (target / name).exists() and Path(past, name).is_file():
            link_or_copy(Path(past, name), target / name)


def _add_counts(earlier: Path | None, folder: Path) -> None:
    """Makes the day's item counts those of all days up to it."""
    if earlier is None:
        return
    before, now = (ItemCatalog.read(one / "catalog").counts for one in (earlier, folder))
    for name, counts in before.items():
        now[name][: len(counts)] += counts
    np.savez(folder / "catalog" / "counts.npz", **now)
