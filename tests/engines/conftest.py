"""The worlds, started once per session, on one event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import pytest

from protocols.core.models import ModelSpec
from tests.engines import worlds
from tests.engines.worlds import World

T = TypeVar("T")
REAL = [
    pytest.param("transformers", marks=pytest.mark.models),
    pytest.param("vllm", marks=[pytest.mark.models]),
    pytest.param("openai", marks=[pytest.mark.models, pytest.mark.slow]),
    pytest.param("ray_real", marks=[pytest.mark.models, pytest.mark.slow]),
]


class Loop:
    """One event loop for the whole session: engines keep background tasks on theirs."""

    def __init__(self, runner: asyncio.Runner) -> None:
        self._runner = runner

    def run(self, work: Coroutine[Any, Any, T], seconds: float = 120.0) -> T:
        async def in_time() -> T:
            async with asyncio.timeout(seconds):
                return await work

        return self._runner.run(in_time())


@pytest.fixture(scope="session")
def loop() -> Iterator[Loop]:
    with asyncio.Runner() as runner:
        yield Loop(runner)


@pytest.fixture(scope="session")
def adapters(tmp_path_factory: pytest.TempPathFactory, base_model: Path) -> list[ModelSpec]:
    return worlds.make_adapters(tmp_path_factory.mktemp("adapters"), base_model)


@pytest.fixture(scope="session")
def scripted() -> World:
    return worlds.scripted_world()


@pytest.fixture(scope="session")
def transformers(loop: Loop, base_model: Path, adapters: list[ModelSpec]) -> Iterator[World]:
    yield from _running(loop, worlds.transformers_world(base_model, adapters))


@pytest.fixture(scope="session")
def vllm(loop: Loop, base_model: Path, adapters: list[ModelSpec]) -> Iterator[World]:
    if find_spec("vllm") is None:
        pytest.skip("vLLM is not installed on this platform")
    yield from _running(loop, worlds.vllm_world(base_model, adapters))


@pytest.fixture(scope="session")
def openai(
    loop: Loop,
    base_model: Path,
    adapters: list[ModelSpec],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[World]:
    if find_spec("vllm") is None:
        pytest.skip("vLLM is not installed on this platform")
    log = tmp_path_factory.mktemp("server") / "log.txt"
    with worlds.vllm_server(base_model, adapters, log) as url:
        yield from _running(loop, worlds.openai_world(url, adapters))


@pytest.fixture(scope="session")
def cluster() -> Iterator[Any]:
    """A Ray cluster of one node with one CPU, that of the scripted world; tests add nodes."""
    pytest.importorskip("ray", reason="needs requirements-cluster.txt")
    with worlds.ray_cluster() as made:
        yield made


@pytest.fixture(scope="session")
def ray(loop: Loop, cluster: Any) -> Iterator[World]:
    yield from _running(loop, worlds.ray_world(cluster.address))


@pytest.fixture(scope="session")
def ray_real(
    loop: Loop, cluster: Any, base_model: Path, adapters: list[ModelSpec]
) -> Iterator[World]:
    node = cluster.add_node(num_cpus=2, include_log_monitor=False)
    yield from _running(loop, worlds.ray_real_world(cluster.address, base_model, adapters))
    cluster.remove_node(node)


def _running(loop: Loop, world: World) -> Iterator[World]:
    loop.run(world.engine.load([world.base, *world.adapters]), seconds=300)
    yield world
    loop.run(world.engine.close())


@pytest.fixture(params=["scripted", "ray", *REAL])
def world(request: pytest.FixtureRequest) -> World:
    """Each engine in turn."""
    found: World = request.getfixturevalue(request.param)
    return found


@pytest.fixture(params=REAL)
def real_world(request: pytest.FixtureRequest) -> World:
    """Each engine that runs the real base model."""
    found: World = request.getfixturevalue(request.param)
    return found
