"""Student's t: tabulated quantiles, and how often intervals over a few seeds cover the known value."""

import math

import numpy as np
import pytest

from ppm_tf import metrics
from ppm_tf.evaluation import Measure, mean_of, subtract


@pytest.mark.parametrize(
    ("confidence", "freedom", "tabulated"),
    [(0.95, 1, 12.706), (0.95, 2, 4.303), (0.95, 3, 3.182), (0.95, 10, 2.228), (0.99, 2, 9.925), (0.9, 4, 2.132), (0.95, math.inf, 1.960)],
)
def test_quantiles_are_those_of_the_tables(confidence, freedom, tabulated):
    assert metrics.t_quantile(confidence, freedom) == pytest.approx(tabulated, abs=5e-4)


def test_freedom_of_a_sum_of_variances():
    """Welch's formula, with s^2/n of two groups: (4/4 + 9/9)^2 / ((4/4)^2 / 3 + (9/9)^2 / 8) = 96 / 11."""
    assert metrics.joint_freedom([4 / 4, 9 / 9], [3, 8]) == pytest.approx(96 / 11)
    assert metrics.joint_freedom([0.0, 0.0], [2, 2]) == math.inf
    for scale in (1e-12, 1e12):
        assert metrics.joint_freedom([scale, 2 * scale], [2, 5]) == pytest.approx(metrics.joint_freedom([1, 2], [2, 5]))


def test_intervals_of_three_values_cover_as_often_as_they_say():
    random = np.random.default_rng(0)
    values = random.normal(0.7, 0.01, (4000, 3))
    found = [metrics.mean_interval(row) for row in values]
    covered = np.mean([one.low <= 0.7 <= one.high for one in found])
    assert 0.94 <= covered <= 0.96  # three standard errors of 4,000 trials
    normal = np.mean([abs(one.mean - 0.7) <= 1.96 * one.deviation / math.sqrt(3) for one in found])
    assert 0.79 <= normal <= 0.83  # what a normal quantile covers


def test_undefined_values_are_left_out_and_one_value_has_no_interval():
    assert metrics.mean_interval([0.5, math.nan, 0.7])[:2] == (pytest.approx(0.6), pytest.approx(math.sqrt(0.02)))
    alone = metrics.mean_interval([math.nan, 0.7])
    assert (alone.mean, alone.num_values) == (0.7, 1) and math.isnan(alone.low) and math.isnan(alone.deviation)
    assert math.isnan(metrics.mean_interval([]).mean)


@pytest.mark.parametrize("users, seeds", [(0.0, 0.01), (0.01, 0.01), (0.01, 0.001)])
def test_a_measure_of_three_seeds_covers_as_often_as_it_says(users, seeds):
    """The figure of a seed is the truth, plus what the drawn users add to all seeds, plus what the seed adds."""
    random, trials, covered = np.random.default_rng(1), 2000, 0
    for _ in range(trials):
        of_users = random.normal(0, users)
        resampled = random.normal(0, users, 60) if users else np.zeros(60)
        found = mean_of([Measure(value, 9, None, "", value + resampled) for value in 0.7 + of_users + random.normal(0, seeds, 3)])
        low, high, _ = found.interval(0.95)
        covered += low <= 0.7 <= high
    assert 0.935 <= covered / trials <= 0.975


def test_the_difference_of_means_that_share_no_seed_is_welchs():
    random, trials, covered, freedoms = np.random.default_rng(2), 2000, 0, []
    for _ in range(trials):
        sides = [
            mean_of([Measure(value, 9, None, "", np.full(20, value)) for value in random.normal(mean, sd, count)])
            for mean, sd, count in ((0.72, 0.01, 3), (0.7, 0.003, 4))
        ]
        found = subtract(*sides)
        low, high, _ = found.interval(0.95)
        covered += low <= 0.02 <= high
        freedoms.append(found.freedom)
    assert 0.93 <= covered / trials <= 0.97
    assert 2 <= min(freedoms) and max(freedoms) <= 5  # between the fewest of a side and all of both


def test_by_hand_the_difference_of_means_that_share_no_seed():
    first, second = (
        mean_of([Measure(value, 9, None, "", np.full(20, value)) for value in values]) for values in ((0.70, 0.72, 0.74), (0.60, 0.61, 0.62, 0.63))
    )
    found = subtract(first, second)
    variances = 0.02**2 / 3, (5 / 3) * 0.01**2 / 4
    assert found.seed_variance == pytest.approx(sum(variances)) and found.freedom == pytest.approx(
        sum(variances) ** 2 / (variances[0] ** 2 / 2 + variances[1] ** 2 / 3)
    )
    low, high, _ = found.interval(0.95)
    assert (low + high) / 2 == pytest.approx(0.105) and (high - low) / 2 == pytest.approx(
        metrics.t_quantile(0.95, found.freedom) * math.sqrt(sum(variances))
    )
    alone = subtract(first, Measure(0.6, 9, None, "", np.full(20, 0.6)))
    assert alone.value == pytest.approx(0.12) and alone.interval(0.95)[2].startswith("no interval: one seed on one side has no spread")


def test_wrong_input_is_named():
    with pytest.raises(ValueError, match="confidence must lie between 0 and 1. Received: 95"):
        metrics.t_quantile(95, 2)
    with pytest.raises(ValueError, match="freedom must be above 0. Received: 0"):
        metrics.t_quantile(0.95, 0)
