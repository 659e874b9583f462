"""Evidence that may be looked at after every vote, and the price of looking at p-values instead.

The bet against "equal chances" is a mixture over all win rates with equal weight. Its wealth after
k wins in n decided votes is E = 2**n * B(k + 1, n - k + 1); under equal chances it reaches
1 / alpha at any time with a chance of at most alpha (Ville 1939). Votes count in the order of the
ledger. Only the next vote's chance given all earlier ones matters, so votes of one rater in a row
do no harm to the size, but the scope stays *these pairs*.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import exp, inf, log

import numpy as np
from scipy.optimize import brentq
from scipy.special import betaln

from evals.human.statistics.power import critical_count
from evals.human.statistics.values import Interval, alpha_of, counted

Stops = Callable[[int, int], bool]
"""Whether to stop after (wins, decided votes)."""


@dataclass(frozen=True, slots=True)
class Monitor:
    """The state of a study under the anytime-valid rule.

    ``e`` is the evidence now and ``highest`` the highest so far (infinite values are capped at the
    largest float). ``p`` = 1 / highest is valid at any time. ``crossed_at`` is the number of
    decided votes at the first crossing of 1 / alpha. ``interval`` is the confidence sequence now.
    """

    wins: int
    n: int
    e: float
    highest: float
    p: float
    crossed_at: int | None
    interval: Interval


def log_e_value(wins: int, n: int, p: float = 0.5) -> float:
    """Return the log evidence against win rate ``p`` after ``wins`` of ``n`` decided votes."""
    counted(wins, n)
    if (p <= 0 and wins) or (p >= 1 and wins < n):
        return inf
    likelihood = (wins * log(p) if wins else 0.0) + ((n - wins) * log(1 - p) if wins < n else 0.0)
    return float(betaln(wins + 1, n - wins + 1)) - likelihood


def e_value(wins: int, n: int, p: float = 0.5) -> float:
    """Return the evidence against win rate ``p``; 1 before the first vote. Capped at 1e300."""
    return exp(min(log_e_value(wins, n, p), 300 * log(10)))


def first_crossing(n: int, alpha: float = 0.05) -> int | None:
    """Return the fewest wins, half of ``n`` or more, with evidence 1 / alpha; None if no count."""
    least = -log(alpha)
    counts = range((n + 1) // 2, n + 1)
    return next((k for k in counts if log_e_value(k, n) >= least), None)


def confidence_sequence(wins: int, n: int, level: float = 0.95) -> Interval:
    """Return all win rates with evidence below 1 / alpha: valid at every n at once."""
    counted(wins, n)
    least = -log(alpha_of(level))
    top = wins / n if n else 0.5

    def excess(p: float) -> float:
        return min(log_e_value(wins, n, p), 1e6) - least

    low = 0.0 if wins == 0 else float(brentq(excess, 0.0, top, xtol=1e-13))
    high = 1.0 if wins == n else float(brentq(excess, top, 1.0, xtol=1e-13))
    return Interval(low, high, level, "confidence sequence, uniform mixture")


def monitor(wins: Sequence[bool], level: float = 0.95) -> Monitor:
    """Return the state after decided votes in order, ``True`` where the tallied arm won."""
    least = -log(alpha_of(level))
    totals = np.cumsum([bool(w) for w in wins])
    path = [log_e_value(int(k), i) for i, k in enumerate(totals, 1)]
    highest = max([0.0, *path])
    now, k = (path[-1], int(totals[-1])) if path else (0.0, 0)
    return Monitor(
        wins=k,
        n=len(path),
        e=exp(min(now, 300 * log(10))),
        highest=exp(min(highest, 300 * log(10))),
        p=exp(-highest),
        crossed_at=next((i for i, e in enumerate(path, 1) if e >= least), None),
        interval=confidence_sequence(k, len(path), level),
    )


def crossing_probability(stops: Stops, horizon: int, p: float = 0.5) -> float:
    """Return the exact chance that a rule stops within ``horizon`` votes at true win rate ``p``.

    Dynamic programme over the number of wins among the paths that have not stopped yet.
    """
    alive, stopped = np.ones(1), 0.0
    for n in range(1, horizon + 1):
        ahead = np.zeros(n + 1)
        ahead[1:] += alive * p
        ahead[:-1] += alive * (1 - p)
        out = np.fromiter((stops(k, n) for k in range(n + 1)), bool, n + 1)
        stopped += float(ahead[out].sum())
        alive = np.where(out, 0.0, ahead)
    return stopped


def e_process_crossing(horizon: int, p: float = 0.5, alpha: float = 0.05) -> float:
    """Return the chance that the evidence reaches 1 / alpha within ``horizon`` votes.

    At ``p`` = 0.5 this is the size of the anytime-valid rule, elsewhere its power.
    """
    bounds = [_bound(n, alpha) for n in range(horizon + 1)]
    return crossing_probability(lambda k, n: max(k, n - k) >= bounds[n], horizon, p)


@lru_cache(maxsize=8192)
def _bound(n: int, alpha: float) -> int:
    found = first_crossing(n, alpha)
    return n + 1 if found is None else found


def peeking_error(looks: Collection[int], alpha: float = 0.05, p: float = 0.5) -> float:
    """Return the chance that the fixed-size test is below alpha at any of the ``looks``.

    At ``p`` = 0.5 this is the true error of "look every so often and stop when significant".
    """
    wanted = frozenset(looks)
    bounds = {n: critical_count(n, alpha) or n + 1 for n in wanted}
    return crossing_probability(
        lambda k, n: n in wanted and max(k, n - k) >= bounds[n], max(wanted, default=0), p
    )
