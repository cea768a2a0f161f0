"""Columns of times and of places in an order, checked and turned into arrays that sort as finely as the file tells them apart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ppm_tf.data.raw.columns import Place, first_failure, is_moment, parsed_numbers, present, refuse_nulls

LATEST = 4_102_444_800  # 2100-01-01 in seconds; a later time is in another unit
TICKS = 1_000_000_000  # a moment is kept in nanoseconds, so that rows inside one second keep their order
# What one unit of a time column is, in moments. Dates written as numbers are read by their digits.
UNITS = {"s": TICKS, "step": TICKS, "ms": 1_000_000, "us": 1_000, "ns": 1}
CALENDAR = {"yyyymmdd": "%Y%m%d", "yyyymmddhhmmss": "%Y%m%d%H%M%S"}


def moments(column: pa.Array, unit: str, place: Place, missing: Sequence[str] = ("",)) -> np.ndarray:
    """Times as int64 nanoseconds since 1970 (steps: as thousand millionths of a step), at least as fine as the file tells them.

    Args:
        column: numbers in `unit`, timestamps, dates, or strings of any of these.
        unit: a key of `UNITS` or `CALENDAR`, or `"auto"`: seconds, where no number looks like another unit. Timestamps and
            dates know their own.
        place: for the message.
        missing: words that mean that there is no time.

    Raises:
        ValueError: a time is missing, before 1970 or after 2100; the message says which unit would fit.
    """
    if pa.types.is_string(column.type) or pa.types.is_null(column.type):
        column = _parsed_times(present(column, missing), place)
    refuse_nulls(column, "a time", place)
    if is_moment(column.type):
        coarse = pa.types.is_date(column.type) or column.type.unit == "s"
        values = column.cast(pa.timestamp("s") if coarse else pa.timestamp("ns", column.type.tz), safe=False).cast(pa.int64())
        found = values.to_numpy(zero_copy_only=False)
        return _checked_moments(found * TICKS if coarse else found, column, unit, place)
    if pa.types.is_decimal(column.type):
        column = column.cast(pa.float64())
    values = column.to_numpy(zero_copy_only=False)
    if values.dtype.kind == "f" and (bad := np.flatnonzero(~np.isfinite(values))).size:
        raise ValueError(f"{place.at(bad[0])} must hold a time. Received: {values[bad[0]]}. Remedy: drop the row or give it a time.")
    if unit in CALENDAR:
        return _calendar_moments(values, unit, column, place)
    scale = UNITS["s" if unit == "auto" else unit]
    _refuse_outside(values, (0, LATEST * TICKS // scale), column, unit, place)
    return values.astype(np.int64) * scale if values.dtype.kind != "f" else np.floor(values * scale).astype(np.int64)


def _checked_moments(found: np.ndarray, column: pa.Array, unit: str, place: Place) -> np.ndarray:
    _refuse_outside(found, (0, LATEST * TICKS), column, unit, place)
    return found


def _refuse_outside(values: np.ndarray, bounds: tuple[int, int], column: pa.Array, unit: str, place: Place) -> None:
    if (bad := np.flatnonzero(values < bounds[0])).size:
        raise ValueError(
            f"{place.at(bad[0])} must hold a time from 1970 on. Received: {column[int(bad[0])]}. Remedy: drop the row or give it a time."
        )
    if (bad := np.flatnonzero(values > bounds[1])).size:
        value = column[int(bad[0])]
        fitting = " or ".join(f"{place.setting}_unit={name}" for name in units_of(float(values[bad[0]]))) if not is_moment(column.type) else ""
        remedy = f"set {fitting}, if that is what the numbers count" if fitting else "drop the row or give it a time"
        counted = "" if is_moment(column.type) or unit == "step" else f", which as {'s' if unit == 'auto' else unit} is later"
        raise ValueError(f"{place.at(bad[0])} must hold a time before the year 2100. Received: {value}{counted}. Remedy: {remedy}.")


def _calendar_moments(values: np.ndarray, unit: str, column: pa.Array, place: Place) -> np.ndarray:
    seconds = calendar_seconds(values, unit)
    if (bad := np.flatnonzero(seconds < 0)).size:
        raise ValueError(
            f"{place.at(bad[0])} must hold a date from 1970 to 2100 written as {unit}. Received: {column[int(bad[0])]}. "
            f"Remedy: mend the cell, or set {place.setting}_unit to what the numbers count."
        )
    return seconds * TICKS


def calendar_seconds(values: np.ndarray, unit: str) -> np.ndarray:
    """Seconds since 1970 of dates written as numbers, int64; -1 for a number that is no such date.

    Args:
        values: numbers, such as 20231114 or 20231114221320.
        unit: `"yyyymmdd"` or `"yyyymmddhhmmss"`.

    Example:

    >>> calendar_seconds(np.array([19700102, 20231331]), "yyyymmdd").tolist()
    [86400, -1]
    """
    length = len("YYYYMMDD") if unit == "yyyymmdd" else len("YYYYMMDDhhmmss")
    whole = np.where((values >= 10 ** (length - 1)) & (values < 10**length), values, 0).astype(np.int64)
    distinct, place = np.unique(whole, return_inverse=True)
    words = pa.array([f"{value:0{length}d}" for value in distinct.tolist()], pa.string())
    parsed = pc.strptime(words, format=CALENDAR[unit], unit="s", error_is_null=True)
    # Arrow takes 31 February for a date; what does not print as it was written is none.
    same = pc.equal(pc.strftime(parsed, format=CALENDAR[unit]), words)
    seconds = pc.fill_null(pc.if_else(same, parsed.cast(pa.int64()), -1), -1).to_numpy(zero_copy_only=False)
    return np.where((seconds >= 0) & (seconds <= LATEST), seconds, -1)[place.reshape(values.shape)]


def date_units(column: pa.Array, missing: Sequence[str] = ("",)) -> tuple[str, ...]:
    """The calendar units in which every number of a column is a date; none for a column of timestamps.

    >>> date_units(pa.array([20231114, 20231115])), date_units(pa.array([20231114, 1699999999]))
    (('yyyymmdd',), ())
    """
    if pa.types.is_string(column.type):
        words = present(column, missing)
        if not pc.all(pc.match_substring_regex(words, r"^[0-9]+$"), min_count=0).as_py():
            return ()
        column = words.cast(pa.int64())
    if not pa.types.is_integer(column.type) and not pa.types.is_floating(column.type):
        return ()
    values = column.drop_null().to_numpy(zero_copy_only=False)
    return tuple(unit for unit in CALENDAR if len(values) and (calendar_seconds(values, unit) >= 0).all())


def units_of(value: float) -> tuple[str, ...]:
    """The units in which a number is a time from 1990 to 2100.

    >>> units_of(1.7e9), units_of(1.7e12), units_of(1.7e15), units_of(20231114.0), units_of(20231114221320.0)
    (('s',), ('ms',), ('us',), ('yyyymmdd',), ('yyyymmddhhmmss',))
    """
    calendar = tuple(unit for unit in CALENDAR if value == np.floor(value) and value < 1e15 and calendar_seconds(np.array([value]), unit)[0] > 0)
    return calendar or tuple(unit for unit, scale in UNITS.items() if unit != "step" and 631_152_000 <= value * scale / TICKS <= LATEST)


def ordering(column: pa.Array, place: Place, missing: Sequence[str] = ("",), form: str | None = None) -> tuple[np.ndarray, str]:
    """Numbers or moments that order rows.

    Args:
        column: numbers, timestamps, dates, or strings of any of these.
        place: for the message.
        missing: words that mean that there is no value.
        form: what the column holds as a whole, `"integer"`, `"number"` or `"time"`; `None` = what this batch holds.

    Returns:
        The values, int64 for integers and nanoseconds since 1970, else float64; and the form of the batch.
    """
    if pa.types.is_string(column.type) or pa.types.is_null(column.type):
        words = present(column, missing)
        numeric = pc.all(pc.match_substring_regex(words, r"^-?[0-9.]+(?:[eE][+-]?[0-9]+)?$"), min_count=0).as_py()
        column = parsed_numbers(words, place) if numeric else _parsed_times(words, place, "a number or a time")
    refuse_nulls(column, "a number", place)
    if is_moment(column.type):
        column, found = column.cast(pa.timestamp("ns", getattr(column.type, "tz", None)), safe=False).cast(pa.int64()), "time"
    elif pa.types.is_integer(column.type):
        found = "integer"
    else:
        column, found = column.cast(pa.float64()), "number"
    values = column.to_numpy(zero_copy_only=False)
    if (bad := np.flatnonzero(np.isnan(values) if values.dtype.kind == "f" else values > 2**63 - 1)).size:
        raise ValueError(f"{place.at(bad[0])} must hold a number below 2^63. Received: {values[bad[0]]}. Remedy: drop the row or give it its place.")
    return values.astype(np.float64 if (form or found) == "number" else np.int64), found


def _parsed_times(column: pa.Array, place: Place, what: str = "a time") -> pa.Array:
    # A time zone makes Arrow want another type, so both are tried; nanoseconds take any number of decimals.
    for kind in (pa.int64(), pa.float64(), pa.timestamp("ns"), pa.timestamp("ns", "UTC")):
        try:
            return column.cast(kind)
        except pa.ArrowInvalid:
            continue
    index = max(first_failure(column, kind) for kind in (pa.float64(), pa.timestamp("ns"), pa.timestamp("ns", "UTC")))
    raise ValueError(
        f"{place.at(index)} must hold {what}. Received: {column[index].as_py()!r}. Remedy: write seconds since 1970 or 2020-12-31T23:59:59."
    )
