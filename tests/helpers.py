"""What many tests share: artificial pools and ways to play a run to its end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from protocols.core.artifacts import ArtifactStore
from protocols.core.control import Control
from protocols.core.engine import Engine
from protocols.core.events import Event
from protocols.core.models import Budget, Contributor, ModelSpec, RunSpec, Sampling
from protocols.core.registry import AnswerScore, protocols
from protocols.core.run import run
from protocols.engines.scripted import ScriptedEngine
from tests.fitted import artifacts_for

HANGS_S = 300.0
"""After so long something hangs: a busy machine may be late, and that is no failure."""
NAMES = ("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta")


def make_pool(count: int) -> tuple[ModelSpec, ...]:
    """Artificial contributed models; the first is a generalist, the others have an adapter."""
    return tuple(
        ModelSpec(
            id=name,
            source="artificial-base",
            adapter="" if index == 0 else f"adapters/{name}",
            contributor=Contributor(name="test", domain=f"domain {name}", description=f"{name}."),
        )
        for index, name in enumerate(NAMES[:count])
    )


def make_spec(protocol: str, count: int = 3, **changes: object) -> RunSpec:
    """A run over the first ``count`` artificial models, or as many as the protocol needs."""
    known = protocols().get(protocol)
    fields: dict[str, object] = {
        "protocol": protocol,
        "pool": NAMES[: max(count, known.min_models if known else 0)],
        "question": "What is 2 + 2?",
        "sampling": Sampling(max_tokens=24),
        "budget": Budget(),
    }
    return RunSpec.model_validate({**fields, **changes})


Watch = Callable[[Event, Control], None]


def until(condition: Callable[[], object], what: str = "waited too long") -> None:
    """Wait until something is so."""
    end = time.monotonic() + HANGS_S
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.01)


def score_for(spec: RunSpec) -> AnswerScore | None:
    """What a yardstick picks by in tests: the more words, the better. Others are given nothing."""
    known = protocols().get(spec.protocol)
    return (lambda text: len(text.split()) / 1000) if known and known.yardstick else None


async def play(
    spec: RunSpec,
    engine: Engine | None = None,
    watch: Watch | None = None,
    pool: Sequence[ModelSpec] | None = None,
    stall_s: float = 20.0,
    artifacts: ArtifactStore | None = None,
) -> list[Event]:
    """Play a run to its end; ``watch`` sees each event and may use the control."""
    control = Control()
    events = []
    models = pool or make_pool(len(spec.pool))
    served = engine or ScriptedEngine()
    artifacts = artifacts or artifacts_for(spec, models)
    async for event in run(
        spec,
        models,
        served,
        control=control,
        stall_s=stall_s,
        artifacts=artifacts,
        score=score_for(spec),
    ):
        events.append(event)
        if watch:
            watch(event, control)
    return events


def played(spec: RunSpec, engine: Engine | None = None, watch: Watch | None = None) -> list[Event]:
    """:func:`play` for tests that are not async themselves."""
    return asyncio.run(asyncio.wait_for(play(spec, engine, watch), HANGS_S))
