"""One model answers alone: the yardstick every collaboration is measured against."""

from __future__ import annotations

from collections.abc import AsyncIterator

from pydantic import Field

from protocols.core.call import Call, Step
from protocols.core.errors import EngineError
from protocols.core.events import Answer
from protocols.core.registry import Config, Context, Estimate, ProtocolSpec, Reference
from protocols.lib.prompts import question_messages


class SingleModel(Config):
    """Settings of the single-model baseline."""

    model: str = Field(
        "",
        description="The model that answers; automatic takes the first one picked.",
        json_schema_extra={"choices": "models"},
    )


async def answer(ctx: Context) -> AsyncIterator[Step]:
    """Ask one model and give its text."""
    model = ctx.config.model or ctx.models[0].id
    call = Call("answer", model, question_messages(ctx.question))
    yield call
    if not call.ok:
        raise EngineError(f"The only model asked, '{model}', did not answer: {call.error}")
    yield Answer(text=call.text, sources=(call.id,), contributors={model: 1.0})


PROTOCOL = ProtocolSpec(
    title="Single model",
    summary=(
        "One model answers on its own. Nothing is combined: this is the yardstick that shows what "
        "a collaboration adds, and the quickest way to hear what a single contributor says."
    ),
    paper=Reference("Feng et al. 2026, Section 3", "https://arxiv.org/abs/2606.07812"),
    answer=answer,
    estimate=lambda config, n, tokens: Estimate(1, 0, tokens),
    config=SingleModel,
    views=("lanes",),
    credit="One model answered alone.",
    examples=("What is 47 + 38?", "What is the capital of Kenya?", "Write 1987 in Roman numerals."),
)
