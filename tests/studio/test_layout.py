"""The layered layout: sound, the same every time, and the same in the browser."""

from __future__ import annotations

import json
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.layout import DUMMY_GAP, layout, path
from studio.static import script
from tests.golden.make import SWARM
from tests.studio.test_fold_twins import NODE, needs_node

Graph = tuple[list[str], list[tuple[str, str]]]
SWARM_GRAPH: Graph = (list(SWARM), [(a, b) for b, parents in SWARM.items() for a in parents])
DRIVER = """
const graphs = JSON.parse(require('fs').readFileSync(process.argv[2], 'utf8'));
const out = graphs.map(([nodes, edges]) => {
  const made = Studio.layout(nodes, edges);
  return {
    places: Object.fromEntries(made.places), layers: made.layers,
    routes: made.routes, paths: made.routes.map(Studio.path), size: made.size,
  };
});
require('fs').writeFileSync(process.argv[3], JSON.stringify(out));
"""


@st.composite
def graphs(draw: Any) -> Graph:
    count = draw(st.integers(0, 14))
    nodes = draw(st.permutations([f"n{i}" for i in range(count)]))
    pairs = [(nodes[a], nodes[b]) for b in range(count) for a in range(b)]
    edges = draw(st.lists(st.sampled_from(pairs), unique=True)) if pairs else []
    return sorted(nodes), edges


@given(graphs())
def test_edges_go_forward_and_nothing_overlaps(graph: Graph) -> None:
    nodes, edges = graph
    made = layout(nodes, edges)
    assert sorted(made.places) == sorted(nodes)
    for a, b in edges:
        assert made.places[a][0] < made.places[b][0]
    for layer in made.layers:
        rows = [made.places[node][1] for node in layer]
        assert all(y - x >= 1 - 1e-9 for x, y in pairwise(rows))
    for (a, b), route in zip(edges, made.routes, strict=True):
        assert (route[0], route[-1]) == (made.places[a], made.places[b])
        assert [x for x, _ in route] == list(range(int(route[0][0]), int(route[-1][0]) + 1))


@given(graphs())
def test_edges_pass_beside_nodes(graph: Graph) -> None:
    made = layout(*graph)
    for route in made.routes:
        for x, y in route[1:-1]:
            rows = [row for column, row in made.places.values() if column == x]
            assert all(abs(row - y) >= DUMMY_GAP - 1e-9 for row in rows)


@given(graphs())
def test_equal_graphs_are_drawn_equally(graph: Graph) -> None:
    assert layout(*graph) == layout(*graph)


def test_a_chain_is_a_straight_line() -> None:
    made = layout(["a", "b", "c"], [("a", "b"), ("b", "c")])
    assert made.places == {"a": (0, 0), "b": (1, 0), "c": (2, 0)}
    assert path(made.routes[0]) == "M186.0 35.0C214.0 35.0 214.0 35.0 242.0 35.0"


def test_the_swarm_has_no_crossing_that_can_be_avoided() -> None:
    made = layout(*SWARM_GRAPH)
    assert made.layers[0] == ["n0/alpha", "n1/beta", "n2/gamma"]
    assert made.layers[-1] == ["n7/theta"]


def test_what_is_no_dag_is_refused_in_a_sentence() -> None:
    with pytest.raises(ValueError, match="cycle"):
        layout(["a", "b"], [("a", "b"), ("b", "a")])
    with pytest.raises(ValueError, match="'c'"):
        layout(["a"], [("a", "c")])


@needs_node
def test_twins_draw_alike(tmp_path: Path) -> None:
    asked: list[Graph] = [SWARM_GRAPH, ([], [])]

    @settings(max_examples=60, database=None)
    @given(graphs())
    def collect(graph: Graph) -> None:
        asked.append(graph)

    collect()
    files = tmp_path / "driver.js", tmp_path / "graphs.json", tmp_path / "out.json"
    files[0].write_text(script() + DRIVER, encoding="utf-8")
    files[1].write_text(json.dumps(asked), encoding="utf-8")
    assert NODE
    subprocess.run([NODE, *map(str, files)], check=True, timeout=60)
    for graph, theirs in zip(asked, json.loads(files[2].read_text()), strict=True):
        made = layout(*graph)
        ours = {
            "places": made.places,
            "layers": made.layers,
            "routes": made.routes,
            "paths": [path(route) for route in made.routes],
            "size": made.size,
        }
        assert json.loads(json.dumps(ours)) == theirs
