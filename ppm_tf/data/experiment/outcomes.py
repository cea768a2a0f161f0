"""A log of outcomes (clicks, orders, downloads, revenue), joined to the exposures that they followed."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ppm_tf.config import OnlineSettings
from ppm_tf.data.experiment.log import Codes, batches
from ppm_tf.data.raw.column_times import TICKS, moments
from ppm_tf.data.raw.columns import numbers


class Attributed(NamedTuple):
    """What followed each of n exposures.

    Attributes:
        events: event -> float64 `[n]`, 1 where at least one such outcome followed.
        revenue: float64 `[n]`, summed over the outcomes; `None` where the outcomes do not say it.
        counts: outcomes read, and joined.
    """

    events: dict[str, np.ndarray]
    revenue: np.ndarray | None
    counts: dict[str, int]


def attribute(settings: OnlineSettings, exposures: dict[str, np.ndarray], users: Codes, items: Codes) -> Attributed:
    """Joins each outcome to the last exposure of its user and item at or before its time, within `online.outcomes.window` hours.

    Args:
        settings: the experiment's settings.
        exposures: `user`, `item` (numbers) and `time` (nanoseconds), `[n]` each.
        users: numbers of the users.
        items: numbers of the items.

    Raises:
        ValueError: a cell cannot be read, or no outcome belongs to an exposure at all.
    """
    log, parts, first = settings.outcomes, [], None
    assert log.files is not None
    for batch in batches(settings, log, log.files, "online.outcomes.files", "online.outcomes"):
        part: dict[str, Any] = {
            "user": users.of(batch.words(log.user), add=False),
            "item": items.of(batch.words(log.item), add=False),
            "time": moments(batch.columns[log.time], log.time_unit, batch.place("time", log.time), settings.missing),
            **{name: values > 0 for name, values in batch.events(log).items()},
        }
        if log.revenue:
            part["revenue"] = np.nan_to_num(numbers(batch.columns[log.revenue], batch.place("revenue", log.revenue), settings.missing))
        parts.append(part)
        first = first or (batch.place("user", log.user).at(0), batch.words(log.user)[0].as_py(), batch.words(log.item)[0].as_py())
    if not parts:
        raise ValueError(f"The outcomes must hold rows. Received: none in {log.files}.")
    found = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    exposure = last_exposure(exposures, found, round(log.window * 3600 * TICKS), len(items.numbers))
    joined = exposure >= 0
    if not joined.any() and first is not None:
        raise ValueError(
            f"Outcomes must follow exposures of the same user and item by at most {log.window:g} hours (online.outcomes.window). Received:"
            f" {joined.size:,} outcomes, none of which does; the first is {first[0]}, user {first[1]}, item {first[2]}. Remedy: check the columns of"
            " online.outcomes, its time_unit and its window."
        )
    size, events = exposures["user"].size, {}
    for name in ("click", "order", "download"):
        if name in found:
            events[name] = np.zeros(size)
            events[name][exposure[joined & found[name]]] = 1.0
    revenue = np.bincount(exposure[joined], weights=found["revenue"][joined], minlength=size) if log.revenue else None
    return Attributed(events, revenue, {"outcomes read": joined.size, "outcomes that follow no exposure, left out": int((~joined).sum())})


def last_exposure(exposures: dict[str, np.ndarray], outcomes: dict[str, np.ndarray], window: int, num_items: int) -> np.ndarray:
    """The row of the exposure that each outcome belongs to, int64; -1 for none.

    >>> shown = {"user": np.array([0, 0, 1]), "item": np.array([5, 5, 5]), "time": np.array([10, 20, 10])}
    >>> then = {"user": np.array([0, 0, 1, 0, -1]), "item": np.array([5, 5, 5, 4, 5]), "time": np.array([20, 19, 99, 30, 20])}
    >>> last_exposure(shown, then, window=15, num_items=6).tolist()
    [1, 0, -1, -1, -1]
    """
    size = exposures["user"].size
    pair = np.concatenate([one["user"].astype(np.int64) * num_items + one["item"] for one in (exposures, outcomes)])
    time = np.concatenate([exposures["time"], outcomes["time"]])
    is_outcome = np.arange(pair.size) >= size
    order = np.lexsort((is_outcome, time, pair))  # an exposure comes before an outcome of the same time
    before = np.maximum.accumulate(np.where(is_outcome[order], -1, np.arange(order.size)))
    found = np.where(before >= 0, order[before], -1)
    fits = (found >= 0) & (pair[found] == pair[order]) & (time[order] - time[found] <= window)
    result = np.full(pair.size, -1, np.int64)
    result[order] = np.where(fits, found, -1)
    known = (outcomes["user"] >= 0) & (outcomes["item"] >= 0)
    return np.where(known, result[size:], -1)
