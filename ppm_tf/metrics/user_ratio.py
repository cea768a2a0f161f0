"""Ratios of sums over users, such as clicks over exposures, and their differences between the buckets of an experiment.

A user is what was randomised, and all of a user's rows rise and fall together: a row-wise standard error would be too small. Each user
enters with the sums of numerator and denominator, and the variance of the ratio comes by the delta method. The comparisons themselves
are tea-tasting's.

References:
    Deng, Knoblich and Lu 2018, "Applying the Delta Method in Metric Analytics", section 3 (ratios clustered by user).
    Deng, Xu, Kohavi and Walker 2013, "Improving the Sensitivity of Online Controlled Experiments by Utilizing Pre-Experiment Data" (CUPED).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ppm_tf.metrics.sequential import always_valid_p, always_valid_reach
from ppm_tf.metrics.student import t_quantile

if TYPE_CHECKING:
    from tea_tasting.aggr import Aggregates

NAMES = ("numerator", "denominator", "numerator_before", "denominator_before")
_PAIRS = [(left, right) for place, left in enumerate(NAMES) for right in NAMES[place + 1 :]]


class Ratio(NamedTuple):
    """A ratio of sums over users, with its interval; nan with a reason where it is undefined.

    Attributes:
        value: the ratio, in units of the numerator for each of the denominator.
        low: lower end of the interval.
        high: upper end of the interval.
        users: users behind it, those with a sum of 0 too.
        reason: why the value or the interval is nan, else "".
    """

    value: float
    low: float
    high: float
    users: int
    reason: str = ""


class Difference(NamedTuple):
    """A ratio in one bucket less that in control: absolute, and relative to control.

    Attributes:
        value: the absolute difference, in the ratio's unit.
        low: lower end of its interval.
        high: upper end of its interval.
        relative: the difference as a share of control's ratio; of .01, 1 %.
        relative_low: lower end of its interval, taken on the logarithm of the quotient.
        relative_high: upper end of its interval.
        p_value: of no difference; two-sided.
        reason: why there is none, else "".
    """

    value: float
    low: float
    high: float
    relative: float
    relative_low: float
    relative_high: float
    p_value: float
    reason: str = ""

    @classmethod
    def undefined(cls, reason: str, value: float = math.nan) -> Difference:
        """A difference without an interval, for this reason."""
        return cls(value, math.nan, math.nan, math.nan, math.nan, math.nan, math.nan, reason)


class UserSums:
    """Sums of each of U users: what a ratio and its variance are taken from.

    Args:
        numerator: `[U]`, such as each user's clicks.
        denominator: `[U]`, such as each user's exposures.
        numerator_before: `[U]`, the same in the pre-period; needed for CUPED alone. Defaults to `None`.
        denominator_before: `[U]`, likewise. Defaults to `None`.

    Example:

    >>> clicks, exposures = UserSums([1, 0, 2, 1], [2, 2, 4, 4]), UserSums([2, 1, 2, 1], [2, 2, 4, 4])
    >>> clicks.ratio().value, round(difference(clicks, exposures).relative, 3)
    (0.333..., 0.5)
    """

    def __init__(
        self,
        numerator: Sequence[float] | np.ndarray,
        denominator: Sequence[float] | np.ndarray,
        numerator_before: Sequence[float] | np.ndarray | None = None,
        denominator_before: Sequence[float] | np.ndarray | None = None,
    ):
        given = (numerator, denominator, numerator_before, denominator_before)
        columns = [np.asarray(one, np.float64).ravel() for one in given if one is not None]
        if len(columns) == 3 or len({column.size for column in columns}) > 1:
            raise ValueError(f"Sums must have one entry a user, and those of the pre-period come together. Received: {[c.size for c in columns]}.")
        self.columns = np.stack(columns)

    @property
    def users(self) -> int:
        """Number of users."""
        return self.columns.shape[1]

    @property
    def has_before(self) -> bool:
        """Whether there is a pre-period with anything in its denominator."""
        return len(self.columns) == 4 and bool(self.columns[3].any())

    def part(self, users: np.ndarray) -> UserSums:
        """The sums of some users, by a mask or by number."""
        return UserSums(*self.columns[:, users])

    def ratio(self, confidence: float = 0.95) -> Ratio:
        """The ratio with its interval: delta method, Student's t with U - 1 degrees of freedom."""
        reason = self.why_not()
        if reason and not (self.users and self.columns[1].any()):
            return Ratio(math.nan, math.nan, math.nan, self.users, reason)
        found = self._aggregates()
        value = found.mean(NAMES[0]) / found.mean(NAMES[1])
        if reason:
            return Ratio(value, math.nan, math.nan, self.users, reason)
        error = math.sqrt(max(found.ratio_var(NAMES[0], NAMES[1]), 0.0) / self.users)
        reach = t_quantile(confidence, self.users - 1) * error
        return Ratio(value, value - reach, value + reach, self.users)

    def why_not(self) -> str:
        """Why there is no interval; "" where there is one."""
        return "no users" if not self.users else "the denominator is 0" if not self.columns[1].any() else "one user" if self.users < 2 else ""

    def _aggregates(self) -> Aggregates:
        from tea_tasting.aggr import Aggregates

        names = NAMES[: len(self.columns)]
        centred = self.columns - self.columns.mean(axis=1, keepdims=True)
        # einsum, as in metrics.value.inner: BLAS results depend on the number of threads.
        spread = np.einsum("iu,ju->ij", centred, centred) / max(self.users - 1, 1)
        place = {name: number for number, name in enumerate(names)}
        return Aggregates(
            self.users,
            {name: float(self.columns[place[name]].mean()) for name in names},
            {name: float(spread[place[name], place[name]]) for name in names},
            {pair: float(spread[place[pair[0]], place[pair[1]]]) for pair in _PAIRS if pair[0] in place and pair[1] in place},
        )


def difference(control: UserSums, treatment: UserSums, confidence: float = 0.95, cuped: bool = False, tuning: int | None = None) -> Difference:
    """The ratio in `treatment` less that in `control`, by Welch's t on the delta method's variances.

    Args:
        control: the users of control.
        treatment: the users of the other bucket.
        confidence: float. Level of the intervals. Defaults to 0.95.
        cuped: bool. Whether the pre-period's ratio is taken out of both by regression; the estimate stays unbiased. Defaults to False.
        tuning: int. Users at which an always-valid interval is tightest; `None` = the interval is for one look. Defaults to `None`.

    Returns:
        The difference; nan with a reason where it is undefined.
    """
    if reason := control.why_not() or treatment.why_not():
        return Difference.undefined(reason)
    if cuped and not (control.has_before and treatment.has_before):
        return Difference.undefined("nothing in the pre-period")
    from tea_tasting.metrics import RatioOfMeans

    metric = RatioOfMeans(*NAMES[: 4 if cuped else 2], confidence_level=confidence, use_t=tuning is None)
    if control.ratio().value <= 0 or treatment.ratio().value <= 0:  # the quotient has no logarithm
        gap = treatment.ratio().value - control.ratio().value
        return Difference.undefined("a ratio is not above 0: there is no quotient, and no interval to trust", gap)
    same = "users do not differ, so that there is no interval"
    try:
        with np.errstate(all="ignore"):
            found = metric.analyze_aggregates(control._aggregates(), treatment._aggregates())
    except (ValueError, ZeroDivisionError):  # a variance of 0, or below it by rounding
        return Difference.undefined(same, treatment.ratio().value - control.ratio().value)
    if not all(map(math.isfinite, found)) or found.effect_size_ci_upper - found.effect_size < 1e-6 * abs(found.control):
        return Difference.undefined(same, found.effect_size)
    ends = (found.effect_size_ci_lower, found.effect_size_ci_upper)
    quotient = (math.log1p(found.rel_effect_size_ci_lower), math.log1p(found.rel_effect_size_ci_upper))
    p_value = found.pvalue
    if tuning is not None:  # the normal interval's reach, which was asked for above, gives the standard errors
        normal, users = t_quantile(confidence, math.inf), control.users + treatment.users
        errors = [(high - low) / 2 / normal for low, high in (ends, quotient)]
        reaches = [always_valid_reach(error, users, tuning, confidence) for error in errors]
        middle = math.log1p(found.rel_effect_size)
        ends, quotient = (found.effect_size - reaches[0], found.effect_size + reaches[0]), (middle - reaches[1], middle + reaches[1])
        p_value = always_valid_p(found.effect_size, errors[0], users, tuning, confidence)
    return Difference(found.effect_size, *ends, found.rel_effect_size, math.expm1(quotient[0]), math.expm1(quotient[1]), float(p_value))


def paired_difference(control: UserSums, treatment: UserSums, confidence: float = 0.95) -> Difference:
    """The ratio in `treatment` less that in `control` where both are of the same users, such as those of a simulation that live in both.

    Each user's share in a ratio, (n - R d) / mean(d), is taken in pairs, so that what a user does in both falls out; the relative
    difference is taken on the logarithm of the quotient.

    Args:
        control: the users in control.
        treatment: the same users, in the same order, in the other bucket.
        confidence: float. Level of the intervals. Defaults to 0.95.

    Returns:
        The difference; nan with a reason where it is undefined.

    Raises:
        ValueError: the numbers of users differ.

    >>> paired_difference(UserSums([1, 0, 2], [2, 2, 4]), UserSums([2, 0, 2], [2, 2, 4])).value
    0.125
    """
    if control.users != treatment.users:
        raise ValueError(f"A paired difference must be of the same users. Received: {control.users} and {treatment.users}.")
    if reason := control.why_not() or treatment.why_not():
        return Difference.undefined(reason)
    values = [one.ratio().value for one in (control, treatment)]
    gap = values[1] - values[0]
    shares = [(n - value * d) / d.mean() for value, (n, d) in zip(values, (control.columns[:2], treatment.columns[:2]), strict=True)]
    if values[0] <= 0 or values[1] <= 0:
        return Difference.undefined("a ratio is not above 0: there is no quotient, and no interval to trust", gap)
    users = control.users
    errors = [math.sqrt(float(np.var(one, ddof=1)) / users) for one in (shares[1] - shares[0], shares[1] / values[1] - shares[0] / values[0])]
    if errors[0] <= 1e-12 * abs(values[0]):
        return Difference.undefined("users do not differ, so that there is no interval", gap)
    reach, middle = t_quantile(confidence, users - 1), math.log(values[1] / values[0])
    ends = [math.expm1(middle + sign * reach * errors[1]) for sign in (-1, 1)]
    from scipy.special import stdtr

    p_value = 2 * float(stdtr(users - 1, -abs(gap) / errors[0]))
    return Difference(gap, gap - reach * errors[0], gap + reach * errors[0], math.expm1(middle), ends[0], ends[1], p_value)
