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
from collections.abc import Iterator
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
    ray_replicas,
    ray_world,
    stopped,
)

pytestmark = pytest.mark.slow
EACH = 3.0
"""CPUs of an actor and of a node here: one fits on a node, and none on the cluster's head."""


def node_of(cluster: Any, cpus: float = EACH) -> Any:
    return cluster.add_node(num_cpus=cpus, include_log_monitor=False)


@pytest.fixture
def pair(loop: Loop, cluster: Any, ray: World) -> Iterator[tuple[World, Any]]:
    """A world with a replica on each of two nodes, and one of the nodes."""
    nodes = [node_of(cluster), node_of(cluster)]
    world = ray_world(cluster.address, ray_cpus=EACH, ray_replicas=2)
    loop.run(world.engine.load([world.base]))
    yield world, nodes[0]
    loop.run(world.engine.close())
    for node in set(nodes) & set(cluster.list_all_nodes()):
        cluster.remove_node(node, allow_graceful=False)


def test_a_lost_node_fails_its_calls_and_a_new_one_replaces_it(
    pair: tuple[World, Any], cluster: Any, loop: Loop, capfd: pytest.CaptureFixture[str]
) -> None:
    world, node = pair

    async def go() -> None:
        tasks = await begun(world, 6)
        assert [replica.open for replica in ray_replicas(world)] == [3, 3], "the least busy first"
        places = {replica.place.node for replica in ray_replicas(world)}
        assert len(places) == 2 and node.node_id in places
        await asyncio.to_thread(cluster.remove_node, node, False)
        assert await eventually(lambda: sum(task.done() for task in tasks) >= 3, seconds=60)
        failed = [task.exception() for task in tasks if task.done()]
        assert len(failed) == 3 and all("could not go on" in str(error) for error in failed)
        for _ in range(4):
            chunks = await complete(world, ask(world.base, max_tokens=3))
            assert chunks[-1].finish == "length", "the other node serves"
        assert len(ray_replicas(world)) == 1
        await asyncio.to_thread(node_of, cluster)
        assert await eventually(lambda: len(ray_replicas(world)) == 2, seconds=60)
        again = await begun(world, 3)
        assert await eventually(lambda: all(replica.open for replica in ray_replicas(world)))
        await stopped([*tasks, *again])

    loop.run(go())
    assert capfd.readouterr().out == "", "standard output belongs to the command line's JSON"


def test_the_only_node_lost_is_a_sentence_and_never_a_wait_without_end(
    cluster: Any, ray: World, loop: Loop
) -> None:
    node = node_of(cluster)
    world = ray_world(cluster.address, ray_cpus=EACH, ray_wait_s=3.0)

    async def go() -> None:
        await world.engine.load([world.base])
        tasks = await begun(world, 3)
        await asyncio.to_thread(cluster.remove_node, node, False)
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(error, EngineError) for error in results)
        with pytest.raises(EngineError, match="no room in 3 s"):
            await complete(world, ask(world.base))
        await world.engine.close()

    loop.run(go())


def test_an_actor_that_says_nothing_any_more_is_given_up(
    cluster: Any, ray: World, loop: Loop
) -> None:
    """Its process is stopped, as when a machine stands still: no connection breaks."""
    node = node_of(cluster)
    world = ray_world(cluster.address, ray_cpus=EACH, ray_silent_s=4.0)

    async def go() -> None:
        await world.engine.load([world.base])
        tasks = await begun(world, 2)
        victim = psutil.Process(ray_replicas(world)[0].place.pid)
        victim.send_signal(signal.SIGSTOP)
        for error in await asyncio.gather(*tasks, return_exceptions=True):
            assert isinstance(error, EngineError) and "(silent)" in error.message
        chunks = await complete(world, ask(world.base, max_tokens=3))
        assert chunks[-1].finish == "length", "another actor serves"
        assert not victim.is_running() or victim.status() == psutil.STATUS_ZOMBIE
        await world.engine.close()

    loop.run(go())
    cluster.remove_node(node)


def test_a_full_cluster_ends_an_idle_base_and_else_says_so(
    cluster: Any, ray: World, loop: Loop
) -> None:
    node = node_of(cluster)
    world = ray_world(cluster.address, ray_cpus=EACH)
    large = ray_world(cluster.address, ray_cpus=50, ray_wait_s=0.5)
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
        await large.engine.close()
        await world.engine.close()
        assert await eventually(lambda: not psutil.pid_exists(pid)), "nothing is left"
        with pytest.raises(EngineError, match="closed"):
            await complete(world, ask(first))

    loop.run(go())
    cluster.remove_node(node)


def studio(address: str, *words: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "STUDIO_RAY_ADDRESS": address, "STUDIO_RAY_CPUS": "2"}
    command = [sys.executable, "-m", "studio", *map(str, words)]
    return subprocess.run(
        command, check=False, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=400
    )


@pytest.mark.models
@pytest.mark.parametrize("own", [False, True])
def test_a_bench_runs_over_a_cluster(
    own: bool, cluster: Any, base_model: Path, tmp_path: Path
) -> None:
    """Over the cluster at an address, and over one that the command starts and ends itself."""
    node = None if own else node_of(cluster, 2)
    before = {process.pid for process in psutil.process_iter() if "raylet" in process.name()}
    words = ("--protocol", "majority_vote", "--pool", "embedded", "--task", "addition")
    rest = ("--models", "arithmetic,units", "--limit", 2, "--engine", "ray", "--json")
    done = studio("" if own else cluster.address, "bench", *words, *rest, "--out", tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) >= 2
    assert "raylet" not in done.stderr and "ray::" not in done.stderr
    after = {process.pid for process in psutil.process_iter() if "raylet" in process.name()}
    assert after <= before, "nothing is left"
    if node:
        cluster.remove_node(node)
