"""Numbers as words never say more than the numbers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from evals.human.reporting import words


@given(st.floats(0.0001, 1), st.sampled_from([0.05, 0.01, 0.1, 0.005]))
def test_a_rounded_p_stays_on_its_side_of_alpha(p: float, alpha: float) -> None:
    shown = float(words.digits(p, alpha))
    assert (shown < alpha) == (p < alpha) and abs(shown - p) <= 0.005 * p + 1e-12
    assert (shown == 1) == (p == 1)


def test_small_and_missing_values_have_words() -> None:
    assert words.p_value(1e-9) == "p < 0.0001" and words.p_value(None) == "not tested"
    assert words.percent(None) == words.number(None) == "–"
    assert words.number(-0.5) == "−0.50" and words.percent(2 / 3) == "66.7%"
    assert words.count(1, "vote") == "1 vote" and words.count(1200, "vote") == "1,200 votes"
    assert words.listed(["a", "b", "c"]) == "a, b and c" and words.listed(["a"]) == "a"
