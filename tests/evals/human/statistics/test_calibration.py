"""T-S12: the stated error rates hold, by enumeration instead of simulation."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from evals.human.statistics.clusters import sign_flip
from evals.human.statistics.position import position_power
from evals.human.statistics.proportions import clopper_pearson, sign_test
from evals.human.statistics.sequential import (
    confidence_sequence,
    crossing_probability,
    e_process_crossing,
    log_e_value,
)


def test_the_sign_test_keeps_its_size_for_all_numbers_of_votes() -> None:
    for n in range(5, 201):
        k = (n + 1) // 2
        while k <= n and (sign_test(k, n - k) or 0.0) > 0.05:
            k += 1
        # Beyond the first significant count all are: the p-value falls with k.
        assert k > n or (sign_test(n, 0) or 1.0) <= (sign_test(k, n - k) or 0.0)
        assert 2 * float(stats.binom.sf(k - 1, n, 0.5)) <= 0.05, n


@pytest.mark.parametrize("n", [10, 25, 100])
def test_clopper_pearson_covers_every_rate(n: int) -> None:
    found = [clopper_pearson(k, n) for k in range(n + 1)]
    ends = np.array([(f.low, f.high) for f in found if f is not None])
    # The worst rates lie just beside the ends of intervals.
    grid = np.unique(
        np.clip([*np.linspace(0, 1, 401), *(ends.ravel() + 1e-9), *(ends.ravel() - 1e-9)], 0, 1)
    )
    inside = (ends[:, :1] <= grid) & (grid <= ends[:, 1:])
    chances = stats.binom.pmf(np.arange(n + 1)[:, None], n, grid)
    assert (inside * chances).sum(axis=0).min() >= 0.95


@given(st.lists(st.integers(0, 20), min_size=1, max_size=8))
def test_sign_flips_keep_their_size_whatever_the_sizes(sizes: list[int]) -> None:
    """Given how far raters lie from one half, each sign is a coin under the null hypothesis."""
    ps = [sign_flip([s * v for s, v in zip(signs, sizes, strict=True)]).p or 0.0
          for signs in itertools.product((1, -1), repeat=len(sizes))]  # fmt: skip
    for alpha in (0.05, 0.1, 0.25, 0.5):
        assert np.mean([p <= alpha for p in ps]) <= alpha


def test_the_drawn_flip_test_is_never_zero() -> None:
    found = sign_flip([0.3] * 25)
    assert not found.exact and found.p == pytest.approx(1 / 10_001)


def test_the_evidence_crosses_by_chance_as_rarely_as_it_says() -> None:
    for alpha in (0.05, 0.01, 0.2):
        crossing = e_process_crossing(400, 0.5, alpha)
        assert 0 < crossing <= alpha
    assert e_process_crossing(100, 0.5, 0.05) < e_process_crossing(400, 0.5, 0.05)


@pytest.mark.parametrize("p", [0.1, 0.3, 0.5, 0.62, 0.9])
def test_the_confidence_sequence_ever_leaves_out_the_truth_as_rarely(p: float) -> None:
    least = -np.log(0.05)
    ever = crossing_probability(lambda k, n: log_e_value(k, n, p) >= least, 80, p)
    assert 0 < ever <= 0.05
    left_out = [p not in confidence_sequence(k, 40) for k in range(41)]
    assert left_out == [log_e_value(k, 40, p) >= least for k in range(41)]


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.5, 0.63, 0.9])
@pytest.mark.parametrize("sizes", [(12, 13), (25, 25), (5, 40)])
def test_fishers_test_of_position_keeps_its_size(sizes: tuple[int, int], rate: float) -> None:
    assert position_power(*sizes, rate, 0.0) <= 0.05
