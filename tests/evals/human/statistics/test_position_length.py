"""T-S8: what the place and the length of an answer contribute."""

from __future__ import annotations

from math import log

import pytest

from evals.human.statistics.length import by_longer, length_controlled, longer_wins
from evals.human.statistics.position import position_effect, position_power, swap_consistency
from evals.human.statistics.values import Tally
from tests.evals.human.statistics.checks import near, sound, spans


def test_the_position_effect() -> None:
    found = position_effect(Tally(9, 3), Tally(6, 7))
    assert near(found.adjusted, 0.605769, 1e-6) and near(found.raw, 0.6)
    assert near(found.effect, 0.144231, 1e-6) and near(found.p, 0.226195, 1e-6)
    assert (found.left_wins, found.n) == (16, 25)
    assert found.adjusted_interval is not None and found.adjusted in found.adjusted_interval
    assert found.effect_interval is not None and 0 in found.effect_interval


def test_the_intervals_are_newcombes() -> None:
    """Newcombe (1998, Stat Med 17:873), method 10: 56/70 less 48/80 is .2 (.0524, .3339)."""
    found = position_effect(Tally(56, 14), Tally(48, 32)).effect_interval
    assert spans(found, 0.0524 / 2, 0.3339 / 2, 5e-5)
    none = position_effect(Tally(10, 0), Tally(0, 20)).effect_interval
    assert spans(none, 0.6791 / 2, 0.5, 5e-5)


def test_always_the_left_answer_is_a_position_effect_only() -> None:
    found = position_effect(Tally(12, 0), Tally(0, 13))
    assert found.adjusted == 0.5 and found.effect == 0.5
    assert found.p is not None and found.p < 1e-6 and found.left_wins == 25
    sound(found)


def test_one_side_only_has_no_position_effect() -> None:
    found = position_effect(Tally(5, 3), Tally(0, 0, 4))
    assert found.adjusted is None and found.p is None and found.reason and found.raw == 5 / 8
    sound(found)


def test_a_judge_that_prefers_the_first_place() -> None:
    found = swap_consistency(40, 20, 25, 5, half_tied=10)
    assert near(found.consistent, 0.6) and near(found.first_share, 25 / 30)
    assert near(found.p, 0.000325, 1e-6) and found.ties == 40 and found.pairs == 100
    tied = swap_consistency(40, 20, 25, 5, same_tied=10)
    assert near(tied.with_ties, 0.7) and near(tied.consistent, 0.6)
    sound(swap_consistency(0, 0, 0, 0))
    with pytest.raises(ValueError, match="negative"):
        swap_consistency(-1, 0, 0, 0)


def test_the_closed_form_at_equal_length() -> None:
    found = by_longer(Tally(45, 15), Tally(20, 20))
    assert near(found.intercept, log(3) / 2, 1e-9) and near(found.slope, log(3) / 2, 1e-9)
    assert near(found.se, 0.217307, 1e-6) and near(found.rate, 0.633975, 1e-6)
    assert near(found.raw, 0.65) and found.interval is not None


def test_longer_always_wins_leaves_exactly_a_half() -> None:
    found = by_longer(Tally(50, 0), Tally(0, 50))
    assert found.rate == 0.5 and "Firth" in found.method
    scores = [1.0] * 50 + [0.0] * 50
    fitted = length_controlled(scores, [200] * 50 + [100] * 50, [100] * 50 + [200] * 50)
    assert near(fitted.rate, 0.5, 1e-9) and fitted.slope is not None and fitted.slope > 5
    sound(found)
    sound(fitted)


def test_a_preference_at_every_length_survives() -> None:
    """Wins do not depend on the length: the controlled rate is the raw one."""
    lengths = [50, 150] * 60
    scores = [1.0, 1.0, 1.0, 1.0, 0.0, 0.0] * 20
    found = length_controlled(scores, lengths, [100] * 120)
    assert near(found.rate, 2 / 3, 0.01) and near(found.raw, 2 / 3)


def test_equal_differences_cannot_be_told_from_preference() -> None:
    found = length_controlled([1, 0, 1], [10, 20, 30], [10, 20, 30])
    assert found.rate is None and found.raw == pytest.approx(2 / 3) and found.reason
    sound(found)


def test_the_length_baseline() -> None:
    found = longer_wins(Tally(45, 15), Tally(20, 20))
    assert (found.wins, found.n, found.rate) == (65, 100, 0.65)
    assert found.p is not None and found.p < 0.01
    sound(longer_wins(Tally(0, 0, 3), Tally(0, 0)))


@pytest.mark.parametrize("bad", [([0.3], [1], [1]), ([1], [-1], [1]), ([1], [1, 2], [1])])
def test_impossible_lengths_are_refused(bad: tuple[list[float], list[int], list[int]]) -> None:
    with pytest.raises(ValueError, match=r"Scores|length"):
        length_controlled(*bad)


def test_the_power_to_see_a_position_effect() -> None:
    powers = [position_power(50, 50, 0.7, effect) for effect in (0, 0.1, 0.2)]
    assert powers[0] < 0.05 < powers[1] < powers[2] and powers[2] > 0.95
    assert position_power(0, 10, 0.7, 0.1) == 0
    with pytest.raises(ValueError, match="probabilities"):
        position_power(5, 5, 0.95, 0.1)
