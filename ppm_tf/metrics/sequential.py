"""Intervals that hold at every look: an asymptotic confidence sequence by a normal mixture, for experiments that are watched as they run.

A usual interval holds at one look, whose time was chosen beforehand; of those who look every day and stop at the first "significant" day,
far more than 1 - confidence are wrong. This one holds at all looks at once, at the price of width.

References:
    Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas 2021, "Time-uniform central limit theory and asymptotic confidence sequences", the Gaussian
    mixture's margin and its parameter. Johari, Koomen, Pekelis and Walsh 2017, "Peeking at A/B Tests" (the p-value by a mixture).
"""

from __future__ import annotations

import math


def mixture_variance(tuning: int, confidence: float) -> float:
    """rho^2 of the mixture whose interval is (about) tightest at `tuning` observations."""
    rest = -2 * math.log(1 - confidence)
    return (rest + math.log(rest + 1)) / tuning


def always_valid_reach(error: float, observations: int, tuning: int, confidence: float = 0.95) -> float:
    """How far the interval reaches to each side: `s sqrt(2 (t rho^2 + 1) / (t rho^2) log(sqrt(t rho^2 + 1) / alpha))`.

    Args:
        error: s, the standard error of the estimate now.
        observations: t, how many independent observations (users) it is taken from.
        tuning: observations at which the interval is meant to be tightest; to be chosen before the first look.
        confidence: float. 1 - alpha. Defaults to 0.95.

    >>> round(always_valid_reach(1.0, 5000, 5000) / 1.96, 2)
    1.55
    """
    _check(observations, tuning)
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1. Received: {confidence}.")
    information = observations * mixture_variance(tuning, confidence)
    return error * math.sqrt(2 * (information + 1) / information * math.log(math.sqrt(information + 1) / (1 - confidence)))


def always_valid_p(estimate: float, error: float, observations: int, tuning: int, confidence: float = 0.95) -> float:
    """The p-value of an estimate of 0 that may be read at any look: the inverse of the mixture's likelihood ratio.

    Below `1 - confidence` exactly where the interval of that level, of the same `tuning`, leaves 0 out.
    """
    _check(observations, tuning)
    if not error > 0:
        return math.nan
    information = observations * mixture_variance(tuning, confidence)
    exponent = (estimate / error) ** 2 * information / (2 * (information + 1)) - 0.5 * math.log(information + 1)
    return math.exp(-max(exponent, 0.0))


def _check(observations: int, tuning: int) -> None:
    if observations < 1 or tuning < 1:
        raise ValueError(f"observations and tuning must be at least 1. Received: {observations} and {tuning}.")
