"""Multi-agent finetuning, at inference: generators answer, critics revise, a majority decides.

Each contributed model may have two trained versions: a generator, which answers the question, and a
critic, which reads its own answer beside the others' and answers again. Without a fitted artifact
the models play both roles as they are.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Literal

from pydantic import Field

from protocols.core.call import Call, Step
from protocols.core.events import Answer, Phase, Progress
from protocols.core.registry import (
    Config,
    Context,
    Estimate,
    ProtocolSpec,
    Reference,
    alpha_setting,
    fit_setting,
)
from protocols.lib.critique import ROLES, agent, round_calls
from protocols.lib.debate import agreement
from protocols.lib.vote_outcome import vote_answer, vote_decision
from protocols.lib.votes import count, parsed, require_quorum
from protocols.training.multiagent_training import fit_agents, fit_estimate


class MultiagentFinetuning(Config):
    """Settings of multi-agent finetuning."""

    rounds: int = Field(
        2,
        ge=1,
        le=4,
        description="Rounds: the generators' first, then those of the critics.",
        json_schema_extra={"effort": [2, 2, 3]},
    )
    iterations: int = fit_setting(
        2, "Debates that are learned from, one after another.", ge=1, le=8
    )
    questions: int = fit_setting(24, "Training questions in a debate at most.", ge=1)
    reference: Literal["majority", "gold"] = fit_setting(
        "majority",
        "What counts as right in training: what most critics say, or the known right answer.",
    )
    agreement: float = fit_setting(
        0.6,
        "Part of the models that a majority needs; questions with less are left out.",
        gt=0.0,
        le=1.0,
    )
    corrected: float = fit_setting(
        0.5, "Part of a critic's training answers that correct its first one.", ge=0.0, le=1.0
    )
    temperature: float = fit_setting(
        0.7, "How freely models speak in the debates they learn from.", ge=0.0, le=2.0
    )
    least: int = fit_setting(4, "Fewer answers than this are too few to learn from.", ge=1)
    epochs: float = fit_setting(2.0, "Times that each answer is learned.", gt=0.0, le=100.0)
    batch: int = fit_setting(4, "Answers in a training step.", ge=1, le=256)
    learning_rate: float = fit_setting(5e-4, "Learning rate at its highest.", gt=0.0, le=1.0)
    rank: int = fit_setting(4, "Rank of adapters that begin anew.", ge=1, le=256)
    alpha: int = alpha_setting()


async def answer(ctx: Context) -> AsyncIterator[Step]:
    """Generate, criticise, vote."""
    config: MultiagentFinetuning = ctx.config
    said: dict[str, Call] = {}
    if note := untrained(ctx):
        yield Progress(unit="roles", note=note)
    for number in range(config.rounds):
        title = f"Critics, round {number}" if number else "Generators"
        yield Phase(name="round", title=title, index=number, total=config.rounds)
        calls = round_calls(ctx, number, said)
        yield list(calls.values())
        fresh = {model: call for model, call in calls.items() if call.ok}
        for model in sorted(said.keys() - fresh.keys()):
            note = f"The critic of '{model}' failed; its last answer is kept."
            yield Progress(unit="stale", note=note, level="warning")
        before, said = said, said | fresh
        require_quorum(len(said), len(ctx.models))
        tally = count(list(said.values()))
        yield parsed(list(fresh.values()), number)
        yield agreement(tally, number, before, said)
        yield outcome(ctx, said, partial=True)
        if tally.agreement == 1.0:
            break
    tally = count(list(said.values()))
    yield tally.artifact()
    if tally.winner is not None:
        yield vote_decision(tally, list(said.values()))
    yield outcome(ctx, said)


def untrained(ctx: Context) -> str:
    """Who plays untrained, as a sentence; empty if everybody was trained."""
    if not ctx.derived:
        return "No generators and critics were trained; the models play both as they are."
    names = [
        f"{m.id} as {role}" for m in ctx.models for role in ROLES if agent(ctx, m.id, role) == m.id
    ]
    return f"Untrained: {', '.join(names)}." if names else ""


def outcome(ctx: Context, said: Mapping[str, Call], partial: bool = False) -> Answer:
    """What most answers say; a trained version's share is its contributor's."""
    owners = {agent(ctx, m.id, role): m.id for m in ctx.models for role in ROLES}
    made = vote_answer(count(list(said.values())), list(said.values()), owners)
    return made.model_copy(update={"partial": partial})


PROTOCOL = ProtocolSpec(
    title="Multi-agent finetuning",
    summary=(
        "Every contributed model answers as a generator; then its critic reads that answer beside "
        "the others' and answers again, and a majority of the critics decides. Fitted, both "
        "are trained on those of their own answers that agreed or that they corrected."
    ),
    paper=Reference(
        "Subramaniam et al. 2025, Multiagent Finetuning", "https://arxiv.org/abs/2501.05707"
    ),
    answer=answer,
    estimate=lambda config, n, tokens: Estimate(config.rounds * n, 0, config.rounds * n * tokens),
    config=MultiagentFinetuning,
    views=("lanes", "votes"),
    min_models=2,
    symmetric=True,
    fit=fit_agents,
    fit_estimate=fit_estimate,
    profiles={
        "paper": {
            "iterations": 2,
            "questions": 1000,
            "epochs": 1.0,
            "batch": 16,
            "learning_rate": 1e-5,
            "rank": 64,
            "alpha": 16,
        }
    },
    credit="Equal parts for the models that voted for this answer.",
    examples=(
        "What is 47 + 38?",
        "What is the capital of Kenya?",
        "Which day comes 10 days after a Monday?",
    ),
)
