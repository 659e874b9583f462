"""A step of which nothing is heard is named, with the place where it stands."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

from protocols.core.artifacts import ArtifactStore
from protocols.core.call import Step
from protocols.core.events import Phase, Progress
from protocols.core.fit import FitContext, fit
from protocols.core.silence import Silence
from protocols.engines.scripted import ScriptedEngine
from tests.core import toy
from tests.helpers import HANGS_S, make_pool


def test_a_fit_that_stands_still_says_where(tmp_path: Path) -> None:
    """It stands until it has said so twice; the second time it took longer."""
    spoke_twice = threading.Event()

    def stand(ctx: FitContext) -> None:
        ctx.report("train", 3, 24, "aggregator")
        assert spoke_twice.wait(HANGS_S)

    async def standing(ctx: FitContext) -> AsyncIterator[Step]:
        yield Phase(name="train", title="It practises")
        await ctx.work(stand, ctx)
        yield ctx.fitted({})

    async def said() -> list[Progress]:
        store, engine = ArtifactStore(tmp_path), ScriptedEngine(toy.WORDS[0])
        with toy.registered(replace(toy.PROTOCOL, fit=standing)):
            stream = fit(toy.toy_spec(), make_pool(3), engine, toy.toy_data(), store, stall_s=0.05)
            found = []
            async for event in stream:
                if isinstance(event, Progress) and "'aggregator' (train 3 of 24)" in event.note:
                    found.append(event)
                if len(found) == 2:
                    spoke_twice.set()
            return found

    found = asyncio.run(said())
    assert len(found) >= 2 and all(one.level == "warning" for one in found)
    assert all(one.unit == "silence" for one in found)
    assert any("threading.wait" in one.note for one in found)
    assert found[1].values["seconds"] > found[0].values["seconds"]


def test_what_is_heard_breaks_the_silence() -> None:
    silence = Silence(60.0)
    silence.heard(Phase(name="rank", title="The answers are compared"))
    assert "after 'The answers are compared' began" in silence.told(()).note
    assert silence.left() > 60.0
    silence.heard(silence.told(()))
    assert silence.left() > 60.0
    silence.heard(Progress(unit="search", done=2))
    assert silence.left() <= 60.0 and "(search 2)" in silence.told(()).note
