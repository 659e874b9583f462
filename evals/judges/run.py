"""Run judges over pairs as a stream of progress and verdicts that can be stopped and resumed.

What was judged before is named by keys without outcomes, so a study's verdicts can stay sealed
while judging goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Callable,
    Collection,
    Mapping,
    Sequence,
)
from contextlib import aclosing
from dataclasses import replace

from evals.concurrency import bounded
from evals.human.records import PairText, Verdict
from evals.judges.core import Ask, Judge, VerdictKey, planned_key
from evals.judges.flags import Flagger
from protocols.core.errors import StudioError
from protocols.core.events import Progress

UNIT = "judge"
PARALLEL = 8
"""Judgements in flight; engines batch them."""
GIVE_UP = 5
"""Failures in a row after which a judge is left."""

Work = tuple[PairText, Ask]
Outcome = Verdict | StudioError


async def run_judges(
    pairs: Sequence[PairText],
    judges: Sequence[Judge],
    *,
    done: Collection[VerdictKey] = (),
    flags: Flagger | None = None,
    parallel: int = PARALLEL,
) -> AsyncGenerator[Progress | Verdict, None]:
    """Judge every pair by every judge; yields each verdict as soon as it is there.

    ``done`` are the judgements not to be made again, however they were made. A judgement that fails
    gives a warning and no verdict, so a later run makes it; a judge that cannot be loaded, or fails
    five times in a row, is left with a warning and the next one goes on. Closing the iterator
    cancels what is running.
    """
    strata = {pair.item: pair.stratum for pair in pairs}
    for judge in judges:
        yield Progress(unit=UNIT, note=f"Loading the judge '{judge.id}'.")
        try:
            await judge.load()
            work, changed = await asyncio.to_thread(pending, pairs, judge, done)
        except StudioError as error:
            yield warning(f"The judge '{judge.id}' is left out: {error.message}")
            continue
        if changed:
            yield warning(
                f"The judge '{judge.id}' has changed since {changed} of its verdicts were made; "
                "they are kept. Give the new judge another name to judge those pairs again."
            )
        async with aclosing(_judge_all(judge, work, parallel)) as events:
            async for event in events:
                yield _flagged(event, strata, flags) if isinstance(event, Verdict) else event


def pending(
    pairs: Sequence[PairText], judge: Judge, done: Collection[VerdictKey]
) -> tuple[list[Work], int]:
    """Return the judgements still to be made, and how many were made by other words or weights.

    The first call may read the judge's weights.
    """
    made = {key.place: key for key in done}
    work, changed = [], 0
    for pair in pairs:
        for ask in judge.asks():
            key = planned_key(judge, pair, ask)
            if key.place not in made:
                work.append((pair, ask))
            elif made[key.place] != key:
                changed += 1
    return work, changed


async def _judge_all(
    judge: Judge, work: Sequence[Work], parallel: int
) -> AsyncGenerator[Progress | Verdict, None]:
    failed = made = 0
    outcomes = bounded(work, lambda one: _outcome(judge, *one), parallel)
    async with aclosing(outcomes):
        async for outcome in outcomes:
            if isinstance(outcome, Verdict):
                failed, made = 0, made + 1
                yield outcome
                yield Progress(unit=UNIT, done=made, total=len(work), note=judge.id)
                continue
            failed += 1
            yield warning(f"The judge '{judge.id}' failed once: {outcome.message}")
            if failed >= GIVE_UP:
                yield warning(f"The judge '{judge.id}' failed {failed} times in a row; it is left.")
                return


async def _outcome(judge: Judge, pair: PairText, ask: Ask) -> Outcome:
    try:
        return await judge.verdict(pair, ask)
    except StudioError as error:
        return error


def _flagged(verdict: Verdict, strata: Mapping[str, str], flags: Flagger | None) -> Verdict:
    if flags is None:
        return verdict
    found = flags(verdict.judge, strata[verdict.item])
    return replace(verdict, circular=found.circular, same_family=found.same_family)


def warning(note: str) -> Progress:
    """Return a warning for the page or the terminal."""
    return Progress(unit=UNIT, note=note, level="warning")


async def collect(
    stream: AsyncIterator[Progress | Verdict], say: Callable[[str], None] = lambda _: None
) -> list[Verdict]:
    """Run to the end; return the verdicts and pass every warning on."""
    verdicts: list[Verdict] = []
    async for event in stream:
        if isinstance(event, Verdict):
            verdicts.append(event)
        elif event.level == "warning":
            say(event.note)
    return verdicts
