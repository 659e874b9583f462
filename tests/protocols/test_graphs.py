"""Graphs: what decoding guarantees for any matrix, and what is said about a person's graph."""

from __future__ import annotations

import copy
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.core.errors import UserError
from protocols.lib.graphs import Graph, decode, random_matrix, read_edges


@st.composite
def matrices(draw: st.DrawFn) -> list[list[float]]:
    n = draw(st.integers(1, 8))
    weight = st.floats(-2, 2, allow_nan=False)
    return [[draw(weight) for _ in range(n)] for _ in range(n)]


def reaches(graph: Graph, node: int) -> bool:
    todo, seen = [node], set()
    while todo:
        at = todo.pop()
        seen.add(at)
        todo += [b for a, b in graph.edges if a == at and b not in seen]
    return graph.sink in seen


@given(st.integers(1, 24), st.integers(1, 3), st.integers(0, 99))
def test_large_graphs_keep_to_the_limit_too(n: int, max_in: int, seed: int) -> None:
    graph = decode(random_matrix(n, random.Random(seed)), 0.5, max_in)
    assert all(len(graph.parents(node)) <= max_in for node in graph.order)
    assert all(reaches(graph, node) for node in graph.order)


@given(matrices(), st.floats(-1, 1), st.integers(1, 4))
def test_any_matrix_gives_one_sink_that_everyone_reaches(
    weights: list[list[float]], tau: float, max_in: int
) -> None:
    before = copy.deepcopy(weights)
    graph = decode(weights, tau, max_in)
    place = {node: i for i, node in enumerate(graph.order)}
    assert sorted(graph.order) == list(range(len(weights)))
    assert all(place[a] < place[b] for a, b in graph.edges), "an edge goes backward"
    assert [n for n in graph.order if not any(a == n for a, _ in graph.edges)] == [graph.sink]
    assert all(reaches(graph, node) for node in graph.order)
    assert all(len(graph.parents(node)) <= max_in for node in graph.order)
    assert weights == before
    assert decode(weights, tau, max_in) == graph


def test_a_text_can_be_read_by_two_others() -> None:
    weights = [[0, 0.9, 0.9, 0.1], [0, 0, 0.1, 0.9], [0, 0, 0, 0.9], [0, 0, 0, 0]]
    graph = decode(weights, 0.5, 2)
    assert graph.edges == ((0, 1), (0, 2), (1, 3), (2, 3))


NAMES = ("alpha", "beta", "gamma", "delta")


def test_names_numbers_and_chains_mean_the_same() -> None:
    one = read_edges("alpha > beta, beta > gamma, delta > gamma", NAMES)
    assert one == read_edges("1 > 2 > 3; 4 -> 3", NAMES)
    assert one.sink == 2 and one.parents(2) == [1, 3]


def test_models_without_an_edge_lead_to_the_end() -> None:
    assert read_edges("alpha > beta", NAMES).parents(1) == [0, 2, 3]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("alpha > beta > gamma > alpha", r"cycle: alpha > beta > gamma > alpha"),
        ("alpha > alpha", r"cycle: alpha > alpha"),
        ("alpha > betta", r"Did you mean 'beta'"),
        ("alpha > beta, gamma > delta", r"several ends: beta, delta"),
        ("alpha", r"no edge"),
        ("5 > 1", r"no picked model '5'"),
    ],
)
def test_a_bad_graph_is_explained(text: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        read_edges(text, NAMES)
