"""Greedy soup: the mean of those models that make it better, added one at a time.

Models are sorted by their dev score; each is tried in the mean in turn and stays only if the score
strictly rises, for ties are common on few items and would change the soup. The search moves in
coefficient space: a soup is a row of equal numbers.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from protocols.core.call import Step
from protocols.core.events import Artifact, Decision, Phase
from protocols.core.fit_types import FitContext
from protocols.core.registry import Context, ProtocolSpec, Reference, fit_setting
from protocols.lib.candidates import CandidateScorer, Result, flips
from protocols.lib.coefficients import Recipe, sign_test, uniform, units
from protocols.lib.merged_model import (
    estimate,
    looked_over,
    merged_model_answer,
    store_merged_model,
)
from protocols.lib.weight_space import members_of
from protocols.training.distil_first import Unified, searched, unified


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


@dataclass
class Soup:
    """The models in the soup, by their places in the pool, its score, and the ladder so far."""

    members: list[int]
    best: Result
    ladder: list[dict[str, Any]] = field(default_factory=list)


async def fit(ctx: FitContext) -> AsyncIterator[Step]:
    """Score all models, then climb the ladder from the best one down."""
    count, dev = len(ctx.models), ctx.items["dev"]
    members, most = members_of(ctx.models), 2 * count - 1
    async for step in looked_over(ctx, members, most * len(dev)):
        yield step
    bench = CandidateScorer(ctx, members, dev, expected=most)
    yield Phase(name="solo", title="Every model alone", index=0, total=2)
    async for step in bench.rows(units(count)):
        yield step
    solo = [bench.of(row) for row in units(count)]
    first, *others = sorted(range(count), key=lambda i: -solo[i].mean)
    soup = Soup([first], solo[first])
    yield Phase(name="climb", title="One more at a time", index=1, total=2)
    async for step in climbed(ctx, bench, soup, others, solo):
        yield step
    row, best, alone = uniform(soup.members, count), soup.best.mean, solo[first].mean
    names = tuple(model.id for model in ctx.models)
    recipe = Recipe(method="greedy_soup", members=names, weights=row, seed=ctx.seed)
    metrics = {"dev": best, "best_single": alone, "gain": best - alone, "n": len(dev)}
    async for step in store_merged_model(ctx, members, row, recipe, metrics):
        yield step


async def climbed(
    ctx: FitContext,
    bench: CandidateScorer,
    soup: Soup,
    others: Sequence[int],
    solo: Sequence[Result],
) -> AsyncIterator[Step]:
    """Try each of the others in the soup, and show the ladder as it grows."""
    names = [model.id for model in ctx.models]
    scores = {name: one.summary() for name, one in zip(names, solo, strict=True)}
    start = [names[i] for i in soup.members]
    soup.ladder.append({"tried": start[0], "soup": start, "accepted": True} | soup.best.summary())
    yield Artifact(name="ladder", data={"solo": scores, "rows": list(soup.ladder)})
    for candidate in others:
        row = uniform([*soup.members, candidate], len(names))
        async for step in bench.rows([row]):
            yield step
        tried = [names[i] for i in [*soup.members, candidate]]
        found = rung(soup.best, bench.of(row), tried, ctx.config.max_p)
        soup.ladder.append(found)
        if found["accepted"]:
            soup.members, soup.best = [*soup.members, candidate], bench.of(row)
        yield Artifact(name="ladder", data={"solo": scores, "rows": list(soup.ladder)})
        yield verdict_on(found)


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
    fit_estimate=searched(lambda _, size: (2 * size.models - 1) * size.dev),
    needs_artifact=True,
    profiles={"paper": {"max_p": 1.0}},
)
