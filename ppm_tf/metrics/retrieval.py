"""Metrics of retrieval over a whole catalog: recall@k, hit rate@k and MRR@k, of vectors or of any ranking."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from ppm_tf.metrics.groups import PerGroup
from ppm_tf.metrics.value import Value

NOTHING = -1  # a place of a ranking that holds no item
KS = (1, 10, 100)
_SCORES_AT_ONCE = 1 << 26  # floats of a block of queries against all items: 256 MiB


def nearest(query_vectors: ArrayLike, item_vectors: ArrayLike, k: int) -> np.ndarray:
    """The k items with the highest cosine to each query, found by TFRS' exact `layers.factorized_top_k.BruteForce`.

    A zero vector (an item without content) has cosine 0 to everything. Of equal cosines the lower place comes first.

    Args:
        query_vectors: `[Q, D]`.
        item_vectors: `[N, D]`.
        k: int.

    Returns:
        int64 `[Q, k]`, places in `item_vectors`, best first; -1 beyond the N-th.
    """
    import tensorflow as tf
    from tensorflow_recommenders.layers.factorized_top_k import BruteForce

    queries, items = _unit(query_vectors, "query_vectors"), _unit(item_vectors, "item_vectors")
    if queries.shape[1] != items.shape[1]:
        raise ValueError(f"Queries and items must have vectors of one width. Received: {queries.shape[1]} and {items.shape[1]}.")
    if k < 1:
        raise ValueError(f"k must be at least 1. Received: {k}.")
    top = np.full((len(queries), k), NOTHING, np.int64)
    found = min(k, len(items))
    if not found:
        return top
    index = BruteForce(k=found).index(tf.constant(items))
    block = max(1, _SCORES_AT_ONCE // len(items))
    for start in range(0, len(queries), block):
        top[start : start + block, :found] = index(tf.constant(queries[start : start + block]))[1].numpy()
    return top


def nearest_others(vectors: np.ndarray, rows: np.ndarray, searched: np.ndarray, k: int) -> np.ndarray:
    """The k items of `searched` with the highest cosine to each of `rows`, but itself.

    Args:
        vectors: `[V, D]`.
        rows: `[S]`, places in `vectors`.
        searched: `[N]`, the same.
        k: int.

    Returns:
        int64 `[S, k]`, places in `vectors`, best first; -1 where there is none.
    """
    top = nearest(vectors[rows], vectors[searched], k + 1)
    found = np.where(top == NOTHING, NOTHING, searched[top])
    # The item itself comes first or, among equal vectors, anywhere; where it is not there the last one goes.
    place = np.where((found == rows[:, None]).any(axis=1), (found == rows[:, None]).argmax(axis=1), k)
    return found[np.arange(k + 1)[None, :] != place[:, None]].reshape(len(rows), k)


def metrics_of_ranking(top_rows: ArrayLike, relevant: Sequence[ArrayLike], ks: Sequence[int] = KS, mrr_at: int = 100) -> dict[str, Value]:
    """Recall, hit rate and mean reciprocal rank, means over the queries that have a relevant item.

    - `recall_at_<k>`: the share of a query's relevant items among its first k. With more than k of them it stays below 1.
    - `hit_rate_at_<k>`: 1 if at least one of them is among the first k, else 0.
    - `mrr_at_<k>`: 1 / (rank of the first of them), 0 if there is none among the first k.

    Args:
        top_rows: int `[Q, K]`, items best first; -1 where there is none. K must reach the largest k.
        relevant: for each query the items that answer it, numbered as in `top_rows`; repetitions count once.
        ks: depths of recall and hit rate. Defaults to (1, 10, 100).
        mrr_at: int. Depth of the reciprocal rank. Defaults to 100.

    Returns:
        The values by name, each with `.groups`, the queries behind it.

    Example:

    >>> metrics_of_ranking([[3, 5], [7, 8]], [[5, 9], [1]], ks=(1, 2), mrr_at=2)
    {'recall_at_1': 0.0, 'recall_at_2': 0.25, 'hit_rate_at_1': 0.0, 'hit_rate_at_2': 0.5, 'mrr_at_2': 0.25}
    """
    return {name: found.mean("equal") for name, found in metrics_by_query(top_rows, relevant, ks, mrr_at).items()}


def metrics_by_query(top_rows: ArrayLike, relevant: Sequence[ArrayLike], ks: Sequence[int] = KS, mrr_at: int = 100) -> dict[str, PerGroup]:
    """`metrics_of_ranking` of each query that has a relevant item; `row` is the query, `size` the number of its relevant items."""
    top_rows = np.asarray(top_rows)
    _check(top_rows, relevant, max(*ks, mrr_at))
    wanted = [np.unique(np.asarray(items, np.int64)) for items in relevant]
    size = np.array([len(items) for items in wanted], np.int64)
    for number in np.flatnonzero([items.size and items[0] < 0 for items in wanted]):
        raise ValueError(f"relevant must name items from 0 on. Received: {wanted[number][0]} for query {number}.")
    names = [*(f"{metric}_at_{k}" for metric in ("recall", "hit_rate") for k in ks), f"mrr_at_{mrr_at}"]
    query = np.flatnonzero(size)
    if not query.size:
        return dict.fromkeys(names, PerGroup.empty("no query has a relevant item"))
    hit = np.stack([np.isin(top_rows[row], wanted[row]) for row in query])
    rank = np.where(hit.any(axis=1), hit.argmax(axis=1) + 1.0, np.inf)
    values = [hit[:, :k].sum(axis=1) / size[query] for k in ks] + [(rank <= k).astype(np.float64) for k in ks]
    values.append(np.where(rank <= mrr_at, 1 / rank, 0.0))
    return {name: PerGroup(query, value, size[query]) for name, value in zip(names, values, strict=True)}


def _check(top_rows: np.ndarray, relevant: Sequence[ArrayLike], depth: int) -> None:
    if top_rows.ndim != 2 or top_rows.shape[0] != len(relevant):
        raise ValueError(f"top_rows must be [Q, K] with a row for each list of relevant items. Received: {top_rows.shape}, {len(relevant)} lists.")
    if top_rows.shape[1] < depth:
        raise ValueError(f"top_rows must hold at least {depth} items a query, -1 where there are fewer. Received: {top_rows.shape[1]}.")
    ordered = np.sort(top_rows, axis=1)
    if ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] != NOTHING)).any():
        raise ValueError("top_rows must name an item once a query. Received: a row with an item twice.")


def _unit(vectors: ArrayLike, name: str) -> np.ndarray:
    """float32 `[n, D]` of length 1; zero where they are zero."""
    vectors = np.asarray(vectors, np.float32)
    if vectors.ndim != 2:
        raise ValueError(f"{name} must be [n, D]. Received: {vectors.shape}.")
    if not np.isfinite(vectors).all():
        raise ValueError(f"{name} must be finite. Received: NaN or infinity in row {np.flatnonzero(~np.isfinite(vectors).all(axis=1))[0]}.")
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(norms > 0, norms, 1)


def changed_neighbors(before: ArrayLike, after: ArrayLike, k: int = 10) -> float:
    """The share of items' k nearest neighbours (by cosine) that two sets of vectors do not have in common.

    Args:
        before: `[N, D]`.
        after: `[N, E]`, of the same items.
        k: int. Defaults to 10.

    Returns:
        0 where every item keeps its neighbours, 1 where none does; NaN for fewer than two items.

    Example:

    >>> changed_neighbors([[1, 0], [1, 0.1], [0, 1]], [[1, 0], [0, 1], [1, 0.1]], k=1)
    1.0
    """
    before, after = np.asarray(before), np.asarray(after)
    if len(before) != len(after):
        raise ValueError(f"Both sets must be of the same items. Received: {len(before)} and {len(after)} vectors.")
    if len(before) < 2:
        return float("nan")
    k, items = min(k, len(before) - 1), np.arange(len(before))
    mine, theirs = (nearest_others(vectors, items, items, k) for vectors in (before, after))
    return 1.0 - sum(len(np.intersect1d(*pair)) for pair in zip(mine, theirs, strict=True)) / mine.size
