"""Opt-in: a real second architecture collaborates with the embedded specialists."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from protocols.core.events import Answer, CallEnded, CallFailed, Ended
from protocols.core.models import ModelSpec, RunSpec, Sampling
from protocols.core.run import run
from protocols.engines.transformers_engine import TransformersEngine
from studio.pool import load_pool
from studio.settings import Settings
from tests.engines.conftest import Loop

FOLDER = os.environ.get("STUDIO_SECOND_MODEL", "")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.models,
    pytest.mark.skipif(not FOLDER, reason="opt-in: python -m tests.engines.second_model FOLDER"),
]


def play(loop: Loop, protocol: str, question: str) -> list[object]:
    pool = [*load_pool("embedded", Settings()).specs[:3], ModelSpec(id="coder", source=FOLDER)]
    spec = RunSpec(
        protocol=protocol,
        pool=tuple(model.id for model in pool),
        question=question,
        sampling=Sampling(max_tokens=32, temperature=0.0),
    )

    async def go() -> list[object]:
        engine = TransformersEngine()
        await engine.load(pool)
        events = [event async for event in run(spec, pool, engine)]
        await engine.close()
        return events

    return loop.run(go(), seconds=600)


@pytest.mark.parametrize("protocol", ["multiagent_refine", "switch_generation", "prompt_routing"])
def test_a_real_second_architecture_collaborates(
    loop: Loop, protocol: str, base_model: Path
) -> None:
    events = play(loop, protocol, "Which Python keyword defines a function?")
    assert not [event for event in events if isinstance(event, CallFailed)]
    assert [event for event in events if isinstance(event, Answer)][-1].text.strip()
    assert [event.status for event in events if isinstance(event, Ended)] == ["ok"]
    if protocol == "multiagent_refine":
        texts = [e.text for e in events if isinstance(e, CallEnded) and "coder" in e.call]
        assert any("def" in text for text in texts)


def test_the_engine_frees_what_it_loaded(loop: Loop, base_model: Path) -> None:
    async def go() -> None:
        engine = TransformersEngine()
        coder = ModelSpec(id="coder", source=FOLDER)
        await engine.load([coder])
        await engine.unload(coder)
        await engine.close()
        assert not asyncio.all_tasks() - {asyncio.current_task()}

    loop.run(go(), seconds=300)
