"""What the lab is told of its long work once it is over."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

from protocols.core.errors import UserError
from protocols.core.events import Progress
from protocols.engines.scripted import ScriptedEngine
from studio.background_jobs import LAST_WARNINGS, Job, Jobs
from studio.pages import study_html
from studio.runs import RunManager
from studio.settings import Settings
from studio.workspace import Workspace
from tests.helpers import until


def finished(folder: Path, *steps: Progress, error: str = "") -> Job:
    """The job of these steps after its end."""

    async def work() -> AsyncIterator[Progress]:
        for step in steps:
            yield step
        if error:
            raise UserError(error)

    manager = RunManager(Settings(workspace=folder), Workspace(folder, folder), ScriptedEngine())
    jobs = Jobs(manager)
    try:
        jobs.start("made-up", "Working", work)
        until(lambda: not jobs.of("made-up").running)
        return jobs.of("made-up")
    finally:
        manager.close()


def step(note: str, level: str = "info") -> Progress:
    return Progress(unit="answers", done=1, total=1, note=note, level=level)  # type: ignore[arg-type]


def test_warnings_outlast_the_end_once_each(tmp_path: Path) -> None:
    job = finished(
        tmp_path, step("A judge is left out.", "warning"), step("On the way."),
        step("A judge is left out.", "warning"), step("Two are missing.", "warning"),
    )  # fmt: skip
    assert job.note == "Done. A judge is left out. Two are missing." and not job.problem


def test_a_step_without_a_count_leaves_the_count(tmp_path: Path) -> None:
    uncounted = Progress(unit="judgements", note="The last judge is left out.", level="warning")
    job = finished(tmp_path, step("On the way."), uncounted)
    assert (job.done, job.total) == (1, 1)
    shown = study_html.job(job.title, job.done, job.total, job.note, job.problem)
    assert "Working: 1 of 1. Done. The last judge is left out." in shown
    job = finished(tmp_path, uncounted)
    assert "Working. Done." in study_html.job(job.title, job.done, job.total, job.note, job.problem)


def test_of_many_warnings_the_last_are_kept(tmp_path: Path) -> None:
    job = finished(tmp_path, *(step(f"No. {n}.", "warning") for n in range(9)))
    assert job.note.count("No.") == LAST_WARNINGS and "No. 8." in job.note


def test_a_failure_says_why_and_nothing_else(tmp_path: Path) -> None:
    job = finished(tmp_path, step("On the way."), error="It broke.")
    assert (job.note, job.problem) == ("", "It broke.")
