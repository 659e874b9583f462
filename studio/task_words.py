"""Words of the embedded tasks for pages: its title, and a question to try a model with."""

from __future__ import annotations

from functools import lru_cache

from evals.tasks import Task, load_task

LOOKED_AT = 8
"""Dev items among which the shortest question is taken."""


def title_of(task: str) -> str:
    """A task's title; what is no embedded task is told as it is."""
    known = _task(task)
    return known.title if known else task


@lru_cache(maxsize=256)
def question_for(tasks: str) -> str:
    """A short question of the first of the tasks ``a,b``; empty where none of it ships."""
    known = _task(tasks.partition(",")[0])
    items = known.splits["dev"][:LOOKED_AT] if known else ()
    return min((item.question for item in items), key=len, default="")


def _task(name: str) -> Task | None:
    try:
        return load_task(name)
    except KeyError:
        return None
