"""What the place of an answer contributes: left or right for people, first or second for judges."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np
from scipy import stats

from evals.human.statistics.proportions import clopper_pearson, sign_test, wilson
from evals.human.statistics.values import Interval, Tally, alpha_of

ONE_SIDE = "The tallied arm has decided votes on one side only."


@dataclass(frozen=True, slots=True)
class PositionEffect:
    """The tallied arm's win rate free of its side, and what standing on the left adds.

    ``adjusted`` is the mean of its win rates on the left and on the right, ``effect`` half their
    difference (so 0.1 means a tenth more wins on the left than adjusted), ``p`` Fisher's exact
    two-sided test of equal rates. Intervals combine Wilson's (Newcombe 1998), so that they are not
    degenerate at 0 and 1. ``left_wins`` of ``n`` decided votes went to the left, whoever stood
    there, ``left_p`` is its sign test.
    """

    left_rate: float | None
    right_rate: float | None
    raw: float | None
    adjusted: float | None
    adjusted_interval: Interval | None
    effect: float | None
    effect_interval: Interval | None
    p: float | None
    left_wins: int
    n: int
    left_p: float | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class SwapConsistency:
    """What swapping the two answers did to a judge's verdicts.

    ``consistent`` is the share of pairs with the same arm both times, ``with_ties`` counts a tie
    both times as well. ``first_share`` is the share of flips that named the first place both
    times, ``p`` its exact sign test. ``ties`` pairs are ties after flips became ties.
    """

    pairs: int
    consistent: float | None
    interval: Interval | None
    with_ties: float | None
    flips: int
    first_share: float | None
    first_interval: Interval | None
    p: float | None
    ties: int
    reason: str = ""


def position_effect(left: Tally, right: Tally, level: float = 0.95) -> PositionEffect:
    """Compare an arm's votes where it stood on the left and on the right; ties are left out."""
    alpha_of(level)
    total = left + right
    left_wins = left.wins + right.losses
    there, here = left.rate(), right.rate()
    adjusted = effect = adjusted_interval = effect_interval = p = None
    if there is not None and here is not None:
        adjusted, effect = (there + here) / 2, (there - here) / 2
        adjusted_interval = _half(left, right, level, 1)
        effect_interval = _half(left, right, level, -1)
        table = [[left.wins, left.losses], [right.wins, right.losses]]
        p = min(1.0, float(stats.fisher_exact(table).pvalue))
    return PositionEffect(
        left_rate=there,
        right_rate=here,
        raw=total.rate(),
        adjusted=adjusted,
        adjusted_interval=adjusted_interval,
        effect=effect,
        effect_interval=effect_interval,
        p=p,
        left_wins=left_wins,
        n=total.decided,
        left_p=sign_test(left_wins, total.decided - left_wins),
        reason=ONE_SIDE if adjusted is None else "",
    )


def _half(left: Tally, right: Tally, level: float, sign: int) -> Interval | None:
    """Interval of half the sum (``sign`` 1) or difference (-1) of two independent rates."""
    one, two = wilson(left.wins, left.decided, level), wilson(right.wins, right.decided, level)
    p, q = left.rate(), right.rate()
    if one is None or two is None or p is None or q is None:
        return None
    low, high = (two.low, two.high) if sign > 0 else (two.high, two.low)
    middle = (p + sign * q) / 2
    return Interval(
        middle - sqrt((p - one.low) ** 2 + (q - low) ** 2) / 2,
        middle + sqrt((one.high - p) ** 2 + (high - q) ** 2) / 2,
        level,
        "Newcombe",
    )


def position_power(
    n_left: int, n_right: int, rate: float, effect: float, alpha: float = 0.05
) -> float:
    """Return the chance that Fisher's test finds a position effect, by enumeration.

    The arm wins ``rate`` + ``effect`` of its ``n_left`` votes on the left and ``rate`` - ``effect``
    of its ``n_right`` on the right. Raises ValueError where these are no probabilities.
    """
    there, here = rate + effect, rate - effect
    if not (0 <= there <= 1 and 0 <= here <= 1):
        raise ValueError(f"Win rates {there} and {here} are no probabilities.")
    if not n_left or not n_right:
        return 0.0
    left = stats.binom.pmf(np.arange(n_left + 1), n_left, there)
    right = stats.binom.pmf(np.arange(n_right + 1), n_right, here)
    found = 0.0
    # Tables with the same total of wins share one hypergeometric distribution.
    for wins in range(n_left + n_right + 1):
        a = np.arange(max(0, wins - n_right), min(wins, n_left) + 1)
        chances = stats.hypergeom.pmf(a, n_left + n_right, wins, n_left)
        # As in scipy: a table counts as extreme if it is at most as likely, but for rounding.
        p = np.where(chances[:, None] >= chances[None, :] * (1 - 1e-7), chances, 0).sum(axis=1)
        found += float(np.sum((left[a] * right[wins - a])[p < alpha]))
    return found


def swap_consistency(
    same_system: int,
    same_contributor: int,
    first: int,
    second: int,
    same_tied: int = 0,
    half_tied: int = 0,
    level: float = 0.95,
) -> SwapConsistency:
    """Summarise pairs judged in both orders.

    Counts of pairs: the same arm twice (one count per arm), the first place twice, the second place
    twice, a tie twice, and a tie in one order only.
    """
    counts = (same_system, same_contributor, first, second, same_tied, half_tied)
    if min(counts) < 0:
        raise ValueError(f"A count of pairs cannot be negative: {counts}.")
    pairs, same, flips = sum(counts), same_system + same_contributor, first + second
    return SwapConsistency(
        pairs=pairs,
        consistent=same / pairs if pairs else None,
        interval=clopper_pearson(same, pairs, level),
        with_ties=(same + same_tied) / pairs if pairs else None,
        flips=flips,
        first_share=first / flips if flips else None,
        first_interval=clopper_pearson(first, flips, level),
        p=sign_test(first, second),
        ties=flips + same_tied + half_tied,
        reason="" if pairs else "No pair was judged in both orders.",
    )
