"""Some models here, some elsewhere: one runner, real HTTP, and everything that a network does.

The remote is the studio's own API over a scripted engine, or a small server that misbehaves.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from protocols.core.engine import ScoreRequest
from protocols.core.errors import CapabilityError, EngineError, StudioError
from protocols.core.events import Answer, CallFailed, Ended, Event
from protocols.core.models import Endpoint, ModelSpec, RunSpec
from protocols.core.run import run
from protocols.engines import hosting
from protocols.engines.hosting import HostedEngine
from protocols.engines.openai_engine import OpenAIEngine
from protocols.engines.scripted import ScriptedEngine
from studio.app import compose
from studio.endpoint.routes import api_routes
from studio.pool import load_pool
from studio.settings import Settings
from tests.conftest import ROOT
from tests.engines.worlds import World, ask, complete, opened, text_of
from tests.studio.test_api import listening

Answering = Callable[[Request], Coroutine[Any, Any, Response]]


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[str]:
    """Another studio's API, with a key."""
    shutil.copytree(ROOT / "assets" / "pool", tmp_path / "far" / "pool")
    settings = Settings(workspace=tmp_path, assets=tmp_path / "far", api_keys="artificial-far-key")
    ctx = compose(settings, ScriptedEngine("The remote system says 4."))
    with listening(api_routes(ctx)) as address:
        yield f"{address}/v1"
    ctx.manager.close()
    ctx.lab.close()


def pool_file(tmp_path: Path, url: str) -> Path:
    models = [
        {"id": "near", "source": "artificial/near", "parameters": 1000},
        {
            "id": "far",
            "source": url,
            "served_name": "majority_vote@embedded",
            "endpoint": {"key_variable": "STUDIO_ENDPOINT_KEY_FAR", "timeout_s": 20},
        },
    ]
    path = tmp_path / "mixed.yaml"
    path.write_text(yaml.safe_dump({"title": "Mixed", "models": models}))
    return path


def played(models: tuple[ModelSpec, ...], **given: Any) -> list[Event]:
    async def go() -> list[Event]:
        engine = HostedEngine()
        spec = RunSpec(pool=tuple(m.id for m in models), question="What is 2 + 2?", **given)
        try:
            async with aclosing(run(spec, models, engine)) as events:
                return [event async for event in events]
        finally:
            await engine.close()

    return asyncio.run(asyncio.wait_for(go(), 60))


@pytest.fixture
def local(monkeypatch: pytest.MonkeyPatch) -> ScriptedEngine:
    engine = ScriptedEngine("Here it is 4.")
    monkeypatch.setattr(hosting, "make_local", lambda prefer: engine)
    return engine


def test_models_here_and_elsewhere_debate_in_one_run(
    studio: str, tmp_path: Path, local: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STUDIO_ENDPOINT_KEY_FAR", "artificial-far-key")
    pool = load_pool(str(pool_file(tmp_path, studio)), Settings())
    events = played(pool.specs, protocol="multiagent_refine", config={"rounds": 1})
    ended = events[-1]
    assert isinstance(ended, Ended) and ended.status == "ok", ended
    told = json.dumps([event.model_dump(mode="json") for event in events])
    assert "The remote system says 4." in told and "Here it is 4." in told
    assert "artificial-far-key" not in told


def test_a_remote_that_refuses_its_key_fails_alone(
    studio: str, tmp_path: Path, local: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STUDIO_ENDPOINT_KEY_FAR", "wrong")
    pool = load_pool(str(pool_file(tmp_path, studio)), Settings())
    events = played(pool.specs, protocol="majority_vote")
    failed = [event for event in events if isinstance(event, CallFailed)]
    assert failed and "refused the key. Set it in STUDIO_ENDPOINT_KEY_FAR" in failed[0].message
    assert any(isinstance(event, Answer) for event in events)
    assert isinstance(events[-1], Ended) and events[-1].status == "ok"


def test_a_pool_file_can_name_no_other_secret(tmp_path: Path) -> None:
    for name in ("STUDIO_ADMIN_PASSWORD", "HF_TOKEN", "STUDIO_ENDPOINT_KEYS", "PATH"):
        with pytest.raises(ValidationError):
            Endpoint(key_variable=name)
    path = pool_file(tmp_path, "http://127.0.0.1:9/v1")
    path.write_text(path.read_text().replace("STUDIO_ENDPOINT_KEY_FAR", "STUDIO_API_KEYS"))
    with pytest.raises(StudioError, match=r"endpoint\.key_variable"):
        load_pool(str(path), Settings())


class Server:
    """Counts what it is asked; answers by turns."""

    def __init__(self, *turns: Answering) -> None:
        self.turns, self.asked = list(turns), 0
        self.now = self.most = 0
        self.lock = threading.Lock()

    async def answer(self, request: Request) -> Response:
        self.asked += 1
        turn = self.turns.pop(0) if len(self.turns) > 1 else self.turns[0]
        return await turn(request)

    def routes(self) -> list[Route]:
        served = {"object": "list", "data": [{"id": "m", "object": "model", "max_model_len": 4321}]}
        return [
            Route("/v1/models", lambda _: JSONResponse(served)),
            Route("/v1/chat/completions", self.answer, methods=["POST"]),
        ]


def sse(*texts: str, end: bool = True) -> AsyncGenerator[str, None]:
    async def go() -> AsyncGenerator[str, None]:
        for text in texts:
            delta = {"index": 0, "delta": {"content": text}, "finish_reason": None}
            body = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m"}
            yield f"data: {json.dumps({**body, 'choices': [delta]})}\n\n"
        if not end:
            raise ConnectionResetError("artificial")
        yield "data: [DONE]\n\n"

    return go()


async def fine(_: Request) -> Response:
    return StreamingResponse(sse("All ", "well."), media_type="text/event-stream")


async def broken(_: Request) -> Response:
    return StreamingResponse(sse("Half ", end=False), media_type="text/event-stream")


async def busy(_: Request) -> Response:
    return JSONResponse({"error": {"message": "later"}}, 429, {"retry-after": "0"})


async def down(_: Request) -> Response:
    return JSONResponse({"error": {"message": "oops"}}, 503)


async def silent(_: Request) -> Response:
    await asyncio.sleep(1.0)
    return JSONResponse({})


async def picky(_: Request) -> Response:
    return JSONResponse({"error": {"message": "no logprobs here"}}, 400)


def asking(server: Server, work: Callable[[World], Coroutine[Any, Any, Any]], **given: Any) -> Any:
    with listening(server.routes()) as address:
        model = ModelSpec(id="m", source=f"{address}/v1", endpoint=Endpoint(**given))

        async def go() -> Any:
            engine = OpenAIEngine()
            try:
                return await work(World(engine, model, [], lambda: False))
            finally:
                assert engine.open_streams == 0
                await engine.close()

        return asyncio.run(asyncio.wait_for(go(), 30))


async def text(where: World) -> str:
    return text_of(await complete(where, ask(where.base)))


def test_a_busy_server_is_asked_again_before_the_first_token() -> None:
    server = Server(busy, down, fine)
    assert asking(server, text, retries=2) == "All well."
    assert server.asked == 3


@pytest.mark.parametrize(
    ("turn", "given", "said"),
    [(busy, {"retries": 1}, "takes no more requests"), (down, {"retries": 0}, "failed"),
     (silent, {"retries": 0, "timeout_s": 0.2}, "did not answer in 0.2 s"),
     (broken, {"retries": 0}, "broke off in the middle")],
)  # fmt: skip
def test_what_goes_wrong_is_one_sentence(turn: Answering, given: dict[str, Any], said: str) -> None:
    with pytest.raises(EngineError, match=said):
        asking(Server(turn), text, **given)


def test_a_text_that_has_begun_is_not_begun_again() -> None:
    server = Server(broken, fine)
    with pytest.raises(EngineError, match="broke off"):
        asking(server, text, retries=5)
    assert server.asked == 1


def test_a_server_that_scores_nothing_lacks_a_capability() -> None:
    async def score(where: World) -> None:
        await where.engine.score(ScoreRequest("s", where.base, [], ("A", "B")))

    with pytest.raises(CapabilityError, match="no logprobs here"):
        asking(Server(picky), score)


def test_no_more_requests_at_a_time_than_the_pool_allows() -> None:
    server = Server()

    async def counted(request: Request) -> Response:
        server.now += 1
        server.most = max(server.most, server.now)
        await asyncio.sleep(0.02)
        server.now -= 1
        return await fine(request)

    server.turns = [counted]

    async def many(where: World) -> list[str]:
        return list(await asyncio.gather(*(text(where) for _ in range(9))))

    assert asking(server, many, parallel=3) == ["All well."] * 9
    assert server.most == 3


def test_giving_up_gives_the_place_back() -> None:
    async def go(where: World) -> str:
        async with opened(where, ask(where.base)) as stream:
            await anext(stream)
        return await text(where)

    assert asking(Server(fine), go, parallel=1) == "All well."


def test_the_window_is_the_pools_else_the_servers_else_a_guess() -> None:
    async def windows(where: World) -> tuple[int, int]:
        before = where.engine.window(where.base)
        await where.engine.load([where.base])
        return before, where.engine.window(where.base)

    assert asking(Server(fine), windows) == (8192, 4321)
    assert asking(Server(fine), windows, window=777) == (777, 777)


def test_a_stop_does_not_wait_for_the_server() -> None:
    release = threading.Event()

    async def held(_: Request) -> Response:
        await asyncio.to_thread(release.wait, 20)
        return JSONResponse({})

    async def go(where: World) -> bool:
        waiting = asyncio.create_task(text(where))
        await asyncio.sleep(0.1)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        before = release.is_set()
        release.set()
        return before

    assert asking(Server(held), go) is False


@pytest.mark.parametrize("gone", ["other", "m"])
def test_a_model_that_leaves_cuts_no_text_of_its_endpoint(gone: str) -> None:
    """Neither a neighbour's nor its own: that may be another visitor's."""
    release = threading.Event()

    async def two_halves() -> AsyncGenerator[str, None]:
        async for piece in sse("All ", end=True):
            if "DONE" in piece:
                await asyncio.to_thread(release.wait, 20)
                async for rest in sse("well."):
                    yield rest
            else:
                yield piece

    async def slow(_: Request) -> Response:
        return StreamingResponse(two_halves(), media_type="text/event-stream")

    async def go(where: World) -> tuple[str, bool]:
        engine = where.engine
        assert isinstance(engine, OpenAIEngine)
        other = where.base.model_copy(update={"id": "other", "served_name": "m"})
        await engine.load([where.base, other])
        async with opened(where, ask(where.base)) as stream:
            said = (await anext(stream)).text
            await engine.unload(other)
            if gone == "m":
                await engine.unload(where.base)
            release.set()
            said += "".join([chunk.text async for chunk in stream])
        if gone == "other":
            await engine.unload(where.base)
        return said, bool(engine._connections)

    assert asking(Server(slow), go) == ("All well.", False)
