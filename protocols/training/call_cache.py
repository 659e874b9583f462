"""What models said while a protocol was fitted, so that a killed fit asks nothing twice.

Every call's outcome is a line of a file, by the call's id: going on is asking the same again and
being told what was said then.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

from protocols.core.call import AnyCall, Call, ScoreCall, Step
from protocols.core.errors import ContributorError, EngineError
from protocols.core.events import Progress
from protocols.core.fit_types import FitContext, FitItem
from protocols.core.models import Sampling
from protocols.lib.jsonlines import append_rows, read_rows
from protocols.lib.prompts import question_messages

WAVE = 64
"""Calls that are played together; a kill loses one wave at most."""

HEAT = {"temperature": 0.7, "top_p": 0.9}
"""How answers to learn from are drawn where several of a model are wanted."""
PASSING = 0.5
"""From this score on an answer counts as right."""


class CallCache:
    """Plays quiet calls and remembers them in ``ctx.state``. Ids must say what is asked."""

    def __init__(self, ctx: FitContext) -> None:
        self.ctx = ctx
        self._file = ctx.state / "said.jsonl"
        self._known = {row["id"]: row["said"] for row in read_rows(self._file)}

    async def play(self, calls: Sequence[AnyCall], what: str) -> AsyncIterator[Step]:
        """End all calls, remembered or played; ``what`` names them in the progress shown.

        Raises :class:`EngineError` if the machine, not a model, failed.
        """
        for start in range(0, len(calls), WAVE):
            wave = calls[start : start + WAVE]
            new = [call for call in wave if not self._recall(call)]
            if new:
                yield await asyncio.to_thread(_settled, new)
                self._keep(new)
            done = start + len(wave)
            yield Progress(unit="search", done=done, total=len(calls), note=what)

    def _recall(self, call: AnyCall) -> bool:
        if call.id not in self._known:
            return False
        said = self._known[call.id]
        if said is None:
            call.state = "failed"
        else:
            call.recall(said)
        return True

    def _keep(self, calls: Sequence[AnyCall]) -> None:
        for call in calls:
            if call.error and not isinstance(call.error, ContributorError):
                raise EngineError(f"The fit cannot go on: {call.error.message}")
            said = None if not call.ok else _said(call)
            self._known[call.id] = said
            append_rows(self._file, [{"id": call.id, "said": said}])


def _said(call: AnyCall) -> Any:
    return call.logprobs if isinstance(call, ScoreCall) else call.text


def _settled(calls: Sequence[AnyCall]) -> Sequence[AnyCall]:
    """The calls with their prompts written out: what they see may only be remembered."""
    for call in calls:
        if call.sees:
            call.messages, call.sees, call.min_sees = call.render(), (), 0
        call.quiet = True
    return calls


def answer_call(name: str, model: str, item: FitItem, sampling: Sampling | None = None) -> Call:
    """A model's answer to an item, asked as it is asked live; ``name`` tells askings apart."""
    messages = question_messages(item.question)
    return Call(f"{name}/{model}/{item.id}", model, messages, role="search", sampling=sampling)


def answer_score(ctx: FitContext, item: FitItem, call: Call) -> float:
    """How right an answer is, 0 to 1; nothing readable is wrong."""
    return (ctx.score(item, call.text) or 0.0) if call.ok else 0.0
