"""Anybody's own files by a column mapping: Parquet, CSV and JSON lines. Finds the files and checks them before anything is written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from ppm_tf.config import ColumnarData, LogFiles, UserFiles
from ppm_tf.data import raw_files
from ppm_tf.data.column_values import Place, check_type
from ppm_tf.data.ids import are_integers


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
                types[path] = raw_files.column_types(path)
            found = types[path]
            if column.name not in found:
                raise ValueError(
                    f"{column.setting} must name a column of {path}. Received: {column.name}. Its columns are: {', '.join(found) or 'none'}."
                )
            check_type(column.kind, found[column.name], Place(str(path), column.name, column.setting))


def id_type(settings: ColumnarData, side: str) -> str | None:
    """Whether the ids of a side are `"int"` or `"string"`, by the types of the columns that hold them.

    CSV has no types: where every file is CSV, item ids are integers if all those of the item files are, and the type of
    user ids is `None`, to be found in the first pass over the log.

    Args:
        settings: the mapping.
        side: `"item"` or `"user"`.

    Raises:
        ValueError: one file holds integers, another one strings.
    """
    known: dict[str, str] = {}
    id_columns = {"item": ("data.items.id", "data.log.item", "data.queries.item"), "user": ("data.users.id", "data.log.user")}[side]
    for column in _columns(settings):
        if column.setting in id_columns:
            for path in raw_files.find(settings.path, column.files, column.files_setting):
                kind = raw_files.column_types(path).get(column.name)
                if kind is not None and not pa.types.is_null(kind):
                    known.setdefault("int" if pa.types.is_integer(kind) else "string", f"column {column.name} of {path}")
    if len(known) > 1:
        raise ValueError(
            f"The {side} ids must be of one type in all files. Received: integers in {known['int']}, strings in {known['string']}. Remedy: store them alike."
        )
    if known or side == "user":
        return next(iter(known), None)
    batches = (
        batch
        for split in raw_files.splits(raw_files.find(settings.path, settings.items.files, "data.items.files"))
        for _, batch in raw_files.batches(split, [settings.items.id], 131072)
    )
    return "int" if all(are_integers(batch.column(0)) for batch in batches) else "string"


def _check_settings(settings: ColumnarData) -> None:
    names = [*settings.items.fields]
    if settings.log is not None:
        _check_log(settings, settings.log)
        names += [*(settings.users.fields if settings.users else ()), *settings.log.context]
    if repeated := [name for name, count in Counter([*names, "user_id"]).items() if count > 1]:
        raise ValueError(
            f"The fields of items, users and requests must have names of their own, and none may be called user_id. Received: {', '.join(repeated)} more than once. Remedy: rename one of them in the mapping."
        )


def _check_log(settings: ColumnarData, log: LogFiles) -> None:
    """What requests, tasks and splits ask of the log."""
    if settings.history_task is not None and settings.history_task not in log.labels:
        raise ValueError(f"data.history_task must be one of the tasks {', '.join(log.labels)}. Received: {settings.history_task}.")
    if unknown := set(log.truth) - set(log.labels):
        raise ValueError(f"data.log.truth must name tasks of data.log.labels ({', '.join(log.labels)}). Received: {', '.join(sorted(unknown))}.")
    if settings.requests == "column" and log.request is None:
        raise ValueError(
            "data.requests=column needs the column of the request id. Received: data.log.request is not set. Remedy: set it, or set data.requests=bursts or data.requests=single."
        )
    if settings.split.by == "time" and log.time_unit == "step":
        raise ValueError(
            "data.split.by=time needs a clock that all users share. Received: data.log.time_unit=step. Remedy: set data.split.by=user to cut each user's own sequence."
        )
    if settings.split.by == "time" and log.time is None:
        raise ValueError(
            "data.split.by=time needs the column of the time. Received: data.log.time is not set. Remedy: set it, or set data.split.by=user to cut each user's own sequence."
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
        yield _Column(f"data.log.labels.{task}", label.column, "number", *files)
    for name, field in log.context.items():
        yield _Column(f"data.log.context.{name}", field.column, "field", *files)
    for task, name in log.truth.items():
        yield _Column(f"data.log.truth.{task}", name, "number", *files)
