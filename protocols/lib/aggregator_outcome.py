"""Whose side an aggregator takes, and when its answer stands."""

from __future__ import annotations

from collections.abc import Sequence

from protocols.core.call import Call
from protocols.core.events import Answer, Decision
from protocols.lib.parsing import read_answer
from protocols.lib.votes import Tally

SIDES = ("majority", "minority", "an answer of its own", "no readable answer")


def is_usable(final: Call, tally: Tally) -> bool:
    """Whether an aggregator's text is used: unreadable ones only where no answer was readable."""
    return final.ok and (tally.winner is None or read_answer(final.text).value is not None)


def side_of(text: str, tally: Tally) -> str:
    """Whether a text gives the answer most gave, one that fewer gave, a new one, or none."""
    value = read_answer(text).value
    if value is None:
        return SIDES[3]
    if value == tally.winner:
        return SIDES[0]
    return SIDES[1] if value in tally.voters else SIDES[2]


def side_decision(final: Call, tally: Tally) -> Decision:
    """The aggregator's side as a decision."""
    held = {a: len(calls) for a, calls in tally.voters.items()}
    return Decision(
        what="side",
        options=SIDES,
        chosen=side_of(final.text, tally),
        why=f"answers held: {', '.join(f'{a} ×{n}' for a, n in held.items()) or 'none readable'}",
        by=final.model,
        sources=(final.id,),
    )


def aggregated_answer(final: Call, tally: Tally, alive: Sequence[Call]) -> Answer:
    """The aggregator's text; shares go to those who hold its answer, else evenly to all it read."""
    value = read_answer(final.text).value
    backers = tally.voters.get(value, []) if value is not None else []
    behind = [call.model for call in backers or alive]
    return Answer(
        text=final.text,
        sources=(final.id, *(call.id for call in alive)),
        contributors=dict.fromkeys(behind, 1 / len(behind)),
        note=f"The aggregator sided with: {side_of(final.text, tally)}.",
    )
