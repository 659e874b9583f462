"""Two real bases that take turns in vLLM, on a processor: there they are ended and started anew."""

from __future__ import annotations

import asyncio
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest

from protocols.core.models import ModelSpec
from protocols.engines.base_rotation import PlannedEngine
from protocols.engines.hosting import HostedEngine
from protocols.engines.planning import Demand, Device, plan
from studio.planner import bases_of
from studio.pool import Entry, Pool
from tests.engines.worlds import World, ask, complete, text_of


@pytest.mark.slow
@pytest.mark.models
def test_two_bases_share_a_room(base_model: Path, tmp_path: Path) -> None:
    if find_spec("vllm") is None:
        pytest.skip("vLLM is not installed on this platform")
    shutil.copytree(base_model, tmp_path / "copy")
    models = [ModelSpec(id=p.name, source=str(p)) for p in (base_model, tmp_path / "copy")]
    pool = Pool("two", "Two", "", tuple(Entry(model) for model in models))
    bases, _, _ = bases_of(pool)
    made = plan(bases, [Device("room for one", 2**31)], 2**34, Demand(2, 512, 512))
    assert made.awake(0) == 1

    async def go() -> None:
        engine = HostedEngine("vllm", plan=made)
        assert isinstance(engine._local, PlannedEngine)
        try:
            await engine.load(models)
            assert engine.window(models[1]) == 512 and engine._local.awake == ((),)
            where = World(engine, models[0], [], lambda: False)
            answers = await asyncio.gather(
                *(complete(where, ask(m, "What is the capital of France?")) for m in models)
            )
            assert text_of(answers[0]) == text_of(answers[1]) != ""
            assert engine._local.swaps == 1 and len(engine._local.awake[0]) == 1
        finally:
            await engine.close()

    asyncio.run(go())
