"""Contrastive decoding: experts write, and what an amateur would have said anyway is pushed away.

The next token's log-probability is that of the experts plus ``strength`` times its difference to
the amateurs'. Only tokens that the experts themselves find plausible are in play, so that a rare
token is not boosted for being rare.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence

from pydantic import Field

from protocols.core.call import Step
from protocols.core.errors import EngineError, UserError
from protocols.core.models import ModelSpec
from protocols.core.registry import Config, Context, Estimate, ProtocolSpec, Reference
from protocols.lib.choice import generalist, position_of
from protocols.lib.fused_text import ATTEMPTS, estimate_tokens, write_together


class LogitContrastive(Config):
    """Settings of contrastive decoding."""

    amateurs: str = Field(
        "",
        description="Models to push away from, by ids or numbers; empty takes a generalist.",
    )
    strength: float = Field(
        0.2, ge=0.0, le=2.0, description="How hard the amateurs are pushed away; 0 ignores them."
    )
    plausible: float = Field(
        0.1,
        ge=0.001,
        le=1.0,
        description="Tokens below this share of the experts' likeliest one are out.",
    )


def amateurs_of(ctx: Context) -> list[str]:
    """The models to push away from. Raises :class:`UserError` if nobody is left to write."""
    names = [model.id for model in ctx.models]
    named = [one.strip() for one in re.split(r"[,;\n]", ctx.config.amateurs) if one.strip()]
    chosen = [names[position_of(one, names)] for one in named] or [generalist(ctx.models)]
    if not set(names) - set(chosen):
        raise UserError("Every model is an amateur here; leave at least one to write.")
    return chosen


async def answer(ctx: Context) -> AsyncIterator[Step]:
    """Write one text with the experts and against the amateurs."""
    amateurs, strength = amateurs_of(ctx), float(ctx.config.strength)

    def weigh(models: Sequence[ModelSpec]) -> dict[str, float]:
        away = [model.id for model in models if model.id in amateurs]
        experts = [model.id for model in models if model.id not in amateurs]
        if not experts:
            raise EngineError("All experts failed; the amateurs alone say nothing.")
        push = strength if away else 0.0
        weights = dict.fromkeys(experts, (1 + push) / len(experts))
        return weights | dict.fromkeys(away, -push / max(1, len(away)))

    async for step in write_together(ctx, weigh, "geometric", ctx.config.plausible):
        yield step


PROTOCOL = ProtocolSpec(
    title="Contrastive decoding",
    summary=(
        "Experts write one text together, and at every token what the amateurs would have said "
        "anyway is pushed away, so that what the experts know beyond them comes out. You see "
        "which expert was most behind each word. All models must share a vocabulary."
    ),
    paper=Reference("Li et al. 2022, Contrastive Decoding", "https://arxiv.org/abs/2210.15097"),
    answer=answer,
    estimate=lambda config, n, tokens: Estimate(ATTEMPTS, 0, estimate_tokens(n, tokens)),
    config=LogitContrastive,
    views=("segments",),
    min_models=2,
    needs=frozenset({"logits"}),
    credit="By each model's say in every token; one that only holds back has none.",
    examples=(
        "What are the capital and the currency of Kenya?",
        "What is 47 + 38?",
        "Write 1987 in Roman numerals.",
    ),
)
