"""Merging models of different architectures: distil them first, then merge the students.

The merge is given the students in the place of the pool; what is said about its result names the
contributors again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from typing import Any

from protocols.core.call import Step
from protocols.core.events import Artifact
from protocols.core.fit_types import FITTED, FitContext
from protocols.core.registry import (
    Config,
    FitEstimate,
    FitEstimateFn,
    FitFn,
    FitSize,
    fit_setting,
)
from protocols.training.distill import DistilSettings
from protocols.training.pool_distillation import Distilling, Report, distil_estimate, fidelity


class Unified(Config):
    """Settings of protocols that need one architecture."""

    distil: bool = fit_setting(
        False,
        "First distil the models that stand on other bases into students of one, so that models "
        "of different architectures can be merged.",
    )


def unified(fit: FitFn) -> FitFn:
    """A fit that may begin by distilling: it is then given the students instead of the pool."""

    async def distilled(ctx: FitContext) -> AsyncIterator[Step]:
        if not ctx.config.distil:
            async for step in fit(ctx):
                yield step
            return
        first = Distilling(ctx, DistilSettings(seed=ctx.seed), everyone=False)
        async for step in first.steps():
            yield step
        for model in first.students.values():
            ctx.serve(model)
        context = replace(ctx.context, models=tuple(first.students.values()))
        async for step in fit(replace(ctx, context=context)):
            yield _renamed(step, first)

    return distilled


def searched(answers: Callable[[Any, FitSize], int]) -> FitEstimateFn:
    """What a search costs that asks for so many answers, with the students that it may need."""

    def estimate(config: Any, size: FitSize) -> FitEstimate:
        found = FitEstimate(answers(config, size))
        if not config.distil:
            return found
        first = distil_estimate(DistilSettings(), size)
        return FitEstimate(found.calls + first.calls, steps=first.steps)

    return estimate


def _renamed(step: Step, first: Distilling) -> Step:
    """What is said about a finished merge, with contributors in the place of their students."""
    names = {student.id: owner for owner, student in first.students.items()}

    def name(one: str) -> str:
        return names.get(one, one)

    if not isinstance(step, Artifact) or step.name not in ("recipe", FITTED):
        return step
    data = dict(step.data)
    if step.name == FITTED:
        data["derived"] = [one | {"base": first.host.id} for one in data["derived"]]
        data["metrics"] = data["metrics"] | fidelity(first.reports)
        data["recipe"] = _owners(data["recipe"], name, first.reports)
        return step.model_copy(update={"data": data})
    shares = {name(one): share for one, share in data.pop("shares").items()}
    return step.model_copy(update={"data": _owners(data, name, first.reports) | {"shares": shares}})


def _owners(
    recipe: dict[str, Any], name: Callable[[str], str], reports: Sequence[Report]
) -> dict[str, Any]:
    details = recipe["details"] | {"distilled": list(reports)}
    return recipe | {"members": [name(one) for one in recipe["members"]], "details": details}
