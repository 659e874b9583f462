"""T-S9: indices of blinding."""

from __future__ import annotations

import numpy as np
import pytest

from evals.human.statistics.blinding import bang, james
from tests.evals.human.statistics.checks import near, sound, spans


def test_bang_in_both_groups_of_a_published_trial() -> None:
    one, two = bang(82, 25, 170), bang(29, 27, 83)
    assert near(one.index, 0.205776, 1e-6) and spans(one.interval, 0.1367, 0.2748)
    assert near(two.index, 0.014388, 1e-6) and spans(two.interval, -0.0911, 0.1199)


def test_james_of_the_same_trial() -> None:
    assert near(james([[82, 25, 170], [27, 29, 83]]).index, 0.747928, 1e-6)


def test_raters_who_recognise_their_own_model() -> None:
    found = bang(18, 5, 2)
    assert near(found.index, 0.52) and spans(found.interval, 0.2041, 0.8359)
    assert near(found.p, 0.010622, 1e-6)


def test_guesses_all_alike_keep_an_honest_interval() -> None:
    right, wrong, unknown = bang(10, 0), bang(0, 10), bang(0, 0, 10)
    assert right.index == 1.0 and right.interval is not None and right.interval.low < 0.4
    assert wrong.index == -1.0 and wrong.interval is not None and wrong.interval.high > -0.4
    assert unknown.index == 0.0 and unknown.interval is None and unknown.reason
    for found in (right, wrong, unknown, bang(0, 0)):
        sound(found)


def test_james_at_its_ends() -> None:
    assert james([[10, 0, 0], [0, 10, 0]]).index == 0.0
    assert james([[0, 0, 10], [0, 0, 10]]).index == 1.0
    assert near(james([[10, 10, 0], [10, 10, 0]]).index, 0.5)


@pytest.mark.parametrize(
    "table",
    [
        [[0, 0, 0], [0, 0, 0]],
        [[5, 0, 0], [0, 0, 0]],
        [[5, 0, 2], [0, 0, 1]],
        [[0, 1, 0], [0, 0, 0]],
    ],
)
def test_james_of_little(table: list[list[int]]) -> None:
    sound(james(table))


def test_the_error_of_james_is_that_of_its_draws() -> None:
    table = np.array([[82, 25, 170], [27, 29, 83]])
    found = james(table.tolist())
    rng = np.random.default_rng(0)
    draws = rng.multinomial(416, table.ravel() / 416, size=1500).reshape(-1, 2, 3)
    spread = np.std([james(draw.tolist()).index for draw in draws])
    assert found.se == pytest.approx(spread, rel=0.08)


@pytest.mark.parametrize("table", [[[1, 2], [3, 4]], [[1, 2, 3], [1, -2, 3]]])
def test_tables_that_are_none_are_refused(table: list[list[int]]) -> None:
    with pytest.raises(ValueError, match="two arms"):
        james(table)


def test_negative_guesses_are_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        bang(-1, 2)
