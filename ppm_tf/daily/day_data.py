"""What a day's log looks like beside the days before: judged before anything is trained on it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np

from ppm_tf.config import GateSettings
from ppm_tf.daily.verdict import DATA, NOT_JUDGED, Line, held

_CATALOG = "The log and the catalog are not of the same shop, or the catalog of the day is not there yet. Remedy: bring both of the same day."
_TIME = (
    "Times are in another unit than data.log.time_unit, in another zone, or the files are of another day. Remedy: look at the day's files; bring them"
    " again."
)
_TWICE = "A part of the log was delivered twice. Remedy: bring the day once."
_RATE = "A part of the labels is missing, or they were joined to other rows. Remedy: bring the day again when its labels are whole."


@dataclass(frozen=True)
class DayStatistics:
    """Counts of one closed day of the log. What is not known is `None`, and then not judged.

    Attributes:
        day: the day, YYYY-MM-DD.
        rows: rows of the raw log.
        requests: requests made of them.
        shown: candidates of these requests.
        positives: positive labels by task.
        labelled: candidates with a label, by task.
        rejected: rows set aside as unreadable.
        repeated: rows that repeat another one.
        outside_day: rows whose time does not lie in the day.
        unknown_items: candidates whose id the catalog does not hold.
        unknown_users: requests by users of whom nothing is known.
        without_text: candidates whose item has no text.
        without_image: candidates whose item has no image.
    """

    day: str
    rows: int
    requests: int
    shown: int
    positives: dict[str, int] = field(default_factory=dict)
    labelled: dict[str, int] = field(default_factory=dict)
    rejected: int | None = None
    repeated: int | None = None
    outside_day: int | None = None
    unknown_items: int | None = None
    unknown_users: int | None = None
    without_text: int | None = None
    without_image: int | None = None

    def plain(self) -> dict[str, Any]:
        """As plain values, for a manifest."""
        return asdict(self)

    @classmethod
    def from_plain(cls, values: Mapping[str, Any]) -> DayStatistics:
        """Reads what `plain` gave; keys of others are passed over."""
        names = {one.name for one in fields(cls)}
        return cls(**{name: value for name, value in values.items() if name in names})

    def rate(self, task: str) -> float:
        """Positives a label of a task; nan without labels."""
        return _share(self.positives.get(task, 0), self.labelled.get(task, 0))


# Setting, figure in words, what is counted, of what; those with `rises` are held against the days before as well.
_SHARES = (
    ("max_outside_day", "share of log rows outside the day", "outside_day", "rows", False, _TIME),
    ("max_repeated", "share of log rows that repeat another", "repeated", "rows", False, _TWICE),
    ("max_rejected", "share of log rows that cannot be read", "rejected", "rows", True, "rejected.jsonl of the day names them."),
    ("max_unknown_items", "share of shown items that the catalog does not hold", "unknown_items", "shown", True, _CATALOG),
    ("max_unknown_users", "share of requests by unknown users", "unknown_users", "requests", True, "User ids are of another shop or another form."),
    ("max_missing_text", "share of shown items without a text", "without_text", "shown", True, "The catalog of the day came without its texts."),
    ("max_missing_image", "share of shown items without an image", "without_image", "shown", True, "The catalog of the day came without its images."),
)  # fmt: skip


def judge_data(day: DayStatistics, before: Sequence[DayStatistics], settings: GateSettings) -> list[Line]:
    """Holds the bounds on a day's data against its counts: a day that fails is not to be trained on.

    Args:
        day: the newest day.
        before: the days before that were trained on, the oldest first.
        settings: the bounds.
    """
    before = [one for one in before if one.day != day.day][-settings.days_before :]
    return [*_volume(day, before, settings), *_labels(day, before, settings), *_all_shares(day, before, settings)]


def _volume(day: DayStatistics, before: Sequence[DayStatistics], settings: GateSettings) -> Iterator[Line]:
    if settings.day_rows is None:
        return
    usual, (least, most) = _usual([one.rows for one in before]), settings.day_rows
    line = Line("day_rows", "log rows, over those of the days before", _share(day.rows, usual), NOT_JUDGED, DATA, count=day.rows, least=least,
                most=most, why="" if usual else "no day before")  # fmt: skip
    yield held(line, fails=f"{day.day} has {day.rows:,} rows; {usual:,.0f} are usual. It is half-written, or holds several days.")


def _labels(day: DayStatistics, before: Sequence[DayStatistics], settings: GateSettings) -> Iterator[Line]:
    if settings.label_rate is None:
        return
    least, most = settings.label_rate
    for task, labelled in day.labelled.items():
        rates = [one.rate(task) for one in before if not math.isnan(one.rate(task))]
        usual, rate = _usual(rates), day.rate(task)
        expected = usual * labelled
        why = "no day before" if not rates else "" if min(labelled, 1) and expected >= settings.min_positives else (
            f"{expected:,.0f} positives were to be expected, fewer than gate.min_positives={settings.min_positives}"
        )  # fmt: skip
        line = Line("label_rate", "positives a label, over those of the days before", _share(rate, usual), NOT_JUDGED, DATA, task, count=labelled,
                    least=least, most=most, why=why)  # fmt: skip
        yield held(line, fails=f"{day.day} has a rate of {rate:.4g}; {usual:.4g} is usual. {_RATE}")


def _all_shares(day: DayStatistics, before: Sequence[DayStatistics], settings: GateSettings) -> Iterator[Line]:
    for setting, what, counted, of, rises, fails in _SHARES:
        share = _of(day, counted, of)
        nothing = counted.startswith("without_") and share == 1.0 and all(_of(one, counted, of) in (None, 1.0) for one in before)
        why = "not counted" if share is None else "no item has one" if nothing else ""
        value = math.nan if share is None else share
        if (most := getattr(settings, setting)) is not None:
            yield held(Line(setting, what, value, NOT_JUDGED, DATA, most=most, count=getattr(day, of), why=why), fails=fails)
        if rises and settings.max_rise is not None:
            earlier = [one for one in (_of(one, counted, of) for one in before) if one is not None]
            usual = _usual(earlier)
            line = Line("max_rise", f"rise of the {what}", value - usual, NOT_JUDGED, DATA, most=settings.max_rise, count=getattr(day, of),
                        why=why or ("" if earlier else "no day before"))  # fmt: skip
            yield held(line, fails=f"{value:.1%}; {usual:.1%} is usual. {fails}")


def _of(day: DayStatistics, counted: str, of: str) -> float | None:
    count, total = getattr(day, counted), getattr(day, of)
    return None if count is None or not total else count / total


def _usual(values: Sequence[float]) -> float:
    """The median; 0 without values."""
    return float(np.median(values)) if len(values) else 0.0


def _share(part: float, whole: float) -> float:
    return part / whole if whole else math.nan
