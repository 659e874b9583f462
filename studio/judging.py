"""Judge a study by the judges its plan names, for the Studies page and the command line alike.

It knows where judges and pools lie; judging itself, and its sealing, are in ``evals.judges``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing

from evals.human.store import Store
from evals.human.studies import load_study, note_worth
from evals.human.study import StudySpec
from evals.judges.flags import lacks_independent, study_flagger
from evals.judges.registry import (
    BASELINES,
    JudgeEntry,
    judge_entries,
    judge_models,
    make_judges,
    worth_of,
)
from evals.judges.run import warning
from evals.judges.sealed import judge_study
from protocols.core.engine import Engine
from protocols.core.errors import ContributorError, UserError
from protocols.core.events import Progress
from studio.pool import load_pool
from studio.settings import Settings

log = logging.getLogger(__name__)


async def judge_planned(
    store: Store, slug: str, engine: Engine, settings: Settings
) -> AsyncGenerator[Progress, None]:
    """Judge a study's pairs by its planned judges; goes on where it stopped. No outcomes are shown.

    What the judges' cards say of them is written into the study's record first.

    Raises:
        UserError: the study is unknown, names no judges or an unknown one, or its pool is unknown.
    """
    spec = load_study(store, slug).spec
    if not spec.judges:
        raise UserError(f"The study '{slug}' names no judges. Add some to its plan.")
    entries = judge_entries(settings.assets, settings.workspace)
    judges = make_judges(spec.judges, entries, engine, rubric=spec.rubric, seed=spec.seed)
    await asyncio.to_thread(note_worth, store, slug, worth_of(spec.judges, entries))
    pool = {model.id: model for model in load_pool(spec.pool, settings).specs}
    named = judge_models(spec.judges, entries)
    rewards = [one for one in named if entries[one.id].spec.kind == "reward"]
    if told := lacks_independent(rewards, spec.system, pool):
        yield warning(told)
    flags = study_flagger(named, spec.system, pool.values())
    async with aclosing(judge_study(store, slug, judges, flags=flags)) as events:
        async for event in events:
            yield event


def offered(settings: Settings) -> dict[str, JudgeEntry]:
    """Return the judges that can be named; none, and a line in the log, if their file is malformed.

    For pages, which must not fail with it.
    """
    try:
        return judge_entries(settings.assets, settings.workspace)
    except ContributorError as error:
        log.warning("%s", error.message)
        return {}


def planned_worth(spec: StudySpec, settings: Settings) -> dict[str, str]:
    """Return what is known of the judges that a plan names; of an unknown one, that it is."""
    entries = offered(settings)
    known = [name for name in spec.judges if name in entries or name in BASELINES]
    return dict.fromkeys(spec.judges, "There is no such judge here.") | worth_of(known, entries)
