"""T-S3: exact power, sample sizes, design effects and attainable p-values."""

from __future__ import annotations

import pytest

from evals.human.statistics.power import (
    attainable_p,
    chance_pass,
    critical_count,
    design_effect,
    effective_votes,
    power,
    power_table,
    raters_needed,
    sample_size,
)
from evals.human.statistics.proportions import sign_test
from tests.evals.human.statistics.checks import near, sound


@pytest.mark.parametrize(
    ("n", "p", "expected"),
    [
        (25, 0.6, 0.1548), (25, 0.65, 0.3063), (25, 0.7, 0.5119),
        (25, 0.75, 0.7265), (25, 0.8, 0.8909),
        (50, 0.6, 0.2371), (50, 0.7, 0.7822),
        (100, 0.55, 0.1352), (100, 0.6, 0.4621), (100, 0.65, 0.8276), (100, 0.7, 0.9790),
        (200, 0.6, 0.7868), (400, 0.55, 0.4807),
    ],
)  # fmt: skip
def test_exact_power(n: int, p: float, expected: float) -> None:
    assert near(power(n, p), expected)
    assert near(power(n, 1 - p), expected)


@pytest.mark.parametrize(
    ("p", "n"), [(0.6, 210), (0.65, 97), (0.7, 54), (0.75, 35), (0.8, 23), (0.4, 210)]
)
def test_the_smallest_steady_sample_size(p: float, n: int) -> None:
    assert sample_size(p).n == n


@pytest.mark.parametrize("p", [0.58, 0.66, 0.72, 0.85, 0.95, 1.0])
@pytest.mark.parametrize("target", [0.5, 0.8, 0.95])
def test_no_smaller_size_is_steady(p: float, target: float) -> None:
    enough = [power(n, p) >= target for n in range(700)]
    steady = next(n for n in range(690) if all(enough[n : n + 6]))
    assert sample_size(p, target).n == steady


def test_the_normal_approximation_is_too_hopeful() -> None:
    assert near(sample_size(0.6).approximate, 193.85, 0.01)
    assert near(sample_size(0.7).approximate, 46.63, 0.01)


def test_sizes_out_of_reach_are_none_with_a_reason() -> None:
    for found in (sample_size(0.5), sample_size(0.501), sample_size(0.6, cap=100)):
        assert found.n is None and found.reason
        sound(found)


def test_the_critical_count_is_the_first_that_is_significant() -> None:
    assert critical_count(25) == 18 and critical_count(100) == 61 and critical_count(5) is None
    for alpha in (0.05, 0.0625, 0.2):
        for n in range(1, 40):
            found = critical_count(n, alpha)
            counts = [k for k in range((n + 1) // 2, n + 1) if (sign_test(k, n - k) or 1) < alpha]
            assert found == (counts[0] if counts else None), (n, alpha)


def test_the_power_table_has_a_line_for_each_size() -> None:
    table = power_table([25, 100], [0.6, 0.7])
    assert [row.critical for row in table] == [18, 61]
    assert near(table[0].powers[1], 0.5119) and near(table[1].attained_alpha, 0.0352)


def test_votes_of_one_rater_are_worth_less() -> None:
    assert design_effect(25, 0.1) == pytest.approx(3.4)
    assert near(effective_votes(100, 25, 0.1), 29.4118)
    assert effective_votes(100, 25, 0) == 100


@pytest.mark.parametrize(
    ("raters", "p"), [(0, 1.0), (1, 1.0), (4, 0.125), (5, 0.0625), (6, 0.03125), (8, 0.0078125)]
)
def test_the_smallest_p_that_raters_can_give(raters: int, p: float) -> None:
    assert attainable_p(raters) == p


def test_six_raters_are_the_least() -> None:
    assert raters_needed() == 6
    assert raters_needed(0.0625) == 6 and raters_needed(0.063) == 5 and raters_needed(0.01) == 8


def test_clicking_at_random_on_gold_pairs() -> None:
    assert near(chance_pass(3, 3), 0.037037, 1e-6) and near(chance_pass(4, 5), 0.045267, 1e-6)
    assert chance_pass(0, 5) == 1.0 and chance_pass(1, 1, options=2) == pytest.approx(0.5)
