"""LoraHub: a few examples decide how much of each adapter goes into the sum.

A gradient-free search over one weight per adapter, between -1.5 and 1.5, begins with none of them;
what it seeks is a high score on a few questions and small weights. The adapters' changes are added
up exactly, so a negative weight takes a skill away.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from protocols.core.call import Step
from protocols.core.events import Artifact, Phase
from protocols.core.fit_types import FitContext
from protocols.core.registry import Context, ProtocolSpec, Reference, fit_setting
from protocols.lib.candidates import CandidateScorer
from protocols.lib.coefficients import Plane, Recipe, Rows, units
from protocols.lib.merged_model import (
    estimate,
    looked_over,
    merged_model_answer,
    store_merged_model,
)
from protocols.lib.particle_swarm import generator
from protocols.lib.weight_space import Members, members_of
from protocols.training.distil_first import Unified, searched, unified

BOX = 1.5
FASTER = 1.5
SLOWER = FASTER**-0.25
"""After a success steps grow, after a failure they shrink: steady when one in five succeeds."""


class Lorahub(Unified):
    """Settings of LoraHub."""

    shots: int = fit_setting(16, "Questions that the search looks at; the paper has 5.", ge=1)
    budget: int = fit_setting(20, "Candidates that are tried; the paper tries 40.", ge=2, le=1000)
    offspring: int = fit_setting(4, "Candidates that are tried together.", ge=1, le=64)
    l1: float = fit_setting(0.05, "Price of a mean absolute weight of one.", ge=0.0, le=1.0)
    spread: float = fit_setting(0.5, "Size of the first steps.", gt=0.0, le=BOX)


@dataclass
class Search:
    """A (1 + offspring) evolution strategy: the best row so far, and how far its children lie.

    ``best`` [adapters]; children are drawn from a normal distribution of width ``spread`` around
    it, inside the box. Source: Rechenberg 1973, the one-fifth success rule.
    """

    best: Rows
    spread: float
    seed: int
    value: float = -np.inf
    generation: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)

    def children(self, count: int) -> Rows:
        """Rows to try next; the first generation holds the start itself."""
        chance = generator(self.seed, "lorahub", self.generation)
        steps = chance.normal(size=(count, len(self.best))) * self.spread
        if self.generation == 0:
            steps[0] = 0.0
        return np.clip(self.best + steps, -BOX, BOX)

    def observe(self, rows: Rows, values: Sequence[float]) -> None:
        """Keep the best child if it is strictly better, and adapt the steps."""
        top = int(np.argmax(values))
        better = values[top] > self.value
        if better:
            self.best, self.value = rows[top], float(values[top])
        self.spread *= FASTER if better else SLOWER
        self.generation += 1


def worth(score: float, row: Sequence[float], l1: float) -> float:
    """What the search maximises: the score less the price of the weights."""
    return score - l1 * float(np.mean(np.abs(row)))


def whole_row(weights: Iterable[float], places: Sequence[int], count: int) -> list[float]:
    """Weights of the adapters as a row over the pool; the base takes what is left of one."""
    row = [0.0] * count
    for place, weight in zip(places, weights, strict=True):
        row[place] = float(weight)
    bases = [place for place in range(count) if place not in places]
    if bases:
        row[bases[0]] = 1.0 - sum(row)
    return row


async def fit(ctx: FitContext) -> AsyncIterator[Step]:
    """Search on a few questions, then measure on all."""
    config: Lorahub = ctx.config
    dev, count = ctx.items["dev"], len(ctx.models)
    few = dev[: config.shots]
    answers = config.budget * len(few) + (count + 1) * len(dev)
    members = members_of(ctx.models)
    async for step in looked_over(ctx, members, answers, adapters_only=True):
        yield step
    plane = Plane(await ctx.work(members.products))
    places = [i for i, model in enumerate(ctx.models) if model.adapter]
    search = Search(np.zeros(len(places)), config.spread, ctx.seed)
    yield Phase(name="search", title=f"Search on {len(few)} questions", index=0, total=2)
    bench = CandidateScorer(ctx, members, few, expected=config.budget)
    async for step in evolution(search, bench, plane, config):
        yield step
    yield Phase(name="measure", title=f"Measure on {len(dev)} questions", index=1, total=2)
    full, row = CandidateScorer(ctx, members, dev, count + 1), whole_row(search.best, places, count)
    async for step in full.rows([row, *units(count)]):
        yield step
    metrics = {
        "dev": full.of(row).mean,
        "few_shot": bench.of(row).mean,
        "best_single": max(full.of(unit).mean for unit in units(count)),
        "shots": len(few),
        "n": len(dev),
    }
    names = tuple(model.id for model in ctx.models)
    recipe = Recipe(method="lorahub", members=names, weights=tuple(row), seed=ctx.seed)
    async for step in store_merged_model(ctx, members, row, recipe, metrics):
        yield step


async def evolution(
    search: Search, bench: CandidateScorer, plane: Plane, config: Lorahub
) -> AsyncIterator[Step]:
    """Try generation after generation until the budget is spent."""
    models = bench.members.models
    places = [i for i, model in enumerate(models) if model.adapter]
    left = config.budget
    while left:
        weights = search.children(min(config.offspring, left))
        rows = [whole_row(one, places, len(models)) for one in weights]
        async for step in bench.rows(rows):
            yield step
        scores = [bench.of(row).mean for row in rows]
        values = [worth(s, w, config.l1) for s, w in zip(scores, weights, strict=True)]
        search.observe(weights, values)
        left -= len(rows)
        best = whole_row(search.best, places, len(models))
        search.history.append(
            {
                "points": plane(rows),
                "scores": scores,
                "worth": [round(value, 6) for value in values],
                "best": round(search.value, 6),
                "best_row": [round(w, 6) for w in best],
                "best_point": plane([best])[0],
                "spread": round(search.spread, 6),
            }
        )
        yield Artifact(name="evolution", data=drawn(search, bench.members, plane))


def drawn(search: Search, members: Members, plane: Plane) -> dict[str, Any]:
    """Everything a view needs: the contributed models as landmarks, and every generation."""
    names = [model.id for model in members.models]
    about = {"members": names, "landmarks": plane(units(len(names))), "box": BOX}
    return about | {"generations": list(search.history)}


def answer(ctx: Context) -> AsyncIterator[Step]:
    """The sum of adapters answers."""
    return merged_model_answer(ctx)


PROTOCOL = ProtocolSpec(
    title="LoraHub",
    summary=(
        "A few example questions decide how much of each adapter goes into one sum: weights are "
        "varied at random, the best are kept, and small ones are preferred. A weight below zero "
        "takes a skill away. You see the search and the weights it ends with."
    ),
    paper=Reference("Huang et al. 2024, LoraHub", "https://arxiv.org/abs/2307.13269"),
    answer=answer,
    estimate=estimate,
    config=Lorahub,
    min_models=2,
    credit="By how much of each adapter is in the sum.",
    examples=(
        "What is 63 - 28?",
        "Write 251 as a Roman numeral.",
        "How many seconds are 21 minutes?",
    ),
    fit=unified(fit),
    fit_estimate=searched(lambda c, s: c.budget * min(c.shots, s.dev) + (s.models + 1) * s.dev),
    needs_artifact=True,
    profiles={"paper": {"shots": 5, "budget": 40, "offspring": 1}},
)
