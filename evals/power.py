"""How large a difference between two systems over the same items could be found, beforehand.

The test is McNemar's exact one: of the items that exactly one of the two answers right, how many
are the first one's. Its power is summed over every outcome, not simulated. Source: Q. McNemar 1947,
Psychometrika 12; R. J. Connor 1987, "Sample size for testing differences in proportions for the
paired-sample design", Biometrics 43.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy import optimize, stats

from evals.human.statistics.power import critical_count

ALPHA = 0.05
WANTED = 0.8
"""The share of cases in which a difference is to be found."""
LOSSES = (0.0, 0.1)
"""Shares of items that go the other way; nobody knows them beforehand."""


def power(n: int, gained: float, lost: float, alpha: float = ALPHA) -> float:
    """The chance that ``n`` items show a difference, two-sided at ``alpha``.

    ``gained``: the share of items that only the first system answers right; ``lost``: the share
    that only the second one does.
    """
    apart = gained + lost
    if not apart:
        return 0.0
    sizes = np.arange(n + 1)
    # Among too few items that differ no number of wins is enough: more than all are wanted.
    least = np.array([critical_count(size, alpha) or size + 1 for size in sizes.tolist()])
    won = gained / apart
    found = stats.binom.sf(least - 1, sizes, won) + stats.binom.sf(least - 1, sizes, 1 - won)
    return float(stats.binom.pmf(sizes, n, apart) @ found)


@lru_cache(maxsize=256)
def least_gain(n: int, lost: float, wanted: float = WANTED) -> float | None:
    """The smallest difference in the share of right answers that is found in ``wanted`` of cases.

    None where even the largest possible one would not be.
    """
    most = 1 - 2 * lost
    if power(n, most + lost, lost) < wanted:
        return None
    return float(
        optimize.brentq(lambda gain: power(n, gain + lost, lost) - wanted, 1e-9, most, xtol=1e-4)
    )


def told(n: int) -> str:
    """What ``n`` items can show, in a clause."""
    points = [least_gain(n, lost) for lost in LOSSES]
    if points[0] is None:
        return f"{n} items are too few to tell two systems apart"
    worse = "never" if points[1] is None else f"{points[1] * 100:.0f}"
    return (
        f"{n} items tell two systems apart from {points[0] * 100:.0f} points on "
        f"({worse} where a tenth of the answers goes the other way)"
    )
