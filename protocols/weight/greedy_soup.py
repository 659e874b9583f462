"""Greedy soup: the mean of those models that make it better, added one at a time.

Models are sorted by their dev score; each is tried in the mean in turn and stays only if the score
strictly rises, for ties are common on few items and would change the soup. The search moves in
coefficient space: a soup is a row of equal numbers.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from protocols.core.call import Step
from protocols.core.events import Artifact, Decision, Phase
from protocols.core.fit_types import FitContext
from protocols.core.registry import Context, ProtocolSpec, Reference, fit_setting
from protocols.lib.candidates import CandidateScorer, Result, flips
from protocols.lib.coefficients import Recipe, sign_test, uniform, units
from protocols.lib.merged_model import estimate, geometry, merged_model_answer, store_merged_model
from protocols.lib.preflight import preflight
from protocols.lib.weight_space import members_of
from protocols.training.distil_first import Unified, unified


class GreedySoup(Unified):
    """Settings of greedy soup."""

    max_p: float = fit_setting(
        1.0,
        "A model is added only if the score rises and the sign test over the changed items gives "
        "at most this; 1 asks for a rise alone, as the paper does.",
        gt=0.0,
        le=1.0,
    )


def rung(before: Result, after: Result, names: Sequence[str], max_p: float) -> dict[str, Any]:
    """One step of the ladder: the last of ``names`` tried with those before it."""
    up, down = flips(before, after)
    p = sign_test(up, down)
    gain = after.mean - before.mean
    return {
        "tried": names[-1],
        "soup": list(names),
        **after.summary(),
        "gain": round(gain, 6),
        "up": up,
        "down": down,
        "p": round(p, 6),
        "accepted": gain > 0 and p <= max_p,
    }


async def fit(ctx: FitContext) -> AsyncIterator[Step]:
    """Score all models, then climb the ladder from the best one down."""
    names, dev = [model.id for model in ctx.models], ctx.items["dev"]
    count = len(names)
    verdict = preflight(ctx.models, ctx.folder, (2 * count - 1) * len(dev))
    yield verdict.artifact()
    verdict.require()
    members = members_of(ctx.models)
    bench = CandidateScorer(ctx, members, dev, expected=2 * count - 1)
    yield await ctx.work(geometry, members)
    yield Phase(name="solo", title="Every model alone", index=0, total=2)
    rows = units(count)
    async for step in bench.rows(rows):
        yield step
    solo = [bench.of(row) for row in rows]
    order = sorted(range(count), key=lambda i: -solo[i].mean)
    soup, best = [order[0]], solo[order[0]]
    first = {"tried": names[order[0]], "soup": [names[order[0]]], "accepted": True}
    ladder = [first | best.summary()]
    scores = {name: one.summary() for name, one in zip(names, solo, strict=True)}
    yield Artifact(name="ladder", data={"solo": scores, "rows": list(ladder)})
    yield Phase(name="climb", title="One more at a time", index=1, total=2)
    for candidate in order[1:]:
        row = uniform([*soup, candidate], count)
        async for step in bench.rows([row]):
            yield step
        tried = [names[i] for i in [*soup, candidate]]
        found = rung(best, bench.of(row), tried, ctx.config.max_p)
        ladder.append(found)
        if found["accepted"]:
            soup, best = [*soup, candidate], bench.of(row)
        yield Artifact(name="ladder", data={"solo": scores, "rows": list(ladder)})
        yield verdict_on(found)
    row = uniform(soup, count)
    recipe = Recipe(method="greedy_soup", members=tuple(names), weights=row, seed=ctx.seed)
    alone = solo[order[0]].mean
    metrics = {"dev": best.mean, "best_single": alone, "gain": best.mean - alone, "n": len(dev)}
    async for step in store_merged_model(ctx, members, row, recipe, metrics):
        yield step


def verdict_on(found: dict[str, Any]) -> Decision:
    """Whether the tried model stays in the soup."""
    why = (
        f"{found['score']:.1%} ({found['gain']:+.1%}): {found['up']} better, {found['down']} worse"
    )
    return Decision(
        what="soup",
        options=("added", "left out"),
        chosen="added" if found["accepted"] else "left out",
        why=f"{found['tried']}: {why}",
    )


def answer(ctx: Context) -> AsyncIterator[Step]:
    """The soup answers."""
    return merged_model_answer(ctx)


PROTOCOL = ProtocolSpec(
    title="Greedy soup",
    summary=(
        "The models' weights are averaged into one model: starting from the best, each further "
        "model stays in the average only if it raises the score on dev questions. You see the "
        "ladder of what was added and what was left out, with intervals."
    ),
    paper=Reference("Wortsman et al. 2022, Model soups", "https://arxiv.org/abs/2203.05482"),
    answer=answer,
    estimate=estimate,
    config=GreedySoup,
    min_models=2,
    credit="By how much of each model is in the soup.",
    examples=(
        "What is 47 + 38?",
        "Write 67 as a Roman numeral.",
        "How many seconds are 21 minutes?",
    ),
    fit=unified(fit),
    fit_answers=lambda config, models, dev: (2 * models - 1) * dev,
    needs_artifact=True,
)
