"""Whether a blended text is kept: it must hold its own against the best of what it was made of."""

from __future__ import annotations

from collections.abc import Sequence

from protocols.core.call import Call
from protocols.core.events import Answer, Decision
from protocols.lib.pairwise import Preference
from protocols.lib.ranking import Candidate


def keep_decision(fused: Call, best: Candidate, told: Preference, judge: str) -> Decision:
    """Whether the fused text is at least as good as the best candidate."""
    options = ("fused text", "best candidate")
    scores = dict(zip(options, (told.probability, 1 - told.probability), strict=True))
    return Decision(
        what="keep",
        options=options,
        scores=scores,
        chosen=options[told.probability < 0.5],
        why="" if told.consistent else "the verdict depends on the order shown",
        by=judge,
        sources=(fused.id, best.voice.id),
    )


def blended_answer(fused: Call, best: Sequence[Candidate], told: Preference | None) -> Answer:
    """The fused text, shared by all whose answers went into it, or the best answer if worse."""
    if not fused.ok:
        return best[0].answer(f"'{fused.model}' could not blend; this is the best answer.")
    if told is None:
        return best[0].answer("What was blended could not be checked; this is the best answer.")
    if told.probability < 0.5:
        return best[0].answer("What was blended is worse than this, the best answer.")
    calls = [call for candidate in best for call in candidate.calls]
    shares = {m: 1 / (len(best) * len(c.models)) for c in best for m in c.models}
    sources = (fused.id, *(call.id for call in calls))
    return Answer(text=fused.text, sources=sources, contributors=shares)
