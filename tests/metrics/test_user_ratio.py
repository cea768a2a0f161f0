"""Ratios by user, their differences, looks at any time, and the checks: against SciPy, sums by hand, and worlds whose truth is known."""

import math

import numpy as np
import pytest
import scipy.stats

from ppm_tf.metrics import draw_users, resampled_ratio
from ppm_tf.metrics.experiment_checks import aa_check, sample_ratio
from ppm_tf.metrics.sequential import always_valid_p, always_valid_reach
from ppm_tf.metrics.user_ratio import UserSums, difference, paired_difference


def shop(users, rate, seed, spread=20.0):
    """Clicks and exposures of users whose own rates differ around `rate`."""
    random = np.random.default_rng(seed)
    exposures = 1 + random.poisson(4, users)
    return random.binomial(exposures, random.beta(rate * spread, (1 - rate) * spread, users)), exposures


def linear(numerator, denominator):
    """A ratio of sums as a mean: each user's value in the delta method's linear form."""
    ratio = numerator.sum() / denominator.sum()
    return ratio + (numerator - ratio * denominator) / denominator.mean()


def test_a_ratio_by_hand():
    """Three users: 3 clicks of 6 exposures. Residuals n - R d: 0, -1, 1; variance 1, over mean 2 squared and 3 users: 1/12."""
    found = UserSums([1, 0, 2], [2, 2, 2]).ratio(0.95)
    reach = 4.302652729911275 * math.sqrt(1 / 12)  # Student's t of 2 degrees of freedom, from a printed table
    assert found.value == 0.5 and found.users == 3
    assert (found.low, found.high) == pytest.approx((0.5 - reach, 0.5 + reach), rel=1e-9)


def test_the_difference_is_welchs_t_of_the_linear_form():
    control, treatment = shop(300, 0.1, 1), shop(200, 0.13, 2)
    found = difference(UserSums(*control), UserSums(*treatment))
    expected = scipy.stats.ttest_ind(linear(*treatment), linear(*control), equal_var=False)
    ends = expected.confidence_interval(0.95)
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-9)
    assert (found.low, found.high) == pytest.approx((ends.low, ends.high), rel=1e-9)
    quotient = (treatment[0].sum() / treatment[1].sum()) / (control[0].sum() / control[1].sum())
    assert found.relative == pytest.approx(quotient - 1, rel=1e-9)
    logs = scipy.stats.ttest_ind(
        linear(*treatment) / linear(*treatment).mean(), linear(*control) / linear(*control).mean(), equal_var=False
    ).confidence_interval(0.95)  # fmt: skip
    assert math.log1p(found.relative_high) - math.log(quotient) == pytest.approx((logs.high - logs.low) / 2, rel=1e-9)


def test_rows_of_a_user_are_one_observation():
    """The rows' own standard error is too small where users differ; the delta method agrees with the bootstrap over users."""
    clicks, exposures = shop(2000, 0.2, 3, spread=1.0)
    user, row = np.repeat(np.arange(2000), exposures), np.concatenate([[1.0] * c + [0.0] * (n - c) for c, n in zip(clicks, exposures, strict=True)])
    drawn = resampled_ratio(row, np.ones(row.size), user, draw_users(2000, 400, 0))
    found = UserSums(clicks, exposures).ratio()
    error = (found.high - found.low) / 2 / 1.96
    assert error == pytest.approx(drawn.std(), rel=0.1)
    assert error > 1.5 * row.std() / math.sqrt(row.size)


def test_intervals_cover_the_truth_as_often_as_they_say():
    """Two rates that are known; the clustered interval of level .9 in 400 experiments, within binomial bounds of 99.9 %."""
    covered = relative = 0
    for seed in range(400):
        control, treatment = shop(150, 0.2, 2 * seed, 2.0), shop(150, 0.25, 2 * seed + 1, 2.0)
        found = difference(UserSums(*control), UserSums(*treatment), 0.9)
        covered += found.low <= 0.05 <= found.high
        relative += found.relative_low <= 0.25 <= found.relative_high
    low, high = scipy.stats.binom.interval(0.999, 400, 0.9)
    assert low <= covered <= high and low <= relative <= high


def before_and_after(users, gain, seed):
    """Clicks a user before and in the experiment, of one own rate each."""
    random = np.random.default_rng(seed)
    own = random.gamma(1.0, 3.0, users)
    return UserSums(random.poisson(own * (1 + gain)), np.ones(users), random.poisson(own), np.ones(users))


def test_cuped_is_the_regression_on_the_pre_period():
    """Against ordinary least squares of the outcome on the pooled, centred covariate: theta = cov / var over both buckets."""
    control, treatment = before_and_after(80, 0.0, 1), before_and_after(120, 0.1, 2)
    found = difference(control, treatment, cuped=True)
    outcome = np.concatenate([control.columns[0], treatment.columns[0]])
    before = np.concatenate([control.columns[2], treatment.columns[2]])
    theta = scipy.stats.linregress(before, outcome).slope
    adjusted = [one.columns[0] - theta * (one.columns[2] - before.mean()) for one in (control, treatment)]
    expected = scipy.stats.ttest_ind(adjusted[1], adjusted[0], equal_var=False)
    assert found.value == pytest.approx(adjusted[1].mean() - adjusted[0].mean(), rel=1e-9)
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-9)


def test_cuped_narrows_the_interval_and_keeps_the_truth():
    plain, adjusted, covered = [], [], 0
    for seed in range(200):
        control, treatment = before_and_after(200, 0.0, 2 * seed), before_and_after(200, 0.2, 2 * seed + 1)
        for found, cuped in ((plain, False), (adjusted, True)):
            found.append(difference(control, treatment, cuped=cuped))
        covered += adjusted[-1].low <= 0.6 <= adjusted[-1].high  # the mean own rate, 3, times the gain
    width = lambda found: np.mean([one.high - one.low for one in found])
    assert width(adjusted) < 0.8 * width(plain)
    low, high = scipy.stats.binom.interval(0.999, 200, 0.95)
    assert low <= covered <= high


@pytest.mark.parametrize(
    ("control", "treatment", "reason"),
    [
        (UserSums([], []), UserSums([1, 0], [1, 1]), "no users"),
        (UserSums([1, 0], [1, 1]), UserSums([0, 0], [0, 0]), "the denominator is 0"),
        (UserSums([1], [1]), UserSums([1, 0], [1, 1]), "one user"),
        (UserSums([0, 0], [1, 1]), UserSums([1, 0], [1, 1]), "a ratio is not above 0"),
        (UserSums([1, 2], [3, 6]), UserSums([1, 3], [3, 9]), "users do not differ"),
    ],
)
def test_what_has_no_difference_says_why(control, treatment, reason):
    found = difference(control, treatment)
    assert math.isnan(found.p_value) and math.isnan(found.low) and reason in found.reason


def test_sums_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="one entry a user.*Received: .2, 3."):
        UserSums([1, 2], [1, 2, 3])
    assert "nothing in the pre-period" in difference(UserSums([1, 0], [1, 1]), UserSums([1, 0], [1, 1]), cuped=True).reason


# === Looks at any time ===


def test_the_margin_by_hand():
    """t rho^2 = 1 makes the margin sqrt(4 log(sqrt(2) / .05)) standard errors."""
    rest = 2 * math.log(20)
    assert always_valid_reach(2.0, 100, round(100 * (rest + math.log(rest + 1)))) == pytest.approx(
        2 * math.sqrt(4 * math.log(math.sqrt(2) / 0.05)), rel=1e-3
    )


@pytest.mark.parametrize("confidence", [0.9, 0.95])
@pytest.mark.parametrize("users", [50, 5000, 100_000])
def test_the_p_value_is_the_level_at_which_zero_leaves_the_interval(users, confidence):
    reach = always_valid_reach(0.3, users, 5000, confidence)
    assert always_valid_p(reach, 0.3, users, 5000, confidence) == pytest.approx(1 - confidence, rel=1e-9)
    assert always_valid_p(0.5 * reach, 0.3, users, 5000, confidence) > 1 - confidence


def test_a_difference_for_any_look_reaches_as_far_as_the_margin_says():
    """The standard error by SciPy, of the linear form; users of both buckets are the observations."""
    control, treatment = shop(300, 0.1, 1), shop(200, 0.13, 2)
    error = math.hypot(scipy.stats.sem(linear(*control)), scipy.stats.sem(linear(*treatment)))
    found = difference(UserSums(*control), UserSums(*treatment), 0.9, tuning=700)
    reach = always_valid_reach(error, 500, 700, 0.9)
    assert (found.high - found.value, found.value - found.low) == pytest.approx((reach, reach), rel=1e-6)
    assert found.p_value == pytest.approx(always_valid_p(found.value, error, 500, 700, 0.9), rel=1e-6)


def test_who_looks_every_day_is_seldom_wrong():
    """No effect, and a look after each 100 users a bucket: the usual interval goes wrong often, this one in at most 5 % of the experiments."""
    wrong = {None: 0, 500: 0}
    for seed in range(200):
        control, treatment = shop(1000, 0.2, 2 * seed, 2.0), shop(1000, 0.2, 2 * seed + 1, 2.0)
        for tuning in wrong:
            looks = (
                difference(UserSums(*(c[:n] for c in control)), UserSums(*(c[:n] for c in treatment)), tuning=tuning) for n in range(100, 1001, 100)
            )
            wrong[tuning] += any(not one.low <= 0 <= one.high for one in looks)
    assert wrong[None] > 30
    assert wrong[500] <= scipy.stats.binom.ppf(0.999, 200, 0.05)


# === Checks ===


def test_the_sample_ratio_is_chi_squared():
    """(60 - 50)^2 / 50 + (40 - 50)^2 / 50 = 4: p = .0455 by a printed table; a split of 3 to 1 expects 75 and 25."""
    assert sample_ratio({"a": 60, "b": 40}, {"a": 1, "b": 1}).p_value == pytest.approx(0.0455003, abs=1e-6)
    found = sample_ratio({"a": 74, "b": 26}, {"a": 0.75, "b": 0.25})
    assert found.expected == {"a": 75, "b": 25} and found.p_value == pytest.approx(scipy.stats.chi2.sf(1 / 75 + 1 / 25, 1))
    with pytest.raises(ValueError, match="same buckets. Received: a, b and a, c"):
        sample_ratio({"a": 1, "b": 2}, {"a": 1, "c": 1})


def test_halves_of_one_bucket_differ_by_chance_alone():
    found = aa_check(UserSums(*shop(600, 0.2, 5)), 200, seed=1)
    assert found.passed and found.p_values.size == 200
    assert found.false_positives == pytest.approx((found.p_values < 0.05).mean())
    assert found.low <= 0.05 <= found.high
    assert found.uniform == pytest.approx(scipy.stats.kstest(found.p_values, "uniform").pvalue)
    assert (aa_check(UserSums(*shop(600, 0.2, 5)), 3, seed=1).p_values == found.p_values[:3]).all()


def test_a_figure_that_one_user_holds_fails_the_check():
    """One user with all the orders but one a hundred users: every halving gives nearly the same p-value, which is not uniform."""
    orders = np.r_[1000.0, np.tile([1.0] + [0.0] * 99, 4)]
    found = aa_check(UserSums(orders, np.ones(orders.size)), 100, seed=1)
    assert found.passed is False and found.uniform < 0.001


# === In pairs ===


def test_a_paired_difference_is_the_paired_t_of_the_linear_form():
    """Users that live in both: SciPy's paired t; the logarithm likewise on each user's share of the ratio."""
    clicks, exposures = shop(300, 0.2, 5)
    more, seen = clicks + np.random.default_rng(6).binomial(2, 0.1, 300), exposures + np.random.default_rng(7).binomial(1, 0.1, 300)
    found = paired_difference(UserSums(clicks, exposures), UserSums(more, seen), 0.9)
    before, after = linear(clicks, exposures), linear(more, seen)
    expected = scipy.stats.ttest_rel(after, before)
    ends = expected.confidence_interval(0.9)
    assert found.value == pytest.approx(more.sum() / seen.sum() - clicks.sum() / exposures.sum(), rel=1e-9)
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-6)
    assert (found.low, found.high) == pytest.approx((ends.low, ends.high), rel=1e-9)
    assert found.relative == pytest.approx((more.sum() / seen.sum()) / (clicks.sum() / exposures.sum()) - 1, rel=1e-9)
    logs = scipy.stats.ttest_rel(after / after.mean(), before / before.mean()).confidence_interval(0.9)
    middle = math.log1p(found.relative)
    assert [math.log1p(end) - middle for end in (found.relative_low, found.relative_high)] == pytest.approx(
        [(logs.low - logs.high) / 2, (logs.high - logs.low) / 2], rel=1e-9
    )
    apart = difference(UserSums(clicks, exposures), UserSums(more, seen), 0.9)
    assert apart.value == pytest.approx(found.value) and found.high - found.low < 0.5 * (apart.high - apart.low)


def test_a_paired_difference_that_is_none():
    one = UserSums([1, 0, 2], [2, 2, 4])
    assert paired_difference(one, one).reason == "users do not differ, so that there is no interval" and paired_difference(one, one).value == 0
    assert paired_difference(one, UserSums([0, 0, 0], [2, 2, 4])).reason.startswith("a ratio is not above 0")
    assert paired_difference(one, UserSums([0, 0, 0], [0, 0, 0])).reason == "the denominator is 0"
    with pytest.raises(ValueError, match="must be of the same users. Received: 3 and 2."):
        paired_difference(one, UserSums([1, 0], [2, 2]))
