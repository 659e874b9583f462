"""The win rate at equal length: how much of a preference is a preference for the longer answer.

The logit of winning is a + b * x with x = (system - contributor) / (system + contributor) in
characters, and the length-controlled rate is its value at x = 0. Where a length decides every vote,
maximum likelihood has no solution; Firth's (1993) penalty, Jeffreys' prior, keeps it finite.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats
from scipy.special import expit

from evals.human.statistics.proportions import clopper_pearson, sign_test
from evals.human.statistics.values import NO_DECIDED, NO_VOTES, Interval, Tally, alpha_of

MAX_STEPS = 200
Floats = NDArray[np.float64]
ALIKE = "All pairs have the same difference in length, so it cannot be told from preference."


@dataclass(frozen=True, slots=True)
class LengthControlled:
    """The win rate at equal length in 0..1.

    ``intercept`` and ``slope`` are on the logit scale with errors ``se`` and ``slope_se``.
    ``method`` says how they were found.
    """

    rate: float | None
    interval: Interval | None
    intercept: float | None
    se: float | None
    slope: float | None
    slope_se: float | None
    raw: float | None
    n: int
    method: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class LongerWins:
    """How often the longer answer won: the baseline of always preferring it."""

    wins: int
    n: int
    rate: float | None
    interval: Interval | None
    p: float | None
    reason: str = ""


def longer_wins(longer: Tally, shorter: Tally, level: float = 0.95) -> LongerWins:
    """Return the longer answer's wins from the system's tallies where it was longer and shorter."""
    wins, n = longer.wins + shorter.losses, longer.decided + shorter.decided
    reason = "" if n else NO_DECIDED
    rate = wins / n if n else None
    interval = clopper_pearson(wins, n, level)
    return LongerWins(wins, n, rate, interval, sign_test(wins, n - wins), reason)


def by_longer(longer: Tally, shorter: Tally, level: float = 0.95) -> LengthControlled:
    """Return the rate at equal length when only which answer was longer counts (closed form).

    The logits of winning when longer and when shorter are averaged. If one side was always won or
    lost, half a vote is added to each of the four counts: exactly Firth's penalty in this model.
    """
    cells = np.array([longer.wins, longer.losses, shorter.wins, shorter.losses], dtype=float)
    raw, n = (longer + shorter).rate(), longer.decided + shorter.decided
    if not longer.decided or not shorter.decided:
        return _nothing(raw, n, ALIKE if n else NO_DECIDED)
    separated = not cells.all()
    cells = cells + 0.5 * separated
    there, here = log(cells[0] / cells[1]), log(cells[2] / cells[3])
    se = sqrt(float(np.sum(1 / cells))) / 2
    method = "closed form, Firth" if separated else "closed form"
    return _result((there + here) / 2, se, (there - here) / 2, se, raw, n, method, level)


def length_controlled(
    scores: Sequence[float],
    system_lengths: Sequence[int],
    contributor_lengths: Sequence[int],
    level: float = 0.95,
) -> LengthControlled:
    """Return the rate at equal length by Firth's logistic regression on the relative difference.

    ``scores`` are 1 (system won), 0 (lost) or 0.5 (tie, half a win), one per vote with the lengths
    in characters. Raises ValueError for other scores, negative or unequal numbers of lengths.
    """
    y, x = _checked(scores, system_lengths, contributor_lengths)
    raw = float(np.mean(np.sort(y))) if len(y) else None
    if not len(y) or np.ptp(x) < 1e-9:
        return _nothing(raw, len(y), ALIKE if len(y) else NO_VOTES)
    order = np.lexsort((y, x))
    found = _at_equal_length(x[order], y[order])
    if found is None:
        return _nothing(raw, len(y), "The penalised regression did not converge.")
    intercept, slope, se, slope_se = found
    return _result(intercept, se, slope, slope_se, raw, len(y), "Firth", level)


def _checked(
    scores: Sequence[float], system: Sequence[int], contributor: Sequence[int]
) -> tuple[Floats, Floats]:
    y, a, b = (np.asarray(v, dtype=float) for v in (scores, system, contributor))
    if not len(y) == len(a) == len(b) or not np.isin(y, [0, 0.5, 1]).all():
        raise ValueError("Scores are 0, 0.5 or 1, with one pair of lengths each.")
    if (a < 0).any() or (b < 0).any():
        raise ValueError("A length cannot be negative.")
    total = np.where(a + b == 0, 1, a + b)
    return y, (a - b) / total


def _nothing(raw: float | None, n: int, reason: str) -> LengthControlled:
    return LengthControlled(None, None, None, None, None, None, raw, n, "none", reason)


def _result(
    intercept: float,
    se: float,
    slope: float,
    slope_se: float,
    raw: float | None,
    n: int,
    method: str,
    level: float,
) -> LengthControlled:
    reach = float(stats.norm.isf(alpha_of(level) / 2)) * se
    low, mid, high = (float(expit(intercept + d)) for d in (-reach, 0.0, reach))
    interval = Interval(low, high, level, "Wald, logit")
    return LengthControlled(
        mid, interval, float(intercept), se, float(slope), slope_se, raw, n, method
    )


def _at_equal_length(x: Floats, y: Floats) -> tuple[float, float, float, float] | None:
    """Intercept and slope at x = 0 and their errors; None if the fit fails.

    Fitted on a standardised x, which the penalty does not mind and rounding likes better.
    """
    middle, spread = float(x.mean()), float(x.std())
    found = _firth(np.column_stack([np.ones(len(x)), (x - middle) / spread]), y)
    if found is None:
        return None
    back = np.array([[1.0, -middle / spread], [0.0, 1 / spread]])
    intercept, slope = back @ found[0]
    se, slope_se = np.sqrt(np.diag(back @ found[1] @ back.T))
    return float(intercept), float(slope), float(se), float(slope_se)


def _firth(design: Floats, y: Floats) -> tuple[Floats, Floats] | None:
    """Coefficients and covariance; None if the search does not end.

    Scoring steps come near the top, but only slowly onto it or swinging around it, as the
    information is not the curvature of the penalised likelihood: a root finder ends the search.
    """
    beta = np.zeros(design.shape[1])
    for _ in range(MAX_STEPS):
        covariance, score = _covariance_and_score(design, y, beta)
        step = covariance @ score
        if np.max(np.abs(step)) < 1e-3:
            break
        beta = _climbed(design, y, beta, step)
    options = {"xtol": 1e-14, "ftol": 1e-14}
    top = optimize.root(
        lambda b: _covariance_and_score(design, y, b)[1], beta, method="lm", options=options
    ).x
    covariance, score = _covariance_and_score(design, y, top)
    return (top, covariance) if np.max(np.abs(covariance @ score)) < 1e-8 else None


def _covariance_and_score(design: Floats, y: Floats, beta: Floats) -> tuple[Floats, Floats]:
    """Inverse information and Firth's modified score."""
    p = expit(design @ beta)
    weight = p * (1 - p)
    covariance = np.linalg.inv(design.T * weight @ design)
    leverage = weight * np.einsum("ni,ij,nj->n", design, covariance, design)
    return covariance, design.T @ (y - p + leverage * (0.5 - p))


def _climbed(design: Floats, y: Floats, beta: Floats, step: Floats) -> Floats:
    """The step, halved until the likelihood rises by a quarter of what its slope promises."""
    promised = float(_covariance_and_score(design, y, beta)[1] @ step)
    value = _penalised(design, y, beta)
    ahead = ((size, beta + size * step) for size in 0.5 ** np.arange(40))
    return next(
        (b for size, b in ahead if _penalised(design, y, b) >= value + size * promised / 4), beta
    )


def _penalised(design: Floats, y: Floats, beta: Floats) -> float:
    """Log likelihood plus half the log determinant of the information."""
    eta = design @ beta
    weight = expit(eta) * expit(-eta)
    sign, determinant = np.linalg.slogdet(design.T * weight @ design)
    likelihood = float(np.sum(y * eta - np.logaddexp(0, eta)))
    return likelihood + float(determinant) / 2 if sign > 0 else -np.inf
