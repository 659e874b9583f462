"""Collaboration graphs: directed and acyclic, from a matrix of weights or from a person's text.

The paper's swarm searches over matrices; this module only turns one into a graph, always the same
one, so that a stored matrix reproduces the score it was stored with.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import networkx as nx

from protocols.core.errors import UserError
from protocols.lib.choice import position_of

Matrix = Sequence[Sequence[float]]
Edge = tuple[int, int]
ARROW = re.compile(r"\s*(?:->|>|→)\s*")


@dataclass(frozen=True)
class Graph:
    """Nodes 0..n-1 in an order in which every edge goes forward; ``sink`` gives the answer."""

    order: tuple[int, ...]
    edges: tuple[Edge, ...]
    sink: int

    def parents(self, node: int) -> list[int]:
        """The nodes whose text ``node`` reads, in order."""
        into = {a for a, b in self.edges if b == node}
        return [a for a in self.order if a in into]

    def steps_to_sink(self, node: int) -> int:
        """How many edges the shortest way from a node to the sink has."""
        steps: int = nx.shortest_path_length(nx.DiGraph(self.edges), node, self.sink)
        return steps


def random_matrix(n: int, rng: random.Random) -> list[list[float]]:
    """Weights drawn from [0, 1), as the original method starts from; the diagonal is zero."""
    return [[0.0 if i == j else rng.random() for j in range(n)] for i in range(n)]


def decode(weights: Matrix, tau: float, max_in: int) -> Graph:
    """Turn an n x n matrix of weights into a graph, deterministically.

    Nodes are ordered by how much more weight leaves them than enters them, and edges go forward in
    that order. First every node but the last gets the heaviest edge to a later node with room, from
    the back, so that no node works for nothing and the last one is the only sink; there always is
    room, because each later node but the last has taken one place only. Then each node takes its
    heaviest further edges above ``tau``. No node reads more than ``max_in`` others; the matrix is
    not changed.
    """
    n = len(weights)
    lead = [sum(weights[i]) - sum(row[i] for row in weights) for i in range(n)]
    order = sorted(range(n), key=lambda i: (-lead[i], i))
    edges: set[Edge] = set()
    room = dict.fromkeys(order, max_in)

    def add(edge: Edge) -> None:
        edges.add(edge)
        room[edge[1]] -= 1

    for at in reversed(range(n - 1)):
        i = order[at]
        add((i, max((j for j in order[at + 1 :] if room[j]), key=lambda j: weights[i][j])))
    for at, j in enumerate(order):
        strong = [i for i in order[:at] if weights[i][j] > tau and (i, j) not in edges]
        for i in sorted(strong, key=lambda i: -weights[i][j])[: room[j]]:
            add((i, j))
    return Graph(tuple(order), _sorted(edges, order), order[-1])


def read_edges(text: str, names: Sequence[str]) -> Graph:
    """Read a graph from text such as ``a > b, b > c`` or ``1 > 2 > 3``.

    Names are model ids or their numbers from 1. Models without an edge take part as starting points
    for the sink. Raises :class:`UserError` for an unknown name, a self-loop or a cycle (named), and
    for more than one sink.
    """
    edges: set[Edge] = set()
    for part in filter(None, re.split(r"[,;\n]+", text)):
        chain = [position_of(name.strip(), names) for name in ARROW.split(part.strip())]
        if len(chain) < 2:
            raise UserError(f"'{part.strip()}' is no edge. Write edges as 'a > b', by commas.")
        edges |= set(pairwise(chain))
    return _checked(edges, names)


def _checked(edges: set[Edge], names: Sequence[str]) -> Graph:
    graph = nx.DiGraph()
    graph.add_nodes_from(range(len(names)))
    graph.add_edges_from(sorted(edges))
    try:
        cycle = [a for a, _ in nx.find_cycle(graph)]
    except nx.NetworkXNoCycle:
        cycle = []
    if cycle:
        path = " > ".join(names[i] for i in [*cycle, cycle[0]])
        raise UserError(f"The graph has a cycle: {path}. Remove one of its edges.")
    linked = {i for edge in edges for i in edge}
    sinks = [i for i in sorted(linked) if graph.out_degree(i) == 0]
    if len(sinks) > 1:
        ends = ", ".join(names[i] for i in sinks)
        raise UserError(f"The graph has several ends: {ends}. Lead all but one of them onward.")
    sink = sinks[0] if sinks else len(names) - 1
    edges |= {(i, sink) for i in range(len(names)) if i not in linked and i != sink}
    graph.add_edges_from(edges)
    order = list(nx.lexicographical_topological_sort(graph))
    return Graph(tuple(order), _sorted(edges, order), sink)


def _sorted(edges: set[Edge], order: Sequence[int]) -> tuple[Edge, ...]:
    rank = {node: i for i, node in enumerate(order)}
    return tuple(sorted(edges, key=lambda edge: (rank[edge[1]], rank[edge[0]])))
