"""What a task is, and how a committed one is read.

A task knows its questions and its gold answers. It does not know who answers, nor how an answer is
scored: it only names the metric.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, get_args

Split = Literal["train", "dev", "heldout", "test"]
Kind = Literal["number", "code", "time", "choice", "run"]
SPLITS: tuple[Split, ...] = get_args(Split)
TASKS_DIR = Path(__file__).resolve().parents[2] / "assets" / "tasks"


@dataclass(frozen=True, slots=True)
class Item:
    """One question with its gold answer.

    ``kind`` says what an answer looks like: a ``number``, an upper-case ``code``, a clock ``time``,
    one ``choice`` out of ``candidates``, or a ``run`` of words out of the ``candidates``' words.
    ``domain`` names the skill asked for; a composite item names two, joined by ``+``.
    """

    id: str
    question: str
    answer: str
    aliases: tuple[str, ...]
    domain: str
    split: Split
    kind: Kind
    candidates: tuple[str, ...] = ()

    @property
    def domains(self) -> tuple[str, ...]:
        """The skills this item needs, one or two."""
        return tuple(self.domain.split("+"))


@dataclass(frozen=True, slots=True)
class Task:
    """A named set of items in fixed splits; ``metric`` is a module name under ``evals.metrics``."""

    name: str
    domain: str
    title: str
    description: str
    splits: Mapping[Split, tuple[Item, ...]]
    metric: str
    facts: bool
    sources: tuple[str, ...]

    def __iter__(self) -> Iterator[Item]:
        """Go through every item of every split."""
        for items in self.splits.values():
            yield from items


def task_names(folder: Path = TASKS_DIR) -> tuple[str, ...]:
    """Return the names of the committed tasks, in alphabetical order."""
    return tuple(sorted(_manifest(folder)["tasks"]))


@lru_cache(maxsize=64)
def load_task(name: str, folder: Path = TASKS_DIR) -> Task:
    """Read one committed task.

    Raises:
        KeyError: there is no task of that name; the message lists those that exist.
    """
    tasks = _manifest(folder)["tasks"]
    if name not in tasks:
        raise KeyError(f"There is no task {name!r}; there are {', '.join(sorted(tasks))}.")
    about = tasks[name]
    lines = (folder / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    return Task(
        name=name,
        domain=about["domain"],
        title=about["title"],
        description=about["description"],
        splits=MappingProxyType(_splits([json.loads(line) for line in lines])),
        metric=about["metric"],
        facts=about["facts"],
        sources=tuple(about["sources"]),
    )


def _manifest(folder: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    return data


def _splits(rows: list[dict[str, Any]]) -> dict[Split, tuple[Item, ...]]:
    """Turn compact rows into items; the answers of one group are each other's candidates."""
    groups: dict[str, dict[str, None]] = {}
    for row in rows:
        if "group" in row:
            groups.setdefault(row["group"], {})[row["answer"]] = None
    candidates = {group: tuple(answers) for group, answers in groups.items()}
    items = [_item(row, candidates.get(row.get("group", ""), ())) for row in rows]
    return {split: tuple(item for item in items if item.split == split) for split in SPLITS}


def _item(row: dict[str, Any], candidates: tuple[str, ...]) -> Item:
    return Item(
        id=row["id"],
        question=row["question"],
        answer=row["answer"],
        aliases=tuple(row.get("aliases", ())),
        domain=row["domain"],
        split=row["split"],
        kind=row["kind"],
        candidates=candidates,
    )
