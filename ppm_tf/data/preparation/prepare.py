"""From raw files to the artifact `data/`: schema, catalog, users, queries, samples, statistics."""

from __future__ import annotations

import logging
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from ppm_tf.config import BeamSettings, ColumnarData
from ppm_tf.data.catalog import ItemCatalog
from ppm_tf.data.preparation.catalog_builder import build_catalog
from ppm_tf.data.preparation.jobs import SampleJob, survey_log, write_no_counts, write_samples
from ppm_tf.data.preparation.log_batches import LogForms
from ppm_tf.data.preparation.log_judgement import check_survey, log_forms, say_what_is_empty
from ppm_tf.data.preparation.results import context_counts, judge_partitions, schema_of, statistics_of, write_manifests
from ppm_tf.data.preparation.survey import Survey
from ppm_tf.data.preparation.user_features import write_users
from ppm_tf.data.preparation.vocabulary import vocabulary
from ppm_tf.data.queries import write_queries
from ppm_tf.data.raw import files as raw_files
from ppm_tf.data.raw.image_files import refuse_missing
from ppm_tf.data.raw.rejected import Rejected
from ppm_tf.data.schema import Field, Schema
from ppm_tf.data.sources import columnar
from ppm_tf.data.splits import SPLITS, time_cuts
from ppm_tf.storage import write_json

logger = logging.getLogger(__name__)


def prepare(columns: ColumnarData, beam: BeamSettings, folder: Path) -> dict[str, Any]:
    """Writes a prepared data set.

    The log is read twice: a survey that checks every row and finds the cuts in time, then the samples. Equal files and
    settings give equal bytes, whatever the batch size or the number of workers. Without a log (`columns.log` is None) there
    are no tasks, no users and no samples: the catalog and the queries are all.

    Args:
        columns: where the columns are, and how the log becomes requests.
        beam: where the jobs run.
        folder: empty or new folder; on a remote runner one that all workers share. The caller moves it into place.

    Returns:
        The content of `statistics.json`.

    Raises:
        FileNotFoundError: a setting names files that are not there.
        ValueError: files, columns, cells or settings are not as they must be; the message says where and what to do.
    """
    started = time.monotonic()
    columnar.check(columns)
    item_id_type = columnar.item_id_type(columns)
    folder = folder.absolute()  # workers may run in another folder
    folder.mkdir(parents=True, exist_ok=True)
    report = build_catalog(columns, folder / "catalog", item_id_type)
    refuse_missing(report.missing_images, report.with_image, columns.max_missing_images)
    logger.info("catalog: %d items, %d with text, %d with image", report.num_items, report.with_text, report.with_image)
    say_what_is_empty(report)
    if report.repeated_rows:
        logger.info("catalog: %d further rows of item ids that came before; the first row of each counts", report.repeated_rows)
    queries = None
    if columns.queries:
        queries = write_queries(columns, ItemCatalog.read(folder / "catalog"), folder / "queries.parquet")
        logger.info("queries: %d of %d kept", queries["kept"], queries["read"])
    rejected, log = Rejected(), {"users": 0, "rows_read": 0, "rows_rejected": {}, "splits": {}, "cut_times": None}
    if columns.log is None:
        schema_of(columns, item_id_type, "int", report.fields).write(folder / "schema.json")
        write_no_counts(ItemCatalog.read(folder / "catalog"))
    else:
        log, rejected = _prepare_log(columns, beam, folder, item_id_type, report.fields)
    rejected.update(report.missing_images)
    rejected.write(folder / "rejected.jsonl")
    statistics = {
        "items": report.num_items,
        "items_with_text": report.with_text,
        "items_with_image": report.with_image,
        "image_files_not_found": report.missing_images.total,
        "repeated_item_rows": report.repeated_rows,
        **log,
        "queries": queries,
    }
    write_json(folder / "statistics.json", statistics)
    counts = ", ".join(f"{found['requests']} {split}" for split, found in statistics["splits"].items() if found["requests"])
    made = f"{statistics['rows_read']} rows: {counts} requests" if columns.log else f"{report.num_items} items, without a log,"
    logger.info("prepared %s in %.1f s", made, time.monotonic() - started)
    return statistics


def _prepare_log(
    columns: ColumnarData, beam: BeamSettings, folder: Path, item_id_type: str, item_fields: tuple[Field, ...]
) -> tuple[dict[str, Any], Rejected]:
    """Writes schema, users and samples; gives the log's part of the statistics, and the rows set aside."""
    work = folder / ".work"
    work.mkdir(exist_ok=True)
    pieces = raw_files.splits(raw_files.find(columns.path, columns.log.files, "data.log.files"), columns.csv)
    survey = survey_log(columns, pieces, folder / "catalog", beam, work)
    check_survey(survey, columns, ItemCatalog.read(folder / "catalog"))
    forms = log_forms(survey, columns)
    user_fields = write_users(columns, folder, forms.user) if columns.users else ()
    schema = schema_of(columns, item_id_type, forms.user, (*item_fields, *user_fields, *_context_fields(columns, survey, forms)))
    cuts = time_cuts(survey.histogram, columns.split) if columns.split.by == "time" else None
    job = SampleJob(columns, schema, str(folder), forms, cuts, beam.batch_rows)
    partitions = write_samples(job, pieces, beam, work)
    judge_partitions(partitions, pieces, survey, columns)
    statistics = statistics_of(survey, partitions, schema, SPLITS, cuts)
    if schema.has_time:
        found = [one for one in statistics["splits"].values() if one["requests"]]
        schema = replace(schema, time_range=(min(one["first_time"] for one in found), max(one["last_time"] for one in found)) if found else None)
    schema.write(folder / "schema.json")
    _check_splits(statistics, columns, schema, cuts)
    write_manifests(folder / "samples", partitions, SPLITS, columns.compression)
    shutil.rmtree(work)
    return statistics, survey.rejected


def _context_fields(columns: ColumnarData, survey: Survey, forms: LogForms) -> tuple[Field, ...]:
    fields = []
    for name, column in columns.log.context.items():
        numeric = name in forms.numeric
        words = vocabulary(context_counts(survey, name, numeric), column.min_count)
        fields.append(Field(name, "context", words, survey.context_values.get(name, 1), numeric))
    return tuple(fields)


def _check_splits(statistics: dict[str, Any], columns: ColumnarData, schema: Schema, cuts: tuple[int, int, int] | None) -> None:
    """Refuses splits that cannot be trained on or scored, and verifies that none reaches past its cut."""
    settings, found = columns.split, statistics["splits"]
    for split, share in zip(SPLITS, (settings.pretrain, 1.0, settings.valid, settings.test), strict=True):
        if share and not found[split]["requests"]:
            sizes = ", ".join(f"{name} {counts['requests']}" for name, counts in found.items())
            raise ValueError(
                f"The {split} split must hold at least one request. Received: {sizes} requests. Remedy: change"
                f" data.split.{'valid' if split == 'train' else split}, or bring more data."
            )
    for split, tasks in (("train", schema.tasks), ("pretrain", schema.tasks[:1] if settings.pretrain else ())):
        for task in tasks:
            positives, negatives = found[split]["positives"][task], found[split]["negatives"][task]
            if not positives or not negatives:
                label = columns.log.labels[task]
                alone = (
                    ""
                    if negatives
                    else (
                        " A log of clicks alone needs negatives: add rows of what was shown and not clicked, or of items drawn at random, with"
                        " label 0."
                    )
                )
                raise ValueError(
                    f"The {split} split must hold both positives and negatives of the task {task}. Received: {positives} positives and {negatives}"
                    f" negatives in column {label.column} of {columns.log.files}. Remedy: check data.log.labels.{task}"
                    f" ({f'equals: {list(label.equals)}' if label.equals is not None else f'at_least: {label.at_least}'}) and data.split.{alone}"
                )
    for split, cut in zip(SPLITS[:3], cuts or (), strict=False):
        if found[split]["requests"] and found[split]["last_time"] >= cut:
            raise RuntimeError(
                f"The {split} split must end before its cut at {cut}. Received: a row at {found[split]['last_time']}. This is a fault of the program."
            )
