"""Intervals and tests of differences: coverage in simulations with a known answer, DeLong against its definition."""

from math import erf, sqrt

import numpy as np
import pytest

from ppm_tf import metrics


def resampled(labels, scores, clusters, resamples=200, seed=0):
    """The AUC in each resample of the clusters."""
    names, place = np.unique(clusters, return_inverse=True)
    return metrics.resampled_auc(np.asarray(labels) == 1, np.asarray(scores, float), place, metrics.draw_users(names.size, resamples, seed))


def auc_interval(labels, scores, clusters, resamples=200, confidence=0.95, seed=0):
    return metrics.percentile_interval(resampled(labels, scores, clusters, resamples, seed), confidence)


def test_interval_of_the_auc_covers_the_known_value():
    """Normal scores one apart: AUC = Phi(1 / sqrt 2)."""
    known = 0.5 * (1 + erf(1 / 2))
    random = np.random.default_rng(0)
    covered = 0
    for trial in range(100):
        labels = random.random(200) < 0.4
        low, high, *_ = auc_interval(labels, random.normal(labels.astype(float)), np.arange(200), confidence=0.9, seed=trial)
        covered += low <= known <= high
    assert 82 <= covered <= 97  # 90 expected; 2.6 standard errors


def test_clusters_that_move_together_need_the_wider_interval():
    """Users differ: intervals over users cover the mean as often as they say, intervals over rows far too seldom."""
    random = np.random.default_rng(1)
    users = np.repeat(np.arange(50), 10)
    covered = {"users": 0, "rows": 0}
    wider = 0
    for trial in range(100):
        values = random.normal(size=50)[users] + random.normal(size=500)
        widths = []
        for name, clusters in (("users", users), ("rows", np.arange(500))):
            low, high, *_ = metrics.bootstrap_interval(values, clusters, resamples=200, confidence=0.9, seed=trial)
            covered[name] += low <= 0 <= high
            widths.append(high - low)
        wider += widths[0] > 1.5 * widths[1]
    assert 80 <= covered["users"] <= 97
    assert covered["rows"] < 70
    assert wider == 100


def test_interval_of_users_is_wider_for_the_auc_of_clustered_clicks():
    random = np.random.default_rng(2)
    users = np.repeat(np.arange(100), 20)
    taste = random.normal(0, 1.5, 100)[users]  # moves a user's clicks and scores together
    labels = random.random(2000) < 1 / (1 + np.exp(-taste))
    scores = taste + random.normal(size=2000)
    by_user, by_row = (auc_interval(labels, scores, clusters, seed=3) for clusters in (users, np.arange(2000)))
    assert by_user.high - by_user.low > 1.4 * (by_row.high - by_row.low)


def test_a_resample_weighs_rows_by_how_often_their_cluster_was_drawn():
    draws = metrics.draw_users(3, 50, seed=0)
    assert (draws.sum(axis=1) == 3).all() and np.std(draws[:, 0]) > 0.5  # as many draws as users
    users = np.array([1, 0, 1, 2])
    for numerator, denominator in (([1, 0, 0, 0], [1, 1, 1, 1]), ([0.5, 0.25, 0.5, 2.0], [1, 0, 1, 3])):
        weights = draws[:, users].astype(float)
        below = weights @ denominator
        expected = np.divide(weights @ numerator, below, out=np.full(50, np.nan), where=below > 0)
        np.testing.assert_allclose(metrics.resampled_ratio(np.array(numerator), np.array(denominator), users, draws), expected)


def test_a_mean_is_resampled_by_its_clusters_names():
    interval = metrics.bootstrap_interval([1.0, 5.0, 1.0, 5.0], ["b", "a", "b", "a"], resamples=50, seed=0)
    assert (interval.low, interval.high, interval.resamples) == (1.0, 5.0, 50)  # of two clusters one is drawn twice in half of the resamples


def test_equal_seeds_give_equal_intervals():
    first, again, other = (metrics.bootstrap_interval(np.arange(30.0), np.arange(30), seed=seed) for seed in (1, 1, 2))
    assert first == again != other


def test_resamples_without_a_positive_are_left_out():
    interval = auc_interval([1] * 3 + [0] * 3, [3, 4, 1, 1, 2, 0], np.arange(6), resamples=400)
    assert 350 < interval.resamples < 400 and interval.low <= metrics.auc([1] * 3 + [0] * 3, [3, 4, 1, 1, 2, 0]) <= interval.high


def test_no_interval_without_resamples_to_speak_of():
    assert metrics.bootstrap_interval([2.0, 1.0], [7, 7]).reason == "fewer than two clusters"
    interval = metrics.percentile_interval(np.where(np.arange(400) < 200, 0.5, np.nan))
    assert interval.reason == "undefined in most resamples" and np.isnan(interval.low) and np.isnan(interval.high)


# === Differences ===


def test_a_paired_difference_is_narrower_than_an_interval_of_one():
    random = np.random.default_rng(5)
    labels = random.random(1000) < 0.3
    shared = random.normal(labels * 1.0)
    first, second = (resampled(labels, shared + spread * random.normal(size=1000), np.arange(1000)) for spread in (0.1, 0.5))
    difference, alone = metrics.percentile_interval(first - second), metrics.percentile_interval(first)
    assert difference.high - difference.low < 0.7 * (alone.high - alone.low) and difference.low > 0


def test_a_paired_difference_agrees_with_delong_on_independent_rows():
    random = np.random.default_rng(6)
    labels = random.random(2000) < 0.3
    scores = [random.normal(labels * 1.0) for _ in range(2)]
    first, second = (resampled(labels, one, np.arange(2000), 1000) for one in scores)
    difference, delong = metrics.percentile_interval(first - second), metrics.delong_test(labels, *scores)
    assert delong.difference == pytest.approx(metrics.auc(labels, scores[0]) - metrics.auc(labels, scores[1]), abs=1e-12)
    assert (difference.high - difference.low) / (2 * 1.96) == pytest.approx(delong.standard_error, rel=0.1)


def brute_covariance(labels, *models):
    """DeLong et al. 1988, equations for V10, V01, S10 and S01, pair by pair."""
    positives, negatives = np.flatnonzero(labels), np.flatnonzero(~labels)
    m, n = len(positives), len(negatives)
    above, below = np.zeros((len(models), m)), np.zeros((len(models), n))
    for r, scores in enumerate(models):
        for i, x in enumerate(scores[positives]):
            for j, y in enumerate(scores[negatives]):
                psi = 1.0 if x > y else 0.5 if x == y else 0.0
                above[r, i] += psi / n
                below[r, j] += psi / m
    areas = above.mean(axis=1)
    covariance = np.zeros((len(models), len(models)))
    for r in range(len(models)):
        for s in range(len(models)):
            s10 = sum((above[r, i] - areas[r]) * (above[s, i] - areas[s]) for i in range(m)) / (m - 1)
            s01 = sum((below[r, j] - areas[r]) * (below[s, j] - areas[s]) for j in range(n)) / (n - 1)
            covariance[r, s] = s10 / m + s01 / n
    return areas, covariance


def test_delong_equals_its_definition_with_ties():
    random = np.random.default_rng(7)
    labels = random.random(60) < 0.4
    shared = random.normal(labels * 1.0)
    models = [np.round(shared + random.normal(size=60) * spread, 1) for spread in (0.3, 1.0)]
    result = metrics.delong_test(labels, *models)
    areas, covariance = brute_covariance(labels, *models)
    np.testing.assert_allclose([result.auc_a, result.auc_b], areas, atol=1e-12)
    np.testing.assert_allclose(result.covariance, covariance, atol=1e-12)
    variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    assert result.standard_error == pytest.approx(sqrt(variance))
    assert result.z == pytest.approx((areas[0] - areas[1]) / sqrt(variance))
    assert result.p_value == pytest.approx(1 - erf(abs(result.z) / sqrt(2)))


def test_delong_by_hand():
    """Placements of the first model: positives 2/3, 1, 1, negatives 1, 1, 2/3; of the second: 2/3, 1/3, 1 and 2/3, 1, 1/3.

    Their differences are 0, 2/3, 0 and 1/3, 0, 1/3, with sample variances 4/27 and 1/27, so the variance is 5/27 / 3.
    """
    result = metrics.delong_test([0, 0, 0, 1, 1, 1], [1, 2, 4, 3, 5, 6], [3, 1, 5, 4, 2, 6])
    assert (result.auc_a, result.auc_b) == (pytest.approx(8 / 9), pytest.approx(6 / 9))
    assert result.standard_error == pytest.approx(sqrt(5 / 81))
    assert result.z == pytest.approx((2 / 9) / (sqrt(5) / 9))


def test_delong_finds_a_difference_as_often_as_it_says():
    random = np.random.default_rng(8)
    found = 0
    for _ in range(400):
        labels = random.random(150) < 0.4
        found += metrics.delong_test(labels, random.normal(labels * 1.0), random.normal(labels * 1.0)).p_value < 0.05
    assert 8 <= found <= 33  # 20 expected; three standard errors


@pytest.mark.parametrize(
    ("labels", "first", "second", "reason"),
    [
        ([0, 0], [1, 2], [1, 2], "all labels are 0"),
        ([0, 0, 1], [1, 2, 3], [1, 2, 3], "fewer than two rows of a class"),
        ([0, 0, 1, 1], [1, 2, 3, 4], [10, 20, 30, 40], "the difference has no variance"),
        ([0, 0, 1, 1], [1, 2, 3, np.nan], [1, 2, 3, 4], "1 of 4 scores are nan"),
    ],
)
def test_delong_without_an_answer_says_why(labels, first, second, reason):
    result = metrics.delong_test(labels, first, second)
    assert np.isnan(result.p_value) and np.isnan(result.z) and result.reason == reason


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"resamples": 1}, "resamples must be at least 2. Received: 1"),
        ({"confidence": 95}, "confidence must lie between 0 and 1. Received: 95"),
    ],
)
def test_wrong_input_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        metrics.bootstrap_interval([1.0, 2.0], [0, 1], **arguments)
