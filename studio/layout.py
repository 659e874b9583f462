"""A layered drawing of a directed acyclic graph: columns from left to right, few crossings.

Longest-path layers, dummy nodes for edges that skip layers, barycentre sweeps that keep the best
order seen, then slots as near to the neighbours' mean as the order allows. networkx offers only
the first of these steps. ``static/layout.js`` is the same algorithm, step by step, so a graph looks
the same live and in an export; a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from math import floor

SWEEPS = 8
SLOT_PASSES = 12
DUMMY_GAP = 0.6
"""Room for a passing edge, in rows; a node takes one."""
WIDTH, HEIGHT, COLUMN, ROW, MARGIN = 176, 50, 232, 66, 10
"""Pixels: a node's box, the pitch of columns and rows, the space around."""

Edge = tuple[str, str]
Point = tuple[float, float]


@dataclass(frozen=True)
class Layout:
    """Where everything goes. Places are (column, row); rows may be fractions.

    ``layers`` holds the nodes column by column from top to bottom; ``routes`` the points that each
    edge passes, its ends included, in the order of the given edges.
    """

    places: dict[str, Point]
    layers: list[list[str]]
    routes: list[list[Point]]

    @property
    def size(self) -> tuple[float, float]:
        """Width and height of the drawing in pixels."""
        rows = max((y for _, y in [*self.places.values(), *self._bends()]), default=0.0)
        columns = max(len(self.layers), 1)
        wide = (columns - 1) * COLUMN + WIDTH + 2 * MARGIN
        return wide, rows * ROW + HEIGHT + 2 * MARGIN

    def _bends(self) -> list[Point]:
        return [point for route in self.routes for point in route]


def layout(nodes: Sequence[str], edges: Sequence[Edge]) -> Layout:
    """Lay out a graph; equal input gives equal output.

    Raises ``ValueError`` for a cycle or an edge to an unknown node.
    """
    index = {node: number for number, node in enumerate(nodes)}
    unknown = sorted({end for edge in edges for end in edge if end not in index})
    if unknown:
        raise ValueError(f"The graph has an edge to '{unknown[0]}', which is not one of its nodes.")
    pairs = [(index[a], index[b]) for a, b in edges]
    column, chains = _with_dummies(_columns(len(nodes), pairs), pairs)
    after, before = _neighbours(len(column), chains)
    order = _untangle(_by_column(column), before, after)
    rows = _slots(order, before, after, len(nodes))
    points = [(float(column[n]), rows[n]) for n in range(len(column))]
    return Layout(
        {node: points[number] for node, number in index.items()},
        [[nodes[n] for n in layer if n < len(nodes)] for layer in order],
        [[points[n] for n in chain] for chain in chains],
    )


def _columns(count: int, pairs: Sequence[tuple[int, int]]) -> list[int]:
    """Each node's distance from the sources along the longest path."""
    sorter: TopologicalSorter[int] = TopologicalSorter({n: set() for n in range(count)})
    for a, b in pairs:
        sorter.add(b, a)
    try:
        sorter.prepare()
    except CycleError:
        raise ValueError("The graph has a cycle, so it has no order to be drawn in.") from None
    column, here = [0] * count, 0
    while sorter.is_active():
        ready = sorter.get_ready()
        for node in ready:
            column[node] = here
        sorter.done(*ready)
        here += 1
    return column


def _with_dummies(
    column: list[int], pairs: Sequence[tuple[int, int]]
) -> tuple[list[int], list[list[int]]]:
    """The columns with a dummy wherever an edge crosses one, and every edge as a chain of nodes."""
    column, chains = list(column), []
    for a, b in pairs:
        chain = [a]
        for crossed in range(column[a] + 1, column[b]):
            chain.append(len(column))
            column.append(crossed)
        chains.append([*chain, b])
    return column, chains


def _neighbours(count: int, chains: list[list[int]]) -> tuple[list[list[int]], list[list[int]]]:
    after: list[list[int]] = [[] for _ in range(count)]
    before: list[list[int]] = [[] for _ in range(count)]
    for chain in chains:
        for a, b in pairwise(chain):
            after[a].append(b)
            before[b].append(a)
    return after, before


def _by_column(column: list[int]) -> list[list[int]]:
    layers: list[list[int]] = [[] for _ in range(max(column, default=-1) + 1)]
    for node, here in enumerate(column):
        layers[here].append(node)
    return layers


def _untangle(
    layers: list[list[int]], before: list[list[int]], after: list[list[int]]
) -> list[list[int]]:
    """Sweep to and fro, sorting by the neighbours' mean place; the order with fewest crossings."""
    best, fewest = [list(layer) for layer in layers], _crossings(layers, after)
    for sweep in range(SWEEPS):
        forward = sweep % 2 == 0
        turns = range(1, len(layers)) if forward else range(len(layers) - 2, -1, -1)
        for turn in turns:
            fixed = layers[turn - 1 if forward else turn + 1]
            layers[turn] = _sorted_layer(layers[turn], fixed, before if forward else after)
        crossings = _crossings(layers, after)
        if crossings < fewest:
            best, fewest = [list(layer) for layer in layers], crossings
    return best


def _sorted_layer(layer: list[int], fixed: list[int], linked: list[list[int]]) -> list[int]:
    place = {node: position for position, node in enumerate(fixed)}
    keys: list[tuple[float, int, int]] = []
    for position, node in enumerate(layer):
        near = [place[other] for other in linked[node]]
        keys.append((sum(near) / len(near) if near else float(position), position, node))
    return [node for _, _, node in sorted(keys)]


def _crossings(layers: list[list[int]], after: list[list[int]]) -> int:
    total = 0
    for left, right in pairwise(layers):
        place = {node: position for position, node in enumerate(right)}
        ends = [sorted(place[other] for other in after[node]) for node in left]
        flat = [end for group in ends for end in group]
        total += sum(1 for i, a in enumerate(flat) for b in flat[i + 1 :] if a > b)
    return total


def _slots(
    layers: list[list[int]], before: list[list[int]], after: list[list[int]], real: int
) -> list[float]:
    """Rows: every node near the mean of its neighbours, in order and without overlap."""
    rows = [0.0] * sum(map(len, layers))
    for layer in layers:
        for node, row in zip(layer, _offsets(layer, real), strict=True):
            rows[node] = row
    for turn in range(SLOT_PASSES):
        for layer in layers if turn % 2 == 0 else reversed(layers):
            wanted = [_mean_row(node, before, after, rows) for node in layer]
            for node, row in zip(layer, _spread(wanted, _offsets(layer, real)), strict=True):
                rows[node] = row
    top = min(rows, default=0.0)
    return [row - top for row in rows]


def _offsets(layer: list[int], real: int) -> list[float]:
    """The tightest rows that a layer's order allows, from zero on."""
    rows, row = [], 0.0
    for position, node in enumerate(layer):
        if position:
            row += 1.0 if node < real and layer[position - 1] < real else DUMMY_GAP
        rows.append(row)
    return rows


def _mean_row(
    node: int, before: list[list[int]], after: list[list[int]], rows: list[float]
) -> float:
    near = [*before[node], *after[node]]
    total = 0.0
    # A plain loop: the JavaScript twin must add in the same order with the same rounding.
    for other in near:
        total += rows[other]
    return total / len(near) if near else rows[node]


def _spread(wanted: list[float], offsets: list[float]) -> list[float]:
    """The rows nearest to ``wanted`` (least squares) that keep at least the offsets' distances.

    Isotonic regression by pooling neighbours that would come too close.
    """
    pools: list[tuple[float, int]] = []
    for want, offset in zip(wanted, offsets, strict=True):
        total, count = want - offset, 1
        while pools and pools[-1][0] / pools[-1][1] > total / count:
            total, count = pools[-1][0] + total, pools[-1][1] + count
            pools.pop()
        pools.append((total, count))
    fitted = [total / count for total, count in pools for _ in range(count)]
    return [fit + offset for fit, offset in zip(fitted, offsets, strict=True)]


def box(place: Point) -> Point:
    """The top left corner of a node's box in pixels."""
    return place[0] * COLUMN + MARGIN, place[1] * ROW + MARGIN


def path(route: Sequence[Point]) -> str:
    """An edge as SVG path data: curves between columns, level where it passes one."""
    corners = [box(point) for point in route]
    x, y = corners[0][0] + WIDTH, corners[0][1] + HEIGHT / 2
    parts = [f"M{_fixed(x)} {_fixed(y)}"]
    for number, (left, top) in enumerate(corners[1:], start=2):
        end, bend = top + HEIGHT / 2, _fixed((x + left) / 2)
        parts.append(f"C{bend} {_fixed(y)} {bend} {_fixed(end)} {_fixed(left)} {_fixed(end)}")
        x, y = left + WIDTH, end
        if number < len(corners):
            parts.append(f"H{_fixed(x)}")
    return "".join(parts)


def _fixed(value: float) -> str:
    """One decimal, halves up as JavaScript has it."""
    return f"{floor(value * 10 + 0.5) / 10:.1f}"
