"""The long tail and the popularity groups of the items that an experiment shows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ppm_tf.config import OnlineSettings
from ppm_tf.data.catalog import ItemCatalog
from ppm_tf.data.experiment.exposures import Exposures
from ppm_tf.rows import FIRST_ROW

_LEAST_KNOWN = 0.5  # of the exposures, whose items a catalog must hold for it to be that of the log


@dataclass(frozen=True)
class Popularity:
    """How popular the items of an exposure log are, among all M items that count.

    Attributes:
        by: what popularity was taken from: `train`, `before`, `pooled` or `control`.
        tail: bool `[I]`, whether an item of the log is of the long tail.
        group: int `[I]`, its popularity group, 0 the least popular.
        groups: number of groups.
        items: M.
        tail_items: how many of them are the long tail: the asked share, and those as popular as its last one.
        unseen: bool `[I]`, whether nothing had shown it where popularity was taken from.
        most: exposures of the most popular item of the tail.
        most_of_group: exposures of the most popular item of each group.
        note: why it was not taken from elsewhere, or what to mind; may be "".
    """

    by: str
    tail: np.ndarray
    group: np.ndarray
    groups: int
    items: int
    tail_items: int
    unseen: np.ndarray
    most: int
    most_of_group: tuple[int, ...]
    note: str = ""

    @property
    def before(self) -> bool:
        """Whether popularity is of a time before the experiment, so that `unseen` items are new."""
        return self.by in ("train", "before")


def popularity(counts: np.ndarray, ids: pa.Array, place: np.ndarray, tail: float, groups: int, by: str = "pooled", note: str = "") -> Popularity:
    """Cuts items into the long tail and the rest, and into groups of equally many items.

    Args:
        counts: `[M]`, how often each item was exposed.
        ids: their ids `[M]`, which order equally popular items.
        place: int `[I]`, which of them each item of the log is; -1 for one that is none of them, which counts as never exposed.
        tail: share of the items that are the long tail; items as popular as its last one belong to it too.
        groups: how many groups (CELA, section 5.7.2: "each group consists of an equal number of apps"); 0 for none.
        by: what the counts are of.
        note: what to mind.

    >>> found = popularity(np.array([9, 0, 4, 1, 1]), pa.array(list("abcde")), np.array([0, 1, 2, 3, 4, -1]), tail=0.6, groups=2)
    >>> found.tail.tolist(), found.group.tolist(), found.most
    ([False, True, False, True, True, True], [1, 0, 1, 0, 0, 0], 1)
    """
    number, rank_of_id = len(counts), np.empty(len(counts), np.int64)
    rank_of_id[pc.sort_indices(ids).to_numpy()] = np.arange(number)
    order = np.lexsort((rank_of_id, counts))
    last = max(math.ceil(tail * number - 1e-9), 1) - 1
    most = int(counts[order[last]]) if tail else -1
    groups = min(groups, number)
    group = np.empty(number, np.int64)
    group[order] = np.arange(number) * max(groups, 1) // number
    largest = tuple(int(counts[group == one].max()) for one in range(groups))
    in_tail, known = np.append(counts <= most, tail > 0), place >= 0
    unseen = np.append(counts == 0, True)[place]
    return Popularity(by, in_tail[place], np.where(known, group[place], 0), groups, number, int((counts <= most).sum()), unseen, most, largest, note)


def popularity_of(log: Exposures, settings: OnlineSettings, catalog: Path | None) -> Popularity:
    """The popularity of a log's items, taken from what `online.popularity` names.

    Args:
        log: the exposures.
        settings: the experiment's settings.
        catalog: the catalog of a run, with its counts of the training data; `None` = there is none.

    Raises:
        ValueError: what the setting names is not there, or does not fit the log.
    """
    notes = []
    if settings.popularity in (None, "train"):
        if catalog is None and settings.popularity == "train":
            raise ValueError("online.popularity=train needs a run with prepared data. Received: none. Remedy: run=<folder>.")
        if catalog is not None:
            found, note = _of_training(log, settings, catalog)
            if found is not None:
                return found
            if settings.popularity == "train":
                raise ValueError(
                    f"online.popularity=train needs the catalog of the log's items. Received: {note} Remedy: run=<folder> of these items."
                )
            notes.append(note)
    before, place = ~log.in_experiment, np.arange(len(log.items))
    if settings.popularity == "before" and not before.any():
        raise ValueError("online.popularity=before needs exposures before online.start. Received: none.")
    by = settings.popularity or ("before" if before.any() else "pooled")
    rows = before if by == "before" else log.in_experiment
    if by == "control":
        rows = rows & (log.bucket[log.user] == 0)
        notes.append("Items that control showed seldom by chance count as unpopular, so that any other bucket seems to show such items more.")
    shown = np.flatnonzero(np.bincount(log.item, minlength=len(log.items)))  # items whose every row was set aside are none
    place[:] = -1
    place[shown] = np.arange(shown.size)
    counts = np.bincount(log.item[rows], minlength=len(log.items))[shown]
    return popularity(counts, log.items.take(pa.array(shown)), place, settings.tail, settings.groups, by, " ".join(notes))


def _of_training(log: Exposures, settings: OnlineSettings, folder: Path) -> tuple[Popularity | None, str]:
    """Popularity by the training data's counts; `None` with the reason where the catalog is not that of the log."""
    catalog = ItemCatalog.read(folder)
    ids = catalog.ids.cast(pa.string())
    place = pc.fill_null(pc.index_in(log.items, value_set=ids), -1).to_numpy(zero_copy_only=False)
    known = float((place[log.item] >= 0).mean())
    text = f"The catalog in {folder} holds the items of {known:.1%} of the exposures."
    if known < _LEAST_KNOWN:
        return None, text
    counts = sum(array[FIRST_ROW:] for name, array in catalog.counts.items() if name.startswith("exposures_"))
    note = "" if known == 1 else f"{text} The others count as never exposed."
    return popularity(np.asarray(counts), ids, place, settings.tail, settings.groups, "train", note), ""
