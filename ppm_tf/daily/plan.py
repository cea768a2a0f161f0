"""What an update trains on: which hours of which days, and which update it goes on from (PPM, section 4.6 and figure 3)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

Hours = Literal["head", "tail"]
DAY = timedelta(days=1)


@dataclass(frozen=True)
class Part:
    """Some hours of a day of the log: its head, or its tail, the newest `update.held_out_hours` hours."""

    day: date
    hours: Hours

    def __str__(self) -> str:
        return f"{self.hours} of {self.day}"


@dataclass(frozen=True)
class Ancestor:
    """The update that another one goes on from.

    Attributes:
        day: the day that it is served on; its folder is `updates/<day>`.
        ranker: newest day whose window its ranking model has learnt from.
        ppm: the same of its PPM; `None` without one.
    """

    day: date
    ranker: date
    ppm: date | None


@dataclass(frozen=True)
class Plan:
    """What the update of a day does.

    A day's window is the tail of the usable day before and its own head, so that the hours that judged yesterday's model teach today's, and every
    label teaches a model once. PPM stays a day behind the ranking model, which therefore meets no label that its PPM has seen.

    Attributes:
        day: the day that is served.
        parent: the update it goes on from; `None`: it starts anew.
        pretrain: what PPM learns from.
        train: what the ranking model learns from.
        held_out: what judges it, and taught nothing.
    """

    day: date
    parent: Ancestor | None
    pretrain: tuple[Part, ...]
    train: tuple[Part, ...]
    held_out: tuple[Part, ...]

    @property
    def newest(self) -> date:
        """The newest day of the log that the update reads."""
        return self.day - DAY


def plan_of(day: date, days: Collection[date], refused: Collection[date], parent: Ancestor | None, start_days: int, with_ppm: bool = True) -> Plan:
    """The plan of an update.

    Args:
        day: the day that is served; the day before it must be among `days`.
        days: prepared days.
        refused: those that nothing may be learnt from.
        parent: the newest update that was accepted; `None` starts from the last `start_days` days, of which PPM has the older half.
        start_days: how many days a start reads.
        with_ppm: whether there is a PPM to train.

    Raises:
        ValueError: nothing is left to start from.

    Example:

    >>> days = [date(2026, 11, one) for one in range(1, 9)]
    >>> plan = plan_of(date(2026, 11, 9), days, [], Ancestor(date(2026, 11, 8), date(2026, 11, 7), date(2026, 11, 6)), 7)
    >>> [str(part) for part in plan.train], [str(part) for part in plan.pretrain]
    (['tail of 2026-11-07', 'head of 2026-11-08'], ['tail of 2026-11-06', 'head of 2026-11-07'])
    """
    newest, usable = day - DAY, sorted(set(days) - set(refused))
    held_out = (Part(newest, "tail"),) if newest in usable else ()
    if parent is not None:
        # Where the ranking model has days to catch up, PPM waits until it has met them: at most the day before yesterday (T-2).
        ppm = [one for one in usable if parent.ppm is not None and parent.ppm < one <= min(newest - DAY, parent.ranker)]
        ranker = [one for one in usable if parent.ranker < one <= newest]
        return Plan(day, parent, _windows(ppm, usable), _windows(ranker, usable), held_out)
    start = [one for one in usable if newest - start_days * DAY < one <= newest]
    if len(start) < 1 + with_ppm:
        raise ValueError(
            f"A start must find at least {1 + with_ppm} days to learn from{', PPM the older and the ranking model the newer' if with_ppm else ''}."
            f" Received: {', '.join(map(str, start)) or 'none'} among the {start_days} days up to {newest}. Remedy: begin on a later day, or raise"
            " update.start_days."
        )
    half = len(start) // 2 if with_ppm else 0
    return Plan(day, None, _windows(start[:half], usable[:0]), _windows(start[half:], usable), held_out)


def learnt(plan: Plan, parent: Ancestor | None) -> Ancestor:
    """What an accepted update of this plan leaves for the next one to go on from."""
    heads = {role: [part.day for part in parts if part.hours == "head"] for role, parts in (("ppm", plan.pretrain), ("ranker", plan.train))}
    ranker = max(heads["ranker"], default=parent.ranker if parent else plan.newest)
    return Ancestor(plan.day, ranker, max(heads["ppm"], default=parent.ppm if parent else None))


def _windows(days: Sequence[date], usable: Sequence[date]) -> tuple[Part, ...]:
    """The windows of these days: of each the tail of the usable day before it, whatever lies between, and its own head."""
    found: list[Part] = []
    known = sorted({*usable, *days})
    for one in days:
        if (place := known.index(one)) > 0:
            found.append(Part(known[place - 1], "tail"))
        found.append(Part(one, "head"))
    return tuple(found)
