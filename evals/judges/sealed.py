"""Judge the pairs of a study without showing what came out.

Verdicts go into the store as they are made and can be read only after the study is locked; what is
yielded here says how far judging is, never whom a judge prefers.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from sqlalchemy import select

from evals.human import schema
from evals.human.records import Verdict
from evals.human.store import Store
from evals.human.studies import add_verdicts, list_pairs
from evals.judges.core import Judge, VerdictKey
from evals.judges.flags import Flagger
from evals.judges.run import PARALLEL, run_judges
from protocols.core.events import Progress

BATCH = 16
"""Verdicts stored at once; at most so many are made again after a crash."""


def judged(store: Store, slug: str) -> set[VerdictKey]:
    """Return which judgements of a study are in the store, without their outcomes."""
    columns = [schema.judge_vote.c[name] for name in VerdictKey._fields]
    query = select(*columns).where(schema.judge_vote.c.study == slug)
    with store.read() as connection:
        return {VerdictKey(*row) for row in connection.execute(query)}


async def judge_study(
    store: Store,
    slug: str,
    judges: Sequence[Judge],
    *,
    flags: Flagger | None = None,
    parallel: int = PARALLEL,
) -> AsyncGenerator[Progress, None]:
    """Judge what is not judged yet and store it; yields progress and warnings only.

    It goes on where an earlier run stopped; closing it stores what is there. Gold pairs are judged
    as well. Raises :class:`UserError` for an unknown study.
    """
    pairs = await asyncio.to_thread(list_pairs, store, slug)
    done = await asyncio.to_thread(judged, store, slug)
    fresh: list[Verdict] = []
    events = run_judges(pairs, judges, done=done, flags=flags, parallel=parallel)
    try:
        async with aclosing(events):
            async for event in events:
                if isinstance(event, Progress):
                    yield event
                    continue
                fresh.append(event)
                if len(fresh) >= BATCH:
                    await asyncio.to_thread(add_verdicts, store, slug, fresh)
                    fresh = []
    finally:
        # Not in a thread: a cancelled task must not leave verdicts behind.
        add_verdicts(store, slug, fresh)
