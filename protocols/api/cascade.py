"""Cascade: models are asked one after another until one of them is sure enough of its answer.

After each answer its author is asked, by scored labels, whether it is right. Fitting learns for
each level what that confidence is worth there: its own threshold, and the chance of being right.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

from pydantic import Field

from protocols.core.call import Call, ScoreCall, Step
from protocols.core.errors import EngineError
from protocols.core.events import Answer, Decision, Phase, Progress
from protocols.core.fit_types import FitContext
from protocols.core.models import ModelSpec
from protocols.core.registry import (
    Config,
    Context,
    Estimate,
    FitEstimate,
    ProtocolSpec,
    Reference,
    fit_setting,
)
from protocols.lib.calibration import Level, read_levels
from protocols.lib.choice import position_of
from protocols.lib.prompts import question_messages
from protocols.lib.self_confidence import confidence, verify_calls
from protocols.lib.votes import parsed
from protocols.training.cascade_calibration import fit_levels


class Cascade(Config):
    """Settings of the cascade."""

    order: str = Field(
        "",
        description="Models in the order to ask, by ids or numbers; empty asks all as picked.",
    )
    threshold: float = Field(
        0.5,
        ge=0.0,
        le=1.0,
        description="Confidence that is enough where no threshold of the level's own was fitted.",
    )
    keep: float = fit_setting(
        0.5, "Share of the answers that a level keeps: the rest goes to the next.", ge=0.0, le=1.0
    )


def levels_of(ctx: Context) -> list[ModelSpec]:
    """The models in the order in which they are asked."""
    names = [model.id for model in ctx.models]
    told = [one.strip() for one in re.split(r"[,;>\n]", ctx.config.order) if one.strip()]
    places = dict.fromkeys(position_of(one, names) for one in told)
    return [ctx.models[at] for at in places] or list(ctx.models)


def judged(
    call: Call, checks: list[ScoreCall], after: str, sure: float, level: Level | None, bound: float
) -> Decision:
    """Whether an answer is kept or the question goes on to the next model."""
    chance = level.chance(sure) if level else sure
    told = f"right with a chance of {chance:.0%} by calibration; " if level else ""
    return Decision(
        what="cascade",
        title="Keep the answer or ask the next model",
        options=(call.model, after),
        scores={call.model: chance, after: 1 - chance},
        chosen=call.model if sure >= bound else after,
        why=f"{told}confidence {sure:.2f}, enough is {bound:.2f}",
        by=call.model,
        sources=(call.id, *(check.id for check in checks)),
    )


def answer_of(call: Call, note: str = "", partial: bool = False) -> Answer:
    """A model's text as the answer."""
    shares = {call.model: 1.0}
    return Answer(
        text=call.text, sources=(call.id,), contributors=shares, note=note, partial=partial
    )


async def answer(ctx: Context) -> AsyncIterator[Step]:
    """Ask level by level; the last one's answer is kept whatever its confidence."""
    order, fitted = levels_of(ctx), read_levels(ctx.artifact)
    if not fitted:
        note = "The levels were not calibrated; all go by the same threshold."
        yield Progress(unit="cascade", note=note)
    heard: list[tuple[float, Call]] = []
    for number, model in enumerate(order):
        last = number + 1 == len(order)
        title = f"Level {number + 1}: {model.title}"
        yield Phase(name="level", title=title, index=number, total=len(order))
        call = Call(f"level.{model.id}", model.id, question_messages(ctx.question), round=number)
        checks = [] if last else verify_calls(ctx, call, f"verify.{model.id}")
        yield [call, *checks]
        if not call.ok:
            if not last:
                note = f"'{model.id}' failed; '{order[number + 1].id}' is asked."
                yield Progress(unit="cascade", note=note, level="warning")
            continue
        yield parsed([call], number)
        sure = confidence(checks) if checks else None
        if last:
            yield answer_of(call, f"Level {number + 1} of {len(order)}, the last one.")
            return
        heard.append((sure or 0.0, call))
        yield answer_of(max(heard, key=lambda one: one[0])[1], "The surest so far.", partial=True)
        if sure is None:
            continue
        level = fitted.get(model.id)
        bound = level.threshold if level else ctx.config.threshold
        yield judged(call, checks, order[number + 1].id, sure, level, bound)
        if sure >= bound:
            yield answer_of(call, f"Level {number + 1} of {len(order)} was sure enough.")
            return
    if not heard:
        raise EngineError("None of the models answered. Pick other models and run again.")
    note = "The later levels failed; this is the surest of the answers before them."
    yield answer_of(max(heard, key=lambda one: one[0])[1], note)


async def fit(ctx: FitContext) -> AsyncIterator[Step]:
    """Learn each level's threshold and what its confidence is worth."""
    async for step in fit_levels(ctx, levels_of(ctx.context)):
        yield step


PROTOCOL = ProtocolSpec(
    title="Cascade",
    summary=(
        "The models are asked one after another: each answers and is then asked how sure it is, "
        "and only if that is not enough the next one is asked. You see each confidence against "
        "its threshold; fitted to a task, every level has a threshold of its own."
    ),
    paper=Reference("Chen et al. 2023, FrugalGPT", "https://arxiv.org/abs/2305.05176"),
    answer=answer,
    estimate=lambda config, n, tokens: Estimate(n, 2 * (n - 1), n * tokens),
    config=Cascade,
    views=("routing", "lanes"),
    min_models=2,
    needs=frozenset({"score"}),
    fit=fit,
    fit_estimate=lambda _, size: FitEstimate(size.models * size.dev, 2 * size.models * size.dev),
    credit="All of it goes to the model whose answer was kept.",
    examples=(
        "What is the capital of Kenya?",
        "What is 47 + 38?",
        "Write 1987 in Roman numerals.",
    ),
)
