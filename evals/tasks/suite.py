"""Tasks as a bench asks them: a prompt, and how right a text is as its answer.

The embedded tasks and the paper's tasks look the same from here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from evals.metrics.exact_match import compatible_exact
from evals.metrics.grade import Grade, Graded
from evals.metrics.short_answer import score
from evals.tasks.core import SPLITS, Item, Split, load_task, task_names
from protocols.core.errors import UserError, unknown
from protocols.core.models import content_hash

Grader = Callable[[str], Graded]
FAMILY = "embedded"


@dataclass(frozen=True)
class BenchItem:
    """One question as it is asked; ``grade`` scores a text against what is right.

    ``group`` joins items that count together. ``gold`` is for people, ``choices`` too.
    """

    task: str
    id: str
    split: Split
    prompt: str
    gold: str
    grade: Grader = field(repr=False, compare=False)
    domain: str = ""
    group: str = ""
    choices: Mapping[str, str] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """Names what is asked; the same item of another edition has another digest."""
        return content_hash(self.task, self.id, self.prompt)


@dataclass(frozen=True)
class BenchTask:
    """A task's items by split. ``metric`` names the scoring, ``family`` the group of tasks.

    ``notes`` are sentences about the data that a reader of results should know.
    """

    name: str
    family: str
    metric: str
    title: str
    splits: Mapping[Split, tuple[BenchItem, ...]]
    notes: tuple[str, ...] = ()

    def items(self, split: Split, limit: int = 0) -> tuple[BenchItem, ...]:
        """The items of a split, at most ``limit`` (0 = all).

        Which ones follows from their digests; a smaller limit takes a part of a larger one's.
        """
        found = self.splits.get(split, ())
        if not limit or limit >= len(found):
            return found
        return tuple(sorted(found, key=lambda item: item.digest)[:limit])


def open_embedded(name: str) -> BenchTask:
    """Return a task of the repository.

    Raises :class:`UserError`, with a suggestion, if there is none of that name.
    """
    if name not in task_names():
        raise unknown("task", name, task_names())
    task = load_task(name)
    splits = {s: tuple(_embedded(name, i) for i in task.splits[s]) for s in SPLITS}
    return BenchTask(name, FAMILY, "short_answer", task.title, splits)


def _embedded(task: str, item: Item) -> BenchItem:
    return BenchItem(
        task=task,
        id=item.id,
        split=item.split,
        prompt=item.question,
        gold=item.answer,
        grade=lambda text: _short(item, text),
        domain=item.domain,
    )


def _short(item: Item, text: str) -> Graded:
    found = score(item, text)
    return Graded(
        Grade(found.value, found.parsed, found.span, found.rule),
        compatible_exact(text, item.answer),
    )


def open_tasks(names: str, folder: Path | None = None, metric: str = "") -> tuple[BenchTask, ...]:
    """Return the tasks named, joined by commas.

    A name is that of a task of the repository; a ``.jsonl`` or ``.csv`` file of one's own
    questions, scored by ``metric``; a ``.json`` file in the reference library's format; or a task
    of the paper: then it is read from ``folder`` if it is there, else from the hub.
    Raises :class:`UserError` if there is no such task or folder, or none is named.
    """
    if folder and not folder.is_dir():
        raise UserError(
            f"There is no folder '{folder}'; name the one of the task files with --data."
        )
    wanted = list(dict.fromkeys(name.strip() for name in names.split(",") if name.strip()))
    if not wanted:
        raise UserError("No task is named. Name one or several, joined by commas.")
    if metric and not any(_is_own(name) for name in wanted):
        raise UserError(
            "--metric is for a file of your own questions (.jsonl or .csv); other tasks have one."
        )
    found = tuple(_open(name, folder, metric) for name in wanted)
    twice = {task.name for task in found if sum(task.name == one.name for one in found) > 1}
    if twice:
        raise UserError(f"Two of the tasks are named '{min(twice)}'; rename a file.")
    return found


def _is_own(name: str) -> bool:
    return Path(name).suffix.lower() in (".jsonl", ".csv")


def _open(name: str, folder: Path | None, metric: str) -> BenchTask:
    from evals.tasks.hub import read_hub
    from evals.tasks.outside import read_task_file
    from evals.tasks.own import read_own_file
    from evals.tasks.paper import BY_NAME

    if _is_own(name):
        return read_own_file(Path(name), metric)
    if name.endswith(".json"):
        return read_task_file(Path(name))
    if name in task_names():
        return open_embedded(name)
    if name not in BY_NAME:
        raise unknown("task", name, [*task_names(), *BY_NAME])
    if folder and (folder / f"{name}.json").is_file():
        return read_task_file(folder / f"{name}.json")
    return read_hub(BY_NAME[name])
