"""Figures of arms that all have the same users, as those of a simulation: from their exposures, compared user by user."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ppm_tf.data.experiment.log import day_name
from ppm_tf.evaluation.online import DAY, FIGURES, TOTAL
from ppm_tf.metrics.user_ratio import Difference, Ratio, UserSums, paired_difference

_DAY_SECONDS = 86_400
_SHOWN = ("UCTR", "UCVR", "CTR", "CVR", "long-tail share", "new-item share")


@dataclass(frozen=True)
class PairedRecord:
    """A figure of an arm in a scope, and its difference to the arm's control.

    Attributes:
        arm: its name.
        figure: as in `evaluation.online.FIGURES`.
        scope: `total`, or `day=2024-01-08`.
        ratio: the figure with its interval over users.
        control: name of the control; `None` without one.
        difference: against it, in pairs; `None` without one.
    """

    arm: str
    figure: str
    scope: str
    ratio: Ratio
    control: str | None = None
    difference: Difference | None = None

    def plain(self) -> dict[str, Any]:
        """As plain values."""
        parts = {"difference": self.difference._asdict()} if self.difference else {}
        return {**asdict(self), "ratio": self.ratio._asdict(), **parts}


@dataclass(frozen=True)
class Shown:
    """The exposures of an arm; n rows. `person` and `item` are ids, `day` counts days since 1970."""

    person: np.ndarray
    item: np.ndarray
    day: np.ndarray
    click: np.ndarray
    order: np.ndarray

    @classmethod
    def read(cls, files: Sequence[Path]) -> Shown:
        """Reads exposure files with the columns person, item_id, time (seconds), click and order."""
        columns = ["person", "item_id", "time", "click", "order"]
        table = pa.concat_tables([pq.read_table(path, columns=columns) for path in files])
        person, item, time, click, order = (table[name].to_numpy() for name in columns)
        return cls(person, item, time // _DAY_SECONDS, click, order)


def compare(arms: Mapping[str, Shown], controls: Mapping[str, str | None], marked: Mapping[str, np.ndarray], confidence: float) -> list[PairedRecord]:
    """The figures of each arm, in total and by day.

    Args:
        arms: name -> its exposures.
        controls: name -> name of the arm that it is compared with.
        marked: ids of the items of `tail` and of those that are `new`.
        confidence: level of the intervals.
    """
    people = np.unique(np.concatenate([arm.person for arm in arms.values()]))
    days = np.unique(np.concatenate([arm.day for arm in arms.values()])).tolist()
    scopes = [(TOTAL, None), *((f"{DAY}{day_name(day)}", day) for day in days)]
    figures = [one for one in FIGURES if one.name in _SHOWN]
    records = []
    for scope, day in scopes:
        columns = {name: _columns(arm, day, people, marked) for name, arm in arms.items()}
        for figure in figures:
            sums = {name: UserSums(one[figure.numerator], one[figure.denominator]) for name, one in columns.items()}
            for name, one in sums.items():
                control = controls.get(name)
                gap = paired_difference(sums[control], one, confidence) if control is not None else None
                records.append(PairedRecord(name, figure.name, scope, one.ratio(confidence), control, gap))
    return records


def _columns(arm: Shown, day: int | None, people: np.ndarray, marked: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Sums by user, float64 `[U]` each."""
    rows = slice(None) if day is None else arm.day == day
    user = np.searchsorted(people, arm.person[rows])

    def count(weights: np.ndarray | None = None) -> np.ndarray:
        return np.bincount(user, weights=weights, minlength=len(people)).astype(np.float64)

    found = {"exposures": count(), "click": count(arm.click[rows]), "order": count(arm.order[rows])}
    items = pa.array(arm.item[rows])
    found |= {name: count(pc.is_in(items, value_set=pa.array(ids)).to_numpy(zero_copy_only=False)) for name, ids in marked.items()}
    visits = np.unique(user * (1 << 32) + arm.day[rows]) >> 32
    return found | {"days": np.bincount(visits, minlength=len(people)).astype(np.float64)}
