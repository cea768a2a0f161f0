"""One event in several rows, rows of a request that disagree, and rows that no clock sets apart."""

from __future__ import annotations

import numpy as np

from ppm_tf.data.preparation.requests import Requests, clock, starts


def merge_repeats(rows: dict[str, np.ndarray], by_request: bool, choice: str) -> tuple[dict[str, np.ndarray], dict]:
    """Rows that each stand for an event of their own.

    A repeat is a row of the same user and item as an earlier one, in the same request (`by_request`), or where there is no request
    at the same moment (without times: at the same place of the order).

    Args:
        rows: sorted rows.
        by_request: whether rows have request ids.
        choice: `"merge"`: the first row stays, with a task's label positive where any row's is, and missing where all are;
            `"drop"`: the first row stays as it is; `"keep"` and `"refuse"`: all stay.

    Returns:
        The rows, still sorted; and `{"rows": repeats, "differing": those with another label, "origin": place of the first}`.
    """
    clocks = [next(rows[name] for name in ("moment", "order", "origin") if name in rows)]
    if by_request:
        inside = rows["has_request"]
        clocks = [inside, np.where(inside, rows["request_id"], 0), np.where(inside, 0, clocks[0])]
    keys = [rows["user_id"], rows["item"], *clocks]
    order = np.lexsort((np.arange(len(rows["item"])), *keys[::-1]))
    is_first = starts(*(key[order] for key in keys))
    if is_first.all():
        return rows, {"rows": 0, "differing": 0, "origin": 2**62}
    bounds = np.flatnonzero(is_first)
    names = [name for name in rows if name.startswith("label/")]
    first_of = np.repeat(order[bounds], np.diff(bounds, append=len(order)))  # of each row in `order`, the row that stays
    differing = np.logical_or.reduce([rows[name][order] != rows[name][first_of] for name in names]) & ~is_first
    found = {"rows": int((~is_first).sum()), "differing": int(differing.sum()), "origin": int(rows["origin"][order[~is_first]].min())}
    if choice in ("keep", "refuse"):
        return rows, found
    merged = dict(rows)
    if choice == "merge":
        for name in names:
            merged[name] = rows[name].copy()
            merged[name][order[bounds]] = np.maximum.reduceat(rows[name][order], bounds)
    stays = np.zeros(len(order), bool)
    stays[order[bounds]] = True
    return {name: values[stays] for name, values in merged.items()}, found


def differing_context(rows: dict[str, np.ndarray], requests: Requests) -> np.ndarray:
    """Which requests have rows that differ in a field of the request, bool `[R]`."""
    if "context" not in rows or not len(requests):
        return np.zeros(len(requests), bool)
    owner = np.repeat(np.arange(len(requests)), requests.size)
    candidate = requests.candidates(np.ones(len(requests), bool))
    other = (rows["context"][candidate] != rows["context"][requests.first[owner]]).any(axis=1)
    return np.bincount(owner[other], minlength=len(requests)) > 0


def tied_behaviors(rows: dict[str, np.ndarray], requests: Requests, positive: np.ndarray) -> dict[str, int]:
    """What ties cost: positives at a request's own time, neither before nor after it, which its history leaves out.

    Returns:
        `requests` that have such positives, its own candidates not counted, and how many `behaviors` these are in all.
    """
    if not len(requests):
        return {"requests": 0, "behaviors": 0}
    tie = np.cumsum(starts(*clock(rows))) - 1
    # Parts of a long request share its first row, and each other's candidates are no behaviors before them.
    first, whole = np.unique(requests.first, return_inverse=True)
    owner = np.repeat(whole, requests.size)
    candidate = requests.candidates(np.ones(len(requests), bool))
    own = positive[candidate] & (tie[candidate] == tie[first[owner]])
    missing = np.bincount(tie[positive], minlength=tie[-1] + 1)[tie[first]] - np.bincount(owner[own], minlength=len(first))
    return {"requests": int((missing > 0).sum()), "behaviors": int(missing.sum())}
