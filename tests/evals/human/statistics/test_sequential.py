"""T-S6: anytime-valid evidence, confidence sequences and the exact price of peeking."""

from __future__ import annotations

import itertools
from fractions import Fraction
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.human.statistics.proportions import wilson
from evals.human.statistics.sequential import (
    confidence_sequence,
    crossing_probability,
    e_process_crossing,
    e_value,
    first_crossing,
    log_e_value,
    monitor,
    peeking_error,
)
from tests.evals.human.statistics.checks import near, sound, spans


@pytest.mark.parametrize(
    ("k", "n", "e"),
    [
        (15, 25, 0.3948), (18, 25, 2.6847), (20, 25, 24.2905), (25, 25, 1290555.0769),
        (60, 100, 0.9130), (65, 100, 11.4614), (66, 100, 21.6129),
    ],
)  # fmt: skip
def test_evidence(k: int, n: int, e: float) -> None:
    assert near(e_value(k, n), e)
    assert e_value(k, n) == pytest.approx(2**n / ((n + 1) * comb(n, k)))


@pytest.mark.parametrize(
    ("n", "k"), [(10, 10), (25, 20), (50, 36), (100, 66), (200, 124), (7, None), (0, None)]
)
def test_the_first_count_that_crosses(n: int, k: int | None) -> None:
    assert first_crossing(n) == k


@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    [
        (15, 25, 0.3107, 0.8468), (18, 25, 0.4230, 0.9223), (20, 25, 0.5065, 0.9621),
        (60, 100, 0.4408, 0.7460), (66, 100, 0.5012, 0.7976),
    ],
)  # fmt: skip
def test_confidence_sequence(k: int, n: int, low: float, high: float) -> None:
    found = confidence_sequence(k, n)
    assert spans(found, low, high)
    for end in (found.low, found.high):
        assert log_e_value(k, n, end) == pytest.approx(2.995732, abs=1e-6)


@given(st.integers(0, 60), st.integers(0, 60))
def test_the_sequence_contains_wilson_and_decides_like_the_evidence(wins: int, losses: int) -> None:
    n = wins + losses
    found, score = confidence_sequence(wins, n), wilson(wins, n)
    if score is not None:
        assert found.low <= score.low + 1e-9 and score.high <= found.high + 1e-9
    assert (0.5 in found) == (e_value(wins, n) < 20)
    other = confidence_sequence(losses, n)
    assert spans(other, 1 - found.high, 1 - found.low, 1e-9)


def test_peeking_inflates_the_error_and_evidence_does_not() -> None:
    assert near(peeking_error(range(5, 101, 5)), 0.16977, 1e-5)
    assert near(peeking_error(range(6, 101)), 0.22731, 1e-5)
    assert near(e_process_crossing(100), 0.02758, 1e-5)
    assert peeking_error([100]) == pytest.approx(0.035200, abs=1e-6)
    assert peeking_error([]) == 0


def test_the_power_of_the_anytime_rule_grows_with_the_effect() -> None:
    chances = [e_process_crossing(100, p) for p in (0.5, 0.6, 0.7, 0.8)]
    assert chances == sorted(chances) and chances[-1] > 0.99


def test_the_programme_counts_every_sequence() -> None:
    """A rule on 12 votes against the 4096 sequences, with exact fractions."""
    p = Fraction(3, 5)

    def stops(k: int, n: int) -> bool:
        return n >= 3 and abs(2 * k - n) >= 4

    exact = Fraction(0)
    for votes in itertools.product((0, 1), repeat=12):
        wins = list(itertools.accumulate(votes))
        if any(stops(k, n) for n, k in enumerate(wins, 1)):
            exact += p ** wins[-1] * (1 - p) ** (12 - wins[-1])
    assert crossing_probability(stops, 12, 0.6) == pytest.approx(float(exact), abs=1e-12)


@given(st.lists(st.booleans(), max_size=60))
def test_monitoring_follows_the_votes(votes: list[bool]) -> None:
    found = monitor(votes)
    sound(found)
    values = [e_value(sum(votes[:i]), i) for i in range(len(votes) + 1)]
    assert found.e == pytest.approx(values[-1]) and found.highest == pytest.approx(max(values))
    assert found.p == pytest.approx(min(1, 1 / max(values)))
    crossed = [i for i, e in enumerate(values) if e >= 20]
    assert found.crossed_at == (crossed[0] if crossed else None)


def test_crossing_is_kept_when_the_evidence_falls_again() -> None:
    found = monitor([True] * 10 + [False] * 10)
    assert found.crossed_at == 8 and found.e < 1 and found.p < 0.05


def test_very_long_runs_stay_finite() -> None:
    sound(monitor([True] * 3000))
    assert e_value(3000, 3000) == pytest.approx(1e300)
    assert confidence_sequence(2500, 5000).low == pytest.approx(0.4735, abs=1e-4)
