"""`DayState`: what a day of the log leaves for the next one, beside the histories of its users."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from ppm_tf.data.day_errors import DayRefusedError
from ppm_tf.data.preparation.growing_words import GrowingWords, read_words, write_words
from ppm_tf.data.raw.column_forms import EMPTY, ColumnForm
from ppm_tf.storage import write_json

FOLDER = "state"
_FORMS, _WORDS = "forms.json", "words.parquet"
# What a mapping may say otherwise from one day to the next: where files lie and how they are written, and what is judged. The types of
# columns are decisions of their own.
_FREE = {
    "path", "csv", "split", "max_rejected", "max_missing_images", "files", "done", "text_files", "image_files",
    "type", "id_type", "user_id_type",
}  # fmt: skip


@dataclass
class DayState:
    """What was decided on the first day, and what has been seen since.

    Attributes:
        day: the day that is prepared.
        settings: what the mapping must go on to say, by dotted name.
        item_id_type, user_id_type: `"int"` or `"string"`.
        numeric: by column, whether it is read as numbers; columns are `item.<field>`, `user.<field>`, `context.<field>` and
            `text.<column>`.
        forms: by column, and `item` and `user` for the ids: what its cells have had in common so far.
        words: by field, `item.<field>` and so on, the values seen so far.
    """

    day: date
    settings: dict[str, Any]
    item_id_type: str = ""
    user_id_type: str = ""
    numeric: dict[str, bool] = field(default_factory=dict)
    forms: dict[str, ColumnForm] = field(default_factory=dict)
    words: dict[str, GrowingWords] = field(default_factory=dict)

    @classmethod
    def of(cls, day: date, columns: Any, earlier: Path | None) -> DayState:
        """The state on the morning of a day.

        Raises:
            DayRefusedError: the settings are not those of the days before.
        """
        settings = json.loads(json.dumps(_flat(columns.model_dump(mode="json"))))
        if earlier is None:
            return cls(day, settings)
        state = cls.read(earlier)
        if differing := [name for name in sorted({*settings, *state.settings}) if settings.get(name) != state.settings.get(name)]:
            name = differing[0]
            raise DayRefusedError(
                f"A day must be prepared by the settings of the days before it. Received: data.{name}={settings.get(name)}, which was"
                f" {state.settings.get(name)} on {state.day}{_more(differing)}. Remedy: set it as it was, or prepare all days anew with run=<folder>."
            )
        state.day = day
        return state

    def see(self, column: str, form: ColumnForm) -> ColumnForm:
        """Adds what a column holds on this day, and gives what it has held so far."""
        self.forms.setdefault(column, ColumnForm()).update(form)
        return self.forms[column]

    def is_new(self, column: str) -> bool:
        """Whether a column has had no value before this day."""
        return column not in self.numeric or self.forms.get(column, ColumnForm()).form == EMPTY

    def write(self, folder: Path) -> None:
        """Writes the state into a day's artifact."""
        target = folder / FOLDER
        target.mkdir(parents=True, exist_ok=True)
        content = {
            "day": self.day.isoformat(),
            "settings": self.settings,
            "item_id_type": self.item_id_type,
            "user_id_type": self.user_id_type,
            "numeric": self.numeric,
            # Where the first odd value lies is of use on its own day alone.
            "forms": {name: {key: value for key, value in asdict(form).items() if key != "other"} for name, form in self.forms.items()},
        }
        write_json(target / _FORMS, content)
        write_words(self.words, target / _WORDS)

    @classmethod
    def read(cls, folder: Path) -> DayState:
        """Reads the state that a day's artifact holds."""
        content = json.loads((folder / FOLDER / _FORMS).read_text(encoding="utf-8"))
        forms = {name: ColumnForm(**form) for name, form in content.pop("forms").items()}
        day = date.fromisoformat(content.pop("day"))
        return cls(day=day, forms=forms, words=read_words(folder / FOLDER / _WORDS), **content)


def read_codes(earlier: Path | None, name: str) -> dict[str, np.ndarray]:
    """The codes of entities on the day before, by field; none on the first day."""
    if earlier is None:
        return {}
    with np.load(earlier / FOLDER / name) as file:
        return {key: file[key] for key in file.files}


def write_codes(folder: Path, name: str, codes: dict[str, np.ndarray]) -> None:
    """Writes codes for the next day."""
    (folder / FOLDER).mkdir(parents=True, exist_ok=True)
    np.savez(folder / FOLDER / name, **codes)


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in values.items():
        if name in _FREE and not (prefix and isinstance(value, dict)):  # a field may be called type
            continue
        if isinstance(value, dict):
            found |= _flat(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value
    return found


def _more(names: list[str]) -> str:
    return f"; and {len(names) - 1} more" if len(names) > 1 else ""
