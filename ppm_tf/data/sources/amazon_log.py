"""Reviews as arrays: the core filter, each user's positions, and one sampled negative a positive."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from ppm_tf.config import SplitSettings
from ppm_tf.data.splits import SPLITS, TimeHistogram, split_by_time, split_by_user, time_cuts

_DRAWS = 50  # rounds of drawing all clashing negatives again before the rest are drawn one by one


@dataclass(frozen=True)
class Interactions:
    """Reviews. `user` and `item` are places in `users` and `items`; `time` is in seconds."""

    user: np.ndarray
    item: np.ndarray
    time: np.ndarray
    users: pa.Array
    items: pa.Array


@dataclass(frozen=True)
class Log:
    """Rows of the log: `position` counts a user's items from 0; `click` is 1 for the item, 0 for the negative beside it."""

    user: np.ndarray
    item: np.ndarray
    time: np.ndarray
    position: np.ndarray
    click: np.ndarray


def keep_core(interactions: Interactions, core: int) -> Interactions:
    """Each user and item pair once, the earliest, and of these the users and items that keep `core` interactions or more.

    The result is sorted by user and time; equal times stay in the order of the file.
    """
    user, item, time = interactions.user.astype(np.int64), interactions.item.astype(np.int64), interactions.time
    order = np.lexsort((time, user))
    user, item, time = user[order], item[order], time[order]
    _, first = np.unique(user * len(interactions.items) + item, return_index=True)
    first.sort()
    user, item, time = user[first], item[first], time[first]
    while len(user):
        kept = (np.bincount(user)[user] >= core) & (np.bincount(item)[item] >= core)
        if kept.all():
            break
        user, item, time = user[kept], item[kept], time[kept]
    users, user = np.unique(user, return_inverse=True)
    items, item = np.unique(item, return_inverse=True)
    return Interactions(user, item, time, interactions.users.take(pa.array(users)), interactions.items.take(pa.array(items)))


def sample_log(interactions: Interactions, split: SplitSettings, negatives: str, seed: int) -> Log:
    """The log of sorted interactions, a negative after each positive but a user's first.

    A negative is never the positive beside it and never among the items of the user's own training part. It may be an
    item of the user's later parts: knowing that it was to be left out would tell what comes later.

    Args:
        interactions: sorted by user and time.
        split: how the log will be cut; tells the training part.
        negatives: `"uniform"` or `"popularity"` (in proportion to the interactions of the training part).
        seed: of the draws.
    """
    user, item, time = interactions.user, interactions.item, interactions.time
    starts = np.flatnonzero(np.diff(user, prepend=-1))
    lengths = np.diff(starts, append=len(user))
    position = np.arange(len(user)) - np.repeat(starts, lengths)
    later = position > 0
    train = _is_train(time, position, np.repeat(lengths, lengths), split)
    weights = np.bincount(item[train], minlength=len(interactions.items)) if negatives == "popularity" else np.ones(len(interactions.items))
    drawn = _draw(user[later], item[later], user[train] * len(interactions.items) + item[train], weights, np.random.default_rng(seed), interactions)
    place = np.concatenate([np.arange(len(user)), np.flatnonzero(later)])
    order = np.argsort(place, kind="stable")  # each negative right after its positive
    click = np.concatenate([np.ones(len(user), np.int8), np.zeros(later.sum(), np.int8)])[order]
    place = place[order]
    return Log(user[place], np.concatenate([item, drawn])[order], time[place], position[place].astype(np.int32), click)


def _is_train(time: np.ndarray, position: np.ndarray, total: np.ndarray, split: SplitSettings) -> np.ndarray:
    """Whether an interaction belongs to pretrain or train, or is a user's first, which every history may hold."""
    if split.by == "user":
        return (position == 0) | (split_by_user(position - 1, total - 1, split) <= SPLITS.index("train"))
    histogram = TimeHistogram()
    histogram.add(np.concatenate([time, time[position > 0]]))  # as the log will have it, negatives included
    return split_by_time(time, time_cuts(histogram, split)) <= SPLITS.index("train")


def _draw(
    user: np.ndarray, positive: np.ndarray, forbidden: np.ndarray, weights: np.ndarray, rng: np.random.Generator, interactions: Interactions
) -> np.ndarray:
    """One item for each positive, drawn by weight from those allowed.

    Args:
        user: user of each positive.
        positive: its item.
        forbidden: keys user * number of items + item that may not be drawn.
        weights: weight of each item.
        rng: source of the draws.
        interactions: for the message.
    """
    num_items = len(weights)
    forbidden = np.unique(forbidden)
    cumulative = np.cumsum(weights) / np.sum(weights)
    drawn = np.zeros(len(user), np.int64)
    open_places = np.arange(len(user))
    for _ in range(_DRAWS):
        found = np.minimum(np.searchsorted(cumulative, rng.random(len(open_places)), side="right"), num_items - 1)
        drawn[open_places] = found
        keys = user[open_places] * num_items + found
        clash = forbidden[np.minimum(np.searchsorted(forbidden, keys), len(forbidden) - 1)] == keys if len(forbidden) else np.zeros(len(keys), bool)
        open_places = open_places[clash | (found == positive[open_places])]
        if not len(open_places):
            return drawn
    for place in open_places.tolist():  # users who know nearly everything
        allowed = weights.astype(float)
        low, high = np.searchsorted(forbidden, [user[place] * num_items, (user[place] + 1) * num_items])
        allowed[forbidden[low:high] - user[place] * num_items] = 0
        allowed[positive[place]] = 0
        if not allowed.sum():
            name = interactions.users[int(user[place])].as_py()
            raise ValueError(
                f"Each user must leave an item to draw as a negative. Received: user {name}, who has all {num_items} items. Remedy: raise data.core"
                " or set data.negatives=uniform."
            )
        drawn[place] = rng.choice(num_items, p=allowed / allowed.sum())
    return drawn
