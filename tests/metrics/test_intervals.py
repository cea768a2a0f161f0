"""Intervals and tests of differences: coverage in simulations with a known answer, DeLong against its definition."""

from math import erf, sqrt

import numpy as np
import pytest

from ppm_tf import metrics


def test_interval_of_the_auc_covers_the_known_value():
    """Normal scores one apart: AUC = Phi(1 / sqrt 2)."""
    known = 0.5 * (1 + erf(1 / 2))
    random = np.random.default_rng(0)
    covered = 0
    for trial in range(100):
        labels = random.random(200) < 0.4
        area = metrics.auc_of_weights(labels, random.normal(labels.astype(float)))
        low, high, *_ = metrics.bootstrap_interval(area, np.arange(200), resamples=200, confidence=0.9, seed=trial)
        covered += low <= known <= high
    assert 82 <= covered <= 97  # 90 expected; 2.6 standard errors


def test_clusters_that_move_together_need_the_wider_interval():
    """Users differ: intervals over users cover the mean as often as they say, intervals over rows far too seldom."""
    random = np.random.default_rng(1)
    users = np.repeat(np.arange(50), 10)
    covered = {"users": 0, "rows": 0}
    wider = 0
    for trial in range(100):
        mean = metrics.ratio_of_weights(random.normal(size=50)[users] + random.normal(size=500))
        widths = []
        for name, clusters in (("users", users), ("rows", np.arange(500))):
            low, high, *_ = metrics.bootstrap_interval(mean, clusters, resamples=200, confidence=0.9, seed=trial)
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
    area = metrics.auc_of_weights(labels, taste + random.normal(size=2000))
    by_user, by_row = (metrics.bootstrap_interval(area, clusters, seed=3) for clusters in (users, np.arange(2000)))
    assert by_user.high - by_user.low > 1.4 * (by_row.high - by_row.low)


def test_a_resample_weighs_rows_by_how_often_their_cluster_was_drawn():
    seen = []
    metrics.bootstrap_interval(lambda weights: seen.append(weights) or 0.0, ["b", "a", "b", "c"], resamples=50, seed=0)
    for weights in seen:
        assert weights[0] == weights[2]
        assert weights[[0, 1, 3]].sum() == 3  # as many draws as clusters
    assert np.std([weights[0] for weights in seen]) > 0.5


def test_equal_seeds_give_equal_intervals():
    mean = metrics.ratio_of_weights(np.arange(30.0))
    first, again, other = (metrics.bootstrap_interval(mean, np.arange(30), seed=seed) for seed in (1, 1, 2))
    assert first == again != other


def test_resamples_without_a_positive_are_left_out():
    area = metrics.auc_of_weights([1] * 3 + [0] * 3, [3, 4, 1, 1, 2, 0])
    interval = metrics.bootstrap_interval(area, np.arange(6), resamples=400, seed=0)
    assert 350 < interval.resamples < 400 and interval.low <= area(np.ones(6)) <= interval.high


def test_no_interval_without_resamples_to_speak_of():
    area = metrics.auc_of_weights([1, 0], [2, 1])
    assert metrics.bootstrap_interval(area, [7, 7]).reason == "fewer than two clusters"
    all_drawn = metrics.bootstrap_interval(lambda weights: 1.0 if weights.all() else np.nan, np.arange(3), resamples=400)  # 2 of 9 resamples
    assert all_drawn.reason == "undefined in most resamples" and np.isnan(all_drawn.low) and np.isnan(all_drawn.high)


# === Differences ===


def test_paired_bootstrap_is_narrower_than_two_intervals():
    random = np.random.default_rng(5)
    labels = random.random(1000) < 0.3
    shared = random.normal(labels * 1.0)
    first, second = (metrics.auc_of_weights(labels, shared + spread * random.normal(size=1000)) for spread in (0.1, 0.5))
    difference = metrics.paired_bootstrap(first, second, np.arange(1000), seed=0)
    alone = metrics.bootstrap_interval(first, np.arange(1000), seed=0)
    assert difference.high - difference.low < 0.7 * (alone.high - alone.low)
    assert difference.value == pytest.approx(first(np.ones(1000)) - second(np.ones(1000)))
    assert difference.low > 0 and difference.p_value == pytest.approx(2 / 201)


def test_paired_bootstrap_of_equal_models_finds_nothing():
    area = metrics.auc_of_weights([0, 1] * 20, np.arange(40))
    difference = metrics.paired_bootstrap(area, area, np.arange(40))
    assert difference[:4] == (0.0, 0.0, 0.0, 1.0)


def test_paired_bootstrap_agrees_with_delong_on_independent_rows():
    random = np.random.default_rng(6)
    labels = random.random(2000) < 0.3
    scores = [random.normal(labels * 1.0) for _ in range(2)]
    difference = metrics.paired_bootstrap(*(metrics.auc_of_weights(labels, one) for one in scores), np.arange(2000), resamples=1000, seed=0)
    delong = metrics.delong_test(labels, *scores)
    assert difference.value == pytest.approx(delong.difference, abs=1e-12)
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
    mean = metrics.ratio_of_weights([1.0, 2.0])
    with pytest.raises(ValueError, match=message):
        metrics.bootstrap_interval(mean, [0, 1], **arguments)
    with pytest.raises(ValueError, match=message):
        metrics.paired_bootstrap(mean, mean, [0, 1], **arguments)
