import numpy as np
import pytest
from sklearn.metrics.pairwise import cosine_similarity

from ppm_tf.data.tables import EmbeddingTable
from ppm_tf.reports import ranking
from ppm_tf.reports.table import flatten, look_at_table, plot_map, plot_norms


def table_of(vectors, present=None):
    """A table whose items, from row 2 on, have these vectors."""
    vectors = np.concatenate([np.zeros((2, np.shape(vectors)[1])), vectors]).astype("float16")
    present = np.concatenate([[False, False], np.ones(len(vectors) - 2, bool) if present is None else present])
    return EmbeddingTable("title", np.where(present[:, None], vectors, 0), present, "text-0123456789ab")


# Two bundles of three and an item without a vector; lengths differ, directions tell.
VECTORS = [[1, 0], [2, 0.1], [1, -0.1], [0, 3], [0.1, 1], [-0.1, 1], [9, 9]]
PRESENT = [True, True, True, True, True, True, False]
CATEGORIES = np.array([0, 1, 2, 2, 3, 3, 3, 1, 3], "int32")  # rows 2, 3: a; 4, 5, 6: b; 7: unknown; 8: b, without a vector


def test_figures_by_hand():
    look = look_at_table(table_of(VECTORS, PRESENT), sample=100, neighbours=2, seed=0, categories=CATEGORIES)
    near = {row: set(found) for row, found in zip(look.rows.tolist(), look.neighbours.tolist(), strict=True)}
    assert near == {2: {3, 4}, 3: {2, 4}, 4: {2, 3}, 5: {6, 7}, 6: {5, 7}, 7: {5, 6}}
    summary = look.summary
    assert (summary["items"], summary["with_vector"], summary["missing_share"]) == (7, 6, pytest.approx(1 / 7))
    assert (summary["zero_vectors"], summary["sampled_items"], summary["searched_items"], summary["dim"]) == (0, 6, 6, 2)
    assert summary["norm_quantiles"]["0"] == pytest.approx(1, abs=1e-3) and summary["norm_quantiles"]["1"] == pytest.approx(3, abs=1e-3)
    # rows 2, 3: one of two neighbours is a; row 4: none of two is b; 5: its one known neighbour is b; 6: likewise
    assert summary["neighbours_of_same_category"] == pytest.approx((1 / 2 + 1 / 2 + 0 + 1 + 1) / 5)
    # among the five with a known category: one other a of four others for a, two other b of four for b
    assert summary["by_chance"] == pytest.approx((2 * 1 / 4 + 3 * 2 / 4) / 5)


def test_figures_equal_brute_force():
    rng = np.random.default_rng(0)
    table = table_of(rng.normal(size=(60, 4)))
    look = look_at_table(table, sample=20, neighbours=5, seed=3)
    cosine = cosine_similarity(table.vectors[2:].astype("float64"))
    np.fill_diagonal(cosine, -2)
    best = np.sort(cosine, axis=1)[:, ::-1][look.rows - 2, :5]
    np.testing.assert_allclose(look.similarity, best, atol=1e-5)
    np.testing.assert_allclose(cosine[(look.rows - 2)[:, None], look.neighbours - 2], best, atol=1e-5)
    assert look.summary["mean_cosine_of_neighbours"] == pytest.approx(best.mean(), abs=1e-5)
    assert look.summary["mean_cosine_of_random_pairs"] == pytest.approx(cosine[~np.eye(60, dtype=bool)].mean(), abs=0.02)
    assert "by_chance" not in look.summary


def test_a_collapsed_table_shows():
    look = look_at_table(table_of(np.ones((30, 3))), sample=30, neighbours=4, seed=0)
    assert look.summary["share_with_an_equal_neighbour"] == 1
    assert look.summary["mean_cosine_of_random_pairs"] == pytest.approx(1, abs=1e-6)
    assert all(row not in near for row, near in zip(look.rows.tolist(), look.neighbours.tolist(), strict=True))


def test_a_seed_draws_the_same_items():
    table = table_of(np.random.default_rng(0).normal(size=(50, 4)))
    first, again, other = (look_at_table(table, 10, 3, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.rows, again.rows)
    assert first.summary == again.summary
    assert set(first.rows.tolist()) != set(other.rows.tolist())


def test_few_items_and_vectors_of_zeros():
    look = look_at_table(table_of([[1, 0], [0, 0], [1, 1]]), sample=9, neighbours=8, seed=0, categories=np.ones(5, "int32"))
    assert look.neighbours.tolist() in ([[4], [2]], [[2], [4]])
    assert look.summary["zero_vectors"] == 1 and look.summary["by_chance"] is None
    with pytest.raises(ValueError, match="At least two items of the table title must have a vector. Received: 1 of 2"):
        look_at_table(table_of([[1, 0], [1, 0]], [True, False]), 2, 1, 0)


def test_more_items_than_are_searched(monkeypatch):
    monkeypatch.setattr("ppm_tf.reports.table.MOST_SEARCHED", 20)
    look = look_at_table(table_of(np.random.default_rng(0).normal(size=(50, 4))), sample=10, neighbours=3, seed=0)
    assert look.summary["searched_items"] == 20 and look.neighbours.shape == (10, 3)


@pytest.fixture
def figures(monkeypatch):
    kept, save = [], ranking._save
    monkeypatch.setattr("ppm_tf.reports.table._save", lambda figure, path: (kept.append(figure), save(figure, path)))
    return kept


def test_norms_are_drawn(tmp_path, figures):
    plot_norms(table_of(VECTORS, PRESENT), tmp_path / "norms.png")
    axes = figures[0].axes[0]
    assert sum(bar.get_height() for bar in axes.patches) == 6
    assert axes.texts[0].get_text() == "6 items with a vector\n1 without (14.3%)"
    for number, vectors in enumerate(([[1.0, 0], [0, 1.0]], np.zeros((2, 2)))):  # of one length; of none
        plot_norms(table_of(vectors), tmp_path / f"{number}.png")
    assert (tmp_path / "norms.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize("method", ["tsne", "pca"])
def test_the_map_colours_the_commonest_categories(tmp_path, figures, method):
    rng = np.random.default_rng(0)
    labels = [f"c{min(number // 4, 9)}" for number in range(40)] + [""] * 4
    plot_map(table_of(rng.normal(size=(44, 5))), np.arange(2, 46), tmp_path / "map.png", method, 0, labels, "kind")
    axes = figures[0].axes[0]
    legend = [text.get_text() for text in axes.get_legend().get_texts()]
    assert legend == ["other (12)", *(f"c{number} (4)" for number in range(8))]
    assert sum(len(points.get_offsets()) for points in axes.collections) == 44


def test_a_map_without_categories_and_of_few_items(tmp_path, figures):
    plot_map(table_of([[1.0], [2.0], [-1.0]]), np.arange(2, 5), tmp_path / "map.png", "tsne", 0)
    assert figures[0].axes[0].get_legend() is None


def test_pca_keeps_distances_of_a_plane():
    vectors = np.random.default_rng(0).normal(size=(30, 2)) @ np.linalg.qr(np.random.default_rng(1).normal(size=(6, 2)))[0].T
    points = flatten(vectors, "pca", 0)
    np.testing.assert_allclose(np.linalg.norm(points[0] - points, axis=1), np.linalg.norm(vectors[0] - vectors, axis=1), atol=1e-6)


def test_tsne_keeps_bundles_together():
    rng = np.random.default_rng(0)
    vectors = np.repeat(np.eye(3), 20, axis=0) + rng.normal(size=(60, 3)) / 20
    points = flatten(vectors.astype("float32"), "tsne", 0)
    distances = np.linalg.norm(points[:, None] - points[None], axis=2) + 1e9 * np.eye(60)
    assert (distances.argmin(axis=1) // 20 == np.arange(60) // 20).all()
