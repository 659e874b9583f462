"""DARE-TIES: each model's change is thinned at random, the models elect a sign for every weight,
and only what agrees with it is added up.

Masks are drawn from the seed, the member and the tensor's name, so the same recipe gives the same
model. Equal weights are the paper's way; a swarm may search for better ones, and the equal ones are
among its particles.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import JsonValue

from protocols.core.artifacts import Derived
from protocols.core.call import Step
from protocols.core.events import Artifact, Phase
from protocols.core.fit_types import FitContext
from protocols.core.models import ModelSpec, content_hash
from protocols.core.registry import ProtocolSpec, Reference, fit_setting
from protocols.lib.candidates import Candidate, CandidateScorer
from protocols.lib.coefficients import Recipe, softmax, units
from protocols.lib.merged_model import (
    estimate,
    looked_over,
    merged_model_answer,
    seal_artifact,
)
from protocols.lib.particle_swarm import Rows, SwarmSettings, generator, start
from protocols.lib.room import ties_room
from protocols.lib.ties import Rescale, Thin, TiesSettings
from protocols.lib.ties_merge import OnLayer, TieMembers, tie_members
from protocols.lib.weight_space import members_of
from protocols.training.distil_first import Unified, searched, unified

PARTICLES = 4
Weights = tuple[float, ...]


class DareTies(Unified):
    """Settings of DARE-TIES."""

    density: float = fit_setting(0.5, "Part of each model's change that is kept.", gt=0.0, le=1.0)
    thin: Thin = fit_setting("random", "Keep a random part (DARE) or the largest (TIES).")
    rescale: Rescale = fit_setting(
        "density", "Make up for what was dropped: by density, to the L1 norm (whole models), not."
    )
    normalize: bool = fit_setting(True, "Divide by the weights of those who agreed on the sign.")
    scale: float = fit_setting(1.0, "Multiply the merged change by this.", ge=0.0, le=4.0)
    search: int = fit_setting(
        0, "Scorings of a swarm over the weights; 0 keeps them equal, as the paper.", ge=0, le=50
    )
    rank: int = fit_setting(
        0,
        "Adapters: rank of the merged adapter; 0 writes a whole model, which is exact.",
        ge=0,
        le=256,
    )
    base: str = fit_setting(
        "", "Whole models: the one that the others came from.", choices="models"
    )


def settings_of(config: DareTies, seed: int) -> TiesSettings:
    """The form's settings as the merge's."""
    kept = config.model_dump(include={"density", "thin", "rescale", "normalize", "scale"})
    return TiesSettings(**kept, seed=seed)


async def fit(ctx: FitContext) -> AsyncIterator[Step]:
    """Look at how the models disagree, merge, and measure; or search for weights first."""
    config, dev, points = ctx.config, ctx.items["dev"], members_of(ctx.models)
    most = len(ctx.models) + max(1, PARTICLES * config.search)
    room = partial(ties_room, rank=config.rank)
    async for step in looked_over(ctx, points, most * len(dev), room=room):
        yield step
    ties = tie_members(ctx.models, config.rank, config.base)
    bench = CandidateScorer(ctx, points, dev, expected=most)
    yield Phase(name="conflict", title="Where the models disagree", index=0, total=2)
    layers = await ctx.work(ties.conflicts, shown(ctx, "Comparing signs"))
    yield Artifact(name="conflict", data={"members": list(names(ties)), "layers": layers})
    yield Phase(name="merge", title="Merge and measure", index=1, total=2)
    async for step in bench.rows(units(len(ctx.models))):
        yield step
    tried: dict[str, tuple[Weights, Candidate]] = {}
    async for step in weighted(ctx, ties, bench, tried):
        yield step
    best = max(tried, key=lambda key: bench.result(key).mean)
    metrics = {
        "dev": bench.result(best).mean,
        "best_single": max(bench.of(row).mean for row in units(len(ctx.models))),
        "density": config.density,
        "conflict": sum(one["conflict"] for one in layers) / len(layers),
        "n": len(dev),
    }
    async for step in sealed(ctx, ties, tried[best][0], metrics):
        yield step


async def sealed(
    ctx: FitContext, ties: TieMembers, weights: Weights, metrics: dict[str, JsonValue]
) -> AsyncIterator[Step]:
    """Write the merge with the chosen weights as the artifact's model."""
    lost = await ctx.work(make, ctx, ties, weights, ctx.folder / "merged")
    recipe = Recipe(
        method="dare_ties", members=names(ties), weights=weights, seed=ctx.seed, lost=lost,
        details=ctx.config.model_dump(mode="json"),
    )  # fmt: skip
    title, base = f"DARE-TIES of {len(weights)}", ties.models[0].id
    merged = Derived(name="dare_ties", base=base, folder="merged", kind=ties.kind, title=title)
    async for step in seal_artifact(ctx, recipe, metrics | {"lost": lost}, merged):
        yield step


def names(ties: TieMembers) -> tuple[str, ...]:
    """The members' ids."""
    return tuple(model.id for model in ties.members)


async def weighted(
    ctx: FitContext,
    ties: TieMembers,
    bench: CandidateScorer,
    tried: dict[str, tuple[Weights, Candidate]],
) -> AsyncIterator[Step]:
    """Score the merge with equal weights, or a swarm of weights that begins with it."""
    count, rounds = len(ties.members), ctx.config.search
    chance = generator(ctx.seed, "weights").uniform(-1.0, 1.0, size=(PARTICLES - 1, count))
    places: Rows = np.concatenate([np.zeros((1, count)), chance])
    swarm = start(places, SwarmSettings(seed=ctx.seed))
    for number in range(max(1, rounds)):
        rows = [softmax(row) for row in (swarm.places if rounds else places[:1]).tolist()]
        new = [candidate(ctx, ties, weights) for weights in rows]
        tried |= {one.key: (w, one) for w, one in zip(rows, new, strict=True)}
        async for step in bench.score(new):
            yield step
        scores = [bench.result(one.key).mean for one in new]
        points = [{"weights": list(w), "score": s} for w, s in zip(rows, scores, strict=True)]
        about = {"members": list(names(ties)), "round": number, "points": points}
        yield Artifact(name="weights", data=about)
        if number + 1 < rounds:
            swarm.observe(scores)
            swarm.move()


def candidate(ctx: FitContext, ties: TieMembers, weights: Weights) -> Candidate:
    """A merge with these weights, made when it is scored."""
    key = content_hash("dare_ties", [round(w, 12) for w in weights])

    def written(folder: Path) -> ModelSpec:
        make(ctx, ties, weights, folder)
        local: dict[str, Any] = {"id": f"c.{key}", "name": "", "adapter": str(folder)}
        if ties.kind == "model":
            local |= {"adapter": "", "source": str(folder), "revision": ""}
        return ties.members[0].model_copy(update=local)

    return Candidate(key, None, written, whole=ties.kind == "model")


def make(ctx: FitContext, ties: TieMembers, weights: Weights, folder: Path) -> float:
    """Write a merge, saying how far it is."""
    return ties.make(weights, settings_of(ctx.config, ctx.seed), folder, shown(ctx, "Merging"))


def shown(ctx: FitContext, note: str) -> OnLayer:
    """Reports every tenth part of the layers."""

    def on_layer(done: int, total: int) -> None:
        if done * 10 // total > (done - 1) * 10 // total:
            ctx.report("merge", done, total, note)

    return on_layer


PROTOCOL = ProtocolSpec(
    title="DARE-TIES",
    summary=(
        "All models are merged into one: each keeps a random part of what it changed in the base, "
        "the models vote on the sign of every weight, and only changes that agree are added up. "
        "You see where they disagree, layer by layer, and how alike they are."
    ),
    paper=Reference("Yu et al. 2024, DARE", "https://arxiv.org/abs/2311.03099"),
    answer=merged_model_answer,
    estimate=estimate,
    config=DareTies,
    min_models=2,
    credit="By how much of each model is in the merged one.",
    examples=("Capital of Kenya?", "How many seconds are 21 minutes?", "Write 87 in Roman."),
    fit=unified(fit),
    fit_estimate=searched(lambda c, s: (s.models + max(1, PARTICLES * c.search)) * s.dev),
    needs_artifact=True,
    profiles={"paper": {"density": 1.0, "normalize": False}},
)
