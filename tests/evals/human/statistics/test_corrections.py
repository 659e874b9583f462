"""T-S10: several tests at once, and few human judgements with many automatic ones."""

from __future__ import annotations

import numpy as np
import pytest

from evals.human.statistics.multiplicity import benjamini_hochberg, holm
from evals.human.statistics.ppi import prediction_powered
from tests.evals.human.statistics.checks import near, sound

P_VALUES = (0.01, 0.04, 0.03, 0.005)


def test_holm_and_benjamini_hochberg() -> None:
    assert holm(P_VALUES) == pytest.approx((0.03, 0.06, 0.06, 0.02))
    assert benjamini_hochberg(P_VALUES) == pytest.approx((0.02, 0.04, 0.04, 0.02))


def test_what_was_not_tested_stays_out() -> None:
    found = holm((0.01, None, 0.04, 0.03, 0.005))
    assert found[1] is None and found[0] == pytest.approx(0.03)
    assert holm(()) == () and benjamini_hochberg((None,)) == (None,)
    with pytest.raises(ValueError, match="between 0 and 1"):
        holm((1.2,))


def votes(wins: int, n: int) -> list[float]:
    return [1.0] * wins + [0.0] * (n - wins)


def test_the_judge_is_corrected_by_its_error_on_shared_pairs() -> None:
    found = prediction_powered(votes(15, 25), votes(18, 25), votes(70, 100))
    assert near(found.estimate, 0.58, 1e-9) and near(found.human_mean, 0.6)
    assert found.worth is not None and found.worth > 25
    sound(found)


def test_a_judge_that_knows_nothing_does_harm_unless_tuned() -> None:
    human, judge = votes(15, 25), [1.0, 0.0] * 12 + [1.0]
    plain = prediction_powered(human, judge, [1.0, 0.0] * 50)
    tuned = prediction_powered(human, judge, [1.0, 0.0] * 50, tuned=True)
    assert plain.worth is not None and plain.worth < 25
    assert tuned.weight < 0.2 and tuned.se is not None and plain.se is not None
    assert tuned.se < plain.se


def test_a_judge_that_is_always_wrong_is_left_out_when_tuned() -> None:
    human = votes(15, 25)
    found = prediction_powered(human, [1 - v for v in human], votes(40, 100), tuned=True)
    assert found.weight == 0 and found.estimate == pytest.approx(0.6)


def test_a_judge_without_an_error_on_few_pairs_gets_no_interval() -> None:
    human = votes(3, 5)
    found = prediction_powered(human, human, votes(70, 100))
    assert near(found.estimate, 0.7) and found.interval is None and found.reason


def test_the_correction_is_unbiased_and_its_interval_honest() -> None:
    """300 simulated studies with a true rate of 0.6 and a judge that says 0.72 on average."""
    rng = np.random.default_rng(7)
    found = []
    for _ in range(300):
        human = rng.random(140) < 0.6
        judge = np.where(rng.random(140) < 0.7, human, True)
        scores = human.astype(float)[:40].tolist(), judge.astype(float).tolist()
        found.append(prediction_powered(scores[0], scores[1][:40], scores[1][40:]))
    estimates = [f.estimate or 0 for f in found]
    assert abs(np.mean(estimates) - 0.6) < 3 * np.std(estimates) / np.sqrt(300)
    covered = np.mean([f.interval is not None and 0.6 in f.interval for f in found])
    assert covered > 0.92
    assert np.mean([f.se or 0 for f in found]) == pytest.approx(np.std(estimates), rel=0.12)


@pytest.mark.parametrize(
    ("human", "judge", "more"),
    [
        ([], [], []),
        ([], [], [1.0]),
        ([1.0], [1.0], []),
        ([1.0], [0.0], [1.0]),
        ([1.0, 1.0], [1.0, 1.0], [1.0, 1.0]),
        ([1.0, 0.0], [1.0, 0.0], [1.0, 0.0]),
        ([1.0, 1.0, 1.0], [0.0, 1.0, 0.0], [1.0, 1.0]),
    ],
)
def test_little_or_nothing(human: list[float], judge: list[float], more: list[float]) -> None:
    for tuned in (False, True):
        sound(prediction_powered(human, judge, more, tuned=tuned))


def test_lengths_must_match() -> None:
    with pytest.raises(ValueError, match="2 human scores"):
        prediction_powered([1, 0], [1], [1])
