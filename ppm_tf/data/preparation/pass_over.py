"""A day of the log that is passed over: nothing of it is kept, and the next day goes on from the day before it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from ppm_tf.data.manifest import Manifest
from ppm_tf.data.preparation.day import HALVES, LEDGER, read_ledger
from ppm_tf.data.preparation.day_state import DayState
from ppm_tf.data.queries import SCHEMA as QUERIES
from ppm_tf.storage import write_json
from ppm_tf.workspace import MADE_BY, SETTINGS, link_or_copy

_OWN = ("samples", "statistics.json", "rejected.jsonl", "queries.parquet", LEDGER, MADE_BY, SETTINGS)  # what is a day's alone
_NONE = ("users", "users_without_row", "rows_read", "rows_repeated", "requests_mixed", "items_new", "items_changed", "image_files_not_found")


def pass_over(earlier: Path, day: date, folder: Path, reason: str, files: Sequence[dict[str, Any]] = ()) -> None:
    """Writes the artifact of a day without rows: catalog, vocabularies and histories are those of the day before.

    Args:
        earlier: artifact of the day before.
        day: the day.
        folder: empty or new folder; the caller moves it into place.
        reason: why, kept in `ledger.json`.
        files: the files that the day had, as a ledger lists them.
    """
    shutil.copytree(earlier, folder, copy_function=link_or_copy, ignore=lambda at, names: _OWN if Path(at) == earlier else (), dirs_exist_ok=True)
    state = DayState.read(earlier)
    state.day = day
    for path in (folder / "state").glob("*.json"):
        path.unlink()  # a second name of the earlier day's file, which must stay as it is
    state.write(folder)
    for half in HALVES:
        manifest = Manifest.read(earlier / "samples" / half)
        (folder / "samples" / half).mkdir(parents=True)
        Manifest((), manifest.compression, {"split": half}).write(folder / "samples" / half)
    before = json.loads((earlier / "statistics.json").read_text(encoding="utf-8"))
    if before["queries"] is not None:
        pq.write_table(QUERIES.empty_table(), folder / "queries.parquet")
    write_json(folder / "statistics.json", _without_rows(before, day))
    (folder / "rejected.jsonl").write_text("", encoding="utf-8")
    write_json(folder / LEDGER, {"day": day.isoformat(), "files": list(files), "rows": 0, "content": "", "passed_over": reason})


def passed_over(folder: Path) -> str | None:
    """Why a prepared day was passed over; `None` of one that was not."""
    return read_ledger(folder).get("passed_over")


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
