"""The figures that the gate judges: AUC, log loss and calibration of a version by task and slice, and their paired change against the live model."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import ArrayLike

from ppm_tf.config import GateSettings
from ppm_tf.daily.verdict import Figure
from ppm_tf.evaluation import MIN_USERS, Scores
from ppm_tf.metrics import (
    auc,
    calibration,
    delong_test,
    draw_users,
    log_loss,
    percentile_interval,
    resampled_auc,
    resampled_ratio,
    row_log_loss,
    t_quantile,
)

ALL = "all"


def slice_masks(
    scores: Scores, names: tuple[str, ...], train_frequency: ArrayLike | None = None, user_frequency: ArrayLike | None = None
) -> dict[str, np.ndarray]:
    """The rows of each slice, bool `[n]` by name; see `gate.slices`.

    Args:
        scores: the rows.
        names: the slices.
        train_frequency: `[V]`, how often the version's training data holds each item row; rows of a catalog that has grown since count 0.
        user_frequency: `[n]`, requests that each row's user has in the training data.

    Raises:
        ValueError: a slice needs what is not given.
    """
    missing = [
        name
        for name, needed in (("never_seen", train_frequency), ("new_users", user_frequency), ("no_history", scores.history))
        if name in names and needed is None
    ]
    if missing:
        raise ValueError(
            f"The slices {', '.join(missing)} need counts of the training data, or histories. Received: none. Remedy: leave them out of gate.slices."
        )
    found = {ALL: np.ones(scores.item_row.size, bool)}
    if "never_seen" in names:
        frequency = np.asarray(train_frequency)
        inside = scores.item_row < frequency.size
        found["never_seen"] = ~inside | (frequency[np.where(inside, scores.item_row, 0)] == 0)
    if "new_users" in names:
        found["new_users"] = np.asarray(user_frequency) == 0
    if "no_history" in names:
        found["no_history"] = np.asarray(scores.history) == 0
    return {name: found[name] for name in names}


def require_same_rows(candidate: Scores, live: Scores) -> None:
    """Refuses two tables of scores that are not of the same rows in the same order.

    Raises:
        ValueError: they differ.
    """
    same = all(np.array_equal(getattr(candidate, name), getattr(live, name)) for name in ("request", "item_row"))
    shared = [task for task in candidate.tasks if task in live.tasks]
    if not same or any(
        not np.array_equal(candidate.labels[:, candidate.tasks.index(task)], live.labels[:, live.tasks.index(task)]) for task in shared
    ):
        raise ValueError(
            "Both models must score the same rows in the same order. Received: tables that differ in request, item_row or labels. Score them on the"
            " same samples."
        )


def tasks_of(scores: Scores) -> tuple[str, ...]:
    """The tasks that are scored."""
    return scores.tasks[: scores.scores.shape[1]]


def measured(candidate: Scores, live: Scores | None, masks: Mapping[str, np.ndarray], settings: GateSettings, seed: int = 0) -> list[Figure]:
    """AUC, and of probabilities log loss and calibration, of each task on each slice; users are resampled for both models at once.

    Args:
        candidate: the rows under the new version.
        live: the same rows under the live model; `None`: there is none.
        masks: the slices; see `slice_masks`.
        settings: resamples, confidence, kind of the paired interval of AUC.
        seed: int. Seed of the resamples. Defaults to 0.
    """
    names, user = np.unique(candidate.user, return_inverse=True)
    draws = draw_users(names.size, settings.resamples, seed)
    found = []
    for column, task in enumerate(tasks_of(candidate)):
        known = candidate.labels[:, column] >= 0
        theirs = live.scores[:, live.tasks.index(task)] if live is not None and task in tasks_of(live) else None
        for name, mask in masks.items():
            rows = np.flatnonzero(mask & known)
            part = _Part(
                candidate.labels[rows, column], candidate.scores[rows, column], None if theirs is None else theirs[rows], user[rows], draws, settings
            )
            both = candidate.probability and (live is None or live.probability)
            found += [Figure(task, name, metric, **values) for metric, values in part.metrics(both)]
    return found


class _Part:
    """One task on one slice."""

    def __init__(self, labels: np.ndarray, scores: np.ndarray, live: np.ndarray | None, user: np.ndarray, draws: np.ndarray, settings: GateSettings):
        self.labels, self.scores, self.live, self.user, self.draws, self.settings = labels, scores, live, user, draws, settings
        self.positive = labels == 1
        users = min(np.unique(user[kind]).size for kind in (self.positive, ~self.positive))
        self.why = "" if users >= MIN_USERS else f"no interval: fewer than {MIN_USERS} users behind a label"
        self.plain = {"count": int(labels.size), "positives": int(self.positive.sum())}

    def metrics(self, probability: bool) -> Iterator[tuple[str, dict]]:
        yield "auc", self._auc()
        if probability:
            yield "log_loss", self._log_loss()
            yield "calibration", self._calibration()

    def _auc(self) -> dict:
        value, live = auc(self.labels, self.scores), self._of_live(auc)
        found = {**self.plain, "value": float(value), "live": float(live), "change": float(value - live), "reason": value.reason or live.reason}
        if value.reason or self.why:
            return found | {"reason": found["reason"] or self.why}
        mine = resampled_auc(self.positive, self.scores, self.user, self.draws)
        found |= self._interval(mine, "low", "high")
        if live.reason or self.live is None:
            return found
        if self.settings.difference == "delong":
            tested = delong_test(self.labels, self.scores, self.live)
            reach = t_quantile(self.settings.confidence, math.inf) * tested.standard_error  # of many rows: normal
            return found | {"change_low": tested.difference - reach, "change_high": tested.difference + reach}
        return found | self._interval(mine - resampled_auc(self.positive, self.live, self.user, self.draws), "change_low", "change_high")

    def _log_loss(self) -> dict:
        value, live = log_loss(self.labels, self.scores), self._of_live(log_loss)
        found = {**self.plain, "value": float(value), "live": float(live), "change": _share(value, live), "reason": value.reason or live.reason}
        if value.reason or self.why:
            return found | {"reason": found["reason"] or self.why}
        ones = np.ones(self.labels.size)
        mine = resampled_ratio(row_log_loss(self.labels, self.scores), ones, self.user, self.draws)
        found |= self._interval(mine, "low", "high")
        if live.reason or self.live is None:
            return found
        theirs = resampled_ratio(row_log_loss(self.labels, self.live), ones, self.user, self.draws)
        return found | self._interval(mine / theirs - 1, "change_low", "change_high")

    def _calibration(self) -> dict:
        value, live = calibration(self.labels, self.scores), self._of_live(calibration)
        found = {**self.plain, "value": float(value), "live": float(live), "change": float(value - live), "reason": value.reason or live.reason}
        if value.reason or self.why:
            return found | {"reason": found["reason"] or self.why}
        return found | self._interval(resampled_ratio(self.scores, self.labels, self.user, self.draws), "low", "high")

    def _of_live(self, metric):
        from ppm_tf.metrics import Value

        return metric(self.labels, self.live) if self.live is not None else Value(math.nan, 0)

    def _interval(self, resamples: np.ndarray, low: str, high: str) -> dict:
        found = percentile_interval(resamples, self.settings.confidence)
        return {low: found.low, high: found.high}


def _share(value: float, live: float) -> float:
    """The change as a share of the live model's figure."""
    return float(value) / float(live) - 1 if live and not math.isnan(live) else math.nan
