"""The graph router: rows stand alone, nobody is their own neighbour, new queries are reached."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.core.fit_types import FitItem
from protocols.lib.graph_net import Known, Nearness, attach, begin, forward, nearest_scores
from protocols.lib.question_space import Space
from protocols.training.graph_router import (
    GraphRouter,
    GraphSettings,
    means_without_itself,
    nearest,
    router_from,
    train_graph,
)
from protocols.training.pool_answers import Table
from protocols.training.router_evaluation import soft_labels, spread
from protocols.training.routing_data import AnsweredQuestions

QUICK = GraphSettings(hidden=8, steps=60, networks=2)


def part_of(vectors: np.ndarray, scores: np.ndarray, tasks: list[str]) -> AnsweredQuestions:
    items = tuple(FitItem(f"i{n}", f"q{n}", "", task) for n, task in enumerate(tasks))
    texts = tuple(("x",) * scores.shape[1] for _ in items)
    models = tuple(f"m{n}" for n in range(scores.shape[1]))
    table = Table(items, models, texts, scores)
    labels = soft_labels(scores, 0.1)
    return AnsweredQuestions(table, scores, labels, spread(scores), vectors.astype(np.float32))


def clusters(models: int, each: int = 12, seed: int = 0) -> tuple[AnsweredQuestions, np.ndarray]:
    """One cluster of questions per model, which it answers and no other; all of one task."""
    rng = np.random.default_rng(seed)
    centres = np.eye(models, 16)[:, :16] * 4
    vectors = np.concatenate([centre + rng.normal(size=(each, 16)) for centre in centres])
    scores = np.repeat(np.eye(models), each, axis=0)
    return part_of(vectors, scores, ["one"] * (models * each)), centres


@pytest.mark.parametrize("models", [2, 3])
def test_a_model_good_on_a_cluster_only_wins_for_new_questions_there(models: int) -> None:
    part, centres = clusters(models)
    router = train_graph(part, QUICK, lambda step, loss: None)
    rng = np.random.default_rng(9)
    fresh = np.repeat(centres, 20, axis=0) + rng.normal(size=(20 * models, 16))
    logits = router.logits(router.attached(fresh))
    wanted = np.repeat(np.arange(models), 20)
    for method in ("graph", "knn"):
        assert (logits[method].argmax(axis=1) == wanted).mean() > 0.9, method


@given(st.integers(1, 40), st.integers(0, 5))
def test_a_question_alone_is_scored_as_among_many(count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(count, 16))
    router = trained_once()
    whole = router.logits(router.attached(vectors))
    at = int(rng.integers(count))
    alone = router.logits(router.attached(vectors[at : at + 1]))
    for method, rows in whole.items():
        np.testing.assert_allclose(alone[method][0], rows[at], atol=1e-9)


_ROUTER: list[GraphRouter] = []


def trained_once() -> GraphRouter:
    if not _ROUTER:
        part, _ = clusters(3)
        _ROUTER.append(train_graph(part, QUICK, lambda step, loss: None))
    return _ROUTER[0]


def test_a_stored_question_never_sees_its_own_scores() -> None:
    part, _ = clusters(2)
    known = Known(Space.of(part.vectors)(part.vectors), part.scores, np.zeros(24, dtype=np.intp), 1)
    near, changed = Nearness(5, 0.1), part.scores.copy()
    changed[3] = 1 - changed[3]
    other = replace(known, scores=changed)
    weights = begin(known, 8, 0)
    weights["edge"].fill_(1.0)
    before, after = (
        forward(
            weights, one, attach(one, one.points, near, True), means_without_itself(one)
        ).numpy()
        for one in (known, other)
    )
    np.testing.assert_array_equal(before[3], after[3])
    assert (before != after).any(), "others do see them"


def test_a_copy_of_a_stored_question_is_its_neighbour() -> None:
    part, _ = clusters(2)
    space = Space.of(part.vectors)
    known = Known(space(part.vectors), part.scores, np.zeros(24, dtype=np.intp), 1)
    hood = attach(known, known.points[7:8].copy(), Nearness(1, 0.1))
    assert hood.places.tolist() == [[7]] and hood.likeness[0, 0] == pytest.approx(1.0)
    np.testing.assert_array_equal(nearest_scores(known, hood), part.scores[7:8])


def test_untrained_networks_are_nearest_neighbours() -> None:
    """The last layer is zero: what is learnt is what the network does better."""
    part, _ = clusters(3)
    known = Known(Space.of(part.vectors)(part.vectors), part.scores, np.zeros(36, dtype=np.intp), 1)
    hood = attach(known, known.points, Nearness(5, 0.1), inside=True)
    found = forward(begin(known, 8, 0), known, hood).numpy()
    np.testing.assert_array_equal(found.argmax(1), (nearest_scores(known, hood) - 0.5).argmax(1))


def test_nearest_neighbours_by_the_definition() -> None:
    """Against loops and the textbook's formula."""
    rng = np.random.default_rng(4)
    points = rng.normal(size=(9, 4))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    known = Known(points, rng.random((9, 3)), np.arange(9) % 2, 2)
    question = points[4] * 0.8 + points[5] * 0.2
    hood = attach(known, question[None], Nearness(3, 0.2))
    cosines = [float(question @ p) for p in points]
    order = sorted(range(9), key=lambda at: -cosines[at])[:3]
    raised = [np.exp(cosines[at] / 0.2) for at in order]
    wanted = sum(w * known.scores[at] for w, at in zip(raised, order, strict=True)) / sum(raised)
    np.testing.assert_allclose(nearest_scores(known, hood)[0], wanted)


def test_a_router_is_read_back_as_it_was_written() -> None:
    router = trained_once()
    again = router_from({k: v.astype(np.float64) for k, v in router.arrays().items()}, 1)
    vectors = np.random.default_rng(2).normal(size=(5, 16))
    for method, rows in router.logits(router.attached(vectors)).items():
        found = again.logits(again.attached(vectors))[method]
        np.testing.assert_allclose(found, rows, atol=1e-3)


@pytest.mark.parametrize("name", ["scores", "tasks", "points"])
def test_arrays_that_do_not_fit_are_refused(name: str) -> None:
    arrays = {k: v.astype(np.float64) for k, v in trained_once().arrays().items()}
    with pytest.raises(ValueError, match="do not fit"):
        router_from({**arrays, name: arrays[name][:-1]}, 1)
    with pytest.raises(ValueError, match="do not fit"):
        router_from({**arrays, "tasks": arrays["tasks"] + 7}, 1)


def test_where_noise_is_all_there_is_more_neighbours_are_taken() -> None:
    rng = np.random.default_rng(0)
    part = part_of(
        rng.normal(size=(60, 8)), (rng.random((60, 2)) < (0.8, 0.4)).astype(float), ["t"] * 60
    )
    known = Known(Space.of(part.vectors)(part.vectors), part.scores, np.zeros(60, dtype=np.intp), 1)
    assert nearest(known, part).count > 3


@given(st.integers(1, 30), st.integers(0, 4))
def test_a_space_gives_unit_vectors_in_few_directions(count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(count, 100)) + 50
    space = Space.of(vectors)
    points = space(vectors)
    assert points.shape[1] <= min(64, max(1, count))
    lengths = np.linalg.norm(points, axis=1)
    assert ((abs(lengths - 1) < 1e-6) | (lengths == 0)).all()
