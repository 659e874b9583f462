"""Sparta: answers meet in duels, the other models judge them, and who wins is believed more.

A live round needs no training: every model answers once, neighbours in reputation are paired, and
the judges' scored verdicts count by their own reputation. The answer of best repute wins. Training
on the winners and losers of many such rounds is what the method's alignment adds to it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import chain

from pydantic import Field

from protocols.core.call import Call, Step
from protocols.core.errors import EngineError
from protocols.core.events import Phase, Progress
from protocols.core.registry import Config, Context, Estimate, ProtocolSpec, Reference
from protocols.lib.debate import best_so_far
from protocols.lib.duels import Arena
from protocols.lib.prompts import question_messages
from protocols.lib.verdicts import verdict
from protocols.lib.votes import count, parsed


class Sparta(Config):
    """Settings of Sparta."""

    rounds: int = Field(
        3,
        ge=1,
        le=10,
        description="Rounds of duels; in each, everybody duels a neighbour in reputation.",
        json_schema_extra={"effort": [2, 3, 4]},
    )
    judges: int = Field(
        3,
        ge=1,
        le=30,
        description="Judges of a duel, drawn from the models that take no part in it.",
        json_schema_extra={"effort": [2, 3, 5]},
    )


async def answer(ctx: Context) -> AsyncIterator[Step]:
    """Answers, rounds of duels, and the answer of best repute."""
    config: Sparta = ctx.config
    calls = [Call(f"answer.{m.id}", m.id, question_messages(ctx.question)) for m in ctx.models]
    yield Phase(name="answer", title="Every contestant answers", total=config.rounds + 1)
    yield calls
    alive = [call for call in calls if call.ok]
    if not alive:
        raise EngineError("None of the contestants answered. Pick other models and run again.")
    yield parsed(alive)
    tally = count(alive)
    if len(alive) < 3:
        note = f"{len(alive)} contestants answered, which leaves nobody to judge: a vote decides."
        yield Progress(unit="duels", note=note, level="warning")
        yield verdict(tally, alive).model_copy(update={"note": note})
        return
    yield best_so_far(tally, {call.model: call for call in alive}, "No duel was fought yet.")
    # In the order of ids, so that the lots do not depend on how the pool was picked.
    arena = Arena(ctx, sorted(alive, key=lambda call: call.model))
    for number in range(config.rounds):
        duels = arena.draw(number, config.judges)
        if not duels:
            break
        title = f"Duels, round {number + 1}"
        yield Phase(name="duels", title=title, index=number + 1, total=config.rounds + 1)
        yield list(chain(*(calls for duel in duels for calls in duel.asked.values())))
        arena.settle(duels)
        for decision in filter(None, map(arena.decision, duels)):
            yield decision
        yield arena.artifact()
        yield arena.answer("Of best repute so far; the duels had not ended.", partial=True)
    if all(duel.probability is None for duel in arena.duels):
        note = "No judge could give a verdict: a vote decides."
        yield Progress(unit="duels", note=note, level="warning")
        yield verdict(tally, alive).model_copy(update={"note": note})
        return
    yield arena.answer(f"Of best repute after {len(arena.duels)} duels.")


def estimate(config: Sparta, models: int, tokens: int) -> Estimate:
    """One answer each; every judge of every duel scores both orders."""
    duels = min(config.rounds * (models // 2), models * (models - 1) // 2)
    return Estimate(models, 2 * duels * min(config.judges, models - 2), models * tokens)


PROTOCOL = ProtocolSpec(
    title="Sparta",
    summary=(
        "Every model answers; then the answers meet in duels that the other models judge. A win "
        "raises a model's reputation, and with it the weight of its word as a judge; duels are "
        "fought between neighbours in reputation. The answer of best repute wins."
    ),
    paper=Reference("Jiang et al. 2025, Sparta Alignment", "https://arxiv.org/abs/2506.04721"),
    answer=answer,
    estimate=estimate,
    config=Sparta,
    views=("routing", "lanes"),
    min_models=3,
    why_many="two contestants leave nobody to judge them",
    needs=frozenset({"score"}),
    symmetric=True,
    examples=(
        "What is 47 + 38?",
        "What are the capital and the currency of Kenya?",
        "Write 1987 in Roman numerals.",
    ),
)
