"""What a protocol may learn from a task: its train and dev items, and how an answer is scored.

Held-out and test items are never read here, so nothing that is fitted can have seen them.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import TypeVar

from evals.code_version import scoring_digest
from evals.metrics.overlap import aliases
from evals.metrics.short_answer import RULES, score
from evals.tasks.core import Item, load_task, task_names
from evals.tasks.outside import half_of
from evals.tasks.suite import FAMILY, BenchItem, BenchTask
from protocols.core.errors import UserError, unknown
from protocols.core.fit import FitData, FitItem, Part
from protocols.core.models import content_hash

T = TypeVar("T")
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


def fit_data_of(tasks: Sequence[BenchTask], limit: int = 0, seed: int = 0) -> FitData:
    """Return what may be learned from tasks of any source, scored by their own metrics.

    Tasks without train items lend half of dev to it. Tasks of the repository alone give what
    :func:`fit_data` gives. Raises :class:`UserError` for a task that nothing scores here or that
    has fewer than :data:`FEWEST` items to train on or to choose by.
    """
    names = ",".join(task.name for task in tasks)
    if all(task.family == FAMILY for task in tasks):
        return fit_data(names, limit, seed)
    for task in tasks:
        if task.metric in UNSCORED:
            raise UserError(
                f"Nothing can be fitted to {task.name}: its answers are scored after a bench. Name "
                "another task to fit to."
            )
    parts = [_parts(task) for task in tasks]
    chosen = {part: _taken([one[part] for one in parts], part, limit, seed) for part in PARTS}
    graders = {_public_id(item): item for items in chosen.values() for item in items}
    metrics = {task.name: task.metric for task in tasks}
    digested = [
        [part, item.digest, item.gold, metrics[item.task]]
        for part in PARTS
        for item in chosen[part]
    ]
    return FitData(
        task=names,
        items={part: tuple(_as_fit(item) for item in items) for part, items in chosen.items()},
        score=lambda item, text: graders[item.id].grade(text).corrected.value,
        digest=content_hash(scoring_digest(), digested),
    )


UNSCORED = ("reward", "diversity")
"""Metrics that need a model or other texts."""
FEWEST = 4
"""Items of a part: what is chosen by fewer is chosen by chance."""


def _parts(task: BenchTask) -> dict[Part, list[BenchItem]]:
    train, dev = (list(task.splits.get(split, ())) for split in PARTS)
    if not train:
        train, dev = (
            [i for i in dev if half_of(i.group or i.prompt) is side] for side in (True, False)
        )
    if min(len(train), len(dev)) < FEWEST:
        raise UserError(
            f"{task.name} has {len(train)} questions to train on and {len(dev)} to choose by, and "
            f"a fit needs {FEWEST} of each: test and held-out questions are never used. A file of "
            "60 questions has enough, or of 30 whose split is dev."
        )
    return {"train": train, "dev": dev}


def _taken(
    piles: Sequence[Sequence[BenchItem]], part: Part, limit: int, seed: int
) -> list[BenchItem]:
    """Shuffled items of each task in turn until ``limit`` is reached (0 = all)."""
    shuffled = []
    for pile in piles:
        items = sorted(pile, key=lambda item: item.digest)
        random.Random(f"{seed}/{part}").shuffle(items)
        shuffled.append(items)
    return _in_turn(shuffled, limit)


def _in_turn(piles: Sequence[Sequence[T]], limit: int) -> list[T]:
    longest = max(map(len, piles))
    turns = [pile[place] for place in range(longest) for pile in piles if place < len(pile)]
    return turns[:limit] if limit else turns


def _public_id(item: BenchItem) -> str:
    return f"{item.task}/{item.id}"


def _as_fit(item: BenchItem) -> FitItem:
    """An item to learn from; of several right answers the first."""
    return FitItem(_public_id(item), item.prompt, aliases(item.gold)[0], item.task, item.domain)


def _mixed(part: Part, names: Sequence[str], limit: int, seed: int) -> list[Named]:
    """Take shuffled items of each task in turn until ``limit`` is reached (0 = all)."""
    piles = []
    for name in names:
        items = sorted(load_task(name).splits[part], key=lambda item: item.id)
        random.Random(f"{seed}/{part}/{name}").shuffle(items)
        piles.append([(name, item) for item in items])
    return _in_turn(piles, limit)


def _public(task: str, item: Item) -> FitItem:
    return FitItem(item.id, item.question, item.answer, task, item.domain)


def _digested(chosen: Mapping[Part, Sequence[Named]]) -> list[list[object]]:
    return [
        [part, item.id, item.question, item.answer, list(item.aliases), list(item.candidates)]
        for part, items in chosen.items()
        for _, item in items
    ]
