"""Measures of drift against SciPy, and what they do with ties, empty bins and tables that grow."""

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy

from ppm_tf.daily.drift import js_divergence, psi, quantile_edges, score_drift, shares, table_drift


@pytest.mark.parametrize("seed", range(3))
def test_measures_are_scipys(seed):
    p, q = np.random.default_rng(seed).dirichlet(np.ones(12), size=2)
    assert psi(p, q) == pytest.approx(entropy(p, q) + entropy(q, p))
    assert js_divergence(p, q) == pytest.approx(jensenshannon(p, q, base=2) ** 2)


def test_js_divergence_bears_values_that_one_side_lacks():
    p, q = np.array([0.5, 0.5, 0.0]), np.array([0.0, 0.5, 0.5])
    assert js_divergence(p, q) == pytest.approx(jensenshannon(p, q, base=2) ** 2)


def test_bins_hold_equal_shares_of_the_reference():
    reference = np.random.default_rng(0).normal(size=10_000)
    edges = quantile_edges(reference, 20)
    assert edges.size == 19
    assert shares(reference, edges) == pytest.approx(np.full(20, 0.05), abs=2e-4)


def test_a_shift_by_hand():
    """Reference uniform on (0, 1) in two bins; the scores have three quarters above the middle."""
    reference, scores = np.arange(1000) / 1000, np.concatenate([np.full(2500, 0.1), np.full(7500, 0.9)])
    found = score_drift(scores, reference, bins=2)
    assert found[0] == pytest.approx((0.75 - 0.5) * np.log(1.5) + (0.25 - 0.5) * np.log(0.5), rel=1e-2)
    assert found[1] == pytest.approx(jensenshannon([0.25, 0.75], [0.5, 0.5], base=2) ** 2, rel=1e-2)


@pytest.mark.parametrize("moved", [0.2, 0.8])
def test_a_reference_of_one_value_still_shows_drift_to_either_side(moved):
    assert score_drift(np.full(1000, 0.5), np.full(1000, 0.5))[0] == 0
    assert score_drift(np.full(1000, moved), np.full(1000, 0.5))[1] > 0.9


def test_float32_scores_are_compared_in_their_own_values():
    scores = np.random.default_rng(0).random(5000).astype(np.float32)
    assert score_drift(scores, scores.copy()) == (0.0, 0.0)


@pytest.mark.parametrize("scores", [[], [0.1, np.nan]])
def test_scores_must_be_numbers(scores):
    with pytest.raises(ValueError, match="Scores must be there, and numbers"):
        score_drift(scores, [0.1, 0.2])


def test_a_table_that_grew_and_turned_one_vector():
    before = np.array([[0, 0], [1, 0], [0, 2], [3, 0], [1, 1]], np.float16)
    present = np.array([False, True, True, True, False])
    after = np.array([[0, 0], [2, 0], [2, 0.1], [3, 0], [1, 1], [0, 4]], np.float16)  # the third row turned, the fourth is gone
    now = np.array([False, True, True, False, True, True])
    found = table_drift("title", before, present, after, now, cosine=0.9)
    assert (found.rows, found.moved, found.lost, found.moved_share) == (2, 1, 1, 0.5)
    assert found.norm_before == pytest.approx((1 + 2 + 3) / 3)
    assert found.norm == pytest.approx((2 + np.hypot(2, 0.1) + np.sqrt(2) + 4) / 4, rel=1e-3)


def test_blocks_do_not_change_the_figures(monkeypatch):
    random = np.random.default_rng(0)
    before = random.normal(size=(50, 4))
    after = np.concatenate([before + 0.6 * random.normal(size=before.shape), random.normal(size=(9, 4))])
    arguments = ("title", before, random.random(50) < 0.8, after, random.random(59) < 0.8, 0.9)
    whole = table_drift(*arguments)
    both = arguments[2] & arguments[4][:50]
    cosines = [b @ a / np.linalg.norm(a) / np.linalg.norm(b) for b, a in zip(before[both], after[:50][both], strict=True)]
    assert (whole.rows, whole.moved) == (both.sum(), np.sum(np.array(cosines) < 0.9))
    monkeypatch.setattr("ppm_tf.daily.drift._BLOCK", 7)
    parts = table_drift(*arguments)
    assert (parts.moved, parts.rows, parts.lost) == (whole.moved, whole.rows, whole.lost)
    assert (parts.norm, parts.norm_before) == pytest.approx((whole.norm, whole.norm_before))


def test_another_width_is_another_table():
    ones = np.ones(3, bool)
    assert table_drift("title", np.ones((3, 2)), ones, np.ones((3, 4)), ones, 0.9).moved_share == 1.0


def test_rows_must_not_go():
    with pytest.raises(ValueError, match="Table title must have the earlier rows first. Received: 2 rows, and 3 before"):
        table_drift("title", np.ones((3, 2)), np.ones(3, bool), np.ones((2, 2)), np.ones(2, bool), 0.9)
