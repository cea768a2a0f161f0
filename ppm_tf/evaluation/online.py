"""From the exposures of an experiment to its figures: by bucket, in total, by day and by popularity group, and against control.

A figure is a ratio of sums over users, so that all of them share one interval (`metrics.user_ratio`). PPM's equation 12 is UCTR =
#clicks / #users and UCVR = #orders / #users, per day: of one day, clicks over the users of that day; in total, clicks over user-days.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from ppm_tf.config import OnlineSettings
from ppm_tf.data.experiment.exposures import Exposures
from ppm_tf.data.experiment.log import day_name
from ppm_tf.evaluation.popularity import Popularity
from ppm_tf.metrics.experiment_checks import AACheck, SampleRatio, aa_check, sample_ratio
from ppm_tf.metrics.user_ratio import Difference, Ratio, UserSums, difference

TOTAL, DAY, GROUP = "total", "day=", "group="


class Figure(NamedTuple):
    """A figure of the report: `scale * sum(numerator) / sum(denominator)` over users.

    Attributes:
        name: as JSON lines and tables name it.
        numerator: a column of `_columns`.
        denominator: likewise.
        meaning: what it is, in words.
        source: where it is defined.
        scale: 1000 for a figure per mille.
    """

    name: str
    numerator: str
    denominator: str
    meaning: str
    source: str = ""
    scale: float = 1.0


FIGURES = (
    Figure("UCTR", "click", "days", "clicks per user and day", "PPM, eq. 12"),
    Figure("UCVR", "order", "days", "orders per user and day", "PPM, eq. 12"),
    Figure("clicks per user", "click", "users", "clicks per user over the whole period", "PPM, eq. 12, of the period"),
    Figure("orders per user", "order", "users", "orders per user over the whole period", "PPM, eq. 12, of the period"),
    Figure("CTR", "click", "exposures", "clicks per exposure"),
    Figure("CVR", "order", "click", "orders per click"),
    Figure("eCPM", "revenue", "exposures", "money earned per thousand exposures", "CELA, table 5", 1000.0),
    Figure("DTR", "download", "exposures", "downloads per exposure", "CELA, table 5"),
    Figure("long-tail share", "tail", "exposures", "share of the exposures that long-tail items have", "PPM, section 4.6"),
    Figure("new-item share", "new", "exposures", "share of the exposures that items have which nothing had shown before"),
)
OF_PERIOD = ("clicks per user", "orders per user")  # in one day they are UCTR and UCVR
SHARE = Figure("exposure share", "exposures", "all exposures", "share of the exposures that the group's items have", "CELA, figure 7")
OF_GROUP = ("CTR", "eCPM", "DTR")


@dataclass(frozen=True)
class OnlineRecord:
    """One line of `figures.jsonl`: a figure of a bucket in a scope, and its difference to control.

    Attributes:
        figure: its name.
        scope: `total`, `day=2026-11-20`, or `group=1` for the least popular items.
        bucket: name of the bucket.
        ratio: the figure with its interval.
        numerator: the sum above.
        denominator: the sum below.
        difference: against control; `None` for control itself.
        cuped: the same with the pre-period taken out; `None` without one.
    """

    figure: str
    scope: str
    bucket: str
    ratio: Ratio
    numerator: float
    denominator: float
    difference: Difference | None = None
    cuped: Difference | None = None

    def plain(self) -> dict[str, Any]:
        """The record as one flat object; what is no number is nan."""
        found = {"figure": self.figure, "scope": self.scope, "bucket": self.bucket, **self.ratio._asdict()}
        found |= {"numerator": self.numerator, "denominator": self.denominator}
        for prefix, one in (("difference", self.difference), ("cuped", self.cuped)):
            if one is not None:
                found |= {prefix if key == "value" else f"{prefix}_{key}": value for key, value in one._asdict().items()}
        return found


@dataclass(frozen=True)
class OnlineResult:
    """Everything that the report says.

    Attributes:
        records: the figures.
        buckets: names, control first.
        days: names of the days.
        sample_ratio: the check of the split.
        aa: the A/A check of each figure, of the control bucket.
        popularity: how items were cut.
        counts: what was read and set aside.
        has_before: whether there is a pre-period.
    """

    records: list[OnlineRecord]
    buckets: tuple[str, ...]
    days: list[str]
    sample_ratio: SampleRatio
    aa: dict[str, AACheck]
    popularity: Popularity
    counts: dict[str, int] = field(default_factory=dict)
    has_before: bool = False

    def find(self, figure: str, scope: str = TOTAL) -> list[OnlineRecord]:
        """A figure of each bucket, control first."""
        return [record for record in self.records if (record.figure, record.scope) == (figure, scope)]

    @property
    def figures(self) -> list[str]:
        """The figures in total, in order."""
        return list(dict.fromkeys(record.figure for record in self.records if record.scope == TOTAL))


def judge(log: Exposures, popularity: Popularity, settings: OnlineSettings, seed: int) -> OnlineResult:
    """All figures of an experiment.

    Args:
        log: the exposures.
        popularity: of the log's items.
        settings: how to judge.
        seed: of the A/A check's halvings.
    """
    after = log.in_experiment
    counted = {*_events(log), "tail", *(["new"] if popularity.before else [])}
    figures = [one for one in FIGURES if one.numerator in counted and (one.denominator != "order" or "order" in log.events)]
    totals = _columns(log, popularity, after)
    before = _columns(log, popularity, ~after) if not after.all() else None
    members = [log.bucket == number for number in range(len(log.buckets))]
    records = list(_compared(figures, TOTAL, totals, before, members, log, settings))
    for day in log.days:
        columns = _columns(log, popularity, after & (log.day == day))
        present = [one & (columns["days"] > 0) for one in members]  # the users of that day
        daily = [one for one in figures if one.name not in OF_PERIOD]
        records += _compared(daily, DAY + day_name(day), columns, None, present, log, settings)
    for group in range(popularity.groups):
        columns = _columns(log, popularity, after & (popularity.group[log.item] == group))
        columns["all exposures"] = totals["exposures"]
        of_group = [SHARE, *(one for one in figures if one.name in OF_GROUP)]
        records += _compared(of_group, f"{GROUP}{group + 1}", columns, None, members, log, settings)
    users = {name: int(one.sum()) for name, one in zip(log.buckets, members, strict=True)}
    split = {name: settings.split.get(name, 1.0) for name in log.buckets}
    aa = {}
    if settings.aa_splits:
        for one in figures:
            aa[one.name] = aa_check(_sums(one, totals, None, members[0]), settings.aa_splits, seed, settings.confidence)
    days = [day_name(day) for day in log.days]
    return OnlineResult(records, log.buckets, days, sample_ratio(users, split), aa, popularity, log.counts, before is not None)


def _events(log: Exposures) -> dict[str, np.ndarray]:
    """What each exposure brought, by the name of its column."""
    return {**log.events, **({"revenue": log.revenue} if log.revenue is not None else {})}


def _columns(log: Exposures, popularity: Popularity, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Sums by user over some rows, float64 `[U]` each: events, exposures, days with an exposure, and one for each user."""
    user, size = log.user[rows], log.bucket.size
    found = {name: np.bincount(user, weights=values[rows], minlength=size) for name, values in _events(log).items()}
    found["exposures"] = np.bincount(user, minlength=size).astype(np.float64)
    for name, marked in (("tail", popularity.tail), ("new", popularity.unseen)):
        found[name] = np.bincount(user, weights=marked[log.item[rows]], minlength=size)
    day = log.day[rows].astype(np.int64)
    first, span = (int(day.min()), int(np.ptp(day)) + 1) if day.size else (0, 1)
    found["days"] = np.bincount(np.unique(user * span + (day - first)) // span, minlength=size).astype(np.float64)
    found["users"] = np.ones(size)
    return found


def _sums(figure: Figure, columns: dict, before: dict | None, users: np.ndarray) -> UserSums:
    parts = [columns[figure.numerator] * figure.scale, columns[figure.denominator]]
    if before is not None:
        parts += [before[figure.numerator] * figure.scale, before[figure.denominator]]
    return UserSums(*(part[users] for part in parts))


def _compared(
    figures: list[Figure], scope: str, columns: dict, before: dict | None, members: list[np.ndarray], log: Exposures, settings: OnlineSettings
) -> Iterator[OnlineRecord]:
    """A record a figure and bucket. Only the differences in total are made for looks at any time."""
    tuning = settings.tuning if scope == TOTAL and settings.interval == "always_valid" else None
    for figure in figures:
        sums = [_sums(figure, columns, before, one) for one in members]
        for number, (name, one) in enumerate(zip(log.buckets, sums, strict=True)):
            gap = difference(sums[0], one, settings.confidence, tuning=tuning) if number else None
            adjusted = difference(sums[0], one, settings.confidence, True, tuning) if number and before is not None else None
            total = one.columns.sum(axis=1) if one.users else np.zeros(2)
            yield OnlineRecord(
                figure.name, scope, name, one.ratio(settings.confidence), float(total[0]) / figure.scale, float(total[1]), gap, adjusted
            )
