"""How many votes and raters a study needs: exact sums of binomial terms, no normal theory.

The power of the exact sign test is a saw: one more vote can lower it, because the attained size
jumps. A sample size therefore counts as enough only if the next few sizes are enough as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import ceil, log2, sqrt

from scipy import stats

STEADY = 5


@dataclass(frozen=True, slots=True)
class SampleSize:
    """The smallest number of decided votes with the wanted power; None with a ``reason``.

    ``approximate`` is the normal approximation, which is too hopeful: shown for comparison only.
    """

    n: int | None
    power: float | None
    approximate: float | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class PowerRow:
    """One line of a power table: ``powers`` belongs to the true win rates that were asked for."""

    n: int
    critical: int | None
    attained_alpha: float
    powers: tuple[float, ...]


@lru_cache(maxsize=4096)
def critical_count(n: int, alpha: float = 0.05) -> int | None:
    """Return the fewest wins of ``n`` whose two-sided exact p is below ``alpha``; None if no count.

    >>> critical_count(25)
    18
    """
    if n < 1 or 0.5 ** (n - 1) >= alpha:
        return None
    k = int(stats.binom.isf(alpha / 2, n, 0.5))
    # The quantile is at most a step off; the tail itself decides.
    while 2 * float(stats.binom.sf(k - 1, n, 0.5)) >= alpha:
        k += 1
    return k


def power(n: int, p: float, alpha: float = 0.05) -> float:
    """Return the chance that ``n`` decided votes with true win rate ``p`` give p < ``alpha``."""
    critical = critical_count(n, alpha)
    if critical is None:
        return 0.0
    return float(stats.binom.sf(critical - 1, n, p) + stats.binom.cdf(n - critical, n, p))


def attained_alpha(n: int, alpha: float = 0.05) -> float:
    """Return the true size of the exact test at ``n`` votes; at most ``alpha``."""
    return power(n, 0.5, alpha)


def sample_size(
    p: float, target: float = 0.8, alpha: float = 0.05, *, cap: int = 20_000
) -> SampleSize:
    """Return the smallest n with power >= ``target`` there and at the next five n."""
    rough = _normal_approximation(p, target, alpha)
    if rough is None:
        return SampleSize(None, None, None, "With equal chances no number of votes is enough.")
    if rough > cap:
        return SampleSize(None, None, rough, f"More than {cap} votes would be needed.")
    # The approximation is a lower bound but for a few votes: sizes far below it need no look.
    # Wanted is a run of STEADY + 1 sizes in a row that all reach the target.
    steady = 0
    for n in range(max(1, int(0.7 * rough) - STEADY), cap + STEADY + 1):
        steady = steady + 1 if power(n, p, alpha) >= target else 0
        if steady == STEADY + 1:
            return SampleSize(n - STEADY, power(n - STEADY, p, alpha), rough)
    return SampleSize(None, None, rough, f"More than {cap} votes would be needed.")


def _normal_approximation(p: float, target: float, alpha: float) -> float | None:
    """The textbook sample size of a one-sample test of a proportion against one half."""
    if p == 0.5:
        return None
    z_alpha, z_power = (float(stats.norm.isf(tail)) for tail in (alpha / 2, 1 - target))
    root = z_alpha * 0.5 + z_power * sqrt(p * (1 - p))
    return float((root / (p - 0.5)) ** 2)


def power_table(
    sizes: Sequence[int], rates: Sequence[float], alpha: float = 0.05
) -> tuple[PowerRow, ...]:
    """Return for each number of votes the critical count, the true size and the powers."""
    return tuple(
        PowerRow(
            n,
            critical_count(n, alpha),
            attained_alpha(n, alpha),
            tuple(power(n, rate, alpha) for rate in rates),
        )
        for n in sizes
    )


def design_effect(votes_per_rater: float, intraclass: float) -> float:
    """Return 1 + (m - 1) * ICC: by how much votes of the same rater inflate the variance."""
    return 1 + (votes_per_rater - 1) * intraclass


def effective_votes(n: int, votes_per_rater: float, intraclass: float) -> float:
    """Return how many independent votes ``n`` clustered ones are worth."""
    return n / design_effect(votes_per_rater, intraclass)


def attainable_p(raters: int) -> float:
    """Return the smallest two-sided p that flipping the signs of ``raters`` raters can give."""
    return min(1.0, 2.0 ** (1 - raters))


def raters_needed(alpha: float = 0.05) -> int:
    """Return the fewest raters for whom the sign-flip test can fall below ``alpha`` at all."""
    least = max(1, ceil(1 - log2(alpha)))
    return least if attainable_p(least) < alpha else least + 1


def chance_pass(right: int, n: int, options: int = 3) -> float:
    """Return the chance that clicking at random gets ``right`` or more of ``n`` gold pairs.

    ``options`` is the number of buttons, of which one is right.
    """
    return float(stats.binom.sf(right - 1, n, 1 / options))
