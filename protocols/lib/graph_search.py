"""Looks for the graph of models that answers best: a particle swarm over matrices of weights.

A particle is an n x n matrix without its diagonal, and it is scored by the graph it decodes to, in
the same way every time. Every round has items of its own, and what was found before has to prove
itself on them too, so that luck does not last. Source: Feng et al. 2025, "Heterogeneous Swarms",
arXiv 2502.04510; of its two steps this is the one over roles (who reads whom). Its other one, over
the models' weights, is a protocol of its own here: model swarms.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from pydantic import JsonValue

from protocols.core.call import Step
from protocols.core.events import Artifact, Decision, Phase, Progress
from protocols.core.fit_types import FitContext, FitItem
from protocols.lib.candidates import Result
from protocols.lib.coefficients import interval
from protocols.lib.graphs import Graph, Matrix, decode, random_matrix
from protocols.lib.network_scores import Networks
from protocols.lib.networks import StoredGraph, write_graph
from protocols.lib.particle_swarm import Rows, SwarmSettings, start

FINALISTS = 3
LEAST = 8
"""So few items at least score a graph in a round, if there are so many."""


@dataclass(frozen=True)
class SearchSettings:
    """How wide and how long a search is.

    ``sample`` is each round's share of the dev items. With ``compare`` as many random graphs
    compete, round by round on the same items, and in the end a star and a chain.
    """

    particles: int
    iterations: int
    sample: float
    patience: int
    threshold: float
    max_inputs: int
    compare: bool
    moves: SwarmSettings


def items_in_round(sample: float, dev: int) -> int:
    """How many items score the swarm in a round."""
    return min(dev, max(LEAST, round(sample * dev)))


def most_answers(config: Any, models: int, dev: int) -> int:
    """The most answers that a search asks for; the same ones are asked for once only.

    In a round the swarm, its bests and as many again of random graphs; in the end the finalists,
    the first random graphs, a star and a chain on all dev items.
    """
    swarm = 2 * config.particles + 2
    graphs = swarm + (swarm if config.compare else 0)
    finals = FINALISTS + (FINALISTS + config.particles + 2 if config.compare else 0)
    in_rounds = config.iterations * graphs * items_in_round(config.sample, dev)
    return int(models * (in_rounds + (finals + 1) * dev))


class Flat:
    """The flat picture of a swarm: the two directions in which its first places differ most."""

    def __init__(self, places: Rows) -> None:
        self._middle = places.mean(axis=0)
        _, sizes, axes = np.linalg.svd(places - self._middle, full_matrices=False)
        self._axes = np.zeros((places.shape[1], 2))
        self._axes[:, : min(2, len(axes))] = axes[:2].T
        self.shown = float((sizes[:2] ** 2).sum() / max(float((sizes**2).sum()), 1e-12))

    def __call__(self, rows: Rows) -> list[list[float]]:
        """Places in the picture."""
        drawn = (np.atleast_2d(rows) - self._middle) @ self._axes
        return [[round(float(x), 4), round(float(y), 4)] for x, y in drawn]


class GraphSearch:
    """One search from its first matrices to the stored graph."""

    def __init__(self, ctx: FitContext, settings: SearchSettings) -> None:
        self.ctx, self.settings, self.networks = ctx, settings, Networks(ctx)
        self.names = [model.id for model in ctx.models]
        draws = [self._draw("start", k) for k in range(settings.particles)]
        self.swarm = start(np.array(draws), settings.moves)
        self.flat = Flat(self.swarm.places)
        self.first = [self.graph(row) for row in draws]
        self.rivals = list(self.first)
        """Random graphs that compete with the swarm's; they set out from the same ones."""
        self.met: dict[Graph, list[float]] = {}
        """Every graph of the swarm and the first row that was decoded to it."""
        self.history: list[dict[str, Any]] = []

    def _draw(self, *name: object) -> list[float]:
        matrix = random_matrix(len(self.names), self.ctx.rng("swarm", *name))
        return [w for i, row in enumerate(matrix) for j, w in enumerate(row) if i != j]

    def matrix(self, row: Sequence[float]) -> Matrix:
        """A particle's place as a matrix with an empty diagonal."""
        count = len(self.names)
        weights = np.zeros((count, count))
        weights[~np.eye(count, dtype=bool)] = row
        found: list[list[float]] = weights.tolist()
        return found

    def graph(self, row: Sequence[float]) -> Graph:
        """What a particle's place decodes to."""
        return decode(self.matrix(row), self.settings.threshold, self.settings.max_inputs)

    async def run(self) -> AsyncIterator[Step]:
        """Search, then choose among the best on all dev items and store the winner."""
        total = self.settings.iterations
        for number, items in enumerate(self.rounds()):
            title = f"Scoring {number + 1}"
            yield Phase(name="swarm", title=title, index=number, total=total)
            async for step in self._round(number, items):
                yield step
            if self.swarm.stale >= self.settings.patience:
                break
            if number + 1 < total:
                self.swarm.move()
        async for step in self._landing():
            yield step

    def rounds(self) -> list[list[FitItem]]:
        """Each round's items: all dev items have their turn before any comes again."""
        dev = list(self.ctx.items["dev"])
        size = items_in_round(self.settings.sample, len(dev))
        queue: list[FitItem] = []
        while len(queue) < size * self.settings.iterations:
            queue += self.ctx.rng("items", len(queue)).sample(dev, len(dev))
        return [queue[k * size :][:size] for k in range(self.settings.iterations)]

    async def _round(self, number: int, items: list[FitItem]) -> AsyncIterator[Step]:
        swarm, networks = self.swarm, self.networks
        rows = swarm.places.tolist()
        graphs = [self.graph(row) for row in rows]
        for graph, row in zip(graphs, rows, strict=True):
            self.met.setdefault(graph, row)
        elite = [self.graph(row) for row in (*swarm.best, swarm.top, swarm.bottom)]
        if number and self.settings.compare:
            self._challenge(number)
        rivals = self.rivals if self.settings.compare else []
        async for step in networks.score([*graphs, *elite, *rivals], items):
            yield step
        if number:
            *best, top, bottom = (networks.on(graph, items).mean for graph in elite)
            swarm.rescore(best, top, bottom)
        results = [networks.on(graph, items) for graph in graphs]
        swarm.observe([result.mean for result in results])
        self.history.append(self._picture(graphs, results))
        yield self._progress(number, results)
        yield Artifact(name="swarm", data=self._drawing())

    def _challenge(self, number: int) -> None:
        """Let the best random graphs so far meet as many new ones."""
        size = self.settings.particles
        kept = sorted(self.rivals, key=self.networks.worth, reverse=True)[: size + 1]
        new = [self.graph(self._draw("rival", number, k)) for k in range(size)]
        self.rivals = list(dict.fromkeys([*kept, *new]))

    def _progress(self, number: int, results: Sequence[Result]) -> Progress:
        means = [result.mean for result in results]
        values = {
            "best": self.swarm.top_score,
            "mean": sum(means) / len(means),
            "worst": min(means),
        }
        note = "best {best:.2f}, mean {mean:.2f}".format(**values)
        return Progress(
            unit="search",
            done=number + 1,
            total=self.settings.iterations,
            note=f"{note} on this round's {len(results[0].scores)} items",
            values={name: round(value, 6) for name, value in values.items()},
        )

    def _picture(self, graphs: Sequence[Graph], results: Sequence[Result]) -> dict[str, Any]:
        """The swarm as it stands after a round."""
        swarm = self.swarm
        return {
            "points": self.flat(swarm.places),
            "scores": [result.summary() for result in results],
            "mean": round(sum(result.mean for result in results) / len(results), 6),
            "best": round(swarm.top_score, 6),
            "best_point": self.flat(swarm.top)[0],
            "worst_point": self.flat(swarm.bottom)[0],
            "restarted": list(swarm.restarted),
            "step": round(swarm.step, 6),
            "graphs": [self.named(graph) for graph in graphs],
            "best_graph": self.named(self.graph(swarm.top.tolist())),
        }

    def named(self, graph: Graph) -> dict[str, Any]:
        """A graph by model ids."""
        names = self.names
        edges = [[names[a], names[b]] for a, b in graph.edges]
        return {"order": [names[i] for i in graph.order], "edges": edges, "sink": names[graph.sink]}

    def _drawing(self) -> dict[str, Any]:
        """Everything that a view needs: the particles of every round as points and as graphs."""
        about = {"members": self.names, "landmarks": [], "shown": round(self.flat.shown, 4)}
        return about | {"iterations": list(self.history)}

    def _leading(self, graphs: Iterable[Graph]) -> list[Graph]:
        return sorted(graphs, key=self.networks.worth, reverse=True)[:FINALISTS]

    async def _landing(self) -> AsyncIterator[Step]:
        """Score the leading graphs on all dev items, beside the models alone and random graphs."""
        networks, dev, compare = self.networks, self.ctx.items["dev"], self.settings.compare
        finals = self._leading(self.met)
        singles = [Graph((i,), (), i) for i in range(len(self.names))]
        rivals = self._leading(self.rivals) if compare else []
        yield Phase(name="finals", title=f"The best {len(finals)} on all dev items")
        async for step in networks.score(
            [*finals, *singles, *rivals, *(self.first if compare else [])], dev
        ):
            yield step
        singles.sort(key=self._mean)
        star, chain = shapes([graph.sink for graph in singles])
        async for step in networks.score([star, chain] if compare else [], dev):
            yield step
        best, single = max(finals, key=self._mean), singles[-1]
        yield self._decision(finals, best)
        stored = self._stored(best)
        write_graph(stored, self.ctx.folder)
        metrics: dict[str, JsonValue] = {
            "dev": stored.score,
            "low": stored.low,
            "high": stored.high,
            "n": stored.n,
            "best_single": round(self._mean(single), 6),
            "graphs": len(self.met),
            "iterations": len(self.history),
            "asked": networks.asked,
            "spoken": networks.spoken,
        }
        if compare:
            means = [self._mean(graph) for graph in self.first]
            metrics["random_graph"] = round(sum(means) / len(means), 6)
            metrics["random_search"] = round(max(map(self._mean, rivals)), 6)
            metrics["star"], metrics["chain"] = self._mean(star), self._mean(chain)
        recipe: dict[str, Any] = {
            "graph": stored.model_dump(mode="json"),
            "single": self.names[single.sink],
            "history": self.history,
        }
        yield self.ctx.fitted(metrics, recipe)

    def _mean(self, graph: Graph) -> float:
        return self.networks.on(graph, self.ctx.items["dev"]).mean

    def _decision(self, finals: Sequence[Graph], best: Graph) -> Decision:
        """Which of the finalists is kept."""
        labels = {graph: _spelled(self.named(graph)) for graph in finals}
        return Decision(
            what="winner",
            options=tuple(labels.values()),
            scores={labels[graph]: round(self._mean(graph), 6) for graph in finals},
            chosen=labels[best],
            why=f"the best of {len(finals)} on all {len(self.ctx.items['dev'])} dev items",
        )

    def _stored(self, graph: Graph) -> StoredGraph:
        score, dev = self._mean(graph), self.ctx.items["dev"]
        low, high = interval(score, len(dev))
        return StoredGraph(
            **self.named(graph),
            score=round(score, 6),
            low=round(low, 6),
            high=round(high, 6),
            n=len(dev),
            task=self.ctx.task,
            seed=self.ctx.seed,
            matrix=tuple(map(tuple, self.matrix(self.met[graph]))),
            models=tuple(self.names),
            threshold=self.settings.threshold,
            max_inputs=self.settings.max_inputs,
        )


def shapes(order: Sequence[int]) -> tuple[Graph, Graph]:
    """The star in which the last node reads all others, and the chain in this order."""
    last = order[-1]
    star = Graph(tuple(order), tuple((node, last) for node in order[:-1]), last)
    return star, Graph(tuple(order), tuple(pairwise(order)), last)


def _spelled(graph: dict[str, Any]) -> str:
    """A graph on one line, as a person would write it."""
    return ", ".join(f"{a} > {b}" for a, b in graph["edges"])
