"""Few human and many automatic judgements together: prediction-powered inference.

A judge's mean over many pairs is corrected by how far it is off on the pairs that people rated as
well (Angelopoulos et al. 2023). The result is centred on the human win rate however bad the judge
is; a good judge only makes it more precise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from evals.human.statistics.values import Interval, alpha_of

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class PredictionPowered:
    """The human win rate in 0..1 estimated with the judge's help.

    ``weight`` is how far the judge is used: 1 unless tuned. ``worth`` is the number of human
    judgements alone that would be as precise; below ``labelled`` the judge did harm.
    """

    estimate: float | None
    se: float | None
    interval: Interval | None
    weight: float
    labelled: int
    unlabelled: int
    human_mean: float | None
    worth: float | None
    reason: str = ""


def prediction_powered(
    human: Sequence[float],
    judge: Sequence[float],
    judge_only: Sequence[float],
    level: float = 0.95,
    *,
    tuned: bool = False,
) -> PredictionPowered:
    """Return the corrected mean; scores are 1 win, 0 loss, 0.5 tie.

    ``human`` and ``judge`` score the same pairs in the same order, ``judge_only`` other pairs. With
    ``tuned`` the judge gets the weight of least variance, between 0 and 1 (Angelopoulos, Duchi and
    Zrnic 2023). The interval uses Student's t with one degree less than pairs rated by people.
    Raises ValueError if ``human`` and ``judge`` differ in length.
    """
    y, f, g = (np.asarray(v, dtype=float) for v in (human, judge, judge_only))
    n, m = len(y), len(g)
    if len(f) != n:
        raise ValueError(f"{n} human scores need as many judge scores, not {len(f)}.")
    if not n or not m:
        mean = float(y.mean()) if n else None
        why = "Pairs rated by both and pairs rated by the judge alone are needed."
        return PredictionPowered(None, None, None, 1.0, n, m, mean, None, why)
    weight = _best_weight(y, f, g) if tuned else 1.0
    estimate = min(1.0, max(0.0, float(weight * g.mean() + (y - weight * f).mean())))
    return _with_error(estimate, weight, (y, f, g), level)


def _with_error(
    estimate: float, weight: float, scores: tuple[Floats, Floats, Floats], level: float
) -> PredictionPowered:
    y, f, g = scores
    n, m, mean = len(y), len(g), float(y.mean())
    if min(n, m) < 2:
        why = "One pair has no spread to judge an interval by."
        return PredictionPowered(estimate, None, None, weight, n, m, mean, None, why)
    off = float((y - weight * f).var(ddof=1)) / n
    variance = weight**2 * float(g.var(ddof=1)) / m + off
    if off < 1e-15:
        # A judge without an error on a few pairs is not one without errors.
        why = "The judge is off by the same on every pair, so its error cannot be estimated."
        return PredictionPowered(estimate, None, None, weight, n, m, mean, None, why)
    se, spread = sqrt(variance), float(y.var(ddof=1))
    reach = float(stats.t.isf(alpha_of(level) / 2, n - 1)) * se
    found = Interval(estimate - reach, estimate + reach, level, "prediction-powered, t")
    worth = spread / variance if spread else None
    return PredictionPowered(estimate, se, found.clipped(0, 1), weight, n, m, mean, worth)


def _best_weight(y: Floats, f: Floats, g: Floats) -> float:
    """The weight that makes the variance least, cut to 0..1; 0 where the judge never varies."""
    if len(y) < 2:
        return 0.0
    spread = float(np.concatenate([f, g]).var(ddof=1)) * (1 + len(y) / len(g))
    if spread < 1e-15:
        return 0.0
    return min(1.0, max(0.0, float(np.cov(y, f)[0, 1]) / spread))
