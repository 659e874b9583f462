"""Plays a run over a cluster of its own and kills the head of it in the middle; says what came.

``python -m tests.engines.lose_head``: a process of its own, because Ray ends a process whose
cluster has lost its head.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from typing import Any

from protocols.core.run import run
from tests.engines.worlds import World, ray_cluster, ray_replicas, ray_world
from tests.helpers import make_spec

RECONNECT_S = 25
"""Seconds after which Ray ends a process without a head; 60 by default."""


def say(**told: object) -> None:
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()


async def played(world: World, cluster: Any = None) -> None:
    models = [world.base.model_copy(update={"id": name}) for name in ("alpha", "beta")]
    spec = make_spec("majority_vote", 2, question="Echo: Go on.", sampling={"max_tokens": 9_000})
    async for event in run(spec, models, world.engine, stall_s=60):
        if event.kind == "delta" and cluster:
            assert ray_replicas(world)
            for name in ("gcs_server", "raylet"):
                for kept in cluster.head_node.all_processes[name]:
                    os.kill(kept.process.pid, signal.SIGKILL)
            cluster = None
        if event.kind in ("call_failed", "ended"):
            say(kind=event.kind, message=event.message)  # type: ignore[union-attr]


async def go(cluster: Any) -> None:
    world = ray_world(cluster.address)
    await world.engine.load([world.base])
    say(kind="loaded")
    await asyncio.wait_for(played(world, cluster), 200)
    await asyncio.sleep(RECONNECT_S + 15)
    say(kind="alive")
    await asyncio.wait_for(played(world), 200)
    await world.engine.close()
    say(kind="closed")


def main() -> None:
    os.environ["RAY_gcs_rpc_server_reconnect_timeout_s"] = str(RECONNECT_S)  # noqa: SIM112
    with ray_cluster(2) as cluster:
        asyncio.run(go(cluster))


if __name__ == "__main__":
    main()
