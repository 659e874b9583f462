"""What a router is worth: known answers, ties that favour nobody, calibration that helps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from protocols.lib.routes import Trust, softmax
from protocols.training.router_evaluation import (
    bootstrap,
    calibrate_trust,
    cross_entropy,
    evaluation_artifacts,
    halves,
    held_out,
    reliability,
    soft_labels,
    spread,
    temperature,
    threshold,
)

scores = arrays(
    np.float64, st.tuples(st.integers(1, 12), st.integers(2, 5)), elements=st.floats(0, 1)
)


@given(scores)
def test_soft_labels_are_distributions_that_follow_the_scores(found: np.ndarray) -> None:
    made = soft_labels(found, 0.1)
    np.testing.assert_allclose(made.sum(axis=1), 1.0)
    for row, label in zip(found, made, strict=True):
        order = np.argsort(row)
        assert (np.diff(label[order]) >= -1e-12).all()


@given(count=st.integers(2, 5), right=st.integers(0, 2**16))
def test_models_that_tie_share_evenly_wherever_they_stand(count: int, right: int) -> None:
    """Hard labels by the first best would give most ties to the first model."""
    tied = np.array([[float(right >> m & 1) for m in range(count)]])
    label = soft_labels(tied, 0.1)[0]
    winners = tied[0] == tied[0].max()
    share = 1 / winners.sum()
    np.testing.assert_allclose(label[winners], share, atol=count * np.exp(-10))


def test_binary_scores_share_by_ties_and_not_by_place() -> None:
    rng = np.random.default_rng(0)
    drawn = (rng.random((4000, 4)) < 0.7).astype(float)
    mean = soft_labels(drawn, 0.1).mean(axis=0)
    np.testing.assert_allclose(mean, 0.25, atol=0.02)


def test_a_temperature_undoes_overconfidence() -> None:
    rng = np.random.default_rng(1)
    true = rng.normal(size=(3000, 3))
    shares = softmax(true)
    drawn = np.array([rng.multinomial(1, row) for row in shares], dtype=float)
    everywhere = np.ones(len(drawn))
    assert temperature(true, drawn, everywhere) == pytest.approx(1.0, abs=0.1)
    assert temperature(true * 4, drawn, everywhere) == pytest.approx(4.0, rel=0.1)
    raw = reliability(softmax(true * 4), drawn, everywhere)
    mended = reliability(
        softmax(true * 4 / temperature(true * 4, drawn, everywhere)), drawn, everywhere
    )
    assert mended["error"] < 0.05 < raw["error"]


def test_a_few_good_answers_make_nobody_certain() -> None:
    logits = np.array([[9.0, 0.0], [0.0, 9.0], [9.0, 0.0]])
    labels = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    known = calibrate_trust(logits, labels, labels, 0)
    sure = softmax(logits / known.temperature).max()
    # Three of three with two that say nothing: (3 + 2/2) / 5.
    assert sure == pytest.approx(0.8, abs=0.01)


def test_questions_that_tell_nothing_apart_leave_the_router_as_it_is() -> None:
    known = calibrate_trust(
        np.array([[5.0, 1.0]]), np.array([[0.5, 0.5]]), np.array([[1.0, 1.0]]), 0
    )
    assert known == Trust(temperature=1.0, threshold=0.0, level=None)


def test_the_threshold_is_where_the_best_single_model_begins_to_win() -> None:
    # The unsure half is routed wrongly to model 1, and model 0 would have been right.
    shares = np.array([[0.1, 0.9], [0.2, 0.8], [0.45, 0.55], [0.4, 0.6]])
    table = np.array([[0.0, 1.0], [0.0, 1.0], [1.0, 0.0], [1.0, 0.0]])
    assert 0.6 < threshold(shares, table, best=0) <= 0.8
    assert threshold(shares, table[::-1], best=1) == 0.0, "the fallback that is no help is not used"


def test_what_is_held_out_is_measured_by_hand() -> None:
    table = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 0.0]])
    logits = np.array([[2.0, 0.0], [2.0, 0.0], [2.0, 0.0], [0.0, 2.0]])
    labels = soft_labels(table, 0.1)
    found = held_out(logits, labels, table, Trust(), best=1, seed=3)
    assert (found["n"], found["seed"]) == (4, 3)
    assert found["router"]["mean"] == 0.5 and found["best_single"]["mean"] == 0.25
    assert found["oracle"]["mean"] == 0.75 and found["random"]["mean"] == 0.375
    assert found["regret_to_oracle"]["mean"] == 0.25
    assert found["gain_over_best_single"]["mean"] == 0.25
    assert found["calibration"]["n"] == 3, "where all models fail, confidence means nothing"
    assert found["fallback_share"] == 0.0
    shown = {one.name: one.data for one in evaluation_artifacts({"embedding": found}, "embedding")}
    assert [row["name"] for row in shown["regret"]["rows"]] == [
        "embedding", "best single", "random", "oracle",
    ]  # fmt: skip
    assert all(row["low"] <= row["score"] <= row["high"] for row in shown["regret"]["rows"])
    assert shown["calibration"]["bins"] == found["calibration"]["bins"] != []


def test_the_fallback_counts_in_what_is_measured() -> None:
    table = np.array([[0.0, 1.0], [1.0, 0.0]])
    logits = np.array([[0.1, 0.0], [0.1, 0.0]])
    found = held_out(logits, soft_labels(table, 0.1), table, Trust(threshold=0.9), best=1, seed=0)
    assert found["fallback_share"] == 1.0 and found["gain_over_best_single"]["mean"] == 0.0


@given(scores, st.integers(0, 5))
def test_no_router_beats_the_oracle(found: np.ndarray, seed: int) -> None:
    logits = np.random.default_rng(seed).normal(size=found.shape)
    worth = held_out(logits, soft_labels(found, 0.1), found, Trust(), 0, seed)
    assert worth["regret_to_oracle"]["low"] >= 0.0
    assert worth["router"]["mean"] <= worth["oracle"]["mean"]


def test_the_bootstrap_covers_the_mean_of_many_samples() -> None:
    rng = np.random.default_rng(5)
    inside = 0
    for trial in range(200):
        low, high = bootstrap((rng.random(60) < 0.6).astype(float), trial)
        inside += low <= 0.6 <= high
    assert 0.88 <= inside / 200 <= 0.99


@given(st.lists(st.sampled_from("abc"), min_size=2, max_size=30))
def test_halves_share_every_task(tasks: list[str]) -> None:
    first, second = halves(tasks)
    assert sorted(first + second) == list(range(len(tasks))) and second
    for task in set(tasks):
        counts = [sum(tasks[at] == task for at in half) for half in (first, second)]
        assert abs(counts[0] - counts[1]) <= 1


def test_alike_models_spread_nothing() -> None:
    assert spread(np.array([[0.5, 0.5], [0.0, 1.0]])).tolist() == [0.0, 1.0]
    assert cross_entropy(np.zeros((1, 2)), np.array([[1.0, 0.0]]), np.zeros(1)) == 0.0
