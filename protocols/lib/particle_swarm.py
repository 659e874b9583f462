"""Particle swarm search over rows of numbers, as Model Swarms and Heterogeneous Swarms use it.

Rows are all it knows: coefficients over a pool, a graph's weights, or whole models. Random numbers
are drawn per particle and never per coordinate, so that a swarm over coefficients and one over the
models they stand for make the same moves. Maximises. Source: Feng et al. 2024, "Model Swarms",
arXiv 2410.11163.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float64]


@dataclass(frozen=True)
class SwarmSettings:
    """How particles move; the defaults are the paper's.

    The four pulls matter by their ratio only. ``step`` is multiplied by ``shrink`` after each move
    and stays above ``least``. A particle whose own best is ``restart_after`` scores old goes back
    to it and stands still once.
    """

    inertia: float = 0.2
    cognitive: float = 0.3
    social: float = 0.4
    repel: float = 0.05
    step: float = 0.5
    shrink: float = 0.95
    least: float = 0.1
    restart_after: int = 3
    seed: int = 0


@dataclass
class Swarm:
    """Where the particles are, [particles, numbers], and what has been found.

    ``best`` are the particles' own best places with ``best_scores``; ``top`` and ``bottom`` are the
    best and worst places of all, ``top_score`` and ``bottom_score`` their scores. ``stale`` counts
    the scorings since ``top`` was found, ``waited`` those since each particle's best.
    """

    settings: SwarmSettings
    places: Rows
    speeds: Rows
    best: Rows
    best_scores: Rows
    top: Rows
    bottom: Rows
    waited: NDArray[np.int64]
    top_score: float = -np.inf
    bottom_score: float = np.inf
    stale: int = 0
    moves: int = 0
    restarted: list[int] = field(default_factory=list)
    """The particles that went back to their best in the last move."""

    def observe(self, scores: Rows | list[float]) -> None:
        """Take in one score per particle. Only what is strictly better replaces a best."""
        found = np.asarray(scores, dtype=np.float64)
        better = found > self.best_scores
        self.best[better] = self.places[better]
        self.best_scores = np.where(better, found, self.best_scores)
        self.waited = np.where(better, 0, self.waited + 1)
        self.stale += 1
        if found.max() > self.top_score:
            self.top, self.top_score = self.places[found.argmax()].copy(), float(found.max())
            self.stale = 0
        if found.min() < self.bottom_score:
            self.bottom, self.bottom_score = self.places[found.argmin()].copy(), float(found.min())

    def rescore(self, best: Rows | list[float], top: float, bottom: float) -> None:
        """Replace the scores of the remembered places, once what they are scored on has changed.

        The best of all is chosen anew among ``top`` and the particles' own bests.
        """
        self.best_scores = np.array(best, dtype=np.float64)
        self.top_score, self.bottom_score = float(top), float(bottom)
        if self.best_scores.max() > self.top_score:
            at = int(self.best_scores.argmax())
            self.top, self.top_score = self.best[at].copy(), float(self.best_scores[at])
            self.stale = 0

    @property
    def step(self) -> float:
        """The length of the next move."""
        return max(self.settings.least, self.settings.step * self.settings.shrink**self.moves)

    def move(self) -> None:
        """Let every particle take one step; what is random depends on seed and move number only.

        With chances r drawn for each particle, and the pulls p scaled to sum to one over r p:
        v <- r1 inertia v + r2 cognitive (own best - x) + r3 social (best - x) + r4 repel
        (x - worst), and x <- x + step v.
        """
        chance = generator(self.settings.seed, "move", self.moves)
        drawn = chance.uniform(size=(len(self.places), 4))
        self.restarted = [i for i, w in enumerate(self.waited) if self._stuck(int(w))]
        its = self.settings
        pulls = np.array([its.inertia, its.cognitive, its.social, its.repel])
        shares = drawn * pulls
        shares /= shares.sum(axis=1, keepdims=True)
        a, b, c, d = (shares[:, [k]] for k in range(4))
        own, toward, away = self.best - self.places, self.top - self.places, self.bottom
        self.speeds = a * self.speeds + b * own + c * toward + d * (self.places - away)
        self.places = self.places + self.step * self.speeds
        self._restart()
        self.moves += 1

    def _stuck(self, waited: int) -> bool:
        after = self.settings.restart_after
        return bool(after) and waited >= after and waited % after == 0

    def _restart(self) -> None:
        for i in self.restarted:
            self.places[i], self.speeds[i] = self.best[i], 0.0


def start(places: Rows, settings: SwarmSettings) -> Swarm:
    """A swarm at ``places`` [particles, numbers]; each particle sets out towards another one.

    Raises ValueError for fewer than two particles.
    """
    places = np.array(places, dtype=np.float64)
    count = len(places)
    if count < 2:
        raise ValueError("a swarm needs at least two particles")
    chance = generator(settings.seed, "start")
    other = (np.arange(count) + chance.integers(1, count, size=count)) % count
    return Swarm(
        settings=settings,
        places=places,
        speeds=places[other] - places,
        best=places.copy(),
        best_scores=np.full(count, -np.inf),
        top=places[0].copy(),
        bottom=places[0].copy(),
        waited=np.zeros(count, dtype=np.int64),
    )


def mixtures(places: Rows, count: int, seed: int) -> Rows:
    """``count`` more places between and a little beyond pairs of ``places``: w a + (1 - w) b.

    ``w`` is uniform in [0, 2], as in the original's way to populate a small swarm.
    """
    chance = generator(seed, "populate")
    pairs = [chance.choice(len(places), size=2, replace=False) for _ in range(count)]
    weights = [chance.uniform(0.0, 2.0) for _ in range(count)]
    made = [w * places[a] + (1 - w) * places[b] for (a, b), w in zip(pairs, weights, strict=True)]
    return np.array(made).reshape(count, places.shape[1])


def generator(seed: int, *names: Any) -> np.random.Generator:
    """Random numbers that depend on ``seed`` and ``names`` only, the same on every machine."""
    digest = hashlib.sha256("/".join(map(str, (seed, *names))).encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "big")))
