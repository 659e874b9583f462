"""Coefficient space: a candidate model is a row of numbers over the pool, one per contributor.

The rows are all the state that a search has; the winning one says how much of each contributor is
in the result.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from protocols.core.models import Frozen

Rows = NDArray[np.float64]
Z95 = 1.959963984540054


class Recipe(Frozen):
    """What a merged model was made of. ``lost`` is the part of its change that did not fit.

    ``weights`` are the members' coefficients or, for methods that are not linear, their weights.
    """

    method: str
    members: tuple[str, ...]
    weights: tuple[float, ...]
    seed: int = 0
    dtype: str = ""
    lost: float = 0.0
    details: dict[str, JsonValue] = {}

    @property
    def shares(self) -> dict[str, float]:
        """Each member's part of the whole, by the size of its weight; they add up to one."""
        return shares(self.members, self.weights)


def shares(names: Sequence[str], weights: Sequence[float]) -> dict[str, float]:
    """Absolute weights of the members that have one, scaled to add up to one."""
    total = sum(abs(w) for w in weights)
    if not total:
        return {names[0]: 1.0}
    return {n: abs(w) / total for n, w in zip(names, weights, strict=True) if w}


def uniform(members: Sequence[int], count: int) -> tuple[float, ...]:
    """The mean of some of ``count`` models."""
    return tuple(1 / len(members) if i in members else 0.0 for i in range(count))


def softmax(row: Sequence[float]) -> tuple[float, ...]:
    """Weights that add up to one, from any numbers."""
    top = max(row)
    parts = [math.exp(x - top) for x in row]
    return tuple(part / sum(parts) for part in parts)


def units(count: int) -> list[tuple[float, ...]]:
    """The rows of the models themselves."""
    return [uniform([i], count) for i in range(count)]


class Plane:
    """The flat picture that shows the contributed models best: their two main directions.

    ``products`` are the inner products of the models' differences from one point. Distances between
    rows are those between the models they name, as far as two dimensions can show them.
    """

    def __init__(self, products: Rows) -> None:
        count = len(products)
        values, vectors = np.linalg.eigh(products)
        self._root = vectors * np.sqrt(np.clip(values, 0.0, None))
        self._centre = np.full(count, 1 / count) @ self._root
        _, sizes, axes = np.linalg.svd(self._root - self._centre)
        # A direction's sign means nothing; fixed here, so that equal inputs give equal pictures.
        signs = np.sign(axes[np.arange(count), np.abs(axes).argmax(axis=1)])
        self._axes = (axes * signs[:, None])[:2]
        spread = sizes**2
        self.shown = float(spread[:2].sum() / spread.sum()) if spread.sum() else 1.0
        """The part of the models' spread that the picture keeps."""

    def __call__(self, rows: Rows | Sequence[Sequence[float]]) -> list[list[float]]:
        """Where rows lie, [[x, y], ...]."""
        found = (np.asarray(rows, dtype=np.float64) @ self._root - self._centre) @ self._axes.T
        return [
            [round(float(x), 6) for x in point] for point in np.pad(found, [(0, 0), (0, 1)])[:, :2]
        ]


def cosines(products: Rows) -> list[list[float]]:
    """How alike the models' changes are, -1 to 1; a model that changes nothing is like no other."""
    size = np.sqrt(np.clip(np.diag(products), 0.0, None))
    scale = np.outer(size, size)
    found = np.divide(products, scale, out=np.zeros_like(products), where=scale > 0)
    return [[round(float(x), 6) for x in row] for row in found]


def norm(products: Rows, row: Sequence[float]) -> float:
    """Length of a row's change."""
    c = np.asarray(row, dtype=np.float64)
    squared = float(c @ products @ c)
    return math.sqrt(max(0.0, squared))


def interval(value: float, n: int) -> tuple[float, float]:
    """The 95 % Wilson interval of a mean of ``n`` scores from 0 to 1 (exact for rights and wrongs,
    too wide for scores in between)."""
    if not n:
        return 0.0, 1.0
    scale = 1 + Z95**2 / n
    centre = value + Z95**2 / (2 * n)
    half = Z95 * math.sqrt(value * (1 - value) / n + (Z95 / (2 * n)) ** 2)
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)


def sign_test(wins: int, losses: int) -> float:
    """One-sided probability of at least so many wins if wins and losses were a coin's throws."""
    n = wins + losses
    return sum(math.comb(n, k) for k in range(wins, n + 1)) / (1 << n)


def named(names: Sequence[str], row: Sequence[float]) -> dict[str, Any]:
    """A row as a mapping from names, without what is not there."""
    return {name: round(float(c), 6) for name, c in zip(names, row, strict=True) if c}
