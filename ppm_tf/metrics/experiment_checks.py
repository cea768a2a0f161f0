"""Whether an experiment can be believed: the sample-ratio check of its buckets, and the A/A check of its figures."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from ppm_tf.metrics.user_ratio import UserSums, difference


class SampleRatio(NamedTuple):
    """Users by bucket, as counted and as the split would have them, and the p-value of a deviation so large by chance."""

    counted: dict[str, int]
    expected: dict[str, float]
    p_value: float


class AACheck(NamedTuple):
    """What random halvings of one bucket give, in which any difference is chance.

    Attributes:
        p_values: `[S]`, one a halving; those in which the figure was undefined are left out.
        false_positives: share of them below 1 - confidence; 1 - confidence is right.
        low: lower end of the share's interval (Clopper and Pearson), of level 99.9 %.
        high: upper end.
        uniform: p-value of Kolmogorov's and Smirnov's test that the p-values are uniform.
        passed: whether `1 - confidence` lies in the interval and `uniform` is at least .001; `None` without halvings.
    """

    p_values: np.ndarray
    false_positives: float
    low: float
    high: float
    uniform: float
    passed: bool | None


def sample_ratio(counted: Mapping[str, int], split: Mapping[str, float]) -> SampleRatio:
    """Pearson's chi-squared test of the users by bucket against the configured split.

    A deviation says that users were lost, or counted, in one bucket otherwise than in another: then no figure can be compared.

    Args:
        counted: users by bucket.
        split: the share of each bucket, or its weight.

    References:
        Fabijan et al. 2019, "Diagnosing Sample Ratio Mismatch in Online Controlled Experiments".

    >>> found = sample_ratio({"control": 5200, "new": 4800}, {"control": 0.5, "new": 0.5})
    >>> found.expected["new"], round(found.p_value, 6)
    (5000.0, 6.3e-05)
    """
    if set(counted) != set(split):
        raise ValueError(f"counted and split must have the same buckets. Received: {', '.join(counted)} and {', '.join(split)}.")
    from scipy.stats import chisquare

    users, total = sum(counted.values()), sum(split.values())
    expected = {bucket: users * split[bucket] / total for bucket in counted}
    p_value = float(chisquare(list(counted.values()), list(expected.values())).pvalue) if users else math.nan
    return SampleRatio(dict(counted), expected, p_value)


def aa_check(control: UserSums, splits: int, seed: int, confidence: float = 0.95) -> AACheck:
    """Halves a bucket's users at random, again and again, and compares the halves as buckets are compared.

    More false positives than 1 - confidence, or p-values that are not uniform, say that the figure's intervals cannot be trusted on this
    log: too few users with anything in the numerator, or a few users who hold most of it.

    References:
        Kohavi, Tang and Xu 2020, "Trustworthy Online Controlled Experiments", chapter 19.
    """
    from scipy.stats import binomtest, kstest

    random, found = np.random.default_rng(seed), []
    for _ in range(splits):
        half = np.zeros(control.users, bool)
        half[random.permutation(control.users)[: control.users // 2]] = True
        found.append(difference(control.part(half), control.part(~half), confidence).p_value)
    p_values = np.array([value for value in found if not math.isnan(value)])
    if not p_values.size:
        return AACheck(p_values, math.nan, math.nan, math.nan, math.nan, None)
    wrong = int((p_values < 1 - confidence).sum())
    interval = binomtest(wrong, p_values.size).proportion_ci(0.999)
    uniform = float(kstest(p_values, "uniform").pvalue)
    passed = bool(interval.low <= 1 - confidence <= interval.high and uniform >= 0.001)
    return AACheck(p_values, wrong / p_values.size, float(interval.low), float(interval.high), uniform, passed)
