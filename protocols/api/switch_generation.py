"""Switch generation: the models write one text together, taking turns every few tokens.

Before each patch a switcher weighs which model should go on, given the question and the text so
far. The shared text is the plain concatenation of patches: nothing is inserted at a hand-over, and
where the next author differs the text first backs off to the last white space, so that no word is
split between two authors.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from itertools import count

from pydantic import Field

from protocols.core.call import Call, ScoreCall, Step
from protocols.core.errors import EngineError
from protocols.core.events import Answer, Decision
from protocols.core.registry import Config, Context, Estimate, ProtocolSpec, Reference
from protocols.lib.choice import LABELS, described, generalist
from protocols.lib.drafts import Draft
from protocols.lib.prompts import question_messages
from protocols.lib.text import fenced

SWITCHER = """\
Several models write one answer together, taking turns. These are the models:

{models}

Question: {question}

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
    switcher: str = Field(
        "",
        description="The model that decides; automatic takes the first generalist.",
        json_schema_extra={"choices": "models"},
    )


def decision_call(ctx: Context, draft: Draft, turn: int) -> ScoreCall:
    """Ask the switcher for one letter, given models, question and the text so far."""
    shown = fenced([draft.whole], "The answer so far")
    prompt = SWITCHER.format(models=described(ctx.models), question=ctx.question, text=shown)
    return ScoreCall(
        f"switch.{turn}",
        ctx.config.switcher or generalist(ctx.models),
        question_messages(prompt),
        labels=tuple(LABELS[: len(ctx.models)]),
        role="switcher",
        round=turn,
    )


def weigh(ctx: Context, call: ScoreCall) -> dict[str, float]:
    """The switcher's distribution over model ids; uniform if the switcher failed."""
    if not call.ok:
        return {m.id: 1 / len(ctx.models) for m in ctx.models}
    return dict(zip((m.id for m in ctx.models), call.probabilities.values(), strict=True))


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


def decided(draft: Draft, call: ScoreCall, scores: dict[str, float], margin: float) -> Decision:
    """The switcher's decision as an event."""
    author, why = choose(draft, scores, margin)
    return Decision(
        what="switch",
        options=tuple(scores),
        scores=scores,
        chosen=author,
        why=why,
        by=call.model,
        sources=(call.id,) if call.ok else (),
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
    for turn in count():
        if ended or len(draft.barred) == len(ctx.models):
            break
        call = decision_call(ctx, draft, turn)
        yield call
        decision = decided(draft, call, weigh(ctx, call), ctx.config.margin)
        for segment in draft.commit(decision.chosen):
            yield segment
        yield decision
        patch = patch_call(ctx, draft, decision.chosen, turn)
        yield patch
        ended = draft.take(patch)
    for segment in draft.commit(""):
        yield segment
    if not draft.text.strip():
        raise EngineError("None of the models wrote anything. Try other models.")
    sources = tuple(dict.fromkeys(call for call, _, _ in draft.parts))
    yield Answer(text=draft.text, sources=sources, contributors=draft.shares())


def estimate(config: SwitchGeneration, models: int, tokens: int) -> Estimate:
    """A decision and a patch per turn; failing models and an empty patch cost turns, not tokens."""
    turns = math.ceil(tokens / config.patch) + models + 1
    return Estimate(turns, turns, tokens)


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
        "What is the capital of Kenya, and what currency is used there?",
        "Name the chemical element with the symbol Fe and its atomic number.",
        "Write 47 in French words and in Roman numerals.",
    ),
)
