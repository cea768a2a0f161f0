"""From the rows of some users to requests: candidates, histories and splits, without a Python loop over rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ppm_tf.config import DataSettings
from ppm_tf.data.splits import split_by_time, split_by_user


@dataclass(frozen=True)
class Requests:
    """Requests over sorted rows. Request r has the candidates `rows[start[r] : start[r] + size[r]]`.

    Attributes:
        rows: place of each candidate among the sorted rows, request by request.
        start: first candidate of each request, in `rows`.
        size: candidates of each request, 1 to N.
        first: place of the request's earliest row, whose time, user and context are the request's own.
        split: place in `splits.SPLITS`.
        spans_cut: whether rows of the request lie on both sides of a cut in time.
    """

    rows: np.ndarray
    start: np.ndarray
    size: np.ndarray
    first: np.ndarray
    split: np.ndarray
    spans_cut: np.ndarray

    def __len__(self) -> int:
        return len(self.start)

    def keep(self, kept: np.ndarray) -> Requests:
        """Some of the requests; the others' candidates stay in `rows`, unused."""
        return Requests(self.rows, self.start[kept], self.size[kept], self.first[kept], self.split[kept], self.spans_cut[kept])

    def candidates(self, chosen: np.ndarray) -> np.ndarray:
        """Places, among the sorted rows, of the candidates of some requests.

        Args:
            chosen: bool, which requests.
        """
        start, size = self.start[chosen], self.size[chosen]
        return self.rows[np.repeat(start - (np.cumsum(size) - size), size) + np.arange(size.sum())]


def sort_rows(rows: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Rows by user, time, order, and last their place in the raw files, so that any order of arrival gives the same result."""
    keys = [rows["origin"], *(rows[name] for name in ("order", "time") if name in rows), rows["user_id"]]
    order = np.lexsort(keys)
    return {name: values[order] for name, values in rows.items()}


def make_requests(rows: dict[str, np.ndarray], settings: DataSettings, cuts: tuple[int, int, int] | None) -> Requests:
    """Groups sorted rows into requests and gives each its split.

    Args:
        rows: sorted rows; read are `user_id`, `time` (if there are times), `request_id` and `has_request` (for requests=column).
        settings: `requests`, `candidates` and `split` are read.
        cuts: first seconds of train, valid and test, for split.by=time.
    """
    if settings.requests == "column":
        return _requests_by_id(rows, settings, cuts)
    users = rows["user_id"]
    if cuts is not None:
        split = split_by_time(rows["time"], cuts)
    else:
        place, total = _places(_starts(users))
        split = split_by_user(place, total, settings.split)
    limit = settings.candidates if settings.requests == "bursts" else 1
    runs, _ = _places(_starts(users, split))
    start = np.flatnonzero(runs % limit == 0)
    size = np.diff(start, append=len(users))
    return Requests(np.arange(len(users)), start, size, start, split[start], np.zeros(len(start), bool))


def _requests_by_id(rows: dict[str, np.ndarray], settings: DataSettings, cuts: tuple[int, int, int] | None) -> Requests:
    users, request_id = rows["user_id"], rows["request_id"]
    candidates = np.flatnonzero(rows["has_request"])
    # Rows of a request together, in their order; requests in the order of their earliest row.
    grouped = candidates[np.lexsort((candidates, request_id[candidates], users[candidates]))]
    is_start = _starts(users[grouped], request_id[grouped])
    earliest = np.repeat(grouped[is_start], np.diff(np.flatnonzero(is_start), append=len(grouped)))
    order = np.lexsort((grouped, earliest))
    grouped, earliest = grouped[order], earliest[order]
    is_start = _starts(earliest)
    first = grouped[is_start]
    bounds = np.flatnonzero(is_start)
    spans_cut = np.zeros(len(first), bool)
    if cuts is not None:
        split = split_by_time(rows["time"][first], cuts)
        if len(first):
            latest = np.maximum.reduceat(rows["time"][grouped], bounds)
            spans_cut = split_by_time(latest, cuts) != split
    else:
        split = split_by_user(*_places(_starts(users[first])), settings.split)
    # Longer requests are cut into several that share time and history.
    place, _ = _places(is_start)
    start = np.flatnonzero(place % settings.candidates == 0)
    whole = np.cumsum(is_start)[start] - 1  # the request that each part belongs to
    size = np.diff(start, append=len(grouped))
    return Requests(grouped, start, size, first[whole], split[whole], spans_cut[whole])


def history_ranges(rows: dict[str, np.ndarray], first: np.ndarray, positive: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The history of each request: the user's positives strictly before it, the most recent ones.

    Rows at the request's own second are not before it. Without times the order decides, and without an order the place
    in the log.

    Args:
        rows: sorted rows.
        first: place of each request's earliest row.
        positive: bool, whether a row enters histories.
        length: T, behaviours kept.

    Returns:
        Places of the positive rows, NEWEST FIRST, and for each request the begin and end of its history among them.
    """
    users = rows["user_id"]
    moment = rows["time"] if "time" in rows else rows["order"] if "order" in rows else rows["origin"]
    before = np.concatenate([[0], np.cumsum(positive)])  # positives in front of each row
    user_start = _start_of(_starts(users))
    tie_start = _start_of(_starts(users, moment))
    end = before[tie_start[first]]
    begin = np.maximum(before[user_start[first]], end - length)
    places = np.flatnonzero(positive)[::-1]
    return places, len(places) - end, len(places) - begin


def _starts(*keys: np.ndarray) -> np.ndarray:
    """Whether a row differs from the one before it in any key."""
    starts = np.ones(len(keys[0]), bool)
    starts[1:] = np.logical_or.reduce([key[1:] != key[:-1] for key in keys])
    return starts


def _start_of(starts: np.ndarray) -> np.ndarray:
    """For each row the place of the last start up to it."""
    return np.maximum.accumulate(np.where(starts, np.arange(len(starts)), 0))


def _places(starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each row its place in its run, from 0, and the length of the run."""
    place = np.arange(len(starts)) - _start_of(starts)
    bounds = np.flatnonzero(starts)
    lengths = np.diff(bounds, append=len(starts))
    return place, np.repeat(lengths, lengths)
