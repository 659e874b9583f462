"""What an actor adds to the contract: it can be lost, and everything travels to it and back.

The actor holds the scripted engine; the slow contract runs the real base model in it, and
``test_ray_nodes`` has several nodes.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.core import errors
from protocols.core.engine import FusedRequest, ScoreRequest
from protocols.core.errors import ContributorError, EngineError, LostModels, StudioError, UserError
from protocols.core.models import Sampling
from protocols.engines import ray_cluster
from protocols.engines.ray_engine import RayEngine
from protocols.engines.ray_options import RayOptions
from protocols.engines.ray_wire import Failure
from protocols.lib.prompts import question_messages
from studio import doctor
from studio.settings import Settings
from tests.engines.conftest import Loop
from tests.engines.worlds import (
    World,
    ask,
    begun,
    complete,
    eventually,
    ray_replicas,
    stopped,
    text_of,
)

KINDS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, StudioError) and kind is not LostModels
]
TEXTS = ["Grüße aus Zürich", "東京 の 天気", "🙂👩‍🔬 und نص عربي", "a\u0301 \u202e \x00 \ufffe z"]


def test_texts_of_any_script_come_back_whole_and_unmixed(ray: World, loop: Loop) -> None:
    async def go() -> None:
        asked = [complete(ray, ask(ray.base, f"Echo:{text}", max_tokens=12)) for text in TEXTS * 3]
        for text, chunks in zip(TEXTS * 3, await asyncio.gather(*asked), strict=True):
            assert text_of(chunks).startswith(text)
            assert sum(chunk.tokens for chunk in chunks) == 12

    loop.run(go())


def test_a_hanging_request_that_is_closed_leaves_the_actor(ray: World, loop: Loop) -> None:
    silent = ray.base.model_copy(update={"id": "hangs"})
    score = ScoreRequest("s", silent, question_messages("Which?"), ("A", "B"))

    async def go() -> None:
        for work in (complete(ray, ask(silent)), ray.engine.score(score)):
            task = asyncio.ensure_future(work)
            assert await eventually(ray.busy)
            await stopped([task])
            assert ray.engine.open_streams == 0
            assert await eventually(lambda: not ray.busy())

    loop.run(go())


def test_failures_in_an_actor_keep_their_kind_and_the_actor(ray: World, loop: Loop) -> None:
    before = [replica.place.pid for replica in ray_replicas(ray)]
    away = ray.base.model_copy(update={"id": "away", "adapter": "/nowhere/at/all"})
    lost = ray.base.model_copy(update={"id": "lost"})
    fused = FusedRequest("f", (ray.base, lost), (0.5, 0.5), question_messages("Why?"), Sampling())

    async def go() -> None:
        with pytest.raises(EngineError, match="'lost' failed"):
            await complete(ray, ask(lost, max_tokens=9))
        with pytest.raises(UserError, match="Shorten"):
            await complete(ray, ask(ray.base, "too long " * 9000))
        with pytest.raises(ContributorError, match=r"'away'.* no folder /nowhere/at/all"):
            await ray.engine.load([away, ray.base])
        with pytest.raises(ContributorError, match=r"'away'.* no folder /nowhere/at/all"):
            await complete(ray, ask(away))
        with pytest.raises(LostModels) as told:
            async for _ in ray.engine.stream_fused(fused):
                pass
        assert told.value.models == ("lost",)

    loop.run(go())
    assert [replica.place.pid for replica in ray_replicas(ray)] == before
    assert ray.engine.open_streams == 0


def test_a_killed_actor_fails_its_calls_and_comes_back(
    ray: World, loop: Loop, capfd: pytest.CaptureFixture[str]
) -> None:
    async def go() -> None:
        tasks = await begun(ray, 3)
        victim = ray_replicas(ray)[0].place.pid
        os.kill(victim, signal.SIGKILL)
        for error in await asyncio.gather(*tasks, return_exceptions=True):
            assert isinstance(error, EngineError)
            assert "'base' could not go on" in error.message and "Run again" in error.message
        chunks = await complete(ray, ask(ray.adapters[0], max_tokens=3))
        assert chunks[-1].finish == "length"
        assert victim not in [replica.place.pid for replica in ray_replicas(ray)]
        said: list[str] = []
        everything = [ray.base, *ray.adapters]
        await ray.engine.load(everything, lambda done, total, note: said.append(note))
        assert said == [], "all its models are there again"

    loop.run(go())
    assert capfd.readouterr().out == "", "standard output belongs to the command line's JSON"


def test_one_process_uses_one_cluster(ray: World, loop: Loop) -> None:
    engine = RayEngine(RayOptions(ray_address="192.0.2.1:6379"))
    with pytest.raises(UserError, match="connected to the Ray cluster"):
        loop.run(engine.load([ray.base]))
    loop.run(engine.close())
    with pytest.raises(UserError, match="cannot stream"):
        ray_cluster._start("ray://192.0.2.1:10001")


def test_doctor_says_what_the_cluster_has(ray: World, cluster: Any) -> None:
    found = doctor._cluster(Settings(ray_address=cluster.address))
    assert found.state == "ok"
    assert found.detail.endswith(f"{cluster.address}: 1 node, 1 CPU, 0 GPUs")
    assert "no cluster set" in doctor._cluster(Settings(ray_address="")).detail


@pytest.mark.parametrize(
    ("address", "told"), [("127.0.0.1:1", "Nobody answers at"), ("nowhere", "Set it as HOST:PORT")]
)
def test_an_address_without_a_cluster_is_told_at_once(address: str, told: str) -> None:
    with pytest.raises(StudioError, match=told):
        ray_cluster._start(address)


@given(st.sampled_from(KINDS), st.text(), st.text(min_size=1))
def test_errors_travel_as_they_are(kind: type[StudioError], message: str, model: str) -> None:
    def through(error: StudioError) -> StudioError:
        sent: Failure = pickle.loads(pickle.dumps(Failure.of(error)))
        return sent.error()

    found = through(kind(message))
    assert type(found) is kind and found.message == message
    lost = through(LostModels({model: kind(message), "": EngineError("gone")}))
    assert isinstance(lost, LostModels) and lost.models == (model, "")
    assert type(lost.errors[model]) is kind
    assert lost.owner == kind.owner
