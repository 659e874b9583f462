"""Oracle router: all models answer, and whoever knows the right answer picks the best one.

It is a bound, not a way of answering: no router that picks one model per question can do better on
the same answers. The score comes from outside and reaches yardsticks only, so it runs where answers
are scored anyway and refuses a live question. No model ever sees the right answer.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from protocols.core.call import Call, Step
from protocols.core.errors import EngineError
from protocols.core.events import Answer, Decision, Phase
from protocols.core.registry import (
    AnswerScore,
    Config,
    Context,
    Estimate,
    ProtocolSpec,
    Reference,
)
from protocols.lib.prompts import question_messages
from protocols.lib.votes import parsed


class OracleRouter(Config):
    """The oracle router has no settings."""


def picked(alive: Sequence[Call], score: AnswerScore) -> tuple[Call, Decision]:
    """The best answer by the given score; equals are shared in the scores, the first id speaks."""
    values = {call.id: score(call.text) or 0.0 for call in alive}
    ranked = sorted(alive, key=lambda call: (-values[call.id], call.model))
    best = [call for call in ranked if values[call.id] == values[ranked[0].id]]
    decision = Decision(
        what="route",
        title="The answer that is right",
        options=tuple(call.model for call in ranked),
        scores={call.model: (call in best) / len(best) for call in ranked},
        chosen=ranked[0].model,
        why=f"scored against the right answer: {values[ranked[0].id]:.0%}",
        by="oracle",
        sources=tuple(call.id for call in ranked),
    )
    return ranked[0], decision


async def answer(ctx: Context) -> AsyncIterator[Step]:
    """Ask everyone and give the answer that scores best."""
    assert ctx.score, "the runner gives a yardstick its score"
    calls = [Call(f"answer.{m.id}", m.id, question_messages(ctx.question)) for m in ctx.models]
    yield Phase(name="answer", title="Every model answers; the oracle will pick")
    yield calls
    alive = [call for call in calls if call.ok]
    if not alive:
        raise EngineError("None of the models answered, so there is nothing to pick.")
    yield parsed(alive)
    best, decision = picked(alive, ctx.score)
    yield decision
    yield Answer(
        text=best.text,
        sources=(best.id,),
        contributors={best.model: 1.0},
        note="Picked by its score against the right answer: a bound for routers, not an answer.",
    )


PROTOCOL = ProtocolSpec(
    title="Oracle router",
    summary=(
        "All models answer and the best answer is picked with the right one at hand: the most "
        "that choosing one model per question could reach. It is a bound to measure routers "
        "against, runs only where answers are scored, and cannot answer a live question."
    ),
    paper=Reference("Feng et al. 2026, MoCo", "https://arxiv.org/abs/2601.21257"),
    answer=answer,
    estimate=lambda config, n, tokens: Estimate(n, 0, n * tokens),
    config=OracleRouter,
    views=("routing", "lanes"),
    symmetric=True,
    yardstick=True,
    credit="All of it goes to the model with the best answer.",
    examples=("What is 47 + 38?", "What is the capital of Kenya?", "Write 1987 in Roman numerals."),
)
