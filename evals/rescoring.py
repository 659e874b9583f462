"""More scores for stored answers: rewards, a judge's verdicts, how alike a pool's members speak.

They stand among a record's ``others`` and never in its ``score``. Each record is written as soon as
it is scored, so a killed scoring goes on where it was; the answers themselves are not made again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path

import numpy as np

from evals.analyses.core import best_alone
from evals.bench_folder import object_file
from evals.frames import to_frame
from evals.human.records import PairText, Verdict
from evals.judges.core import Judge
from evals.judges.resolve import resolve
from evals.judges.run import run_judges
from evals.metrics.diversity import Encode, Floats, cosines, homogeneity
from evals.records import BenchRecord, newest, record_file
from evals.reward_scores import REWARD, prompts_of, rewarded
from protocols.core.events import Progress
from protocols.training.reward_scorer import Scorer

SCORES = "scores.jsonl"
ALIKE, ALIKE_NULL = "homogeneity", "homogeneity_null"
OUTCOMES = {"system": 1.0, "tie": 0.5, "contributor": 0.0}
Scored = AsyncGenerator[BenchRecord | Progress, None]
Make = Callable[[Sequence[BenchRecord], Mapping[str, BenchRecord]], Scored]
"""Scores records (the second argument has all by key); warnings come as progress."""


async def add_scores(
    folder: Path, name: str, source: str, make: Make, limit: int = 0
) -> AsyncGenerator[Progress, None]:
    """Give the records of a bench's folder the score ``name`` where they lack it.

    ``source`` says what scores (a model's id and weights) and is kept in ``scores.jsonl``. At most
    ``limit`` records are scored (0 = all); those that have no such score do not count. Raises
    :class:`UserError` if another process fills the folder, and what ``make`` raises.
    """
    with record_file(folder) as file:
        book = newest(file.read())
        todo = [one for one in book.values() if name not in one.others and one.outcome != "failed"]
        with object_file(folder / SCORES) as notes:
            notes.append([{"score": name, "source": source, "records": limit or len(todo)}])
        done = 0
        async with aclosing(make(todo, book)) as steps:
            async for step in steps:
                if isinstance(step, Progress):
                    yield step
                    continue
                file.append([step])
                done += 1
                yield Progress(unit=f"score.{name}", done=done, total=limit or len(todo))
                if done == limit:
                    return


def with_scores(record: BenchRecord, **scores: float) -> BenchRecord:
    """The record with more scores."""
    return record.model_copy(update={"others": {**record.others, **scores}})


def rewards(folder: Path, scorer: Scorer) -> Make:
    """A reward model's number for each answer, read beside its prompt."""

    async def make(todo: Sequence[BenchRecord], book: Mapping[str, BenchRecord]) -> Scored:
        found = rewarded(todo, prompts_of(folder), scorer)
        while (record := await asyncio.to_thread(next, found, None)) is not None:
            yield record

    return make


def likeness(encode: Encode) -> Make:
    """How alike a pool's members answer the same prompt, beside how alike they answer others.

    Systems only: the texts are those that their members gave alone.
    """

    async def make(todo: Sequence[BenchRecord], book: Mapping[str, BenchRecord]) -> Scored:
        systems = [one for one in todo if one.role == "system" and one.n > 1]
        known: dict[tuple[object, ...], tuple[float | None, float | None]] = {}
        texts = _texts_by_item(book.values())
        for record in systems:
            place = (record.task, record.item, record.seed, record.split, frozenset(record.pool))
            if place not in known:
                known[place] = await asyncio.to_thread(_alike, record, texts, encode)
            same, other = known[place]
            if same is not None:
                null = {} if other is None else {ALIKE_NULL: round(other, 6)}
                yield with_scores(record, **{ALIKE: round(same, 6)}, **null)

    return make


Texts = dict[tuple[str, str, int], dict[str, dict[str, str]]]
"""What each model said alone: (task, split, seed) -> item -> model -> text."""


def _texts_by_item(records: Iterable[BenchRecord]) -> Texts:
    found: Texts = {}
    for one in records:
        if one.role == "solo" and one.text:
            items = found.setdefault((one.task, one.split, one.seed), {})
            items.setdefault(one.item, {})[one.pool[0]] = one.text
    return found


def _alike(record: BenchRecord, texts: Texts, encode: Encode) -> tuple[float | None, float | None]:
    """Homogeneity over a record's pool at its item, and against the next item that was asked."""
    items = texts.get((record.task, record.split, record.seed), {})
    mine = _of_pool(items.get(record.item, {}), record.pool)
    same = homogeneity({record.item: {m: [t] for m, t in mine.items()}}, encode)
    names = sorted(items)
    if len(names) < 2 or record.item not in items:
        return same, None
    other = names[(names.index(record.item) + 1) % len(names)]
    theirs = _of_pool(items[other], record.pool)
    pairs = [(a, b) for a in mine for b in theirs if a != b]
    if not pairs:
        return same, None
    left = encode([mine[a] for a, _ in pairs])
    right = encode([theirs[b] for _, b in pairs])
    return same, float(np.mean(_row_cosines(left, right)))


def _of_pool(said: Mapping[str, str], pool: Sequence[str]) -> dict[str, str]:
    return {name: said[name] for name in pool if name in said}


def _row_cosines(left: Floats, right: Floats) -> list[float]:
    return [float(cosines(np.stack(pair))[0, 1]) for pair in zip(left, right, strict=True)]


def judged(folder: Path, judge: Judge) -> Make:
    """A judge's verdict on each system's answer against that of the task's best single member.

    1 = the system's is better, 0.5 = a tie or a verdict that turned with the order, 0 = worse.
    Equal answers are ties and are not asked about.
    """

    async def make(todo: Sequence[BenchRecord], book: Mapping[str, BenchRecord]) -> Scored:
        prompts, rivals = prompts_of(folder), await asyncio.to_thread(_rivals, todo, book)
        pairs = []
        for record in todo:
            rival = rivals.get(record.key)
            prompt = prompts.get((record.task, record.item))
            if rival is None or prompt is None:
                continue
            if rival.text == record.text:
                yield with_scores(record, **{judge_score(judge.id): OUTCOMES["tie"]})
                continue
            pairs.append(PairText(record.key, record.task, prompt, rival.text, record.text))
        heard: dict[str, list[Verdict]] = {}
        async with aclosing(run_judges(pairs, [judge])) as events:
            async for event in events:
                if isinstance(event, Progress):
                    if event.level == "warning":
                        yield event
                    continue
                mine = heard.setdefault(event.item, [])
                mine.append(event)
                if len(mine) == len(judge.asks()):
                    outcome = resolve(mine)[0].outcome
                    if outcome in OUTCOMES:
                        scores = {judge_score(judge.id): OUTCOMES[outcome]}
                        yield with_scores(book[event.item], **scores)

    return make


def judge_score(judge: str) -> str:
    """Under which name a judge's verdicts stand in a record."""
    return f"judge:{judge}"


def _rivals(todo: Sequence[BenchRecord], book: Mapping[str, BenchRecord]) -> dict[str, BenchRecord]:
    """What the best single member of each system's pool said alone, by the system's key."""
    frame = to_frame(book.values())
    best: dict[tuple[str, tuple[str, ...]], str] = {}
    found = {}
    for record in todo:
        if record.role != "system" or not record.members:
            continue
        place = (record.task, record.pool)
        if place not in best:
            best[place] = best_alone(frame[frame["task"] == record.task], record.pool)
        key = next((one.key for one in record.members if one.model == best[place]), "")
        if key in book and book[key].outcome != "failed":
            found[record.key] = book[key]
    return found


__all__ = [
    "ALIKE", "ALIKE_NULL", "REWARD", "SCORES", "add_scores", "judge_score", "judged", "likeness",
    "rewards", "with_scores",
]  # fmt: skip
