"""Anybody's own files by a column mapping: Parquet, CSV and JSON lines. Finds the files and checks them before anything is written."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from ppm_tf.config import ColumnarData, LogFiles, UserFiles
from ppm_tf.data.raw import files as raw_files
from ppm_tf.data.raw.column_forms import ColumnForm
from ppm_tf.data.raw.column_survey import survey_column
from ppm_tf.data.raw.columns import Place, check_type

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Column:
    """A column that the mapping names: the setting that names it, the files it lies in, and its kind in `column_values.KINDS`."""

    setting: str
    name: str
    kind: str
    files_setting: str
    files: str


def columns(settings: ColumnarData, folder: Path) -> ColumnarData:
    """The mapping itself: these files are read as they are."""
    return settings


def raw_inputs(settings: ColumnarData) -> list[Path]:
    """The raw files that preparation reads, each once.

    Raises:
        FileNotFoundError: a setting names files that are not there.
    """
    found = {path: None for column in _columns(settings) for path in raw_files.find(settings.path, column.files, column.files_setting)}
    return list(found)


def check(settings: ColumnarData) -> None:
    """Refuses a mapping that does not fit together or does not fit the files, before any pass over them.

    Raises:
        FileNotFoundError: a setting names files that are not there.
        ValueError: a file is not readable, a column is not there or has a wrong type, or two settings do not go together.
    """
    _check_settings(settings)
    types: dict[Path, dict[str, pa.DataType | None]] = {}
    for column in _columns(settings):
        for path in raw_files.find(settings.path, column.files, column.files_setting):
            if path not in types:
                types[path] = raw_files.column_types(path, settings.csv)
            found = types[path]
            if not found:  # a file of JSON lines without a line, as on a day on which nothing is new
                continue
            if column.name not in found:
                raise ValueError(
                    f"{column.setting} must name a column of {path}. Received: {column.name}. Its columns are: {', '.join(found) or 'none'}."
                )
            check_type(column.kind, found[column.name], Place(str(path), column.name, column.setting))


def item_id_type(settings: ColumnarData) -> str:
    """Whether item ids are kept as `"int"` or `"string"`: by data.items.id_type, else by what the item files hold.

    Ids of the log, of queries and of further files are read as this type; one that is none of it is an unknown item.

    Raises:
        ValueError: data.items.id_type=int, and an id is no whole number.
    """
    items = settings.items
    form = survey_column(settings, items.files, "data.items.files", items.id)
    return chosen_id_type(items.id_type, form, "item", "data.items.id_type")


def chosen_id_type(wanted: str, form: ColumnForm, side: str, setting: str) -> str:
    """The type of some ids: as the setting wants it, else `"int"` where every id is a whole number.

    Raises:
        ValueError: the setting wants integers, and an id is none.
    """
    if wanted == "string" or form.other is None:
        return "string" if wanted == "string" else "int"
    path, row, value = form.other
    if wanted == "int":
        raise ValueError(
            f"Every {side} id must be a whole number below 2^63, because {setting}=int. Received: {value!r} in {path}, row {row + 1}. Remedy: mend"
            f" the file, or set {setting}=string."
        )
    logger.info("%s ids are kept as strings; the first that is no whole number is %r (%s, row %d)", side, value, path, row + 1)
    return "string"


def _check_settings(settings: ColumnarData) -> None:
    names = [*settings.items.fields]
    if settings.log is not None:
        _check_log(settings, settings.log)
        names += [*(settings.users.fields if settings.users else ()), *settings.log.context]
    if repeated := [name for name, count in Counter([*names, "user_id"]).items() if count > 1]:
        raise ValueError(
            f"The fields of items, users and requests must have names of their own, and none may be called user_id. Received: {', '.join(repeated)}"
            " more than once. Remedy: rename one of them in the mapping."
        )


def _check_log(settings: ColumnarData, log: LogFiles) -> None:
    """What requests, tasks and splits ask of the log."""
    if settings.history_task is not None and settings.history_task not in log.labels:
        raise ValueError(f"data.history_task must be one of the tasks {', '.join(log.labels)}. Received: {settings.history_task}.")
    if unknown := set(log.truth) - set(log.labels):
        raise ValueError(f"data.log.truth must name tasks of data.log.labels ({', '.join(log.labels)}). Received: {', '.join(sorted(unknown))}.")
    if settings.requests == "column" and log.request is None:
        raise ValueError(
            "data.requests=column needs the column of the request id. Received: data.log.request is not set. Remedy: set it, or set"
            " data.requests=bursts or data.requests=single."
        )
    if settings.split.by == "time" and log.time_unit == "step":
        raise ValueError(
            "data.split.by=time needs a clock that all users share. Received: data.log.time_unit=step. Remedy: set data.split.by=user to cut each"
            " user's own sequence."
        )
    if settings.split.by == "time" and log.time is None:
        raise ValueError(
            "data.split.by=time needs the column of the time. Received: data.log.time is not set. Remedy: set it, or set data.split.by=user to cut"
            " each user's own sequence."
        )


def _columns(settings: ColumnarData) -> Iterator[_Column]:
    """Every column that the mapping names."""
    items, queries = settings.items, settings.queries
    files = ("data.items.files", items.files)
    yield _Column("data.items.id", items.id, "id", *files)
    for name, field in items.fields.items():
        yield _Column(f"data.items.fields.{name}", field.column, "field", *files)
    for name in items.numbers:
        yield _Column("data.items.numbers", name, "number", *files)
    for names, own, setting, kind in (
        (items.text, items.text_files, "data.items.text", "text"),
        ((items.image,) if items.image else (), items.image_files, "data.items.image", "image"),
    ):
        place = (f"{setting}_files", own) if own else files
        if own and names:
            yield _Column("data.items.id", items.id, "id", *place)
        for name in names:
            yield _Column(setting, name, kind, *place)
    if settings.log is not None:
        yield from _log_columns(settings.log, settings.users)
    if queries:
        files = ("data.queries.files", queries.files)
        yield _Column("data.queries.text", queries.text, "text", *files)
        yield _Column("data.queries.item", queries.item, "id", *files)
        if queries.label:
            yield _Column("data.queries.label", queries.label, "number", *files)


def _log_columns(log: LogFiles, users: UserFiles | None) -> Iterator[_Column]:
    """The columns of the log and of its users."""
    if users:
        files = ("data.users.files", users.files)
        yield _Column("data.users.id", users.id, "id", *files)
        for name, field in users.fields.items():
            yield _Column(f"data.users.fields.{name}", field.column, "field", *files)
    files = ("data.log.files", log.files)
    for setting, name, kind in (
        ("user", log.user, "id"),
        ("item", log.item, "id"),
        ("time", log.time, "time"),
        ("order", log.order, "order"),
        ("request", log.request, "id"),
        ("slot", log.slot, "number"),
    ):
        if name is not None:
            yield _Column(f"data.log.{setting}", name, kind, *files)
    for task, label in log.labels.items():
        yield _Column(f"data.log.labels.{task}", label.column, "field" if label.equals is not None else "label", *files)
    for name, field in log.context.items():
        yield _Column(f"data.log.context.{name}", field.column, "field", *files)
    for task, name in log.truth.items():
        yield _Column(f"data.log.truth.{task}", name, "number", *files)
