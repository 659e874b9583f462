"""Scores candidate models on the same dev items, remembering every answer.

A search asks for the same rows again and a killed one starts from the beginning: what was asked
once is read from a file, so going on is replaying, and equal inputs make equal searches.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from protocols.core.call import Call, Step
from protocols.core.errors import ContributorError, EngineError
from protocols.core.events import Progress
from protocols.core.fit_types import FitContext, FitItem
from protocols.core.models import ModelSpec
from protocols.lib.coefficients import interval
from protocols.lib.prompts import question_messages
from protocols.lib.weight_space import Members, Row

WAVE = 64
"""Answers that are asked for together; a kill loses one wave at most."""


@dataclass(frozen=True)
class Candidate:
    """A model to score: one that can be called already, or how to make it in a folder."""

    key: str
    model: ModelSpec | None = None
    make: Callable[[Path], ModelSpec] | None = None
    whole: bool = False
    """Takes as much memory as a base, so it is scored on its own."""


@dataclass(frozen=True)
class Result:
    """A candidate's scores on the items, in order; None is an answer that says nothing."""

    scores: tuple[float | None, ...]

    @property
    def values(self) -> tuple[float, ...]:
        """Scores with zero for what says nothing."""
        return tuple(score or 0.0 for score in self.scores)

    @property
    def mean(self) -> float:
        """Mean score, 0 to 1."""
        return sum(self.values) / len(self.values)

    def summary(self) -> dict[str, float]:
        """The mean with its interval, for a page."""
        low, high = interval(self.mean, len(self.scores))
        blank = sum(score is None for score in self.scores)
        return {
            "score": round(self.mean, 6),
            "low": round(low, 6),
            "high": round(high, 6),
            "n": len(self.scores),
            "unscored": blank,
        }


def flips(before: Result, after: Result) -> tuple[int, int]:
    """How many items went up and how many went down."""
    pairs = list(zip(before.values, after.values, strict=True))
    return sum(b < a for b, a in pairs), sum(b > a for b, a in pairs)


class CandidateScorer:
    """Scores on ``items``; ``expected`` is how many candidates a search scores at most."""

    def __init__(
        self, ctx: FitContext, members: Members, items: Sequence[FitItem], expected: int
    ) -> None:
        self.ctx, self.members, self.items, self.expected = ctx, members, tuple(items), expected
        self._file = ctx.state / "answers.jsonl"
        self._known = _read(self._file)
        self._seen: dict[str, None] = {}
        self._asked, self._began = 0, time.monotonic()

    def candidate(self, row: Row) -> Candidate:
        """A row of coefficients as a candidate."""
        key, members = self.members.key(row), self.members

        def make(folder: Path) -> ModelSpec:
            members.make(row, folder)
            return members.spec(f"c.{key}", folder)

        return Candidate(key, members.single(row), make, whole=members.kind == "model")

    async def rows(self, rows: Iterable[Row]) -> AsyncIterator[Step]:
        """Score rows; :meth:`result` has the results afterwards."""
        async for step in self.score([self.candidate(row) for row in rows]):
            yield step

    async def score(self, candidates: Iterable[Candidate]) -> AsyncIterator[Step]:
        """Score candidates that were not scored before, a few at a time."""
        new = {one.key: one for one in candidates}
        self._seen |= dict.fromkeys(new)
        group: list[Candidate] = []
        for candidate in new.values():
            if missing := self._missing(candidate.key):
                group.append(candidate)
                if len(group) * len(missing) >= WAVE or candidate.whole:
                    async for step in self._group(group):
                        yield step
                    group = []
        async for step in self._group(group):
            yield step

    async def _group(self, group: Sequence[Candidate]) -> AsyncIterator[Step]:
        served = [await self._serve(one) for one in group]
        pending = [(k, m, i) for k, m in served for i in self._missing(k)]
        for start in range(0, len(pending), WAVE):
            wave = pending[start : start + WAVE]
            calls = [self._call(key, model, item) for key, model, item in wave]
            yield calls
            self._keep(
                [(key, item, call) for (key, _, item), call in zip(wave, calls, strict=True)]
            )
            yield self._progress()
        for key, model in served:
            if model.id == f"c.{key}":
                await self.ctx.release(model)
                shutil.rmtree(self._folder(key), ignore_errors=True)

    async def _serve(self, one: Candidate) -> tuple[str, ModelSpec]:
        if one.model:
            return one.key, one.model
        assert one.make
        model = await self.ctx.work(one.make, self._folder(one.key))
        self.ctx.serve(model)
        return one.key, model

    def _folder(self, key: str) -> Path:
        return self.ctx.state / "candidates" / key

    def _call(self, key: str, model: ModelSpec, item: FitItem) -> Call:
        messages = question_messages(item.question)
        greedy = self.ctx.context.draw(temperature=0.0, top_p=1.0)
        name = f"{key}/{item.id}"
        return Call(name, model.id, messages, role="search", quiet=True, sampling=greedy)

    def _missing(self, key: str) -> list[FitItem]:
        return [item for item in self.items if (key, item.id) not in self._known]

    def _keep(self, wave: Sequence[tuple[str, FitItem, Call]]) -> None:
        """Remember a wave's answers.

        An answer without words counts as one that says nothing. Raises :class:`EngineError` for a
        call that did not get as far as an answer: a broken machine must not look like a bad model.
        """
        with self._file.open("a", encoding="utf-8") as file:
            for key, item, call in wave:
                answered = call.error is None or call.usage.prompt_tokens
                if call.error and not (answered and isinstance(call.error, ContributorError)):
                    raise EngineError(f"The search cannot go on: {call.error.message}")
                score = self.ctx.score(item, call.text) if call.ok else None
                self._known[key, item.id] = score
                line = {"key": key, "item": item.id, "score": score}
                file.write(json.dumps(line | {"text": call.text if call.ok else ""}) + "\n")
        self._asked += len(wave)

    def _progress(self) -> Progress:
        done = sum(not self._missing(key) for key in self._seen)
        pace = (time.monotonic() - self._began) / self._asked
        left = pace * len(self.items) * max(0, self.expected - done)
        best = max((self.result(k).mean for k in self._seen if not self._missing(k)), default=0.0)
        return Progress(
            unit="search",
            done=done,
            total=max(self.expected, done),
            note=f"{done} candidates scored, {_spoken(left)} left at most",
            values={"best": best},
        )

    def of(self, row: Row) -> Result:
        """The result of a row that was scored."""
        return self.result(self.members.key(row))

    def result(self, key: str) -> Result:
        """The result of a candidate that was scored."""
        return Result(tuple(self._known[key, item.id] for item in self.items))


def _spoken(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def _read(file: Path) -> dict[tuple[str, str], float | None]:
    """What was kept; a last line that a kill cut off is taken away."""
    text = file.read_bytes() if file.is_file() else b""
    whole = text[: text.rfind(b"\n") + 1]
    if whole != text:
        file.write_bytes(whole)
    rows = [json.loads(line) for line in whole.splitlines()]
    return {(row["key"], row["item"]): row["score"] for row in rows}
