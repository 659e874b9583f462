"""Win rates when raters and items both repeat: two-way clustered errors.

Where several raters judge the same pair, an unusual pair moves all of their votes. The variance
adds what raters and what items contribute and takes off what both count twice (Cameron, Gelbach and
Miller 2011). With a vote per pair and rater this needs raters and items in numbers; with few of
either the exact sign-flip test over raters decides.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from math import sqrt

from scipy import stats

from evals.human.statistics.values import NO_VOTES, Interval, alpha_of


@dataclass(frozen=True, slots=True)
class Crossed:
    """Mean score with a two-way clustered error; degrees of freedom by the smaller dimension.

    ``repeated`` says whether any item was judged more than once: without, items add nothing.
    """

    n: int
    raters: int
    items: int
    repeated: bool
    mean: float | None
    se: float | None
    interval: Interval | None
    reason: str = ""


def crossed(scores: Sequence[tuple[Hashable, Hashable, float]], level: float = 0.95) -> Crossed:
    """Return the mean of (rater, item, score) rows; score 1 win, 0 loss, 0.5 tie."""
    n, alpha = len(scores), alpha_of(level)
    raters = len({rater for rater, _, _ in scores})
    items = len({item for _, item, _ in scores})
    if not n:
        return Crossed(0, 0, 0, False, None, None, None, NO_VOTES)
    mean = sum(sorted(score for *_, score in scores)) / n
    clusters = min(raters, items)
    if clusters < 2:
        why = "Two raters and two items are the least for a two-way error."
        return Crossed(n, raters, items, items < n, mean, None, None, why)
    # The factor makes up for the residuals of few clusters being too small.
    se = sqrt(_variance(scores, mean) * clusters / (clusters - 1)) / n
    if se < 1e-12:
        why = "All votes are the same, so their spread gives no interval."
        return Crossed(n, raters, items, items < n, mean, 0.0, None, why)
    reach = float(stats.t.isf(alpha / 2, clusters - 1)) * se
    found = Interval(mean - reach, mean + reach, level, "two-way clustered, t").clipped(0, 1)
    return Crossed(n, raters, items, items < n, mean, se, found)


def _variance(scores: Sequence[tuple[Hashable, Hashable, float]], mean: float) -> float:
    """The variance of the sum; never below the one-way ones, which it can undercut by chance."""
    by_rater = _squares((rater, score - mean) for rater, _, score in scores)
    by_item = _squares((item, score - mean) for _, item, score in scores)
    by_cell = _squares(((rater, item), score - mean) for rater, item, score in scores)
    return max(by_rater + by_item - by_cell, by_rater, by_item)


def _squares(residuals: Iterable[tuple[Hashable, float]]) -> float:
    """The sum over clusters of the squared sum of residuals in it, free of the rows' order."""
    members: dict[Hashable, list[float]] = {}
    for cluster, residual in residuals:
        members.setdefault(cluster, []).append(residual)
    return sum(sorted(sum(sorted(values)) ** 2 for values in members.values()))
