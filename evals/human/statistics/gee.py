"""The population-averaged win rate by generalised estimating equations (Liang and Zeger 1986).

For a single rate the equations have a closed form: with a working correlation c of the votes of a
rater, a rater with m votes and rate r weighs m / (1 + (m - 1) c). A general solver does the same
work with a matrix per rater, and where raters are more alike than chance it accepts correlations
that no data can have (statsmodels 0.15: overflow or no convergence on one small table in fifteen).
Here a negative estimate becomes zero, which the robust error allows. Elsewhere both agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.special import expit, logit

from evals.human.statistics.values import (
    ALIKE,
    NO_RATERS,
    ONE_RATER,
    Interval,
    Tally,
    TiePolicy,
    alpha_of,
)

MAX_STEPS = 500
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Gee:
    """Marginal win rate with logit link, exchangeable raters and a robust (sandwich) error.

    ``intercept`` and ``se`` are on the logit scale. The interval uses Student's t with one degree
    less than raters. ``correlation`` is the working correlation of two votes of one rater.
    """

    rate: float | None
    intercept: float | None
    se: float | None
    interval: Interval | None
    correlation: float | None
    reason: str = ""


def gee(tallies: Sequence[Tally], policy: TiePolicy = "drop", level: float = 0.95) -> Gee:
    """Return the marginal win rate of one tally per rater."""
    table = _counted(tallies, policy)
    sizes = table.sum(axis=1)
    rates = table @ np.array([1.0, 0.0, 0.5]) / sizes
    if len(rates) < 2:
        return Gee(None, None, None, None, None, ONE_RATER if len(rates) else NO_RATERS)
    if np.ptp(rates) < 1e-12:
        return Gee(None, None, None, None, None, ALIKE)
    rate, correlation = _solve(table, sizes, rates)
    weights = sizes / (1 + (sizes - 1) * correlation)
    error = float(np.sqrt(np.sum((weights * (rates - rate)) ** 2)) / weights.sum())
    intercept, se = float(logit(rate)), error / (rate * (1 - rate))
    reach = float(stats.t.isf(alpha_of(level) / 2, len(rates) - 1)) * se
    low, high = float(expit(intercept - reach)), float(expit(intercept + reach))
    return Gee(rate, intercept, se, Interval(low, high, level, "GEE, robust, t"), correlation)


def _counted(tallies: Sequence[Tally], policy: TiePolicy) -> Floats:
    """Wins, losses and ties of the raters with counted votes, shape (raters, 3)."""
    rows = [(t.wins, t.losses, t.ties if policy == "half" else 0) for t in tallies]
    return np.asarray([row for row in rows if sum(row)], dtype=float).reshape(-1, 3)


def _solve(table: Floats, sizes: Floats, rates: Floats) -> tuple[float, float]:
    """Alternate between the rate given the correlation and the correlation given the rate."""
    correlation, rate = 0.0, float(sizes @ rates / sizes.sum())
    for _ in range(MAX_STEPS):
        before, correlation = rate, _correlation(table, sizes, rates, rate)
        weights = sizes / (1 + (sizes - 1) * correlation)
        rate = float(weights @ rates / weights.sum())
        if abs(rate - before) < 1e-14:
            break
    return rate, correlation


def _correlation(table: Floats, sizes: Floats, rates: Floats, rate: float) -> float:
    """The moment estimate of the correlation of two residuals of one rater, within 0..1."""
    pairs = float(np.sum(sizes * (sizes - 1)) / 2)
    if pairs <= 1:
        return 0.0
    squares = table @ (np.array([1.0, 0.0, 0.5]) - rate) ** 2
    products = float(np.sum((sizes * (rates - rate)) ** 2 - squares) / 2)
    scale = float(squares.sum() / (sizes.sum() - 1))
    return min(1.0, max(0.0, products / scale / (pairs - 1)))
