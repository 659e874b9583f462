"""An answer may do blocking work: neither Stop, nor the time budget, nor the loop waits for it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import pytest

from protocols.core.call import Call, Step
from protocols.core.control import Control
from protocols.core.errors import EngineError
from protocols.core.events import Answer, Ended, Event, Phase
from protocols.core.models import Budget
from protocols.core.registry import Context
from protocols.engines.scripted import ScriptedEngine
from tests.core.toy import PROTOCOL, registered
from tests.helpers import HANGS_S, make_spec, play

LET_GO = threading.Event()


def blocking(seconds: float) -> str:
    LET_GO.wait(seconds)
    return threading.current_thread().name


def failing() -> None:
    raise EngineError("The encoder is not here.")


async def answer(ctx: Context) -> AsyncIterator[Step]:
    yield Phase(name="think", title="Thinking")
    if "fail" in ctx.question:
        await ctx.work(failing)
    where = await ctx.work(blocking, 0.01 if "quick" in ctx.question else 30.0)
    call = Call("say", ctx.models[0].id, [])
    yield call
    yield Answer(text=where, sources=(call.id,))


@pytest.fixture(autouse=True)
def thinker() -> Iterator[None]:
    LET_GO.clear()
    spec = replace(PROTOCOL, answer=answer, fit=None, needs_artifact=False)
    with registered(spec):
        yield
    LET_GO.set()


def run_it(question: str, stop: bool = False, seconds: float = 20.0) -> list[Event]:
    def watch(event: Event, control: Control) -> None:
        if stop and isinstance(event, Phase):
            asyncio.get_running_loop().call_later(0.05, control.stop)

    async def go() -> list[Event]:
        spec = make_spec("toy", 2, question=question, budget=Budget(seconds=seconds))
        events = await play(spec, ScriptedEngine(), watch)
        LET_GO.set()  # or closing the loop would wait for the thread
        return events

    return asyncio.run(asyncio.wait_for(go(), HANGS_S))


def test_the_result_comes_from_another_thread() -> None:
    events = run_it("quick")
    said = next(e for e in events if isinstance(e, Answer))
    assert said.text != threading.main_thread().name


def test_stop_does_not_wait_for_it() -> None:
    last = run_it("slow", stop=True)[-1]
    assert isinstance(last, Ended) and last.status == "cancelled"


def test_the_time_budget_does_not_wait_for_it() -> None:
    last = run_it("slow", seconds=0.2)[-1]
    assert isinstance(last, Ended) and last.status == "budget"


def test_its_error_is_the_run_s() -> None:
    last = run_it("fail")[-1]
    assert isinstance(last, Ended) and last.owner == "engine" and "encoder" in last.message
