"""Turns a raw log into a prepared data set: an item catalog, and requests as TFRecords.

Reads the source that data.source names: `synthetic` writes and reads an embedded shop (into <run>/raw), `columnar` reads
Parquet, CSV or JSONL files by a column mapping, `movielens` and `amazon` read those data sets as they are published.

Writes <run>/data: schema.json, catalog/ (one row an item: text, image, fields, train counts), samples/{pretrain,train,
valid,test}/ (one record a request: a user, the history before it, the candidates with their labels), queries.parquet,
statistics.json and rejected.jsonl (log rows set aside, with file, row, column and reason). With data.log=null there are
only the items and queries, enough to train encoders and to write tables.

With day=2026-11-20 the log comes by day (names of files hold {day}, docs/data.md), and each day up to this one that is not prepared
yet becomes <run>/days/<day>, in order, from the day before it: samples/{head,tail}/, the whole catalog, vocabularies and users as of
its end, ledger.json (which files were read) and state/ (what the next day goes on from). A day that is missing, unfinished, empty or
damaged ends the command with 1; the days before it stay.

  python -m pipelines.prepare data.users=500 data.days=14 run=runs/small
  python -m pipelines.prepare data.source=columnar data.path=my_log data.log.time=timestamp \\
      data.log.labels='{click: {column: rating, at_least: 4}}' data.items.text='[title, plot]' run=runs/mine
  python -m pipelines.prepare data.by_day=true day=2024-01-07 run=runs/days
"""

from __future__ import annotations

import importlib
import logging
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from pipelines.stage import Stage, folder_size, in_a_folder, main, peak_memory
from ppm_tf.config import ColumnarData, Config
from ppm_tf.data.day_errors import DayError, DayOrderError
from ppm_tf.data.raw.day_files import at_day, days_of, files_of, has_day
from ppm_tf.data.sources import SOURCES
from ppm_tf.workspace import Recipe, StaleArtifactError, Workspace, fingerprint

logger = logging.getLogger(__name__)

# Settings that shape the raw files a source writes; the others only say how they are read.
_RAW_SETTINGS = {
    "synthetic": ("users", "items", "days", "requests_per_user", "candidates", "seed", "by_day"),
    "amazon": ("path", "reviews", "metadata", "core", "negatives", "seed", "images", "split", "max_rejected"),
}


def run(config: Config, workspace: Workspace, recipe: Recipe) -> None:
    """Prepares the data set and commits `data/`."""
    from ppm_tf.data.preparation.prepare import prepare

    source = _source(config)
    raw = _write_raw(config, workspace, source)
    with workspace.commit("data", recipe) as folder:
        # MovieLens' own formats are converted here; the other sources have their files by now.
        columns = source.columns(config.data, raw or folder / "converted")
        prepare(columns, config.beam, folder)
        shutil.rmtree(folder / "converted", ignore_errors=True)
        logger.info("data set: %s; %s", folder_size(folder), peak_memory())


def _write_raw(config: Config, workspace: Workspace, source: Any) -> Path | None:
    """The folder of raw files that the source itself writes, made if it is not there."""
    if config.data.source not in _RAW_SETTINGS:
        return None
    settings = config.data.model_dump(mode="json")
    kept = {"source": config.data.source, **{name: settings[name] for name in _RAW_SETTINGS[config.data.source]}}
    recipe = Recipe(settings={"data": kept}, inputs=inputs(config))
    if not workspace.is_current("raw", recipe):
        with workspace.commit("raw", recipe) as folder:
            source.write(config.data, folder)
    return workspace.path("raw")


def inputs(config: Config) -> dict[str, str]:
    """Fingerprints of the user's files. Files that are gone are not missed until they are needed."""
    source = _source(config)
    try:
        return fingerprint(source.raw_inputs(config.data)) if hasattr(source, "raw_inputs") else {}
    except FileNotFoundError:
        return {}


def by_days(config: Config) -> Callable[[Config, Workspace], None] | None:
    """`prepare_days`, where the settings name a day."""
    return prepare_days if config.day else None


def prepare_days(config: Config, workspace: Workspace) -> list[date]:
    """Prepares each day of the log up to `config.day` that is not there yet, as the artifacts `days/<day>`.

    Returns:
        The days prepared now, in order; none where all are there.

    Raises:
        DayError: a day cannot be prepared; the ones before it are.
        StaleArtifactError: the last day was prepared with other settings.
    """
    from ppm_tf.data.preparation.day import prepare_day

    in_a_folder(config.run, "pipelines.prepare day=<day>")
    done = prepared_days(workspace)
    if done:
        _refuse_other_files(config, workspace, _artifact(done[-1]))
    columns = columns_by_day(config, workspace)
    wanted = _wanted(columns, done, config.day)
    if not wanted:
        logger.info("pipelines.prepare: %s is up to date", workspace.path(_artifact(config.day)))
    workspace.settings = config.model_dump(mode="json")
    for number, day in enumerate(wanted, 1):
        artifact, before = _artifact(day), _artifact(day - timedelta(1))
        start = time.monotonic()
        logger.info("pipelines.prepare: day %d of %d, start, writing %s", number, len(wanted), workspace.path(artifact))
        with workspace.lock(artifact):
            earlier = workspace.path(before) if workspace.exists(before) else None
            parents = {before: workspace.id(before)} if earlier else {}
            settings = {"data": workspace.settings["data"], "update": {"held_out_hours": config.update.held_out_hours}}
            with workspace.commit(artifact, Recipe(settings, _inputs_of(columns, day), parents)) as folder:
                prepare_day(columns, config.beam, day, earlier, folder, config.update.held_out_hours)
        logger.info(
            "pipelines.prepare: day %d of %d, done in %.1f s, wrote %s, %s; %s",
            number, len(wanted), time.monotonic() - start, workspace.path(artifact), folder_size(workspace.path(artifact)), peak_memory(),
        )  # fmt: skip
    return wanted


def columns_by_day(config: Config, workspace: Workspace) -> ColumnarData:
    """The column mapping of the raw files; those that the source itself writes are made first."""
    source = _source(config)
    raw = _write_raw(config, workspace, source)
    return source.columns(config.data, raw or workspace.path("raw"))


def missing_days(config: Config, workspace: Workspace) -> list[date]:
    """The days up to `config.day` that are not prepared, in order.

    Raises:
        ValueError: the log does not come by day.
        DayError: there is no day at all, which no waiting mends.
        DayOrderError: `config.day` lies before the first day.
    """
    return _wanted(columns_by_day(config, workspace), prepared_days(workspace), config.day)


def _refuse_other_files(config: Config, workspace: Workspace, artifact: str) -> None:
    """Refuses to let days go on from those of a source that would write other files now."""
    made, asked = workspace.made_by(artifact)["settings"]["data"], config.data.model_dump(mode="json")
    names = ("source", *_RAW_SETTINGS.get(config.data.source, ()))
    if differing := [f"data.{name} was {made.get(name)}, and {asked[name]} is asked for now" for name in names if made.get(name) != asked[name]]:
        raise StaleArtifactError(
            f"{workspace.path(artifact)} was made otherwise: {'; '.join(differing)}. Set the old values, or choose another folder with run=<folder>."
        )


def prepared_days(workspace: Workspace) -> list[date]:
    """The days that are prepared in a run, in order."""
    return [date.fromisoformat(path.name) for path in sorted(workspace.path("days").glob("????-??-??")) if workspace.exists(f"days/{path.name}")]


def _artifact(day: date) -> str:
    return f"days/{day.isoformat()}"


def _wanted(columns: ColumnarData, done: list[date], last: date) -> list[date]:
    """The days to prepare now: from the one after the last that is there, or from the first of which there are files."""
    if columns.log is None or not has_day(columns.log.files):
        raise ValueError(
            f"day={last} needs a log by days. Received: data.log.files={columns.log and columns.log.files}. Remedy: name the day in it,"
            " data.log.files=day={day}/*.parquet, or take the shop with data.by_day=true."
        )
    there = days_of(columns.path, columns.log.files)
    if not done and not there:
        raise DayError(
            f"data.log.files must name files of some day. Received: {columns.log.files}, which matches none in {columns.path}. Remedy: look at"
            " data.path."
        )
    first = done[-1] + timedelta(1) if done else there[0]
    if not done and last < first or done and last < done[0]:
        raise DayOrderError(f"day must be the first day of the log or a later one. Received: {last}; the first is {done[0] if done else first}.")
    return [first + timedelta(number) for number in range((last - first).days + 1)]


def _inputs_of(columns: ColumnarData, day: date) -> dict[str, str]:
    """Fingerprints of a day's files, as far as they are there."""
    from ppm_tf.data.raw import files as raw_files

    found = []
    for setting, pattern in files_of(columns):
        with suppress(FileNotFoundError):
            found += raw_files.find(columns.path, at_day(pattern, day), setting)
    return fingerprint(found)


def _source(config: Config) -> Any:
    return importlib.import_module(SOURCES[config.data.source])


STAGE = Stage(module="pipelines.prepare", makes="data", needs=(), sections=("data",), also_uses=("day", "update", "beam"), run=run, inputs=inputs)

if __name__ == "__main__":
    main(STAGE, instead=by_days)
