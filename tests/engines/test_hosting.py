"""Choosing engines, loading once, keeping warm, dropping by least recent use."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from pathlib import Path

import pytest

from protocols.core.engine import LoadProgress
from protocols.core.errors import EngineError
from protocols.core.models import ModelSpec
from protocols.engines import hosting
from protocols.engines.hosting import HostedEngine, choose_engine, weight_bytes
from protocols.engines.openai_engine import OpenAIEngine
from protocols.engines.scripted import ScriptedEngine
from tests.engines.worlds import World, ask, complete, opened

MEGABYTE = 2**20


class Recording(ScriptedEngine):
    """Remembers what was loaded and dropped, in order; loading takes a moment."""

    def __init__(self) -> None:
        super().__init__(script="One two three four five six.")
        self.log: list[str] = []
        self.when_unloading: Callable[[], Awaitable[None]] | None = None

    async def load(self, models: Sequence[ModelSpec], progress: LoadProgress | None = None) -> None:
        for model in models:
            if model.id not in self.loaded:
                await asyncio.sleep(0.01)
                self.log.append(f"+{model.id}")
        await super().load(models, progress)

    async def unload(self, model: ModelSpec) -> None:
        self.log.append(f"-{model.id}")
        if self.when_unloading:
            await self.when_unloading()
        await super().unload(model)


@pytest.fixture
def local(monkeypatch: pytest.MonkeyPatch) -> Recording:
    engine = Recording()
    monkeypatch.setattr(hosting, "make_local", lambda prefer: engine)
    return engine


@pytest.fixture
def bases(tmp_path: Path) -> list[ModelSpec]:
    """Three bases of one megabyte each."""
    specs = []
    for name in ("one", "two", "three"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_bytes(b"\0" * MEGABYTE)
        specs.append(ModelSpec(id=name, source=str(tmp_path / name)))
    return specs


def test_the_choice_comes_with_its_reason() -> None:
    for prefer in ("auto", "transformers"):
        name, why = choose_engine(prefer)  # type: ignore[arg-type]
        assert name in ("vllm", "transformers") and why


def test_asking_for_what_is_not_installed_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosting, "has_vllm", lambda: False)
    with pytest.raises(EngineError, match="not installed"):
        choose_engine("vllm")
    assert choose_engine("auto")[0] == "transformers"


def test_a_base_is_dropped_by_least_recent_use(local: Recording, bases: list[ModelSpec]) -> None:
    async def go() -> None:
        engine = HostedEngine(memory_bytes=2 * MEGABYTE)
        one, two, three = bases
        await engine.load([one])
        await engine.load([two])
        await complete(World(engine, one, [], lambda: False), ask(one))
        await engine.load([three])
        assert local.log == ["+one", "+two", "-two", "+three"]
        assert engine.status()["models"] == ["one", "three"]
        assert engine.status()["bytes"] == 2 * MEGABYTE

    asyncio.run(go())


def test_a_base_that_answers_is_never_dropped(local: Recording, bases: list[ModelSpec]) -> None:
    async def go() -> None:
        engine = HostedEngine(memory_bytes=MEGABYTE)
        one, two, _ = bases
        await engine.load([one])
        async with opened(World(engine, one, [], lambda: False), ask(one)) as stream:
            await anext(stream)
            await engine.load([two])
            assert "-one" not in local.log
        await engine.load([two])
        assert "-one" in local.log

    asyncio.run(go())


def test_a_dropped_base_comes_back_when_it_is_asked(
    local: Recording, bases: list[ModelSpec]
) -> None:
    async def go() -> None:
        engine = HostedEngine(memory_bytes=MEGABYTE)
        one, two, _ = bases
        await engine.load([one])
        await engine.load([two])
        assert (await complete(World(engine, one, [], lambda: False), ask(one)))[-1].finish
        assert local.log == ["+one", "-one", "+two", "-two", "+one"]

    asyncio.run(go())


def test_many_who_ask_at_once_load_once(local: Recording, bases: list[ModelSpec]) -> None:
    async def go() -> None:
        engine = HostedEngine()
        await asyncio.gather(*(engine.load(bases) for _ in range(5)))
        assert local.log == ["+one", "+two", "+three"]

    asyncio.run(go())


def test_a_cancelled_wait_does_not_end_the_load(local: Recording, bases: list[ModelSpec]) -> None:
    async def go() -> None:
        engine = HostedEngine()
        waiting = asyncio.create_task(engine.load(bases))
        await asyncio.sleep(0.005)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await engine.load(bases)
        assert local.log == ["+one", "+two", "+three"]

    asyncio.run(go())


def test_after_the_close_nothing_goes_on_loading(local: Recording, bases: list[ModelSpec]) -> None:
    async def go() -> None:
        engine = HostedEngine()
        one, two, _ = bases
        waiting = [asyncio.create_task(engine.load([model])) for model in (one, two)]
        await asyncio.sleep(0.005)
        waiting[0].cancel()
        await engine.close()
        assert local.log == ["+one"], "what runs is waited for, what waits is not begun"
        with pytest.raises(EngineError, match="closed"):
            await waiting[1]
        with pytest.raises(EngineError, match="closed"):
            await engine.load([one])
        await asyncio.sleep(0.03)
        assert local.log == ["+one"]

    asyncio.run(go())


def test_a_base_that_begins_to_answer_while_another_is_dropped_stays(
    local: Recording, bases: list[ModelSpec]
) -> None:
    one, two, three = bases
    Path(three.source, "model.safetensors").write_bytes(b"\0" * 2 * MEGABYTE)

    async def go() -> None:
        engine = HostedEngine(memory_bytes=2 * MEGABYTE)
        await engine.load([one])
        await engine.load([two])
        asked: asyncio.Task[object] | None = None

        async def ask_two() -> None:
            nonlocal asked
            asked = asyncio.create_task(stream.__anext__())
            await asyncio.sleep(0.01)

        local.when_unloading = ask_two
        async with opened(World(engine, two, [], lambda: False), ask(two)) as stream:
            await engine.load([three])
            assert asked and await asked
        assert "-one" in local.log and "-two" not in local.log

    asyncio.run(go())


def test_adapters_share_the_bytes_of_their_base(bases: list[ModelSpec], local: Recording) -> None:
    async def go() -> None:
        engine = HostedEngine()
        adapter = bases[0].model_copy(update={"id": "adapter", "adapter": "a"})
        await engine.load([bases[0], adapter])
        assert engine.status()["bytes"] == weight_bytes(bases[0]) == MEGABYTE

    asyncio.run(go())


def test_an_endpoint_that_is_not_there_is_one_sentence() -> None:
    async def go() -> None:
        engine = OpenAIEngine()
        model = ModelSpec(id="far", source="http://127.0.0.1:9/v1")
        with pytest.raises(EngineError, match="'far' cannot be reached"):
            await engine.load([model])
        with pytest.raises(EngineError, match="'far' cannot be reached"):
            await complete(World(engine, model, [], lambda: False), ask(model))
        assert engine.open_streams == 0
        await engine.close()

    asyncio.run(go())


def test_a_key_is_never_shown(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(os.environ, "STUDIO_ENDPOINT_KEY", "not-for-your-eyes")

    async def go() -> str:
        engine = OpenAIEngine()
        model = ModelSpec(id="far", source="http://127.0.0.1:9/v1")
        with pytest.raises(EngineError) as raised:
            await engine.load([model])
        await engine.close()
        return raised.value.message

    assert "not-for-your-eyes" not in asyncio.run(go()) + caplog.text


def test_what_was_loaded_is_remembered_until_it_is_dropped(
    local: Recording, bases: list[ModelSpec]
) -> None:
    """Also two models of one id, as two artifacts of a protocol have them."""

    async def go() -> None:
        engine = HostedEngine(memory_bytes=2 * MEGABYTE)
        one, two, three = bases
        twins = [one.model_copy(update={"id": "made", "adapter": name}) for name in "ab"]
        await engine.load([one, twins[0], two])
        async with aclosing(engine.stream(ask(twins[1]))) as chunks:
            assert [chunk async for chunk in chunks]
        assert set(engine.held) == {one, *twins, two}
        await engine.unload(twins[0])
        assert set(engine.held) == {one, twins[1], two}
        await engine.load([two, three])  # makes room: the first base goes with all that is on it
        assert set(engine.held) == {two, three}
        await engine.unload(three)
        assert engine.held == (two,)
        await engine.close()

    asyncio.run(go())
