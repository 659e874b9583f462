"""T-S5: Bradley-Terry strengths, Elo gaps and Davidson's ties."""

from __future__ import annotations

import pytest

from evals.human.statistics.bradley_terry import davidson, strengths, two_arms
from evals.human.statistics.values import Tally
from tests.evals.human.statistics.checks import near, sound, spans

ENCYCLOPEDIA = [[0, 2, 0, 1], [3, 0, 5, 0], [0, 3, 0, 1], [4, 0, 3, 0]]
BASEBALL = [
    [0, 7, 9, 7, 7, 9, 11],
    [6, 0, 7, 5, 11, 9, 9],
    [4, 6, 0, 7, 7, 8, 12],
    [6, 8, 6, 0, 6, 7, 10],
    [6, 2, 6, 7, 0, 7, 12],
    [4, 4, 5, 6, 6, 0, 6],
    [2, 4, 1, 3, 1, 7, 0],
]


def test_two_arms() -> None:
    found = two_arms(Tally(15, 10, 4))
    assert near(found.log_ratio, 0.405465, 1e-6) and near(found.se, 0.408248, 1e-6)
    assert spans(found.interval, -0.394687, 1.205617, 1e-6)
    assert near(found.elo, 70.4365, 1e-3) and spans(found.elo_interval, -68.564, 209.437, 1e-2)


def test_four_arms_of_the_encyclopedia() -> None:
    found = strengths(ENCYCLOPEDIA).strengths
    assert found is not None
    assert found == pytest.approx((0.63983, 1.04331, 0.65981, 2.27038), abs=1e-5)


def test_the_american_league_of_1987() -> None:
    logs = strengths(BASEBALL).logs
    assert logs is not None
    against_last = [x - logs[-1] for x in logs]
    published = (1.5814, 1.4364, 1.2945, 1.2476, 1.1077, 0.6839, 0)
    assert against_last == pytest.approx(published, abs=1e-4)


def test_davidson_ties() -> None:
    found = davidson(Tally(15, 10, 5))
    assert near(found.arms.log_ratio, 0.405465, 1e-6) and near(found.tie, 0.408248, 1e-6)
    assert found.interval is not None and found.tie is not None and found.tie in found.interval


def test_davidson_reproduces_the_shares_of_outcomes() -> None:
    """The closed form is the maximum: three outcomes, three shares, fitted exactly."""
    found = davidson(Tally(15, 10, 5))
    ratio = 1.5
    assert found.tie is not None
    tied = found.tie * ratio**0.5
    total = ratio + 1 + tied
    assert [ratio / total, 1 / total, tied / total] == pytest.approx([15 / 30, 10 / 30, 5 / 30])


@pytest.mark.parametrize("tally", [Tally(25, 0), Tally(0, 3, 2)])
def test_an_arm_that_never_loses_is_separated_not_enormous(tally: Tally) -> None:
    found = two_arms(tally)
    assert found.separated and found.log_ratio is None and found.elo is None and found.reason
    sound(found)
    sound(davidson(tally))


def test_groups_without_a_way_back_have_no_strengths() -> None:
    found = strengths([[0, 3, 1], [2, 0, 1], [0, 0, 0]])
    assert found.strengths is None and found.reason
    assert found.groups[0] == found.groups[1] != found.groups[2]
    sound(found)


def test_arms_that_never_met_have_no_strengths() -> None:
    assert strengths([[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0]]).strengths is None


def test_a_hard_but_finite_table_is_solved() -> None:
    n = 8
    chain = [[1000.0 * (j == i + 1) + (j == i - 1) for j in range(n)] for i in range(n)]
    logs = strengths(chain).logs
    assert logs is not None and logs[0] - logs[-1] == pytest.approx(7 * 6.907755, rel=1e-6)


@pytest.mark.parametrize("table", [[[0, 1]], [[0, -1], [1, 0]], [[1, 1], [1, 0]]])
def test_tables_that_are_none_are_refused(table: list[list[float]]) -> None:
    with pytest.raises(ValueError, match="table of wins"):
        strengths(table)
