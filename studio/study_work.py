"""The lab's long work, for the Studies page and the command line alike: answers, judges, checks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from evals.human import studies
from evals.human.generate import Runner, answers_for, generate, plan_jobs
from evals.human.prepare import pairs_from, questions_for
from protocols.core.engine import Engine
from protocols.core.errors import UserError
from protocols.core.events import Progress
from studio.lab import Lab
from studio.rating.verify import Verification, verify
from studio.workspace import Workspace


async def make_answers(lab: Lab, slug: str, engine: Engine) -> AsyncGenerator[Progress, None]:
    """Make both arms' answers to a draft's questions and store the pairs; resumes.

    Raises :class:`UserError` once the study is open, and for questions that cannot be read.
    """
    row = await asyncio.to_thread(studies.load_study, lab.store, slug)
    if row.state != "draft":
        raise UserError(f"'{slug}' is {row.state}; its answers can no longer change.")
    await asyncio.to_thread(lab.refuse_held, row.spec)
    spec, models, folder = row.spec, lab.models(row.spec), lab.folder(slug)
    artifacts = Workspace(lab.settings.workspace, lab.settings.assets).artifacts
    questions = await asyncio.to_thread(questions_for, spec, lab.questions)
    jobs = plan_jobs(spec, models, questions, artifacts)
    runner = Runner(models, engine, artifacts, traces=folder / "traces")
    (folder / "traces").mkdir(parents=True, exist_ok=True)
    async with aclosing(generate(jobs, runner, folder)) as steps:
        async for step in steps:
            if isinstance(step, Progress):
                yield step
    found = answers_for(jobs, folder)
    if missing := len(jobs) - len(found):
        raise UserError(f"{missing} of {len(jobs)} answers are missing. Start again to make them.")
    ready = await asyncio.to_thread(pairs_from, spec, found, lab.masker(spec))
    await asyncio.to_thread(studies.replace_pairs, lab.store, slug, ready.pairs, ready.dropped)
    left = f"{len(ready.pairs)} pairs are ready, {len(ready.dropped)} were left out."
    note = " ".join([left, *ready.notes])
    level = "warning" if ready.dropped or ready.notes else "info"
    yield Progress(unit="answers", done=len(jobs), total=len(jobs), note=note, level=level)


def verify_blinding(lab: Lab, slug: str) -> Verification:
    """Check a study's blinding and its vote chain; takes some seconds."""
    return verify(lab.store, slug)
