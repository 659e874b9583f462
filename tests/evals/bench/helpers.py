"""An artificial task, an artificial pool and a scripted engine: a whole bench in a second."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path

from evals.bench import Runner, bench
from evals.bench_plan import BenchSpec, Planner
from evals.metrics.grade import Grade, Graded
from evals.records import BenchRecord
from evals.tasks.core import Split
from evals.tasks.suite import BenchItem, BenchTask
from protocols.core.engine import Engine, GenerateRequest
from protocols.core.events import Progress
from protocols.engines.scripted import ScriptedEngine
from tests.helpers import NAMES, make_pool


def graded(gold: str) -> Callable[[str], Graded]:
    """Right is a text with the gold word; "mumble" cannot be read."""

    def grade(text: str) -> Graded:
        if "mumble" in text:
            return Graded(Grade(None, None, None, "none"), Grade(0.0, None, None, "none"))
        value = float(gold in text.split())
        return Graded(Grade(value, text.split()[0], (0, 1), "word"), Grade(value, text))

    return grade


def item(number: int, split: Split, task: str = "colours") -> BenchItem:
    return BenchItem(
        task=task,
        id=f"{split}-{number}",
        split=split,
        prompt=f"Which colour has number {number} ({split})?",
        gold="green" if number % 2 else "red",
        grade=graded("green" if number % 2 else "red"),
    )


def task(count: int = 4, name: str = "colours") -> BenchTask:
    splits: dict[Split, tuple[BenchItem, ...]] = {
        split: tuple(item(n, split, name) for n in range(count)) for split in ("dev", "heldout")
    }
    return BenchTask(name, "artificial", "word", "Colours", splits)


SAYS = {"alpha": "red", "beta": "green", "gamma": "green blue", "delta": "mumble"}


def always(request: GenerateRequest) -> str:
    """Each model has one favourite word."""
    return SAYS.get(request.model.id, "blue")


def engine(**changes: object) -> ScriptedEngine:
    return ScriptedEngine(always, **changes)  # type: ignore[arg-type]


def spec(**changes: object) -> BenchSpec:
    fields: dict[str, object] = {
        "protocols": ("majority_vote",),
        "pool": NAMES[:4],
        "sizes": (2, 4),
    }
    return BenchSpec.model_validate({**fields, **changes})


def planner(asked: BenchSpec, *tasks: BenchTask) -> Planner:
    return Planner(asked, tasks or (task(),), make_pool(len(NAMES)))


def measure(
    asked: BenchSpec,
    folder: Path,
    served: Engine | None = None,
    *tasks: BenchTask,
    most: int = 0,
    traces: Path | None = None,
) -> tuple[list[BenchRecord], list[Progress]]:
    """Run a bench (or its first ``most`` records); returns what it made and what it told."""

    async def collect() -> tuple[list[BenchRecord], list[Progress]]:
        runner = Runner(make_pool(len(NAMES)), served or engine(), parallel=4, traces=traces)
        made: list[BenchRecord] = []
        told: list[Progress] = []
        async with aclosing(bench(planner(asked, *tasks), runner, folder)) as steps:
            async for step in steps:
                if isinstance(step, BenchRecord):
                    made.append(step)
                else:
                    told.append(step)
                if most and len(made) >= most:
                    break
        return made, told

    return asyncio.run(asyncio.wait_for(collect(), 60))
