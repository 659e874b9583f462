"""A swarm over coefficients is the swarm over the models they stand for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.core.registry import get_protocol
from protocols.lib.coefficients import Plane, interval, shares, sign_test, uniform
from protocols.lib.particle_swarm import SwarmSettings, generator, mixtures, start

counts, seeds = st.integers(2, 6), st.integers(0, 100)


@given(count=counts, seed=seeds, moves=st.integers(1, 12))
def test_rows_add_up_to_one_and_speeds_to_nothing(count: int, seed: int, moves: int) -> None:
    swarm = start(np.eye(count), SwarmSettings(seed=seed))
    chance = generator(seed, "scores")
    for _ in range(moves):
        swarm.observe(chance.uniform(size=count))
        swarm.move()
        np.testing.assert_allclose(swarm.places.sum(axis=1), 1.0, atol=1e-9)
        np.testing.assert_allclose(swarm.speeds.sum(axis=1), 0.0, atol=1e-9)


@given(count=counts, seed=seeds, moves=st.integers(1, 12))
def test_coefficients_and_models_fly_alike(count: int, seed: int, moves: int) -> None:
    """The same search once over rows of coefficients and once over explicit weights."""
    weights = generator(seed, "models").normal(size=(count, 3))
    goal = generator(seed, "goal").normal(size=3)
    inside, outside = (
        start(np.eye(count), SwarmSettings(seed=seed)),
        start(weights, SwarmSettings(seed=seed)),
    )
    for _ in range(moves):
        scores = -np.linalg.norm(outside.places - goal, axis=1)
        inside.observe(scores)
        outside.observe(scores)
        inside.move()
        outside.move()
        np.testing.assert_allclose(inside.places @ weights, outside.places, atol=1e-6)
        np.testing.assert_allclose(inside.top @ weights, outside.top, atol=1e-6)
        assert inside.restarted == outside.restarted


def test_it_finds_what_lies_between() -> None:
    goal = np.array([0.2, 0.3, 0.5])
    swarm = start(np.eye(3), SwarmSettings(seed=1))
    for _ in range(30):
        swarm.observe(-np.linalg.norm(swarm.places - goal, axis=1))
        swarm.move()
    assert swarm.top_score > -0.2 > -0.6 > -np.linalg.norm(np.eye(3) - goal, axis=1).min()


def test_ties_replace_nothing() -> None:
    swarm = start(np.eye(3), SwarmSettings())
    swarm.observe([0.5, 0.5, 0.5])
    first = swarm.top.copy()
    swarm.move()
    swarm.observe([0.5, 0.5, 0.5])
    assert (swarm.top == first).all() and swarm.stale == 1 and (swarm.waited == 1).all()


def test_a_particle_that_finds_nothing_goes_back() -> None:
    swarm = start(np.eye(2), SwarmSettings(restart_after=2, seed=3))
    for score in (1.0, 0.0, 0.0):
        swarm.observe([score, 0.5])
        swarm.move()
    assert 0 in swarm.restarted
    np.testing.assert_allclose(swarm.places[0], swarm.best[0])
    assert not swarm.speeds[0].any()


def test_steps_shrink_to_the_least() -> None:
    swarm = start(np.eye(2), SwarmSettings())
    steps = []
    for _ in range(40):
        steps.append(swarm.step)
        swarm.observe([0.0, 1.0])
        swarm.move()
    assert steps[:2] == [0.5, 0.475] and steps[-1] == 0.1


def test_the_coefficients_are_the_papers() -> None:
    """Feng et al. 2026, Appendix B: both swarms; the step shrinks and restarts as published."""
    paper = {"inertia": 0.2, "cognitive": 0.3, "social": 0.4, "repel": 0.05, "step": 0.5}
    own = SwarmSettings()
    assert {name: getattr(own, name) for name in paper} == paper
    assert (own.shrink, own.least, own.restart_after) == (0.95, 0.1, 3)
    for name in ("model_swarms", "heterogeneous_swarms"):
        config = get_protocol(name).configure({})
        assert {key: getattr(config, key) for key in paper} == paper and config.patience == 5


def test_one_particle_is_no_swarm() -> None:
    with pytest.raises(ValueError, match="two"):
        start(np.eye(1), SwarmSettings())


@given(count=counts, more=st.integers(0, 5), seed=seeds)
def test_mixtures_are_of_two_and_add_up(count: int, more: int, seed: int) -> None:
    rows = mixtures(np.eye(count), more, seed)
    assert rows.shape == (more, count)
    np.testing.assert_allclose(rows.sum(axis=1), 1.0)
    assert ((rows != 0).sum(axis=1) <= 2).all()


# The picture and the numbers beside it


@given(seed=seeds, count=st.integers(2, 5))
def test_two_dimensional_pools_are_drawn_true(seed: int, count: int) -> None:
    models = generator(seed, "m").normal(size=(count, 2))
    plane = Plane(models @ models.T)
    rows = generator(seed, "r").normal(size=(4, count))
    drawn, real = np.array(plane(rows)), rows @ models
    for a in range(4):
        for b in range(a):
            shown = np.linalg.norm(drawn[a] - drawn[b])
            assert shown == pytest.approx(np.linalg.norm(real[a] - real[b]), abs=1e-4)
    assert plane.shown == pytest.approx(1.0)


def test_the_plane_shows_the_widest_directions() -> None:
    models = np.diag([3.0, 2.0, 0.1, 0.1])
    plane = Plane(models @ models.T)
    assert 0.9 < plane.shown < 1.0 and np.shape(plane(np.eye(4))) == (4, 2)


def test_shares_are_absolute_parts() -> None:
    assert shares("abc", [1.5, -0.5, 0.0]) == {"a": 0.75, "b": 0.25}
    assert shares("ab", [0.0, 0.0]) == {"a": 1.0}
    assert uniform([0, 2], 3) == (0.5, 0.0, 0.5)


def test_known_intervals_and_signs() -> None:
    from evals.metrics import wilson

    for right in range(13):
        assert interval(right / 12, 12) == pytest.approx(wilson(right, 12), abs=1e-9)
    assert interval(0.5, 0) == (0.0, 1.0)
    assert sign_test(18, 7) == pytest.approx(0.02164, abs=1e-5)
    assert sign_test(0, 0) == 1.0 and sign_test(3, 0) == 0.125
