"""What was asked once is not asked again, whatever a kill left of the file."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.core.artifacts import ArtifactStore
from protocols.core.call import AnyCall, Call, ScoreCall, Step
from protocols.core.events import Ended, Event
from protocols.core.fit import FitContext, fit
from protocols.core.registry import Context
from protocols.engines.scripted import ScriptedEngine
from protocols.lib.pairwise import compare_calls, preference
from protocols.training.call_cache import CallCache, answer_call
from tests.core.toy import PROTOCOL, registered, toy_data, toy_spec
from tests.helpers import make_pool

FAILING = {"gamma": "empty"}


def calls_of(ctx: FitContext) -> tuple[list[Call], list[ScoreCall]]:
    """Everybody answers, and alpha compares beta's answers with its own."""
    items = ctx.items["dev"]
    said = [answer_call("say", model.id, item) for item in items for model in ctx.models]
    pairs: list[ScoreCall] = []
    for at, item in enumerate(items):
        one, other = said[3 * at : 3 * at + 2]
        pairs += compare_calls(ctx.asking(item.question), f"pair/{item.id}", "alpha", one, other)
    return said, pairs


def outcomes(calls: list[AnyCall]) -> list[Any]:
    return [(c.logprobs if isinstance(c, ScoreCall) else c.text) if c.ok else None for c in calls]


def remembering(found: list[list[Any]]) -> Any:
    async def made(ctx: FitContext) -> AsyncIterator[Step]:
        memory, (said, pairs) = CallCache(ctx), calls_of(ctx)
        for part in (said, pairs):
            async for step in memory.play(part, "things"):
                yield step
        found.append(outcomes([*said, *pairs]))
        assert preference(pairs[:2]) is not None
        yield ctx.fitted({})

    async def answer(ctx: Context) -> AsyncIterator[Step]:
        for call in ():
            yield call

    return replace(PROTOCOL, fit=made, answer=answer)


async def play(root: Path, served: ScriptedEngine, leave_at: int | None = None) -> list[Event]:
    events: list[Event] = []
    stream = fit(toy_spec(), make_pool(3), served, toy_data(), ArtifactStore(root))
    async for event in stream:
        events.append(event)
        if leave_at is not None and len(events) > leave_at:
            break
    await stream.aclose()
    return events


@given(leave_at=st.integers(0, 4), cut=st.integers(0, 60))
def test_going_on_remembers_everything_said(leave_at: int, cut: int) -> None:
    found: list[list[Any]] = []
    with tempfile.TemporaryDirectory() as folder, registered(remembering(found)):
        whole = ScriptedEngine(fail=FAILING)
        asyncio.run(play(Path(folder, "a"), whole))
        first, second = ScriptedEngine(fail=FAILING), ScriptedEngine(fail=FAILING)
        asyncio.run(play(Path(folder, "b"), first, leave_at))
        for file in Path(folder, "b").rglob("said.jsonl"):
            file.write_bytes(file.read_bytes() + b'{"id": "say/be'[:cut])
        events = asyncio.run(play(Path(folder, "b"), second))
        assert isinstance(events[-1], Ended) and events[-1].status == "ok"
        assert found[-1] == found[0] and found[0][2] is None, "gamma says nothing"
        assert len(first.requests) + len(second.requests) == len(whole.requests)


def test_a_broken_machine_is_not_a_bad_answer(tmp_path: Path) -> None:
    with registered(remembering([])):
        events = asyncio.run(play(tmp_path, ScriptedEngine(fail={"gamma": "start"})))
    end = events[-1]
    assert isinstance(end, Ended) and end.status == "failed"
    assert "cannot go on" in end.message
    with pytest.raises(StopIteration):
        next(file for file in tmp_path.rglob("said.jsonl") if b"gamma" in file.read_bytes())
