"""A day of the log that is passed over: none of its rows is kept, and the next day goes on from the day before it."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from ppm_tf.config import ColumnarData
from ppm_tf.data.catalog import ItemCatalog
from ppm_tf.data.manifest import Manifest
from ppm_tf.data.preparation.catalog_growth import carry_counts, grow_catalog, with_fields
from ppm_tf.data.preparation.day import HALVES
from ppm_tf.data.preparation.day_checks import LEDGER, read_ledger
from ppm_tf.data.preparation.day_state import FOLDER, DayState
from ppm_tf.data.preparation.user_growth import grow_users
from ppm_tf.data.queries import SCHEMA as QUERIES
from ppm_tf.data.raw.day_files import has_day, of_day
from ppm_tf.data.schema import Schema
from ppm_tf.storage import write_json
from ppm_tf.workspace import MADE_BY, SETTINGS, link_or_copy

logger = logging.getLogger(__name__)

_OWN = ("samples", "statistics.json", "rejected.jsonl", "queries.parquet", "schema.json", LEDGER, MADE_BY, SETTINGS)  # what is a day's alone
_NONE = ("users", "users_without_row", "rows_read", "rows_repeated", "requests_mixed", "items_new", "items_changed", "image_files_not_found")


def pass_over(columns: ColumnarData, earlier: Path, day: date, folder: Path, reason: str, files: Sequence[dict[str, Any]] = ()) -> None:
    """Writes the artifact of a day without rows: histories and words of the log are those of the day before.

    Items and users of the day's own files are taken in, where these can be read: the days to come will show them.

    Args:
        columns: the mapping.
        earlier: artifact of the day before.
        day: the day.
        folder: empty or new folder; the caller moves it into place.
        reason: why, kept in `ledger.json`.
        files: the files that the day had, as a ledger lists them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    schema = Schema.read(earlier / "schema.json")
    try:
        schema, state, new = _grown(columns, earlier, day, folder, schema)
    except (ValueError, OSError) as error:
        logger.warning("%s: neither its items nor its users are taken in: %s", day, error)
        shutil.rmtree(folder)
        folder.mkdir()
        state, new = DayState.read(earlier), (0, 0)
        state.day = day
    _link_rest(earlier, folder)
    state.write(folder)
    schema.write(folder / "schema.json")
    for half in HALVES:
        manifest = Manifest.read(earlier / "samples" / half)
        (folder / "samples" / half).mkdir(parents=True)
        Manifest((), manifest.compression, {"split": half}).write(folder / "samples" / half)
    before = json.loads((earlier / "statistics.json").read_text(encoding="utf-8"))
    if before["queries"] is not None:
        pq.write_table(QUERIES.empty_table(), folder / "queries.parquet")
    items = ItemCatalog.read(folder / "catalog").num_items
    write_json(folder / "statistics.json", _without_rows(before, day) | {"items": items, "items_new": new[0], "items_changed": new[1]})
    (folder / "rejected.jsonl").write_text("", encoding="utf-8")
    write_json(folder / LEDGER, {"day": day.isoformat(), "files": list(files), "rows": 0, "content": "", "passed_over": reason})


def passed_over(folder: Path) -> str | None:
    """Why a prepared day was passed over; `None` of one that was not."""
    return read_ledger(folder).get("passed_over")


def _grown(columns: ColumnarData, earlier: Path, day: date, folder: Path, schema: Schema) -> tuple[Schema, DayState, tuple[int, int]]:
    """Writes catalog and users with what the day's files say of them; gives schema, state, and how many items are new and changed."""
    today, state = of_day(columns, day), DayState.of(day, columns, earlier)
    report = grow_catalog(today, state, earlier, folder, has_day(columns.items.image_files or columns.items.files))
    carry_counts(earlier / "catalog", folder / "catalog")
    users = grow_users(today, state, earlier, folder) if today.users else ()
    return with_fields(schema, (*report.fields, *users)), state, (report.new_items, report.changed_items)


def _link_rest(earlier: Path, folder: Path) -> None:
    """Gives the artifact all that it has not of its own yet, but for what is a day's alone."""
    own = {Path(FOLDER) / path.name for path in (earlier / FOLDER).glob("*.json")} | {Path(FOLDER) / "words.parquet"}  # written anew
    for source in sorted(earlier.rglob("*")):
        name = source.relative_to(earlier)
        if source.is_file() and name.parts[0] not in _OWN and name not in own and not (folder / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            link_or_copy(source, folder / name)


def _without_rows(before: dict[str, Any], day: date) -> dict[str, Any]:
    """The statistics of the day before, with nothing counted on this one."""
    counts = ("requests", "candidates", "positives", "negatives", "missing")
    splits = {half: {name: _zero(values[name]) for name in counts} for half, values in before["splits"].items()}
    found = {**before, **dict.fromkeys(_NONE, 0), "day": day.isoformat(), "rows_rejected": {}, "ties": _zero(before["ties"]), "splits": splits}
    return found if before["queries"] is None else {**found, "queries": _zero(before["queries"])}


def _zero(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _zero(one) for name, one in value.items()}
    return value if isinstance(value, bool) else 0
