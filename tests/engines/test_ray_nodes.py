"""Several nodes: calls are spread, lost nodes are replaced, a full cluster makes room, and the
command line measures over a cluster. Each node costs seconds, so all of this is slow.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from protocols.core.errors import EngineError
from protocols.core.models import ModelSpec
from tests.conftest import ROOT
from tests.engines.conftest import Loop
from tests.engines.worlds import (
    World,
    ask,
    begun,
    complete,
    eventually,
    opened,
    patiently,
    ray_replicas,
    ray_world,
    stopped,
)

pytestmark = pytest.mark.slow
EACH = 3.0
"""CPUs of an actor and of a node here: one fits on a node, and none on the cluster's head."""


@pytest.fixture
def add_node(cluster: Any) -> Iterator[Callable[..., Any]]:
    """Adds a node to the cluster; those that are still there afterwards are removed."""
    nodes = []

    def add(cpus: float = EACH) -> Any:
        start = partial(cluster.add_node, num_cpus=cpus, include_log_monitor=False)
        nodes.append(patiently(start))
        return nodes[-1]

    yield add
    for node in nodes:
        if node in cluster.list_all_nodes():
            cluster.remove_node(node, allow_graceful=False)


@pytest.fixture
def make(
    loop: Loop, cluster: Any, ray: World, add_node: Callable[..., Any]
) -> Iterator[Callable[..., World]]:
    """Makes worlds whose actors take a node of their own each; closes them."""
    worlds = []

    def one(**options: object) -> World:
        worlds.append(ray_world(cluster.address, **{"ray_cpus": EACH, **options}))
        return worlds[-1]

    yield one
    for world in worlds:
        loop.run(world.engine.close())


def test_a_lost_node_fails_its_calls_and_a_new_one_replaces_it(
    make: Callable[..., World],
    add_node: Callable[..., Any],
    cluster: Any,
    loop: Loop,
    capfd: pytest.CaptureFixture[str],
) -> None:
    node, _ = add_node(), add_node()
    world = make(ray_replicas=2)

    async def go() -> None:
        await world.engine.load([world.base])
        tasks = await begun(world, 6)
        assert [replica.open for replica in ray_replicas(world)] == [3, 3], "the least busy first"
        places = {replica.place.node for replica in ray_replicas(world)}
        assert len(places) == 2 and node.node_id in places
        cluster.remove_node(node, allow_graceful=False)
        assert await eventually(lambda: sum(task.done() for task in tasks) >= 3, seconds=60)
        failed = [task.exception() for task in tasks if task.done()]
        assert len(failed) == 3 and all("could not go on" in str(error) for error in failed)
        for _ in range(4):
            chunks = await complete(world, ask(world.base, max_tokens=3))
            assert chunks[-1].finish == "length", "the other node serves"
        assert len(ray_replicas(world)) == 1
        add_node()
        assert await eventually(lambda: len(ray_replicas(world)) == 2, seconds=100)
        again = await begun(world, 3)
        assert await eventually(lambda: all(replica.open for replica in ray_replicas(world)))
        await stopped([*tasks, *again])

    loop.run(go(), seconds=300)
    assert capfd.readouterr().out == "", "standard output belongs to the command line's JSON"


def test_the_only_node_lost_is_a_sentence_and_never_a_wait_without_end(
    make: Callable[..., World], add_node: Callable[..., Any], cluster: Any, loop: Loop
) -> None:
    node = add_node()
    world = make(ray_wait_s=60.0)

    async def go() -> None:
        await world.engine.load([world.base])
        tasks = await begun(world, 3)
        cluster.remove_node(node, allow_graceful=False)
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(error, EngineError) for error in results)
        with pytest.raises(EngineError, match="no room in 60 s for an actor with 3 CPUs"):
            await complete(world, ask(world.base))

    loop.run(go(), seconds=200)


def test_an_actor_that_says_nothing_any_more_is_given_up(
    make: Callable[..., World], add_node: Callable[..., Any], loop: Loop
) -> None:
    """Its process is stopped, as when a machine stands still: no connection breaks."""
    add_node()
    world = make(ray_silent_s=5.0)

    async def go() -> None:
        await world.engine.load([world.base])
        tasks = await begun(world, 2)
        victim = psutil.Process(ray_replicas(world)[0].place.pid)
        victim.send_signal(signal.SIGSTOP)
        for error in await asyncio.gather(*tasks, return_exceptions=True):
            assert isinstance(error, EngineError) and "(silent)" in error.message
        chunks = await complete(world, ask(world.base, max_tokens=3))
        assert chunks[-1].finish == "length", "another actor serves"
        assert await eventually(lambda: not psutil.pid_exists(victim.pid), seconds=60)

    loop.run(go(), seconds=200)


def test_a_full_cluster_ends_an_idle_base_and_else_says_so(
    make: Callable[..., World], add_node: Callable[..., Any], loop: Loop
) -> None:
    add_node()
    world, large = make(), make(ray_cpus=50, ray_wait_s=0.5)
    first, second = (ModelSpec(id=name, source=name) for name in ("one", "two"))

    async def go() -> None:
        await complete(world, ask(first, max_tokens=2))
        pid = ray_replicas(world)[0].place.pid
        await complete(world, ask(second, max_tokens=2))
        assert await eventually(lambda: not psutil.pid_exists(pid)), "the first one made room"
        async with opened(world, ask(second, max_tokens=1500)) as stream:
            await anext(stream)
            with pytest.raises(EngineError, match=r"no room in 0\.5 s .* with 50 CPUs"):
                await large.engine.load([first])
        pid = ray_replicas(world)[0].place.pid
        await world.engine.close()
        assert await eventually(lambda: not psutil.pid_exists(pid)), "nothing is left"
        with pytest.raises(EngineError, match="closed"):
            await complete(world, ask(first))

    loop.run(go(), seconds=200)


def test_the_head_lost_ends_a_run_with_a_sentence_and_not_the_studio() -> None:
    """Ray itself would end this process for that: the run is played by another one."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.engines.lose_head"],
        check=False, cwd=ROOT, capture_output=True, text=True, timeout=500,
    )  # fmt: skip
    told = [json.loads(line) for line in done.stdout.splitlines()]
    kinds = [row["kind"] for row in told]
    first, second = kinds.index("ended"), len(kinds) - 1 - kinds[::-1].index("ended")
    assert kinds[-1] == "closed" and "alive" in kinds[first:second], done.stderr[-3000:]
    lost = [row["message"] for row in told[:first] if row["kind"] == "call_failed"]
    assert len(lost) == 2 and all("the head of the Ray cluster was lost" in text for text in lost)
    again = [row["message"] for row in told[first + 1 : second] if row["kind"] == "call_failed"]
    assert len(again) == 2 and all("Nobody answers at" in text for text in again)


def studio(address: str, *words: object) -> subprocess.CompletedProcess[str]:
    """Run a command; afterwards none of the processes that it started may be left."""
    mark = uuid.uuid4().hex
    given = {"STUDIO_RAY_ADDRESS": address, "STUDIO_RAY_CPUS": "2", "STUDIO_TEST_MARK": mark}
    done = subprocess.run(
        [sys.executable, "-m", "studio", *map(str, words)],
        check=False,
        cwd=ROOT,
        env={**os.environ, **given},
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert not [process for process in psutil.process_iter() if marked(process, mark)]
    return done


def marked(process: psutil.Process, mark: str) -> bool:
    with suppress(psutil.Error):
        return process.environ().get("STUDIO_TEST_MARK") == mark
    return False


@pytest.mark.models
@pytest.mark.parametrize("own", [False, True])
def test_a_bench_runs_over_a_cluster(
    own: bool, add_node: Callable[..., Any], cluster: Any, base_model: Path, tmp_path: Path
) -> None:
    """Over the cluster at an address, and over one that the command starts and ends itself."""
    if not own:
        add_node(2)
    words = ("--protocol", "majority_vote", "--pool", "embedded", "--task", "addition")
    rest = ("--models", "smollm2-addition,smollm2-units", "--limit", 2, "--engine", "ray", "--json")
    done = studio("" if own else cluster.address, "bench", *words, *rest, "--out", tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) >= 2
    assert "raylet" not in done.stderr and "ray::" not in done.stderr
