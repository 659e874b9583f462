"""ExPO: go on in the direction that leads from the weak models to the strong ones.

``top + alpha (top - bottom)``, where top and bottom are the means of the k best and k worst models.
With alpha 0 nothing is extrapolated, and 0 is always among the alphas that are tried: between
models that do not come from one another the direction may well lead nowhere.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

from protocols.core.call import Step
from protocols.core.errors import UserError
from protocols.core.events import Artifact, Decision, Phase
from protocols.core.fit_types import FitContext
from protocols.core.registry import Context, ProtocolSpec, Reference, fit_setting
from protocols.lib.candidates import CandidateScorer, Result
from protocols.lib.coefficients import Recipe, Rows, norm, uniform, units
from protocols.lib.merged_model import (
    estimate,
    looked_over,
    merged_model_answer,
    store_merged_model,
)
from protocols.lib.weight_space import members_of
from protocols.training.distil_first import Unified, searched, unified

LEAST, MOST = -1.0, 2.0
Point = tuple[float, tuple[float, ...]]


class Expo(Unified):
    """Settings of ExPO."""

    alphas: str = fit_setting(
        "0, 0.1, 0.2, 0.3, 0.5",
        "How far to go beyond the best, tried in turn; below 0 lies between the two.",
    )
    k: int = fit_setting(
        0, "How many models are the top and the bottom; 0 takes the paper's 1, 2 or 4.", ge=0, le=16
    )


def how_many(count: int, asked: int = 0) -> int:
    """The paper's k for a pool (1 below 4 models, 2 below 8, then 4), or the one asked for.

    Top and bottom never overlap.
    """
    k = asked or (1 if count < 4 else 2 if count < 8 else 4)
    return max(1, min(k, count // 2))


def read_alphas(text: str) -> list[float]:
    """The alphas by size, nearest to 0 first, with 0 among them. Raises :class:`UserError`."""
    try:
        found = {0.0, *(float(part) for part in text.split(",") if part.strip())}
    except ValueError:
        raise UserError(
            f"'{text}' is no list of numbers. Write for example: 0, 0.2, 0.5."
        ) from None
    if not all(LEAST <= alpha <= MOST for alpha in found):
        raise UserError(f"Alphas lie between {LEAST:g} and {MOST:g}; got '{text}'.")
    return sorted(found, key=lambda alpha: (abs(alpha), alpha))


def extrapolated(
    top: Sequence[int], bottom: Sequence[int], alpha: float, count: int
) -> list[float]:
    """The row of ``top + alpha (top - bottom)`` over ``count`` models."""
    best, worst = uniform(top, count), uniform(bottom, count)
    return [(1 + alpha) * t - alpha * b for t, b in zip(best, worst, strict=True)]


@dataclass(frozen=True)
class Line:
    """The best and the worst models, by their places in the pool, and the points of the line."""

    top: tuple[int, ...]
    bottom: tuple[int, ...]
    points: tuple[Point, ...]


def line_through(solo: Sequence[Result], alphas: Sequence[float], k: int) -> Line:
    """The line through the means of the ``k`` best and ``k`` worst of the models alone."""
    order = sorted(range(len(solo)), key=lambda i: -solo[i].mean)
    top, bottom = tuple(order[:k]), tuple(order[-k:])
    rows = [tuple(extrapolated(top, bottom, alpha, len(solo))) for alpha in alphas]
    return Line(top, bottom, tuple(zip(alphas, rows, strict=True)))


async def fit(ctx: FitContext) -> AsyncIterator[Step]:
    """Rank the models, then try the alphas along the line from the worst to the best."""
    count, dev, alphas = len(ctx.models), ctx.items["dev"], read_alphas(ctx.config.alphas)
    members, most = members_of(ctx.models), count + len(alphas)
    async for step in looked_over(ctx, members, most * len(dev)):
        yield step
    bench = CandidateScorer(ctx, members, dev, expected=most)
    yield Phase(name="solo", title="Every model alone", index=0, total=2)
    async for step in bench.rows(units(count)):
        yield step
    solo = [bench.of(row) for row in units(count)]
    yield Phase(name="line", title="Along the line from worst to best", index=1, total=2)
    line = line_through(solo, alphas, how_many(count, ctx.config.k))
    async for step in along(ctx, bench, line, solo):
        yield step
    # The list begins at 0, and only what is better replaces what came before.
    alpha, row = max(line.points, key=lambda point: bench.of(point[1]).mean)
    best, zero = bench.of(row).mean, bench.of(line.points[0][1]).mean
    yield Decision(
        what="alpha",
        options=tuple(f"{a:g}" for a in alphas),
        chosen=f"{alpha:g}",
        why=f"{best:.1%} on {len(dev)} dev items; {zero:.1%} without extrapolation",
    )
    alone = max(one.mean for one in solo)
    metrics = {"dev": best, "alpha": alpha, "alpha_0": zero, "best_single": alone, "n": len(dev)}
    names, told = tuple(model.id for model in ctx.models), {"alpha": alpha}
    recipe = Recipe(method="expo", members=names, weights=row, seed=ctx.seed, details=told)
    async for step in store_merged_model(ctx, members, row, recipe, metrics):
        yield step


async def along(
    ctx: FitContext, bench: CandidateScorer, line: Line, solo: Sequence[Result]
) -> AsyncIterator[Step]:
    """Score one point after the other, and draw the curve as far as it is known."""
    names = [model.id for model in ctx.models]
    about = {
        "k": len(line.top),
        "top": [names[i] for i in line.top],
        "bottom": [names[i] for i in line.bottom],
        "solo": {name: one.summary() for name, one in zip(names, solo, strict=True)},
    }
    products = await ctx.work(bench.members.products)
    for done in range(1, len(line.points) + 1):
        async for step in bench.rows([line.points[done - 1][1]]):
            yield step
        points = curve(products, bench, line.points[:done])
        yield Artifact(name="alpha", data=about | {"points": points})


def curve(products: Rows, bench: CandidateScorer, line: Sequence[Point]) -> list[dict[str, Any]]:
    """What is known of the line, by alpha: scores, and how large the model's change has become."""
    points = [
        {"alpha": alpha, "norm": round(norm(products, row), 6), **bench.of(row).summary()}
        for alpha, row in line
    ]
    return sorted(points, key=lambda point: float(point["alpha"]))


def answer(ctx: Context) -> AsyncIterator[Step]:
    """The extrapolated model answers."""
    return merged_model_answer(ctx)


PROTOCOL = ProtocolSpec(
    title="ExPO (extrapolation)",
    summary=(
        "The difference between the best and the worst models is taken as a direction, and the "
        "best are moved further along it. How far is found on dev questions, and not moving at "
        "all is one of the choices. You see the score over the distance."
    ),
    paper=Reference("Zheng et al. 2024, ExPO", "https://arxiv.org/abs/2404.16792"),
    answer=answer,
    estimate=estimate,
    config=Expo,
    min_models=2,
    credit="By how much of each model is in the one that answered.",
    examples=(
        "What is 63 - 28?",
        "Write 251 as a Roman numeral.",
        "How many seconds are 21 minutes?",
    ),
    fit=unified(fit),
    fit_estimate=searched(lambda c, s: (s.models + len(read_alphas(c.alphas))) * s.dev),
    needs_artifact=True,
    profiles={"paper": {"alphas": "0.3", "k": 0}},
)
