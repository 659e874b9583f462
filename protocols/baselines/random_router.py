"""Random router: a model drawn by lot answers alone. Any router has to beat this.

The lot depends on the run's seed and the question, not on the order of the pool.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from protocols.core.call import Call, Step
from protocols.core.errors import EngineError
from protocols.core.events import Answer, Decision, Progress
from protocols.core.registry import Config, Context, Estimate, ProtocolSpec, Reference
from protocols.lib.prompts import question_messages


class RandomRouter(Config):
    """The random router has no settings."""


async def answer(ctx: Context) -> AsyncIterator[Step]:
    """Draw a model and let it answer; if it fails, the next one that was drawn."""
    names = sorted(model.id for model in ctx.models)
    drawn = ctx.rng("route", ctx.question).sample(names, len(names))
    yield Decision(
        what="route",
        title="Drawn by lot",
        options=tuple(names),
        scores=dict.fromkeys(names, 1 / len(names)),
        chosen=drawn[0],
        why="nothing was weighed",
    )
    for place, name in enumerate(drawn):
        call = Call(f"answer.{name}", name, question_messages(ctx.question), round=place)
        yield call
        if call.ok:
            yield Answer(text=call.text, sources=(call.id,), contributors={name: 1.0})
            return
        if place + 1 < len(drawn):
            note = f"'{name}' failed; '{drawn[place + 1]}', drawn next, is asked."
            yield Progress(unit="route", note=note, level="warning")
    raise EngineError("None of the models answered. Pick other models and run again.")


PROTOCOL = ProtocolSpec(
    title="Random router",
    summary=(
        "A model drawn by lot answers alone. It costs as much as any router's answer and knows "
        "nothing about models or questions, so it shows what a router's choice is worth."
    ),
    paper=Reference("Feng et al. 2026, MoCo", "https://arxiv.org/abs/2601.21257"),
    answer=answer,
    estimate=lambda config, n, tokens: Estimate(n, 0, n * tokens),
    config=RandomRouter,
    views=("routing", "lanes"),
    symmetric=True,
    credit="All of it goes to the model that was drawn.",
    examples=("What is 47 + 38?", "What is the capital of Kenya?", "Write 1987 in Roman numerals."),
)
