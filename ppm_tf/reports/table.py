"""A look at an embedding table: figures that show a broken one, the nearest neighbours of sampled items, a map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ppm_tf.data.tables import EmbeddingTable
from ppm_tf.metrics.retrieval import nearest_others
from ppm_tf.reports.ranking import _figure, _save
from ppm_tf.rows import FIRST_ROW

MOST_SEARCHED = 200_000  # items that neighbours are looked for in; more are sampled
_PAIRS = 10_000  # random pairs behind their mean cosine
_SAME = 0.9999  # a cosine from here on means equal vectors, but for float16
_QUANTILES = (0.0, 0.01, 0.25, 0.5, 0.75, 0.99, 1.0)
# Okabe and Ito 2008, without black: colours that colour-blind readers can tell apart.
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8B6914", "#F0E442")
_OTHER = "#BBBBBB"


@dataclass(frozen=True)
class TableLook:
    """What was found in a table.

    Attributes:
        rows: int `[S]`, catalog rows of the sampled items.
        neighbours: int `[S, k]`, rows of the nearest other items, best first; -1 where there are fewer.
        similarity: `[S, k]`, their cosines.
        summary: the figures, as plain values.
    """

    rows: np.ndarray
    neighbours: np.ndarray
    similarity: np.ndarray
    summary: dict[str, Any]


def look_at_table(table: EmbeddingTable, sample: int, neighbours: int, seed: int, categories: np.ndarray | None = None) -> TableLook:
    """Samples items and finds their neighbours by cosine.

    The figures: how many items have a vector; quantiles of the vectors' norms; the mean cosine of random pairs and of
    neighbours, which are near each other where the space has collapsed; the share of sampled items whose nearest
    neighbour has the same vector; and with categories the share of neighbours of the item's own category, beside the
    share that random items would have.

    Args:
        table: the table; only items with a vector are looked at.
        sample: most items to sample.
        neighbours: neighbours of each.
        seed: of the sample.
        categories: int `[V]`, the category of each row, below `FIRST_ROW` where it has none or a rare one; `None`: no such figure.

    Raises:
        ValueError: fewer than two items have a vector.
    """
    vectors = np.asarray(table.vectors, np.float32)
    norms = np.linalg.norm(vectors, axis=1)
    present = np.flatnonzero(table.present & (norms > 0))
    if len(present) < 2:
        raise ValueError(f"At least two items of the table {table.name} must have a vector. Received: {len(present)} of {len(vectors) - FIRST_ROW}.")
    random = np.random.default_rng(seed)
    shuffled = random.permutation(present)
    rows, searched = shuffled[:sample], np.sort(shuffled[:MOST_SEARCHED])
    found, similarity = _neighbours(vectors, norms, rows, searched, min(neighbours, len(searched) - 1))
    some = table.present & (norms == 0)
    summary = {
        "table": table.name,
        "encoder_version": table.encoder_version,
        "dim": table.dim,
        "items": len(vectors) - FIRST_ROW,
        "with_vector": int(table.present.sum()),
        "missing_share": 1 - float(table.present.sum()) / max(len(vectors) - FIRST_ROW, 1),
        "zero_vectors": int(some.sum()),
        "norm_quantiles": {
            f"{quantile:g}": float(value) for quantile, value in zip(_QUANTILES, np.quantile(norms[present], _QUANTILES), strict=True)
        },
        "sampled_items": len(rows),
        "searched_items": len(searched),
        "neighbours": found.shape[1],
        "mean_cosine_of_random_pairs": _random_cosine(vectors, norms, present, random),
        "mean_cosine_of_neighbours": float(similarity.mean()),
        "share_with_an_equal_neighbour": float((similarity[:, 0] >= _SAME).mean()),
    }
    if categories is not None:
        summary |= _agreement(categories, rows, found, searched)
    return TableLook(rows, found, similarity, summary)


def _neighbours(vectors: np.ndarray, norms: np.ndarray, rows: np.ndarray, searched: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest of `searched` to each row but itself, and their cosines."""
    others = nearest_others(vectors, rows, searched, k)
    cosine = np.einsum("sd,skd->sk", vectors[rows], vectors[others]) / (norms[rows][:, None] * norms[others])
    return others, cosine


def _random_cosine(vectors: np.ndarray, norms: np.ndarray, present: np.ndarray, random: np.random.Generator) -> float:
    left = random.integers(len(present), size=_PAIRS)
    right = (left + random.integers(1, len(present), size=_PAIRS)) % len(present)  # another one
    left, right = present[left], present[right]
    return float(np.mean(np.einsum("nd,nd->n", vectors[left], vectors[right]) / (norms[left] * norms[right])))


def _agreement(categories: np.ndarray, rows: np.ndarray, found: np.ndarray, searched: np.ndarray) -> dict[str, float | None]:
    """How many neighbours share the item's category, as a mean over items, and how many random items would."""
    known, asked = categories >= FIRST_ROW, rows[categories[rows] >= FIRST_ROW]
    near = found[categories[rows] >= FIRST_ROW]
    counted = known[near].any(axis=1) if len(near) else np.zeros(0, bool)
    if not counted.any():
        return {"neighbours_of_same_category": None, "by_chance": None}
    asked, near = asked[counted], near[counted]
    same = (categories[near] == categories[asked][:, None]) & known[near]
    sizes = np.bincount(categories[searched][known[searched]], minlength=int(categories.max()) + 1)
    chance = (sizes[categories[asked]] - 1) / max(sizes.sum() - 1, 1)
    return {
        "neighbours_of_same_category": float((same.sum(axis=1) / known[near].sum(axis=1)).mean()),
        "by_chance": float(np.maximum(chance, 0).mean()),
    }


# === Plots ===


def plot_norms(table: EmbeddingTable, path: str | Path, title: str = "") -> None:
    """Draws how long the vectors are, and says how many items have none."""
    norms = np.linalg.norm(np.asarray(table.vectors, np.float32), axis=1)[table.present]
    items = len(table.vectors) - FIRST_ROW
    figure, (axes,) = _figure((8, 3.8), heights=(1,))
    spread = max(np.ptp(norms), 1e-3 * norms.max(), 1e-6) if norms.size else 1.0
    middle = (norms.min() + norms.max()) / 2 if norms.size else 0.5
    axes.hist(norms, bins=60, range=(middle - spread / 2, middle + spread / 2), color=_COLORS[0])
    axes.set_title(title or f"Norms of the vectors of table {table.name}", loc="left")
    axes.set_xlabel("norm")
    axes.set_ylabel("items")
    axes.ticklabel_format(axis="x", useOffset=False)
    missing = items - norms.size
    axes.annotate(
        f"{norms.size:,} items with a vector\n{missing:,} without ({missing / max(items, 1):.1%})",
        (0.99, 0.97),
        xycoords="axes fraction",
        ha="right",
        va="top",
    )
    _save(figure, path)


def plot_map(
    table: EmbeddingTable,
    rows: np.ndarray,
    path: str | Path,
    method: str,
    seed: int,
    labels: Sequence[str] | None = None,
    name: str = "",
    title: str = "",
) -> None:
    """Draws items as points of a plane, near each other where their vectors point the same way.

    Args:
        table: the table.
        rows: int `[S]`, the items.
        path: PNG file.
        method: `"tsne"`, or `"pca"`, which is also taken where there are fewer than ten items.
        seed: of t-SNE.
        labels: `[S]`, the category of each item, "" where it has none; the commonest get a colour each. Defaults to `None`.
        name: what the categories are. Defaults to `""`.
        title: Defaults to `""`.
    """
    vectors = np.asarray(table.vectors[rows], np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    points = flatten(vectors, method, seed)
    figure, (axes,) = _figure((9, 6.5), heights=(1,))
    labels = np.asarray(labels if labels is not None else [""] * len(rows), object)
    names, counts = np.unique(labels[labels != ""].astype(str), return_counts=True)
    common = names[np.argsort(-counts, kind="stable")][: len(_COLORS)]
    rest = ~np.isin(labels.astype(str), common)
    dots = {"s": 14, "linewidths": 0, "alpha": 0.85}
    axes.scatter(*points[rest].T, color=_OTHER, label=f"other ({rest.sum():,})" if names.size and rest.any() else None, **dots)
    for color, label in zip(_COLORS, common, strict=False):
        chosen = labels == label
        axes.scatter(*points[chosen].T, color=color, label=f"{label[:30]} ({chosen.sum():,})".lstrip("_"), **dots)
    axes.set_title(title or f"Table {table.name}", loc="left")
    axes.set_xlabel(f"{'t-SNE' if method == 'tsne' and len(rows) >= 10 else 'principal components'} of {len(rows):,} items")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(False)
    axes.spines[["left", "bottom"]].set_visible(False)
    if names.size:
        axes.legend(title=name, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0), markerscale=2)
    _save(figure, path)


def flatten(vectors: np.ndarray, method: str, seed: int) -> np.ndarray:
    """Unit vectors `[S, D]` as points `[S, 2]`, by `"tsne"` or `"pca"`."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    if vectors.shape[1] < 2:
        vectors = np.pad(vectors, ((0, 0), (0, 2 - vectors.shape[1])))
    if method == "tsne" and len(vectors) >= 10:
        # In one thread: several wait for each other at every step, which on busy cores takes many times as long.
        with threadpool_limits(1):
            return TSNE(2, init="pca", perplexity=min(30, (len(vectors) - 1) / 3), metric="cosine", random_state=seed).fit_transform(vectors)
    return PCA(2, svd_solver="full").fit_transform(vectors)
