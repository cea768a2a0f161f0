"""Names of files with a day in them: `day={day}/*.parquet`, `log-{day:%Y%m%d}.csv`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import date, datetime
from pathlib import Path
from typing import Any

from ppm_tf.config import ColumnarData

_PLACEHOLDER = re.compile(r"\{day(?::([^{}]*))?\}")
_ISO = "%Y-%m-%d"
_DIGITS = {"Y": r"\d{4}", "m": r"\d{2}", "d": r"\d{2}", "y": r"\d{2}", "j": r"\d{3}"}  # the directives that make a day of numbers alone
_FILES = (
    ("log", "files"),
    ("log", "done"),
    ("items", "files"),
    ("items", "text_files"),
    ("items", "image_files"),
    ("users", "files"),
    ("queries", "files"),
)


def has_day(pattern: str | None) -> bool:
    """Whether a name of files has a day in it.

    >>> has_day("day={day}/*.parquet"), has_day("items.parquet"), has_day(None)
    (True, False, False)
    """
    return pattern is not None and _PLACEHOLDER.search(pattern) is not None


def at_day(pattern: str, day: date) -> str:
    """A name of files on a day.

    >>> at_day("day={day}/{day:%d}*.csv", date(2026, 11, 20))
    'day=2026-11-20/20*.csv'
    """
    return _PLACEHOLDER.sub(lambda found: day.strftime(found[1] or _ISO), pattern)


def any_day(pattern: str) -> str:
    """A name of files with the day open, as a glob.

    >>> any_day("day={day}/{day:%Y%m}*.csv"), any_day("items.csv")
    ('day=*-*-*/*.csv', 'items.csv')
    """
    open_ = _PLACEHOLDER.sub(lambda found: re.sub(r"%.", "*", found[1] or _ISO), pattern)
    return pattern if open_ == pattern else re.sub(r"(?<=[^/*])\*\*+|\*\*+(?=[^/*])", "*", open_)  # ** must be a folder of its own


def days_of(folder: str | Path, pattern: str) -> list[date]:
    """The days of which there are files, sorted.

    Args:
        folder: folder that a relative pattern starts from.
        pattern: a name of files with a day in it; what else it holds may be a glob.
    """
    if Path(pattern).is_absolute():
        folder, pattern = Path(pattern).anchor, pattern.lstrip("/")
    # Up to the last part that a day is in: what a folder of that name holds is another question.
    parts = pattern.split("/")
    pattern = "/".join(parts[: max(place for place, part in enumerate(parts) if has_day(part)) + 1])
    expression = re.compile(_expression(pattern))
    found = set()
    for path in Path(folder).glob(any_day(pattern)):
        match = expression.fullmatch(path.relative_to(folder).as_posix())
        with suppress(ValueError):  # such as 2026-13-45
            found |= {datetime.strptime("-".join(match.groups()), "-".join(f"%{name}" for name in match.groupdict())).date()} if match else set()
    return sorted(found)


def _expression(pattern: str) -> str:
    """What the names of a pattern look like; a part of the day that stands in them twice is the same both times."""
    text, end, seen = "", 0, set()
    for found in _PLACEHOLDER.finditer(pattern):
        text += _glob(pattern[end : found.start()])
        for part in re.findall(r"%.|[^%]", found[1] or _ISO):
            name = part[1:]
            text += re.escape(part) if part[0] != "%" else f"(?P={name})" if name in seen else f"(?P<{name}>{_DIGITS[name]})"
            seen |= {name} if part[0] == "%" else set()
        end = found.end()
    return text + _glob(pattern[end:])


def _glob(text: str) -> str:
    return "".join({"*": "[^/]*", "?": "[^/]"}.get(letter, re.escape(letter)) for letter in text)


def check_days(columns: ColumnarData) -> None:
    """Refuses names of files whose day cannot be filled in or found again.

    Raises:
        ValueError: a placeholder is none of a day, or its format does not tell the days apart.
    """
    for setting, pattern in files_of(columns):
        styles = [found[1] or _ISO for found in _PLACEHOLDER.finditer(pattern)]
        directives = {name for style in styles for name in re.findall(r"%(.?)", style)}
        told = {"j"} <= directives or {"m", "d"} <= directives
        if {"{", "}"} & set(_PLACEHOLDER.sub("", pattern)) or styles and not (directives <= set(_DIGITS) and {"Y", "y"} & directives and told):
            raise ValueError(
                f"{setting} must name the day as {{day}}, which is 2026-11-20, or in a format of %Y or %y with %m and %d, or %j. Received: {pattern}."
                f" Remedy: {setting}=day={{day}}/*.parquet, or ...{{day:%Y%m%d}}..."
            )


def files_of(columns: ColumnarData) -> Iterator[tuple[str, str]]:
    """The settings that name files, such as `data.log.files`, each with its pattern, where it is set; the log's come first."""
    for section, name in _FILES:
        pattern = getattr(getattr(columns, section), name, None)
        if pattern is not None:
            yield f"data.{section}.{name}", pattern


def of_day(columns: ColumnarData, day: date) -> ColumnarData:
    """The mapping of one day's files: each name of files with its day filled in."""
    changed: dict[str, Any] = {}
    for section in dict.fromkeys(section for section, _ in _FILES):
        settings = getattr(columns, section)
        if settings is not None:
            names = [name for part, name in _FILES if part == section and has_day(getattr(settings, name))]
            changed[section] = settings.model_copy(update={name: at_day(getattr(settings, name), day) for name in names})
    return columns.model_copy(update=changed)
