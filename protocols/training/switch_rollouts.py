"""Many shared texts written at once, as a live run writes one: for rollouts and for evaluation.

Answers are greedy, so whoever goes on from the same text writes the same: nothing is asked twice,
and a killed fit finds what was written.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace

from protocols.core.call import Call, ScoreCall, Step
from protocols.core.errors import ContributorError, EngineError
from protocols.core.fit_types import FitContext, FitItem
from protocols.core.models import content_hash
from protocols.core.registry import Context
from protocols.lib.jsonlines import append_rows, read_rows
from protocols.lib.shared_text import Draft, WrittenPatch, written_patch
from protocols.lib.switching import patch_call

WAVE = 64
"""Calls that are played together; a kill loses one wave at most."""


@dataclass
class Rollout:
    """A shared text for one item, while it is written."""

    ctx: Context
    item: FitItem
    draft: Draft
    number: int = 0
    """What chance goes by: lines with the same number meet the same draws."""
    turn: int = 0
    ended: bool = False

    def fork(self) -> Rollout:
        """The same text, to be gone on with in another way."""
        return replace(self, draft=copy.deepcopy(self.draft))

    @property
    def open(self) -> bool:
        """Whether somebody may still write."""
        return not self.ended and bool(self.usable())

    def usable(self) -> list[str]:
        """Who may write: everybody who has not failed or had nothing to add."""
        return [model.id for model in self.ctx.models if model.id not in self.draft.barred]


Choose = Callable[[Rollout], str]
"""Says who goes on with a text."""


class RolloutWriter:
    """Where lines are written, in patches of ``patch`` tokens."""

    def __init__(self, ctx: FitContext, patch: int) -> None:
        self.ctx, self.patch = ctx, patch
        self._patches, self._judged = ctx.state / "patches.jsonl", ctx.state / "scores.jsonl"
        self._known = {
            row["key"]: WrittenPatch(*row["written"]) for row in read_rows(self._patches)
        }
        self._scores = {row["key"]: row["scores"] for row in read_rows(self._judged)}

    def line(self, item: FitItem, number: int = 0) -> Rollout:
        """An empty text for an item."""
        asking = self.ctx.asking(item.question)
        return Rollout(asking, item, Draft(asking.sampling.max_tokens), number)

    async def write(self, lines: Sequence[Rollout], choose: Choose) -> AsyncIterator[Step]:
        """Let the chosen author of every line write one patch."""
        greedy = self.ctx.context.draw(temperature=0.0, top_p=1.0)
        asked: dict[str, Call] = {}
        keys = []
        for line in lines:
            author = choose(line)
            list(line.draft.commit(author))
            call = patch_call(line.ctx, line.draft, author, line.turn, self.patch, greedy)
            assert call.sampling
            key = content_hash(author, call.render(), call.prefix, call.sampling.max_tokens)
            call.id, call.quiet = f"patch.{key}", True
            keys.append(key)
            if key not in self._known:
                asked[key] = call
        async for step in self._ask(list(asked.items())):
            yield step
        for line, key in zip(lines, keys, strict=True):
            line.ended = line.draft.take(self._known[key])
            line.turn += 1

    async def _ask(self, asked: Sequence[tuple[str, Call]]) -> AsyncIterator[Step]:
        for begin in range(0, len(asked), WAVE):
            wave = asked[begin : begin + WAVE]
            yield [call for _, call in wave]
            for _, call in wave:
                self._check(call)
            new = {key: written_patch(call) for key, call in wave}
            rows = ({"key": key, "written": list(one)} for key, one in new.items())
            append_rows(self._patches, rows)
            self._known |= new

    async def finish(self, lines: Sequence[Rollout], choose: Choose) -> AsyncIterator[Step]:
        """Let all lines be written to their end."""
        while going := [line for line in lines if line.open]:
            async for step in self.write(going, choose):
                yield step

    async def scores(self, name: str, calls: Sequence[ScoreCall]) -> AsyncIterator[Step]:
        """Play scoring calls of the decider called ``name``, or recall what it said before."""
        new: dict[str, ScoreCall] = {}
        keys = await asyncio.to_thread(_named, name, calls)
        for key, call in zip(keys, calls, strict=True):
            if key not in self._scores and key not in new:
                call.id, call.quiet, new[key] = f"score.{key}", True, call
        waiting = list(new.items())
        for begin in range(0, len(waiting), WAVE):
            wave = waiting[begin : begin + WAVE]
            yield [call for _, call in wave]
            for _, call in wave:
                self._check(call)
            said = {key: call.logprobs if call.ok else None for key, call in wave}
            append_rows(self._judged, ({"key": key, "scores": one} for key, one in said.items()))
            self._scores |= said
        for key, call in zip(keys, calls, strict=True):
            if not call.done and self._scores[key] is not None:
                call.recall(self._scores[key])

    def _check(self, call: Call | ScoreCall) -> None:
        """Raise :class:`EngineError` if the machine, not the model, failed."""
        if call.error and not isinstance(call.error, ContributorError):
            raise EngineError(f"The switcher cannot be trained: {call.error.message}")

    def rating(self, line: Rollout) -> float:
        """How right a text is, 0 to 1; one without words is wrong."""
        text = line.draft.whole
        return (self.ctx.score(line.item, text) or 0.0) if text.strip() else 0.0


def _named(decider: str, calls: Sequence[ScoreCall]) -> list[str]:
    """Keys of calls by what is asked; their prompts are written out for good."""
    for call in calls:
        call.messages = call.render()
    return [content_hash(decider, call.messages, list(call.labels)) for call in calls]


def same_author(line: Rollout) -> str:
    """Whoever wrote last goes on, if possible."""
    usable = line.usable()
    return line.draft.author if line.draft.author in usable else usable[0]


def random_author(ctx: FitContext, *name: object) -> Choose:
    """Authors by chance; lines of one number meet the same draws, whoever wrote before."""

    def choose(line: Rollout) -> str:
        models = line.ctx.models
        drawn = ctx.rng("author", line.number, line.turn, *name).sample(models, len(models))
        usable = line.usable()
        return next(model.id for model in drawn if model.id in usable)

    return choose
