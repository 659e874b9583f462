"""Whether raters could tell which answer was whose: indices of blinding from their guesses.

Bang's index is 0 under blinding, 1 if everyone recognises the arms, -1 if everyone has them the
wrong way round; "I do not know" counts as blinded. James's index is 1 if everyone says so and 0 if
everyone is right. Guesses of one rater resemble each other: for raters in general, give each
rater's right, wrong and unknown guesses as a tally to
:func:`evals.human.statistics.clusters.rater_level`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from evals.human.statistics.proportions import clopper_pearson, sign_test
from evals.human.statistics.values import Interval, alpha_of

NO_GUESSES = "There are no guesses."


@dataclass(frozen=True, slots=True)
class Bang:
    """Bang's blinding index of one kind of guess, and the sign test of right against wrong."""

    right: int
    wrong: int
    unknown: int
    index: float | None
    se: float | None
    interval: Interval | None
    p: float | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class James:
    """James's blinding index in 0..1: 0.5 is what guessing at random gives, less is unblinded."""

    index: float | None
    se: float | None
    interval: Interval | None
    reason: str = ""


def bang(right: int, wrong: int, unknown: int = 0, level: float = 0.95) -> Bang:
    """Return (right - wrong) / all guesses with its error (Bang, Ni and Davis 2004)."""
    n = right + wrong + unknown
    if min(right, wrong, unknown) < 0:
        raise ValueError("A count of guesses cannot be negative.")
    if not n:
        return Bang(0, 0, 0, None, None, None, None, NO_GUESSES)
    a, b = right / n, wrong / n
    se = sqrt((a * (1 - a) + b * (1 - b) + 2 * a * b) / n)
    interval, reason = _bang_interval(right, wrong, n, se, level)
    return Bang(right, wrong, unknown, a - b, se, interval, sign_test(right, wrong), reason)


def _bang_interval(
    right: int, wrong: int, n: int, se: float, level: float
) -> tuple[Interval | None, str]:
    """The normal interval; where all guesses are alike its error is zero, so the exact one."""
    middle = (right - wrong) / n
    if n not in (right, wrong, n - right - wrong):
        reach = float(stats.norm.isf(alpha_of(level) / 2)) * se
        return Interval(middle - reach, middle + reach, level, "Wald").clipped(-1, 1), ""
    exact = clopper_pearson(right, n, level) if right + wrong else None
    if exact is None:
        return None, "Every guess is unknown, so there is no spread for an interval."
    return Interval(2 * exact.low - 1, 2 * exact.high - 1, level, "Clopper-Pearson"), ""


def james(table: Sequence[Sequence[int]], level: float = 0.95) -> James:
    """Return James's (1996) index of ``table[arm][guess]``: two arms by (arm 0, arm 1, unknown).

    A right guess weighs 0, a wrong one 0.5 and an unknown one 1. The error is by the delta method
    for multinomial counts. Raises ValueError for another shape or negative counts.
    """
    counts = np.asarray(table, dtype=float)
    if counts.shape != (2, 3) or (counts < 0).any():
        raise ValueError("A table of guesses has two arms by three answers, none negative.")
    n = float(counts.sum())
    if not n:
        return James(None, None, None, NO_GUESSES)
    shares = counts / n
    unknown = float(shares[:, 2].sum())
    if unknown == 1:
        return James(1.0, 0.0, None, "Every guess is unknown: blinding is complete.")
    found = _james(shares)
    if found is None:
        return James(None, None, None, "All guesses name one arm that all answers came from.")
    se = sqrt(_delta_variance(shares) / n)
    if se < 1e-12:
        return James(found, 0.0, None, "All guesses are alike, so there is no interval.")
    reach = float(stats.norm.isf(alpha_of(level) / 2)) * se
    return James(found, se, Interval(found - reach, found + reach, level, "Wald").clipped(0, 1))


def _james(shares: NDArray[np.float64]) -> float | None:
    """The index of a table of shares; None where no guess can be wrong."""
    unknown = float(shares[:, 2].sum())
    observed = 0.5 * float(shares[0, 1] + shares[1, 0]) / (1 - unknown)
    guessed, held = shares[:, :2].sum(axis=0), shares[:, :2].sum(axis=1)
    expected = 0.5 * float(guessed[1] * held[0] + guessed[0] * held[1]) / (1 - unknown) ** 2
    if expected < 1e-12:
        return None
    kappa = (observed - expected) / expected
    return (1 + unknown + (1 - unknown) * kappa) / 2


def _delta_variance(shares: NDArray[np.float64], step: float = 1e-6) -> float:
    """Variance of the index times n, with numerical slopes towards each cell (their mean is 0)."""
    slopes = np.zeros_like(shares)
    for cell in np.ndindex(*shares.shape):
        moved = shares * (1 - step)
        moved[cell] += step
        there, here = _james(moved), _james(shares)
        slopes[cell] = 0.0 if there is None or here is None else (there - here) / step
    return float(np.sum(shares * slopes**2))
