"""What a protocol may learn from a task: its train and dev items, and how an answer is scored.

Held-out and test items are never read here, so nothing that is fitted can have seen them.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from evals.metrics.short_answer import RULES, score
from evals.tasks.core import Item, load_task, task_names
from protocols.core.errors import UserError, unknown
from protocols.core.fit import FitData, FitItem, Part
from protocols.core.models import content_hash

PARTS: tuple[Part, ...] = ("train", "dev")
Named = tuple[str, Item]
"""An item with the name of its task."""


def fit_data(task: str, limit: int = 0, seed: int = 0) -> FitData:
    """Return the items of one task, or of several joined by commas, and their scoring.

    ``limit`` bounds each part; several tasks share it as evenly as their sizes allow. Which items
    are taken depends on ``seed`` only, and a smaller limit takes a beginning of a larger one's.

    Raises:
        UserError: there is no such task, or none was named.
    """
    names = [name.strip() for name in task.split(",") if name.strip()]
    if not names:
        raise UserError("No task is named. Name one or several, joined by commas.")
    for name in names:
        if name not in task_names():
            raise unknown("task", name, task_names())
    chosen = {part: _mixed(part, names, limit, seed) for part in PARTS}
    gold = {item.id: item for items in chosen.values() for _, item in items}
    return FitData(
        task=task,
        items={part: tuple(_public(*one) for one in items) for part, items in chosen.items()},
        score=lambda item, text: score(gold[item.id], text).value,
        digest=content_hash(RULES, _digested(chosen)),
    )


def _mixed(part: Part, names: Sequence[str], limit: int, seed: int) -> list[Named]:
    """Take shuffled items of each task in turn until ``limit`` is reached (0 = all)."""
    piles = []
    for name in names:
        items = sorted(load_task(name).splits[part], key=lambda item: item.id)
        random.Random(f"{seed}/{part}/{name}").shuffle(items)
        piles.append([(name, item) for item in items])
    longest = max(map(len, piles))
    turns = [pile[place] for place in range(longest) for pile in piles if place < len(pile)]
    return turns[:limit] if limit else turns


def _public(task: str, item: Item) -> FitItem:
    return FitItem(item.id, item.question, item.answer, task, item.domain)


def _digested(chosen: Mapping[Part, Sequence[Named]]) -> list[list[object]]:
    return [
        [part, item.id, item.question, item.answer, list(item.aliases), list(item.candidates)]
        for part, items in chosen.items()
        for _, item in items
    ]
