"""What a number of items can show: by counting every outcome, and by playing it out."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.power import LOSSES, least_gain, power, told

SHARES = st.floats(0, 0.45)


def p_value(wins: int, losses: int) -> float:
    """Two-sided exact sign test, by counting."""
    n, extreme = wins + losses, max(wins, losses)
    return min(1.0, 2.0 * sum(math.comb(n, k) for k in range(extreme, n + 1)) / 2.0**n)


@given(st.integers(1, 12), SHARES, SHARES)
def test_power_is_the_chance_of_a_significant_outcome(n: int, gained: float, lost: float) -> None:
    """A second way: go through every number of wins and losses and test each."""
    wanted = 0.0
    for wins in range(n + 1):
        for losses in range(n + 1 - wins):
            if wins + losses and p_value(wins, losses) <= 0.05:
                ties = n - wins - losses
                ways = math.comb(n, wins) * math.comb(n - wins, losses)
                wanted += ways * gained**wins * lost**losses * (1 - gained - lost) ** ties
    assert power(n, gained, lost) == pytest.approx(wanted, abs=1e-9)


def test_played_out_it_is_found_as_often() -> None:
    rng = np.random.default_rng(0)
    drawn = rng.multinomial(40, [0.25, 0.05, 0.7], size=2000)
    share = np.mean([p_value(int(won), int(lost)) <= 0.05 for won, lost, _ in drawn])
    # Four standard errors of a share of 2000.
    assert share == pytest.approx(power(40, 0.25, 0.05), abs=4 * 0.5 / 2000**0.5)


def test_five_wins_of_five_are_not_enough_and_six_of_six_are() -> None:
    """Known answers of the sign test: p = 2 / 2**5 = .0625 and 2 / 2**6 = .031."""
    assert power(5, 1.0, 0.0) == 0.0 and power(6, 1.0, 0.0) == 1.0
    assert least_gain(5, 0.0) is None and "too few" in told(5)
    gain = least_gain(20, 0.0)
    assert gain and sum(
        math.comb(20, k) * gain**k * (1 - gain) ** (20 - k) for k in range(6, 21)
    ) == pytest.approx(0.8, abs=1e-3)


@pytest.mark.parametrize("lost", LOSSES)
def test_the_least_gain_is_found_as_often_as_wanted_and_falls_with_n(lost: float) -> None:
    gains = [least_gain(n, lost) for n in (40, 80, 320)]
    assert all(gain is not None for gain in gains) and gains == sorted(gains, reverse=True)  # type: ignore[type-var]
    for n, gain in zip((40, 80, 320), gains, strict=True):
        assert gain and power(n, gain + lost, lost) == pytest.approx(0.8, abs=0.01)


def test_without_a_difference_it_is_found_in_at_most_one_of_twenty() -> None:
    for n in (10, 40, 200):
        for share in (0.05, 0.2, 0.5):
            assert power(n, share, share) <= 0.05
