"""Scored rows and days with figures that are known beforehand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ppm_tf.config import GateSettings
from ppm_tf.daily import DayStatistics
from ppm_tf.evaluation import Scores

DAY = "2026-11-20"
NUM_ITEMS = 40


def logistic(x):
    return 1 / (1 + np.exp(-x))


def rows(n=6000, seed=0, strength=1.0, noise=0.0, tasks=("click",), shuffled=False):
    """Rows whose labels are drawn from the scores, so that these are calibrated; `noise` is added to the logits of the scores alone."""
    random = np.random.default_rng(seed)
    logits = strength * random.normal(size=(n, len(tasks))) - 1.0
    labels = (random.random((n, len(tasks))) < logistic(logits)).astype(np.int8)
    scores = logistic(logits + noise * np.random.default_rng(seed + 1).normal(size=logits.shape))
    if shuffled:
        labels = labels[np.random.default_rng(seed + 2).permutation(n)]
    item = random.integers(2, 2 + NUM_ITEMS, size=n)
    return Scores(scores, labels, np.arange(n) // 5, np.arange(n) % 300, item, tasks)


def with_scores(one, scores):
    return replace(one, scores=np.asarray(scores).reshape(one.scores.shape))


def gate(**settings):
    """Settings that judge all rows alone, unless told otherwise."""
    return GateSettings(**{"slices": ("all",), "resamples": 50, **settings})


def day(name=DAY, **changes):
    """A day as good as the others."""
    usual = {
        "rows": 50_000, "requests": 5_000, "shown": 50_000, "positives": {"click": 10_000, "order": 1_000},
        "labelled": {"click": 50_000, "order": 50_000}, "rejected": 10, "repeated": 0, "outside_day": 0, "unknown_items": 50, "unknown_users": 900,
        "without_text": 1_500, "without_image": 2_000,
    }  # fmt: skip
    return DayStatistics(name, **{**usual, **changes})


def days(count=5):
    return [day(f"2026-11-{10 + number}", rows=50_000 + 500 * number) for number in range(count)]


def only(lines, bound, **values):
    """The one line of a bound."""
    found = [line for line in lines if line.bound == bound and all(getattr(line, name) == value for name, value in values.items())]
    assert len(found) == 1, [line.where() for line in found]
    return found[0]
