"""Switch generation: the models write one text together, taking turns every few tokens.

Before each patch a switcher weighs which model should go on, given the question and the text so
far. The shared text is the plain concatenation of patches: nothing is inserted at a hand-over, and
where the next author differs the text first backs off to the last white space, so that no word is
split between two authors. If the next author then fails or has nothing to add, what was left out
comes back.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Sequence
from itertools import count

from pydantic import Field

from protocols.core.call import Call, ScoreCall, Step
from protocols.core.errors import EngineError
from protocols.core.events import Decision
from protocols.core.models import ModelSpec
from protocols.core.registry import Config, Context, Estimate, ProtocolSpec, Reference
from protocols.lib.choice import NEUTRAL, described, distribution, generalist, labels, listings
from protocols.lib.drafts import Draft
from protocols.lib.prompts import Message, question_messages
from protocols.lib.text import fence, shortened

SWITCHER = """\
Several models write one answer together, taking turns. These are the models:

{models}

Question: {question}

The answer so far:
{text}

Which model should write the next words? Reply with its letter only."""


class SwitchGeneration(Config):
    """Settings of switch generation."""

    patch: int = Field(
        12,
        ge=2,
        le=100,
        description="Tokens a model writes before the switcher decides again.",
        json_schema_extra={"effort": [16, 12, 8]},
    )
    margin: float = Field(
        0.05,
        ge=0.0,
        le=1.0,
        description="How much likelier another model must be before the pen is handed over.",
    )
    orders: int = Field(
        2,
        ge=1,
        le=4,
        description="In how many orders the models are listed to the switcher.",
    )
    switcher: str = Field(
        "",
        description="The model that decides; automatic takes the first generalist.",
        json_schema_extra={"choices": "models"},
    )


def decision_calls(
    ctx: Context, turn: int | None, text: str, orders: Sequence[Sequence[ModelSpec]]
) -> list[ScoreCall]:
    """Ask the switcher for one letter, once per listing, given question and text so far.

    Without a turn there is nothing to decide: the calls find out what it likes about the listings.
    """
    question = NEUTRAL if turn is None else ctx.question
    switcher = ctx.config.switcher or generalist(ctx.models)
    return [
        ScoreCall(
            f"neutral.{number}" if turn is None else f"switch.{turn}.{number}",
            switcher,
            switch_messages(ctx, switcher, described(order), question, text),
            labels=labels(order),
            role="switcher",
            round=turn or 0,
        )
        for number, order in enumerate(orders, start=1)
    ]


def switch_messages(
    ctx: Context, switcher: str, models: str, question: str, text: str
) -> list[Message]:
    """The switcher's prompt; a text that outgrows its window is shown without its middle."""

    def build(texts: Sequence[str]) -> list[Message]:
        shown = fence(texts[0])
        return question_messages(SWITCHER.format(models=models, question=question, text=shown))

    return shortened([text], build, lambda prompt: ctx.fits(switcher, prompt, "", 1))


def choose(draft: Draft, scores: dict[str, float], margin: float) -> tuple[str, str]:
    """The next author and why: the likeliest, unless the present one is nearly as likely."""
    usable = {m: p for m, p in scores.items() if m not in draft.barred}
    if draft.loops() and len(usable) > 1:
        usable.pop(draft.author, None)
        return max(usable, key=usable.__getitem__), "the text repeats itself"
    best = max(usable, key=usable.__getitem__)
    if draft.author in usable and usable[best] - usable[draft.author] <= margin:
        return draft.author, "goes on: no other model is likelier by the margin"
    return best, "the likeliest"


def decided(
    draft: Draft, calls: Sequence[ScoreCall], scores: dict[str, float], margin: float
) -> Decision:
    """The switcher's decision as an event."""
    author, why = choose(draft, scores, margin)
    return Decision(
        what="switch",
        options=tuple(scores),
        scores=scores,
        chosen=author,
        why=why,
        by=calls[0].model,
        sources=tuple(call.id for call in calls if call.ok),
    )


def patch_call(ctx: Context, draft: Draft, author: str, turn: int) -> Call:
    """Let a model continue the text for one patch."""
    return Call(
        f"patch.{turn}.{author}",
        author,
        question_messages(ctx.question),
        prefix=draft.text,
        role="patch",
        round=turn,
        sampling=ctx.draw(max_tokens=min(ctx.config.patch, draft.limit - draft.spent)),
    )


async def answer(ctx: Context) -> AsyncIterator[Step]:
    """Decide, commit, write the next patch; until the text ends or the tokens are spent."""
    draft, ended = Draft(ctx.sampling.max_tokens), False
    orders = listings(ctx.models, ctx.config.orders, ctx.rng("orders"))
    neutral = decision_calls(ctx, None, "", orders)
    yield neutral
    for turn in count():
        if ended or len(draft.barred) == len(ctx.models):
            break
        calls = decision_calls(ctx, turn, draft.whole, orders)
        yield calls
        scores = distribution(calls, neutral, orders, ctx.models)
        decision = decided(draft, calls, scores, ctx.config.margin)
        for segment in draft.commit(decision.chosen):
            yield segment
            yield draft.answer(partial=True)
        yield decision
        patch = patch_call(ctx, draft, decision.chosen, turn)
        yield patch
        ended = draft.take(patch)
        if draft.whole:
            yield draft.answer(partial=True)
    for segment in draft.commit(""):
        yield segment
    if not draft.text.strip():
        raise EngineError("None of the models wrote anything. Try other models.")
    yield draft.answer()


def estimate(config: SwitchGeneration, models: int, tokens: int) -> Estimate:
    """A decision and a patch per turn; a model that fails or has nothing to add costs one turn."""
    turns = math.ceil(tokens / config.patch) + models + 1
    return Estimate(turns, (turns + 1) * config.orders, tokens)


PROTOCOL = ProtocolSpec(
    title="Switch generation",
    summary=(
        "The models write one answer together. Every few tokens a switcher weighs who should go "
        "on, given the question and the text so far, and the chosen model continues exactly where "
        "the last one stopped. Colours and underlines show who wrote which words."
    ),
    paper=Reference("Feng et al. 2026, Section 2", "https://arxiv.org/abs/2606.07812"),
    answer=answer,
    estimate=estimate,
    config=SwitchGeneration,
    views=("segments",),
    min_models=2,
    needs=frozenset({"prefill", "score"}),
    examples=(
        "What are the capital and the currency of Kenya?",
        "Name the element with the symbol Fe and its number.",
        "Write 47 in French words and in Roman numerals.",
    ),
)
