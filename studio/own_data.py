"""A model and its base on the contributor's own data, asked in a process of its own with limits.

The answers come back line by line, so whoever waits sees them counted.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Event
from typing import Any

from evals.metrics import wilson
from evals.metrics.exact_match import corrected_exact
from protocols.core.errors import ContributorError
from protocols.core.models import ModelSpec
from studio.contribution_worker import ask_worker
from studio.examples import Example

log = logging.getLogger(__name__)
MOST = 60
"""Rows that are asked; of more, a sample."""
SEED = 7
TOKENS = 48
FEW_LABELS = 12
Tell = Callable[[int, int], None]


@dataclass(frozen=True)
class OwnResult:
    """Right answers of the model and of its base (None where there is no base to compare) out of
    ``n``; ``unparsed`` are answers of the model that settle on nothing, counted as wrong."""

    n: int
    right: int
    unparsed: int
    base_right: int | None
    handed_in: int

    def card(self) -> dict[str, Any]:
        """What a pool entry keeps: accuracy, n and a 95% Wilson interval of both."""
        results = {"own_domain": _shown(self.right, self.n) | {"unparsed": self.unparsed}}
        if self.base_right is not None:
            results["base"] = _shown(self.base_right, self.n)
        return {"results": results, "own_data": {"handed_in": self.handed_in, "seed": SEED}}

    def sentence(self) -> str:
        """The comparison in words."""
        told = _told(self.right, self.n)
        if self.base_right is None:
            return f"{told} on the contributor's own data"
        return f"{told} on the contributor's own data; its base {_told(self.base_right, self.n)}"


def _shown(right: int, n: int) -> dict[str, Any]:
    low, high = wilson(right, n)
    return {"n": n, "accuracy": round(right / n, 4), "ci95": [round(low, 4), round(high, 4)]}


def _told(right: int, n: int) -> str:
    low, high = wilson(right, n)
    return f"{right / n:.0%} (n={n}, {low:.0%} to {high:.0%})"


def base_of(model: ModelSpec) -> ModelSpec | None:
    """What an adapter was trained on; None for a whole model."""
    if not model.adapter:
        return None
    return ModelSpec(id="base", source=model.source, chat_template=model.chat_template)


def sample(examples: Sequence[Example]) -> list[Example]:
    """The rows that are asked: all, or a seeded sample of many."""
    rows = list(examples)
    return rows if len(rows) <= MOST else random.Random(SEED).sample(rows, MOST)


def measure(
    model: ModelSpec,
    examples: Sequence[Example],
    tell: Tell = lambda done, total: None,
    stop: Event | None = None,
) -> OwnResult:
    """Ask model and base every row greedily and compare with its answer.

    Raises :class:`ContributorError` if the model cannot answer within the limits, and
    :class:`UserError` when it is stopped.
    """
    rows, base = sample(examples), base_of(model)
    models = [model, *([base] if base else [])]
    asked = {
        "models": [one.model_dump(mode="json") for one in models],
        "prompts": [row.prompt for row in rows],
        "tokens": TOKENS,
    }
    answers: dict[tuple[int, int], str] = {}
    total = len(models) * len(rows)
    for told in ask_worker("studio.answer_worker", asked, stop):
        if told.get("problem"):
            raise ContributorError(f"'{model.id}': own data: {str(told['problem'])[:300]}")
        answers[int(told["model"]), int(told["row"])] = str(told["text"])
        tell(len(answers), total)
    if len(answers) < total:
        raise ContributorError(f"'{model.id}': own data: the process ended before its last answer.")
    marks = [_marks(rows, answers, which) for which in range(len(models))]
    return OwnResult(
        n=len(rows),
        right=sum(mark == 1.0 for mark in marks[0]),
        unparsed=sum(mark is None for mark in marks[0]),
        base_right=sum(mark == 1.0 for mark in marks[1]) if base else None,
        handed_in=len(examples),
    )


def _marks(
    rows: Sequence[Example], answers: dict[tuple[int, int], str], which: int
) -> list[float | None]:
    golds = {row.answer for row in rows}
    labels = golds if len(golds) <= FEW_LABELS else ()
    return [
        corrected_exact(answers[which, number], row.answer, labels).value
        for number, row in enumerate(rows)
    ]
