"""From the rows of some users to requests: candidates, histories and splits, without a Python loop over rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ppm_tf.config import DataSettings
from ppm_tf.data.raw.column_times import TICKS
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


def with_seconds(rows: dict[str, np.ndarray], in_order: bool = False) -> dict[str, np.ndarray]:
    """Rows with their `time` in seconds beside the finer `moment`; with their place in the files as `order`, if that says it."""
    found = {**rows, "time": rows["moment"] // TICKS} if "moment" in rows else dict(rows)
    if in_order and "order" not in rows:
        found["order"] = rows["origin"]
    return found


def sort_rows(rows: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Rows by user, moment, order, and last their place in the raw files, so that any order of arrival gives the same result.

    Moments are as fine as the files tell them. Ids never decide: an order by item id would show every model the same pattern.
    """
    keys = [rows["origin"], *(rows[name] for name in ("order", "moment") if name in rows), rows["user_id"]]
    order = np.lexsort(keys)
    return {name: values[order] for name, values in rows.items()}


def make_requests(rows: dict[str, np.ndarray], settings: DataSettings, cuts: tuple[int, ...] | None) -> Requests:
    """Groups sorted rows into requests and gives each its split.

    Args:
        rows: sorted rows; read are `user_id`, `time` (if there are times), `request_id` and `has_request` (for requests=column), and
            `past` (bool, if it is there): rows that belong to no request, and to histories only.
        settings: `requests`, `candidates` and `split` are read.
        cuts: first seconds of each split but the first, for split.by=time.
    """
    if settings.requests == "column":
        return _requests_by_id(rows, settings, cuts)
    own = np.flatnonzero(~rows["past"]) if "past" in rows else np.arange(len(rows["user_id"]))
    users = rows["user_id"][own]
    if cuts is not None:
        split = split_by_time(rows["time"][own], cuts)
    else:
        place, total = _places(starts(users))
        split = split_by_user(place, total, settings.split)
    limit = settings.candidates if settings.requests == "bursts" else 1
    runs, _ = _places(starts(users, split))
    start = np.flatnonzero(runs % limit == 0)
    size = np.diff(start, append=len(users))
    return Requests(own, start, size, own[start], split[start], np.zeros(len(start), bool))


def _requests_by_id(rows: dict[str, np.ndarray], settings: DataSettings, cuts: tuple[int, ...] | None) -> Requests:
    users, request_id = rows["user_id"], rows["request_id"]
    candidates = np.flatnonzero(rows["has_request"])
    # Rows of a request together, in their order; requests in the order of their earliest row.
    grouped = candidates[np.lexsort((candidates, request_id[candidates], users[candidates]))]
    is_start = starts(users[grouped], request_id[grouped])
    earliest = np.repeat(grouped[is_start], np.diff(np.flatnonzero(is_start), append=len(grouped)))
    order = np.lexsort((grouped, earliest))
    grouped, earliest = grouped[order], earliest[order]
    is_start = starts(earliest)
    first = grouped[is_start]
    bounds = np.flatnonzero(is_start)
    spans_cut = np.zeros(len(first), bool)
    if cuts is not None:
        split = split_by_time(rows["time"][first], cuts)
        if len(first):
            latest = np.maximum.reduceat(rows["time"][grouped], bounds)
            spans_cut = split_by_time(latest, cuts) != split
    else:
        split = split_by_user(*_places(starts(users[first])), settings.split)
    # Longer requests are cut into several that share time and history.
    place, _ = _places(is_start)
    start = np.flatnonzero(place % settings.candidates == 0)
    whole = np.cumsum(is_start)[start] - 1  # the request that each part belongs to
    size = np.diff(start, append=len(grouped))
    return Requests(grouped, start, size, first[whole], split[whole], spans_cut[whole])


def history_ranges(rows: dict[str, np.ndarray], requests: Requests, positive: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The history of each request: the user's positives strictly before it, the most recent ones.

    Before is by moment, and at one moment by the order, if the log has one; rows that neither sets apart do not see each other.
    Nor do rows of one user, item and moment, whatever their order: a copy of a candidate would tell its label. Without times the
    order decides, and without an order the place in the log.

    Args:
        rows: sorted rows.
        requests: over these rows.
        positive: bool, whether a row enters histories.
        length: T, behaviors kept.

    Returns:
        Places of the positive rows, NEWEST FIRST, and for each request the begin and end of its history among them.
    """
    before = np.concatenate([[0], np.cumsum(positive)])  # positives in front of each row
    user_start, tie_start = _start_of(starts(rows["user_id"])), _start_of(starts(*clock(rows)))
    end = before[tie_start[requests.first]]
    if "order" in rows and "moment" in rows:
        moment_start = _start_of(starts(rows["user_id"], rows["moment"]))
        copies = _has_copy(rows, requests, positive, moment_start, tie_start)
        end[copies] = before[moment_start[requests.first[copies]]]
    begin = np.maximum(before[user_start[requests.first]], end - length)
    places = np.flatnonzero(positive)[::-1]
    return places, len(places) - end, len(places) - begin


def clock(rows: dict[str, np.ndarray]) -> list[np.ndarray]:
    """What tells a user's rows apart in time: the user, the moment and the order, as far as the log has them."""
    known = [rows[name] for name in ("moment", "order") if name in rows]
    return [rows["user_id"], *(known or [rows["origin"]])]


def _has_copy(rows: dict[str, np.ndarray], requests: Requests, positive: np.ndarray, moment_start: np.ndarray, tie_start: np.ndarray) -> np.ndarray:
    """Requests, by number, that would find a row of a candidate's own item and moment in their history."""
    owner = np.repeat(np.arange(len(requests)), requests.size)
    candidate = requests.candidates(np.ones(len(requests), bool))
    first = requests.first[owner]
    # Only a row at the moment of the request's first row can be both before it and as late as a candidate.
    near = (moment_start[candidate] == moment_start[first]) & (tie_start[first] > moment_start[first])
    owner, candidate = owner[near], candidate[near]
    behaviors = np.flatnonzero(positive)
    if not len(owner) or not len(behaviors):
        return np.zeros(0, np.int64)
    # The earliest positive of each moment and item.
    order = np.lexsort((behaviors, rows["item"][behaviors], moment_start[behaviors]))
    sorted_ = behaviors[order]
    earliest = sorted_[starts(moment_start[sorted_], rows["item"][sorted_])]
    keys = moment_start[earliest] * (int(rows["item"].max()) + 1) + rows["item"][earliest]
    wanted = moment_start[candidate] * (int(rows["item"].max()) + 1) + rows["item"][candidate]
    found = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    seen = (keys[found] == wanted) & (earliest[found] < tie_start[requests.first[owner]])
    return np.unique(owner[seen])


def starts(*keys: np.ndarray) -> np.ndarray:
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
