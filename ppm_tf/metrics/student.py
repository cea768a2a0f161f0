"""Student's t: how far an interval reaches whose standard error was itself estimated from a few values, such as a figure of three seeds."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike


class MeanInterval(NamedTuple):
    """The mean of `num_values` values, their standard deviation (divisor n - 1), and the ends of an interval of the mean; nan where there is none."""

    mean: float
    deviation: float
    low: float
    high: float
    num_values: int


def t_quantile(confidence: float, freedom: float) -> float:
    """How many standard errors a two-sided interval of level `confidence` reaches to each side.

    A standard error taken from n values has n - 1 degrees of freedom. The normal quantile, 1.96 at a level of .95, is right for many
    values only: of three values such an interval covers 81 % of the means.

    Args:
        confidence: float. Level, between 0 and 1.
        freedom: float. Degrees of freedom, above 0, not of necessity whole; may be infinite.

    >>> round(t_quantile(0.95, 2), 3), round(t_quantile(0.95, math.inf), 3)
    (4.303, 1.96)
    """
    from scipy.special import ndtri, stdtrit

    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1. Received: {confidence}.")
    if not freedom > 0:
        raise ValueError(f"freedom must be above 0. Received: {freedom}.")
    p = (1 + confidence) / 2
    return float(ndtri(p) if math.isinf(freedom) else stdtrit(freedom, p))


def joint_freedom(variances: Iterable[float], freedoms: Iterable[float]) -> float:
    """Degrees of freedom of a sum of independent variances: `(sum V)^2 / sum(V^2 / freedom)`; infinite where all are 0.

    References:
        Welch 1947, "The generalization of Student's problem when several different population variances are involved"; Satterthwaite 1946.

    >>> joint_freedom([1.0, 1.0], [2, 2]), joint_freedom([1.0, 0.0], [2, 199])
    (4.0, 2.0)
    """
    parts = list(zip(variances, freedoms, strict=True))
    total = sum(variance for variance, _ in parts)
    if not total > 0:
        return math.inf
    return 1.0 / sum((variance / total) ** 2 / freedom for variance, freedom in parts)


def mean_interval(values: ArrayLike, confidence: float = 0.95) -> MeanInterval:
    """The mean of independent values, such as a figure under several seeds, with Student's t interval; nan values are left out.

    Of differences that are paired by seed, give the differences; of two groups that share no seed, see `joint_freedom`.

    >>> found = mean_interval([0.5, 0.6, 0.7])
    >>> round(found.mean, 3), round(found.deviation, 3), round(found.low, 3), round(found.high, 3)
    (0.6, 0.1, 0.352, 0.848)
    """
    defined = np.asarray(values, dtype=np.float64).ravel()
    defined = defined[~np.isnan(defined)]
    mean = float(defined.mean()) if defined.size else math.nan
    if defined.size < 2:
        return MeanInterval(mean, math.nan, math.nan, math.nan, defined.size)
    deviation = float(defined.std(ddof=1))
    reach = t_quantile(confidence, defined.size - 1) * deviation / math.sqrt(defined.size)
    return MeanInterval(mean, deviation, mean - reach, mean + reach, defined.size)
