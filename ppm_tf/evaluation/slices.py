"""Slices of the candidates: by train frequency of the item, by length of the history, by requests of the user."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike

from ppm_tf.config import EvaluateSettings
from ppm_tf.evaluation.scores import Scores

ALL = "all"
BUCKET = "train_frequency="
NEVER_SEEN = f"{BUCKET}0"  # items that the training data does not hold
HISTORY = "history="
USER = "user_frequency="


def bucket_names(edges: Iterable[int], prefix: str = BUCKET) -> tuple[str, ...]:
    """Slice names of the buckets that start at `edges`; the last one is open.

    >>> bucket_names((0, 1, 5, 500))
    ('train_frequency=0', 'train_frequency=1-4', 'train_frequency=5-499', 'train_frequency=500+')
    """
    edges = tuple(edges)
    if not edges or edges[0] != 0 or any(right <= left for left, right in pairwise(edges)):
        raise ValueError(f"bucket_edges must start at 0 and rise. Received: {edges}.")
    closed = [f"{left}" if right == left + 1 else f"{left}-{right - 1}" for left, right in pairwise(edges)]
    return tuple(prefix + name for name in (*closed, f"{edges[-1]}+"))


def first_of(name: str) -> int:
    """The first count of a bucket's slice: its place in a plot.

    >>> first_of("history=5-9"), first_of("train_frequency=500+")
    (5, 500)
    """
    return int(name.rpartition("=")[2].rstrip("+").split("-")[0])


def slices(
    scores: Scores, train_frequency: ArrayLike, settings: EvaluateSettings, user_frequency: ArrayLike | None = None
) -> Iterator[tuple[str, np.ndarray]]:
    """Yields the name and the rows of each slice: `all`, then closed-left buckets from 0 of one count after the other.

    Args:
        scores: the candidates. The history slices need their `history`.
        train_frequency: `[V]`, how often the training data holds each item row.
        settings: the edges of the buckets.
        user_frequency: `[n]`, requests that the user of each candidate has in the training data; without it there are no slices by user.
    """
    frequency, rows = np.asarray(train_frequency), scores.item_row
    if rows.size and not 0 <= rows.min() <= rows.max() < frequency.size:
        raise ValueError(f"item_row must be a row of train_frequency, which has {frequency.size}. Received: {rows.min()} to {rows.max()}.")
    if user_frequency is not None and np.shape(user_frequency) != rows.shape:
        raise ValueError(f"user_frequency must have one entry a candidate, {rows.size} in all. Received: shape {np.shape(user_frequency)}.")
    yield ALL, np.arange(rows.size)
    counts = (
        (BUCKET, settings.bucket_edges, frequency[rows]),
        (HISTORY, settings.history_edges, scores.history),
        (USER, settings.user_edges, user_frequency),
    )
    for prefix, edges, count in counts:
        if count is None:
            continue
        bucket = np.searchsorted(edges, np.asarray(count), side="right") - 1
        for number, name in enumerate(bucket_names(edges, prefix)):
            yield name, np.flatnonzero(bucket == number)
