"""What a catalog and its traffic take: memory, disk, machines, from sizes and measured rates."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from ppm_tf.reports.markdown import markdown_table

_BYTES = {"float32": 4, "float16": 2, "int8": 1}
_SCALE = 4  # of an int8 row
_ADAM = 3  # a weight and its two moments
_ENTRY = 52  # bytes of id -> row in a hash table
DAY = 86_400


@dataclass(frozen=True)
class Sizes:
    """What there is.

    Args:
        items: items of the catalog.
        users: users with a row of their own.
        field_rows: rows of the other id fields' tables.
        id_dim: width of an id's row.
        tables: width of each content table.
        table_dtype: their type.
        requests: requests a day in the log.
        days: days that the first training reads.
        request_bytes: bytes of a request in the prepared log.
        peak: requests a second to be answered.
        utilisation: share of its time that a serving core may be busy.
        hours: hours that a day's update may take.
    """

    items: int
    users: int
    field_rows: int
    id_dim: int
    tables: Mapping[str, int]
    table_dtype: str
    requests: float
    days: int
    request_bytes: float
    peak: float
    utilisation: float
    hours: float


@dataclass(frozen=True)
class Rates:
    """What one machine does; `None` = not measured. `remedy` says of each what measures it."""

    embed: float | None
    ppm: float | None
    ranker: float | None
    request_ms: float | None
    remedy: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Line:
    """A figure: what it is, its value (`None` = its rate was not measured), its unit, and how it comes about."""

    group: str
    name: str
    value: float | None
    unit: str
    how: str


def capacity(sizes: Sizes, rates: Rates) -> list[Line]:
    """The figures, in the order in which they are read.

    A table's bytes are `items x width x bytes of a number`, with a scale a row for int8; an id row in training has its weight and Adam's
    two moments. A replica holds two versions while one takes the other's place. A machine's hours are `requests / rate / 3600`, and as many
    machines share them as bring them under the hours of an update: what is lost by sharing is not in it.
    """
    lines: list[Line] = []
    content = 0.0
    for name, width in sizes.tables.items():
        row = width * _BYTES[sizes.table_dtype] + (_SCALE if sizes.table_dtype == "int8" else 0)
        content += sizes.items * row
        lines.append(Line("tables", f"table {name}", sizes.items * row, "B", f"{sizes.items:,} items x {row:,} B ({width} x {sizes.table_dtype})"))
    id_rows = sizes.items + sizes.users + sizes.field_rows
    ids = id_rows * sizes.id_dim * _BYTES["float32"]
    lookup = (sizes.items + sizes.users) * _ENTRY
    lines += [
        Line("tables", "id tables", ids, "B", f"{id_rows:,} rows x {sizes.id_dim} x float32, where each id has a row"),
        Line("tables", "id to row", lookup, "B", f"{sizes.items + sizes.users:,} ids x {_ENTRY} B, a hash table"),
    ]
    training, replica = content + ids * _ADAM + lookup, content + ids + lookup
    lines += [
        Line("memory", "a training machine", training, "B", "content tables, id tables with Adam's two moments, id to row"),
        Line("memory", "a serving replica", 2 * replica, "B", "two versions of the content tables, id tables and id to row"),
    ]
    day = sizes.requests * sizes.request_bytes
    lines += [
        Line("disk", "the log of a day", day, "B", f"{sizes.requests:,.0f} requests x {sizes.request_bytes:,.0f} B, compressed"),
        Line("disk", "the log of the first training", day * sizes.days, "B", f"{sizes.days} days"),
    ]
    lines += _work("embed all items", sizes.items, rates.embed, "items", sizes.hours, rates.remedy.get("embed", ""))
    for name, title in (("ppm", "PPM"), ("ranker", "the ranker")):
        rate, remedy = getattr(rates, name), rates.remedy.get(name, "")
        lines += _work(f"train {title} on a day", sizes.requests, rate, "requests", sizes.hours, remedy)
        lines += _work(f"train {title} on {sizes.days} days", sizes.requests * sizes.days, rate, "requests", None, remedy)
    cores = None if rates.request_ms is None else sizes.peak * rates.request_ms / 1000 / sizes.utilisation
    how = (
        rates.remedy.get("request_ms", "") if cores is None else f"{sizes.peak:,.0f} requests/s x {rates.request_ms:.2f} ms / {sizes.utilisation:.0%}"
    )
    lines.append(Line("serving", "cores at the peak", cores, "cores", how))
    return lines


def _work(name: str, amount: float, rate: float | None, unit: str, hours: float | None, remedy: str) -> list[Line]:
    needed = None if rate is None else amount / rate / 3600
    how = remedy if rate is None else f"{amount:,.0f} {unit} at {rate:,.0f} a second"
    lines = [Line("work", name, needed, "machine hours", how)]
    if hours is not None and needed is not None:
        lines.append(Line("work", f"{name}: machines", math.ceil(needed / hours), "machines", f"to be done within {hours:g} hours"))
    return lines


def capacity_table(lines: list[Line]) -> str:
    """The figures as a table in Markdown."""
    return markdown_table(["what", "takes", "from"], [[line.name, readable(line.value, line.unit), line.how] for line in lines])


def readable(value: float | None, unit: str) -> str:
    """A figure in words.

    >>> readable(47_780_000_000, "B"), readable(0.25, "machine hours"), readable(1, "machines"), readable(2.5, "cores"), readable(None, "B")
    ('47.8 GB', '15 minutes', '1 machine', '2.5 cores', 'not measured')
    """
    if value is None:
        return "not measured"
    if unit == "B":
        place = min(4, int(math.log10(value) // 3)) if value >= 1 else 0
        return f"{value / 1000**place:.3g} {('B', 'kB', 'MB', 'GB', 'TB')[place]}"
    if unit == "machine hours" and value < 1:
        value, unit = (value * 60, "minutes") if value * 60 >= 1 else (value * 3600, "seconds")
    figure = f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
    return f"{figure} {unit.removesuffix('s') if figure == '1' else unit}"
