"""A vLLM engine that must start anew, or end, cuts nobody's text and leaves nobody waiting.

vLLM itself is replaced by what matters of it here: after ``shutdown`` an open request never hears
again, and only ``abort`` ends one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from protocols.core.errors import EngineDied, EngineError
from protocols.core.models import ModelSpec
from protocols.engines.prompter import Prompter
from protocols.engines.vllm_base import Base
from protocols.engines.vllm_engine import VllmEngine
from tests.engines.conftest import Loop
from tests.engines.worlds import World, ask, complete, eventually, opened, text_of

pytestmark = pytest.mark.models


class Core:
    """Stands for ``vllm.AsyncLLM``; the test says what its requests hear."""

    def __init__(self) -> None:
        self.errored = self.over = self.dies_of_it = False
        self.requests: dict[str, asyncio.Queue[tuple[str, str | None]]] = {}
        self.adapters, self.free = 0, asyncio.Event()
        self.free.set()

    async def generate(
        self, prompt: object, params: object, request_id: str, lora_request: object
    ) -> AsyncGenerator[Any, None]:
        heard = self.requests[request_id] = asyncio.Queue()
        try:
            finish = None
            while finish is None:
                text, finish = await heard.get()
                if self.errored:
                    raise RuntimeError("the processes have ended")
                piece = SimpleNamespace(text=text, token_ids=[1], finish_reason=finish)
                yield SimpleNamespace(outputs=[piece])
        finally:
            del self.requests[request_id]

    def say(self, text: str, finish: str | None = None) -> None:
        for heard in self.requests.values():
            heard.put_nowait((text, finish))

    def die(self) -> None:
        self.errored = True
        self.say("")

    async def abort(self, ids: Sequence[str]) -> None:
        if self.dies_of_it:
            raise RuntimeError("the processes have ended")
        for one in ids:
            self.requests[one].put_nowait(("", "abort"))

    async def add_lora(self, request: object) -> None:
        self.adapters += 1
        await self.free.wait()

    async def remove_lora(self, number: int) -> None:
        assert not self.over

    def shutdown(self) -> None:
        self.over = True


class Started(VllmEngine):
    """Starts such cores instead of vLLM's processes."""

    def __init__(self, prompter: Prompter) -> None:
        super().__init__()
        self.prompts, self.cores = prompter, list[Core]()

    def _start(self, model: ModelSpec, slots: int, rank: int) -> Base:
        self.cores.append(Core())
        return Base(self.cores[-1], self.prompts, slots, rank)


@pytest.fixture(scope="module")
def prompts(base_model: Path) -> Prompter:
    pytest.importorskip("vllm")
    from transformers import AutoTokenizer

    return Prompter(AutoTokenizer.from_pretrained(base_model, trust_remote_code=False), 512)


@pytest.fixture
def here(prompts: Prompter, base_model: Path, adapters: list[ModelSpec]) -> World:
    base = ModelSpec(id="base", source=str(base_model))
    return World(Started(prompts), base, adapters, lambda: False)


def cores(world: World) -> list[Core]:
    assert isinstance(world.engine, Started)
    return world.engine.cores


def test_more_room_for_adapters_waits_for_open_streams(here: World, loop: Loop) -> None:
    small, large = here.adapters[1], here.adapters[0]  # of rank 4 and rank 8

    async def go() -> None:
        await here.engine.load([small])
        async with opened(here, ask(small)) as stream:
            first = asyncio.ensure_future(anext(stream))
            assert await eventually(lambda: bool(cores(here)[0].requests))
            cores(here)[0].say("One ")
            said = (await first).text
            growing = asyncio.create_task(here.engine.load([large]))
            await asyncio.sleep(0.05)
            later = asyncio.create_task(complete(here, ask(small)))
            await asyncio.sleep(0.05)
            assert not growing.done() and not cores(here)[0].over and len(cores(here)) == 1
            assert len(cores(here)[0].requests) == 1, "who comes now waits"
            cores(here)[0].say("two.", "stop")
            said += text_of([chunk async for chunk in stream])
        await growing
        assert said == "One two." and cores(here)[0].over
        assert await eventually(lambda: bool(cores(here)[1].requests))
        cores(here)[1].say("Three.", "stop")
        assert text_of(await later) == "Three."
        await here.engine.close()

    loop.run(go(), 60)


def test_a_growth_that_nobody_waits_for_still_lets_requests_in(here: World, loop: Loop) -> None:
    async def go() -> None:
        await here.engine.load([here.base])
        async with opened(here, ask(here.base)) as stream:
            first = asyncio.ensure_future(anext(stream))
            assert await eventually(lambda: bool(cores(here)[0].requests))
            growing = asyncio.create_task(here.engine.load(here.adapters))
            await asyncio.sleep(0.02)
            growing.cancel()
            cores(here)[0].say("All.", "stop")
            assert (await first).finish == "stop"
        answer = asyncio.create_task(complete(here, ask(here.adapters[0])))
        assert await eventually(lambda: any(core.requests for core in cores(here)))
        cores(here)[-1].say("Yes.", "stop")
        assert text_of(await answer) == "Yes."
        await here.engine.close()

    loop.run(go(), 60)


def test_a_base_whose_processes_die_is_told_apart_and_replaced(here: World, loop: Loop) -> None:
    async def go() -> None:
        await here.engine.load([here.base])
        waiting = asyncio.create_task(complete(here, ask(here.base)))
        assert await eventually(lambda: bool(cores(here)[0].requests))
        cores(here)[0].die()
        with pytest.raises(EngineDied, match="'base' stopped while it was asked"):
            await waiting
        again = asyncio.create_task(complete(here, ask(here.base)))
        assert await eventually(lambda: len(cores(here)) == 2 and bool(cores(here)[1].requests))
        cores(here)[1].say("Yes.", "stop")
        assert text_of(await again) == "Yes." and cores(here)[0].over
        await here.engine.close()

    loop.run(go(), 60)


def test_a_base_that_dies_while_it_is_ended_leaves_nothing(here: World, loop: Loop) -> None:
    async def go() -> None:
        await here.engine.load([here.base])
        waiting = asyncio.create_task(complete(here, ask(here.base)))
        assert await eventually(lambda: bool(cores(here)[0].requests))
        cores(here)[0].dies_of_it = True
        await here.engine.unload(here.base)
        assert cores(here)[0].over, "its processes were ended"
        cores(here)[0].die()
        with pytest.raises(EngineDied):
            await waiting
        await here.engine.close()

    loop.run(go(), 60)


@pytest.mark.parametrize("how", ["unload", "close"])
def test_a_base_that_is_taken_away_tells_its_streams(how: str, here: World, loop: Loop) -> None:
    async def go() -> None:
        await here.engine.load([here.base])
        waiting = asyncio.create_task(complete(here, ask(here.base)))
        assert await eventually(lambda: bool(cores(here)[0].requests))
        await (here.engine.unload(here.base) if how == "unload" else here.engine.close())
        with pytest.raises(EngineError, match="'base' was unloaded"):
            await waiting
        assert here.engine.open_streams == 0

    loop.run(go(), 60)


def test_a_model_unloaded_while_it_is_asked_is_a_sentence(here: World, loop: Loop) -> None:
    async def go() -> None:
        await here.engine.load([here.adapters[1]])
        core = cores(here)[0]
        core.free.clear()
        asked = asyncio.create_task(complete(here, ask(here.adapters[2])))
        assert await eventually(lambda: core.adapters == 2)
        gone = asyncio.create_task(here.engine.unload(here.base))
        await asyncio.sleep(0)
        core.free.set()
        await gone
        with pytest.raises(EngineError, match="unloaded"):
            await asked
        await here.engine.close()

    loop.run(go(), 60)
