"""The quality gate: whether a new version may be published. Pure functions over scored rows; `judge` is the whole of it.

A new version must reach a floor *and* be no worse than the live model on the same newest rows, over all and on declared slices. The first
version has floors only, and the verdict says so. What could not be judged, for want of rows, is said and never counts as passed: a verdict
in which no bound on the model was judged refuses.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from ppm_tf.config import MODEL_BOUNDS, GateSettings
from ppm_tf.daily.drift import TableDrift, score_drift
from ppm_tf.daily.figures import ALL, measured, require_same_rows, slice_masks, tasks_of
from ppm_tf.daily.verdict import CHANGE, FAILED, LIVE, NOT_JUDGED, TABLES, Figure, Line, Verdict, held
from ppm_tf.evaluation import Scores

FIRST = "first update: there is no live model"
_CHANCE = (
    "The live model ranks the day's rows no better than chance: their labels do not belong to them, or they are of another log. Remedy: look at the"
    " day's log; bring it corrected, or leave it out."
)
_FELL = (
    "The live model, which has not changed, ranks the day's rows far worse than those of the days before: it is the rows that differ. Remedy: look"
    " at the day's log."
)


def judge(
    candidate: Scores,
    live: Scores | None,
    settings: GateSettings,
    *,
    day: str,
    train_frequency: ArrayLike | None = None,
    user_frequency: ArrayLike | None = None,
    live_before: Mapping[str, Sequence[float]] | None = None,
    golden: tuple[Mapping[str, ArrayLike], Mapping[str, ArrayLike]] | None = None,
    tables: Iterable[TableDrift] = (),
    data: Iterable[Line] = (),
    seed: int = 0,
) -> Verdict:
    """Holds every bound against a new version.

    Args:
        candidate: the newest rows, which nothing was trained on, under the new version.
        live: the same rows under the live model; `None`: there is none.
        settings: the bounds.
        day: the day of the update, for which `gate.override` may speak.
        train_frequency: `[V]`, how often the new version's training holds each item row; for the slice never_seen.
        user_frequency: `[n]`, requests of each row's user in that training; for the slice new_users.
        live_before: the live models' AUC by task, on the newest rows of the days before.
        golden: probabilities of the golden requests by task, of the new version and of the live one.
        tables: how the item tables differ from those of the live version.
        data: what `judge_data` found of the day.
        seed: of the resamples.

    Raises:
        ValueError: the two were not scored on the same rows, or a slice needs what is not given.
    """
    if live is not None:
        require_same_rows(candidate, live)
    masks = slice_masks(candidate, settings.slices, train_frequency, user_frequency)
    figures = measured(candidate, live, masks, settings, seed)
    missing = "" if live is not None else FIRST
    lines = [
        *data,
        *(judge_live(live, settings, live_before, seed) if live is not None else ()),
        *_numbers(candidate, settings),
        *_floors(figures, settings),
        *_changes(figures, settings, missing),
        *_drifts(candidate, live, settings, missing),
        *_golden(golden, settings, missing),
        *judge_tables(tables, settings),
    ]
    problems = []
    if not any(line.outcome != NOT_JUDGED for line in lines if line.bound in MODEL_BOUNDS):
        whys = list(dict.fromkeys(line.why for line in lines if line.bound in MODEL_BOUNDS and line.why != missing))
        problems.append(
            f"A bound on the model must be judged. Received: none that could be ({'; '.join(whys[:3]) or 'no slice has one'}). Remedy: more held-out"
            " rows (update.held_out_hours), or smaller gate.min_rows and gate.min_positives."
        )
    return Verdict(day, tuple(lines), tuple(figures), missing, _override(settings, day), tuple(problems))


def judge_golden(golden: tuple[Mapping[str, ArrayLike], Mapping[str, ArrayLike]], settings: GateSettings) -> list[Line]:
    """How far the answers to the golden requests of the live version are from its own.

    Args:
        golden: probabilities by task, of the new version and of the live one.
        settings: `max_golden_change`.

    Raises:
        ValueError: the answers are not of the same requests.
    """
    return list(_golden(golden, settings, ""))


def judge_live(live: Scores, settings: GateSettings, before: Mapping[str, Sequence[float]] | None = None, seed: int = 0) -> list[Line]:
    """Whether the day can be believed: the live model, which did not change overnight, must rank its newest rows as it ranked those before.

    Needs no training: shuffled labels are found here before anything learns them. What counts for the floor is the lower end of the
    interval, for chance itself passes a figure by luck.

    Args:
        live: the newest rows under the live model.
        settings: `min_live_auc`, `max_live_drop`, smallest sample.
        before: AUC by task on the newest rows of the days before.
        seed: of the resamples.
    """
    found: list[Line] = []
    figures = measured(live, None, {ALL: np.ones(live.item_row.size, bool)}, settings, seed)
    for one in (figure for figure in figures if figure.metric == "auc"):
        too_few = _too_few(one.count, one.positives, settings)
        why = too_few or (one.reason if math.isnan(one.value) else "")
        common = {"group": LIVE, "task": one.task, "slice": ALL, "count": one.count, "outcome": NOT_JUDGED}
        if (least := _of_task(settings.min_live_auc, one.task)) is not None:
            line = Line("min_live_auc", "AUC of the live model", one.value, low=one.low, high=one.high, least=least, why=why, **common)
            found.append(held(line, None if math.isnan(one.low) else one.low, _CHANCE))
        if settings.max_live_drop is not None:
            earlier = [value for value in (before or {}).get(one.task, ())[-settings.days_before :] if value is not None and not math.isnan(value)]
            usual = float(np.median(earlier)) if earlier else math.nan
            line = Line(
                "max_live_drop", "fall of the live model's AUC below that of the days before", usual - one.value, most=settings.max_live_drop,
                why=why or ("" if earlier else "no day before"), **common,
            )  # fmt: skip
            found.append(held(line, fails=f"It is {one.value:.4f}; it was {usual:.4f}. {_FELL}"))
    return found


def judge_tables(tables: Iterable[TableDrift], settings: GateSettings) -> list[Line]:
    """Whether the vectors of earlier items stayed where they were; see `ppm_tf.daily.drift.table_drift`."""
    found = []
    for one in tables:
        why = "its encoder was trained anew" if one.anew else "" if one.rows else "no item has a vector in both"
        common = {"group": TABLES, "task": one.table, "count": one.rows, "outcome": NOT_JUDGED, "why": why}
        if settings.max_moved is not None:
            what = f"share of vectors that moved beyond a cosine of {settings.table_cosine:g}"
            line = Line("max_moved", what, one.moved_share, most=settings.max_moved, **common)
            found.append(held(line, fails="The same encoder gives other vectors: its texts or images changed, or its version is not what it says."))
        if settings.table_norm is not None:
            least, most = settings.table_norm
            ratio = one.norm / one.norm_before if one.norm_before else math.nan
            found.append(held(Line("table_norm", "mean norm of the vectors, over the earlier one", ratio, least=least, most=most, **common)))
    return found


# === The version on its own ===


def _numbers(candidate: Scores, settings: GateSettings) -> Iterator[Line]:
    if settings.max_nan_share is None:
        return
    for column, task in enumerate(tasks_of(candidate)):
        share = float(np.mean(~np.isfinite(candidate.scores[:, column]))) if candidate.scores.size else math.nan
        line = Line("max_nan_share", "share of scores that are no number", share, FAILED, task=task, slice=ALL, most=settings.max_nan_share,
                    count=candidate.scores.shape[0])  # fmt: skip
        yield held(line)


def _floors(figures: Sequence[Figure], settings: GateSettings) -> Iterator[Line]:
    for one in figures:
        common = {"task": one.task, "slice": one.slice, "low": one.low, "high": one.high, "count": one.count, "outcome": NOT_JUDGED}
        common["why"] = _too_few(one.count, one.positives, settings)
        name = _name("min_auc" if one.metric == "auc" else one.metric, one.slice)
        if one.metric == "auc" and (least := _of_task(getattr(settings, name), one.task)) is not None:
            yield held(Line(name, "AUC", one.value, least=least, **common))
        if one.metric == "calibration" and getattr(settings, name) is not None:
            least, most = getattr(settings, name)
            line = Line(name, "predicted / observed", one.value, least=least, most=most, **common)
            nearest = min(max(one.value, least, one.low), max(most, one.low), one.high)  # of the interval, the point nearest to the band
            by_interval = settings.calibration_by == "interval" and not math.isnan(nearest)
            yield held(line, nearest if by_interval and nearest != one.value else None)


# === The version against the live model ===


def _changes(figures: Sequence[Figure], settings: GateSettings, no_live: str) -> Iterator[Line]:
    for one in figures:
        setting = {"auc": "min_auc_change", "log_loss": "max_log_loss_change"}.get(one.metric)
        bound = setting and _of_task(getattr(settings, _name(setting, one.slice)), one.task)
        if setting is None or bound is None:
            continue
        end = settings.decide_by
        if one.metric == "auc":
            what, ends = "change of AUC against the live model", {"least": bound}
            judged = {"low": one.change_low, "value": one.change, "high": one.change_high}[end]
        else:
            what, ends = "change of log loss, as a share of the live model's", {"most": bound}
            judged = {"low": one.change_high, "value": one.change, "high": one.change_low}[end]
        why = no_live or _too_few(one.count, one.positives, settings)
        if not why and not math.isnan(one.value):
            why = f"the live model has no figure: {one.reason or 'it has no such task'}" if math.isnan(one.live) else ""
            why = why or (one.reason or "no interval" if math.isnan(judged) else "")
        line = Line(
            _name(setting, one.slice), what, one.change, NOT_JUDGED, CHANGE, one.task, one.slice, one.change_low, one.change_high,
            count=one.count, why=why, **ends,
        )  # fmt: skip
        keeps_itself = one.change >= bound if one.metric == "auc" else one.change <= bound
        fails = (
            "The figure itself keeps the bound; so few rows cannot tell. Remedy: more of them (update.held_out_hours), or gate.decide_by=value."
            if keeps_itself
            else ""
        )
        yield held(line, None if end == "value" else judged, fails)


def _drifts(candidate: Scores, live: Scores | None, settings: GateSettings, no_live: str) -> Iterator[Line]:
    if settings.max_psi is None and settings.max_js is None:
        return
    for column, task in enumerate(tasks_of(candidate)):
        new, why = candidate.scores[:, column].astype(np.float64), no_live
        old = live.scores[:, live.tasks.index(task)].astype(np.float64) if live is not None and task in tasks_of(live) else np.zeros(0)
        found = (math.nan, math.nan)
        if not why:
            why = "the live model has no such task" if not old.size else "scores that are no number" if np.isnan([new.sum(), old.sum()]).any() else ""
            why = why or ("" if new.size >= settings.min_rows else f"fewer than {settings.min_rows} rows")
        if not why:
            found = score_drift(new, old, settings.drift_bins)
        for name, what, value in (("max_psi", "PSI of the scores", found[0]), ("max_js", "Jensen-Shannon divergence of the scores", found[1])):
            if (most := getattr(settings, name)) is not None:
                fails = f"Mean score {_mean(new)}; the live model's on the same rows is {_mean(old)}."
                yield held(Line(name, what, value, NOT_JUDGED, CHANGE, task, ALL, most=most, count=new.size, why=why), fails=fails)


def _golden(golden: tuple[Mapping[str, ArrayLike], Mapping[str, ArrayLike]] | None, settings: GateSettings, no_live: str) -> Iterator[Line]:
    if settings.max_golden_change is None:
        return
    new, old = golden or ({}, {})
    for task in new or ("",):
        value, count = math.nan, 0
        why = no_live or ("no golden requests" if golden is None else "" if task in old else "the live model has no such task")
        if not why:
            mine, theirs = np.asarray(new[task], np.float64), np.asarray(old[task], np.float64)
            if mine.shape != theirs.shape:
                raise ValueError(
                    f"Golden answers of {task} must be of the same requests. Received: shapes {mine.shape} and {theirs.shape}. Ask both versions the"
                    " same requests."
                )
            value, count = float(np.abs(mine - theirs).max()), mine.size
        line = Line(
            "max_golden_change", "largest change of a golden probability", value, NOT_JUDGED, CHANGE, task, most=settings.max_golden_change,
            count=count, why=why,
        )  # fmt: skip
        yield held(line)


# === Parts ===


def _name(setting: str, slice_name: str) -> str:
    return setting if slice_name == ALL else f"{setting}_of_slices"


def _of_task(bound: float | Mapping[str, float] | None, task: str) -> float | None:
    return bound.get(task) if isinstance(bound, Mapping) else bound


def _too_few(rows: int, positives: int, settings: GateSettings) -> str:
    """Why a slice is too small to be judged; "" where it is not."""
    if rows < settings.min_rows:
        return f"{rows:,} rows, fewer than gate.min_rows={settings.min_rows}"
    fewest = min(positives, rows - positives)
    kind = "positive" if positives <= rows - positives else "negative"
    return "" if fewest >= settings.min_positives else f"{fewest:,} {kind} labels, fewer than gate.min_positives={settings.min_positives}"


def _mean(scores: np.ndarray) -> str:
    return f"{scores.mean():.4g}" if scores.size else "unknown"


def _override(settings: GateSettings, day: str) -> str:
    """The reason of a pass by hand, if it is for this day."""
    of, _, reason = (settings.override or "").partition(":")
    return reason.strip() if of == day else ""
