"""Preferences as training data: a question, the better answer, the worse one.

One function says how a reward model reads an answer, for training and for scoring alike. Nothing
here knows where preferences come from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from protocols.core.models import content_hash
from protocols.lib.prompts import Message


@dataclass(frozen=True, slots=True)
class Preference:
    """One comparison: ``chosen`` is the better answer to ``question``."""

    question: str
    chosen: str
    rejected: str


def answered(question: str, answer: str) -> list[Message]:
    """Return the conversation that a reward model scores: the question, then the answer.

    There is no system turn: public reward models are trained without one.
    """
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


def preference_row(preference: Preference) -> dict[str, list[dict[str, str]]]:
    """Return one row for trl's RewardTrainer, tokenised there with the chat template."""
    chosen = answered(preference.question, preference.chosen)
    rejected = answered(preference.question, preference.rejected)
    return {
        "chosen": [{"role": turn["role"], "content": turn["content"]} for turn in chosen],
        "rejected": [{"role": turn["role"], "content": turn["content"]} for turn in rejected],
    }


def preference_fingerprint(preferences: Sequence[Preference], config: Any) -> str:
    """Return a short hash of everything that decides a reward training's outcome but the base."""
    return content_hash(asdict(config), [asdict(one) for one in preferences])
