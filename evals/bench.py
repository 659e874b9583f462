"""Headless evaluation: every item, protocol, pool and seed through the live app's own runner.

Each record is on disk before the next step, so a killed bench goes on where it was: nothing is done
twice and nothing is lost. Many runs go at a time, because engines batch calls over models.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import ExitStack, aclosing, closing
from dataclasses import dataclass
from pathlib import Path

from evals.append_only import AppendOnly
from evals.bench_folder import remember
from evals.bench_plan import Cell, Planner
from evals.bench_reading import RunReading, refreshed
from evals.concurrency import bounded
from evals.records import BenchRecord, newest, record_file
from protocols.core.artifacts import ArtifactStore
from protocols.core.engine import Engine
from protocols.core.errors import StudioError
from protocols.core.events import Progress
from protocols.core.models import ModelSpec
from protocols.core.registry import get_protocol
from protocols.core.run import run
from protocols.core.trace import TraceHeader, TraceWriter

UNIT = "bench"
PARALLEL = 16
"""Runs at a time."""
GIVE_UP = 8
"""Failures of the machine in a row after which a bench stops."""
PHASES = {
    "solo": "members alone",
    "system": "systems",
    "baseline": "self-consistency at equal calls",
}


@dataclass(frozen=True)
class Runner:
    """With what answers are made; ``parallel`` runs go at a time.

    ``traces``: a folder in which every run is kept whole, named by its spec's digest.
    """

    pool: Sequence[ModelSpec]
    engine: Engine
    artifacts: ArtifactStore | None = None
    parallel: int = PARALLEL
    stall_s: float = 180.0
    traces: Path | None = None


async def bench(
    planner: Planner, runner: Runner, folder: Path
) -> AsyncGenerator[Progress | BenchRecord, None]:
    """Make the records that ``folder`` lacks; yields each once it is on disk, and progress.

    First every member alone, then the systems, then the best single model with as many calls.
    Records that failed for a reason of the machine are made again, those of a model are not. After
    eight failures of the machine in a row it stops with a warning.
    Raises :class:`UserError` for what cannot be planned and if another process fills the folder.
    """
    with record_file(folder) as file:
        book = newest(file.read())
        remember(folder, planner, runner.engine.name)
        for phase in PHASES:
            cells = planned(planner, phase, book)
            steps = _phase(phase, cells, runner, file, book)
            async with aclosing(steps):
                async for step in steps:
                    yield step
                    if isinstance(step, Progress) and step.level == "warning":
                        return
    for note in planner.notes:
        yield Progress(unit=UNIT, note=note)


def planned(planner: Planner, phase: str, book: Mapping[str, BenchRecord]) -> list[Cell]:
    """The cells of a phase; the last one's follow from the records of the others."""
    if phase == "baseline":
        return planner.baselines(book)
    return planner.solos() if phase == "solo" else planner.systems()


async def _phase(
    phase: str,
    cells: Sequence[Cell],
    runner: Runner,
    file: AppendOnly[BenchRecord],
    book: dict[str, BenchRecord],
) -> AsyncGenerator[Progress | BenchRecord, None]:
    work = [cell for cell in cells if cell.key not in book or book[cell.key].again]
    stored = [(cell, book[cell.key]) for cell in cells if cell.key in book]
    fresh = [new for cell, old in stored if (new := refreshed(cell, old, book))]
    file.append(fresh)
    book.update(newest(fresh))
    done, failed = len(cells) - len(work), 0
    yield _progress(phase, done, len(cells))
    records = bounded(work, lambda cell: _play(cell, runner, book), runner.parallel)
    async with aclosing(records):
        async for record in records:
            file.append([record])
            book[record.key] = record
            done, failed = done + 1, failed + 1 if record.again else 0
            yield record
            yield _progress(phase, done, len(cells))
            if failed >= GIVE_UP:
                note = f"Stopped after {failed} failures in a row: {record.error}"
                yield Progress(unit=UNIT, note=note, level="warning")
                return


def _progress(phase: str, done: int, total: int) -> Progress:
    return Progress(unit=f"{UNIT}.{phase}", done=done, total=total, note=PHASES[phase])


async def _play(cell: Cell, runner: Runner, book: Mapping[str, BenchRecord]) -> BenchRecord:
    """Answer one item. Only a yardstick is given what is right."""
    reading = RunReading(cell, runner.engine.name)
    yardstick = get_protocol(cell.spec.protocol).yardstick
    playing = run(
        cell.spec,
        runner.pool,
        runner.engine,
        stall_s=runner.stall_s,
        artifacts=runner.artifacts,
        score=(lambda text: cell.item.grade(text).corrected.value) if yardstick else None,
    )
    with ExitStack() as kept:
        trace = kept.enter_context(closing(_trace(cell, runner))) if runner.traces else None
        try:
            async with aclosing(playing) as events:
                async for event in events:
                    reading.take(event)
                    if trace:
                        trace.write([event])
        except StudioError as error:
            reading.fail(error)
    return reading.record(book)


def _trace(cell: Cell, runner: Runner) -> TraceWriter:
    folder, run_id = runner.traces or Path(), cell.spec.digest
    header = TraceHeader(run=run_id, spec=cell.spec, engine=runner.engine.name)
    return TraceWriter(folder / f"{run_id}.jsonl", header)
