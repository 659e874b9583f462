"""The API's routes: systems listed as models, chat completions whole or streamed, and health."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from protocols.core.errors import EngineError, StudioError, UserError
from protocols.core.events import Answer, CallFailed, Ended, Event
from protocols.core.models import RunSpec
from protocols.core.registry import protocols
from protocols.core.run import prepare
from protocols.lib.prompts import question_messages
from studio.context import StudioContext
from studio.endpoint.access import Access, Denied
from studio.endpoint.asked import (
    TOO_LONG,
    ChatRequest,
    NoSuchSystemError,
    RefusedError,
    read_request,
    spec_of,
    system_name,
    system_of,
)
from studio.endpoint.replies import (
    ALIVE,
    DONE,
    Reply,
    error_body,
    finish,
    listed,
    listing,
    sse,
    thought,
)
from studio.runs import FullError, LiveRun

MAX_BODY = 256 * 1024
POLL_S = 0.05
ALIVE_S = 10.0
NOT_CACHED = {"Cache-Control": "no-store"}
KINDS = {400: "invalid_request_error", 401: "authentication_error", 403: "permission_error"}
KINDS |= {404: "not_found_error", 429: "rate_limit_error", 503: "service_unavailable"}
CODES = {401: "invalid_api_key", 429: "rate_limit_exceeded"}
FULL_S = 60
"""Seconds after which a client may try again that met a full queue."""
Handler = Callable[[StudioContext, Request], Awaitable[Response]]


class Failed(Exception):
    """A run that ended without an answer; ``code`` is what OpenAI's clients know it by."""

    def __init__(self, ended: Ended, too_long: str = "") -> None:
        super().__init__(ended.message)
        status = {"user": 400, "engine": 503, "contributor": 502}.get(str(ended.owner), 500)
        self.status = 400 if too_long else status
        self.code = TOO_LONG if too_long else None
        self.message = too_long or ended.message or "The run ended without an answer."


def api_routes(ctx: StudioContext) -> list[BaseRoute]:
    """Everything under ``/v1``, and ``/health``."""
    access = Access(ctx.settings)
    return [
        Route("/v1/models", _guarded(ctx, access, list_systems)),
        Route("/v1/models/{name:path}", _guarded(ctx, access, one_system)),
        Route("/v1/chat/completions", _guarded(ctx, access, complete), methods=["POST"]),
        Route("/health", lambda request: health(ctx)),
    ]


def health(ctx: StudioContext) -> Response:
    """Whether runs are played; for load balancers and container health checks. Nobody's data."""
    alive, busy, waiting = ctx.manager.alive(), ctx.manager.playing, ctx.manager.waiting
    body = {"status": "ok" if alive else "down", "runs": busy, "waiting": waiting}
    return JSONResponse(body, 200 if alive else 503, NOT_CACHED)


def _guarded(
    ctx: StudioContext, access: Access, handler: Handler
) -> Callable[[Request], Awaitable[Response]]:
    """Check access first, and turn every expected failure into an error body."""

    async def answer(request: Request) -> Response:
        try:
            access.check(request)
            return await handler(ctx, request)
        except Denied as denied:
            return _error(denied.status, denied.message, CODES.get(denied.status), denied.wait_s)
        except FullError as error:
            return _error(429, error.message, CODES[429], FULL_S)
        except Failed as failed:
            return _error(failed.status, failed.message, failed.code)
        except RefusedError as error:
            status = 404 if isinstance(error, NoSuchSystemError) else 400
            return _error(status, error.message, error.code, param=error.param)
        except StudioError as error:
            return _error(503 if isinstance(error, EngineError) else 400, error.message)

    return answer


def _error(
    status: int, message: str, code: str | None = None, wait_s: int = 0, param: str | None = None
) -> Response:
    headers = NOT_CACHED | ({"Retry-After": str(wait_s)} if wait_s else {})
    body = error_body(message, KINDS.get(status, "server_error"), code, param)
    return JSONResponse(body, status, headers)


async def list_systems(ctx: StudioContext, request: Request) -> Response:
    """Each protocol over each pool that it can answer with."""
    return JSONResponse(await run_in_threadpool(_systems, ctx), headers=NOT_CACHED)


async def one_system(ctx: StudioContext, request: Request) -> Response:
    """One system, listed or put together like ``majority_vote@embedded:one,two``."""
    name, held = request.path_params["name"], ctx.workspace.quarantine.held()
    system_of(name, ctx.pools, ctx.settings.pool, held)
    return JSONResponse(listed(name, ctx.manager.started_at), headers=NOT_CACHED)


def _systems(ctx: StudioContext) -> dict[str, Any]:
    names = [
        system_name(protocol, name)
        for name, pool in sorted(ctx.pools.items())
        for protocol in sorted(protocols())
        if _can_answer(ctx, protocol, name)
    ]
    return listing(names, ctx.manager.started_at)


def _can_answer(ctx: StudioContext, protocol: str, pool: str) -> bool:
    held = ctx.workspace.quarantine.held()
    specs = [spec for spec in ctx.pools[pool].specs if spec.id not in held]
    try:
        spec = RunSpec(protocol=protocol, pool=tuple(s.id for s in specs), question="?")
        prepare(spec, specs, ctx.manager.engine, ctx.workspace.artifacts)
    except (StudioError, ValueError):
        return False
    return True


async def complete(ctx: StudioContext, request: Request) -> Response:
    """Answer a chat request by a run; the run is stored like every other."""
    asked = read_request(await _body(request))
    at_most = ctx.settings.api_max_tokens
    held = ctx.workspace.quarantine.held()
    spec, models = spec_of(asked, ctx.pools, ctx.settings.pool, at_most, held)
    live = await run_in_threadpool(ctx.manager.start, spec, models)
    base = ctx.settings.public_url.rstrip("/") or str(request.base_url).rstrip("/")
    reply = Reply(live.id, asked.model, int(time.time()), f"{base}/?run={live.id}")
    if asked.stream:
        stream = _stream(ctx, live, reply, asked)
        return StreamingResponse(stream, media_type="text/event-stream", headers=NOT_CACHED)
    return await _whole(ctx, request, live, reply)


def _too_long(ctx: StudioContext, live: LiveRun) -> str:
    """What a model said to a question that is alone more than it can read; else nothing."""
    engine, messages = ctx.manager.engine, question_messages(live.spec.question)
    known = {spec.id: spec for pool in ctx.pools.values() for spec in pool.specs}
    for name in live.spec.pool:
        with suppress(StudioError, KeyError):
            if engine.count_tokens(known[name], messages) >= engine.window(known[name]):
                said = [e.message for e in live.events if isinstance(e, CallFailed)]
                return said[0] if said else "The question is too long. Shorten it."
    return ""


async def _body(request: Request) -> Any:
    # Another site's page can send a form to this machine, but not JSON without being asked for.
    if not request.headers.get("content-type", "").startswith("application/json"):
        raise UserError("The request must have the content type application/json.")
    raw = bytearray()
    async for piece in request.stream():
        raw += piece
        if len(raw) > MAX_BODY:
            raise UserError(f"The request has more than {MAX_BODY // 1024} KiB. Shorten it.")
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        raise UserError("The request's body is not JSON.") from None


async def _whole(ctx: StudioContext, request: Request, live: LiveRun, reply: Reply) -> Response:
    with ctx.manager.watch(live):
        try:
            while not live.ended:
                if await request.is_disconnected():
                    break
                await asyncio.sleep(POLL_S)
        finally:
            _stop(ctx, live)
    answer, ended = await run_in_threadpool(result, ctx, live)
    return JSONResponse(reply.whole(answer, ended, finish(answer, live.events)), headers=NOT_CACHED)


def result(ctx: StudioContext, live: LiveRun) -> tuple[Answer, Ended]:
    """The last answer and the end of a run. Raises :class:`Failed` if there is no answer."""
    events = live.events
    answer = next((e for e in reversed(events) if isinstance(e, Answer)), None)
    last = events[-1] if events else None
    stopped = Ended(status="cancelled", message="It was stopped.")
    ended = last if isinstance(last, Ended) else stopped
    if answer is None or ended.status == "failed":
        raise Failed(ended, _too_long(ctx, live))
    return answer, ended


async def _stream(
    ctx: StudioContext, live: LiveRun, reply: Reply, asked: ChatRequest
) -> AsyncGenerator[str, None]:
    """How the answer comes to be as ``reasoning_content``, then the answer.

    A text is only known to be the answer when the protocol says so, thus it comes at the end.
    """
    yield reply.chunk({"role": "assistant", "content": ""})
    with ctx.manager.watch(live):
        try:
            async for event in _events(live):
                line = thought(event) if event else ""
                yield reply.chunk({"reasoning_content": f"{line}\n"}) if line else ALIVE
        finally:
            _stop(ctx, live)
    try:
        answer, ended = await run_in_threadpool(result, ctx, live)
    except Failed as failed:
        kind = KINDS.get(failed.status, "server_error")
        yield sse(error_body(failed.message, kind, failed.code))
        return
    why, told = finish(answer, live.events), reply.participation(answer, ended)
    yield reply.chunk({"content": answer.text})
    yield reply.chunk({}, why, participation=told)
    if asked.counts:
        yield reply.used(ended)
    yield DONE


async def _events(live: LiveRun) -> AsyncGenerator[Event | None, None]:
    """The events worth telling as they come; ``None`` when nothing was told for a while."""
    told, quiet_since = 0, time.monotonic()
    while True:
        ended = live.ended
        fresh = live.events[told:]  # it grows in another thread, so what was read is counted
        told += len(fresh)
        for event in fresh:
            if thought(event):
                quiet_since = time.monotonic()
                yield event
        if ended:
            return
        if time.monotonic() - quiet_since > ALIVE_S:
            quiet_since = time.monotonic()
            yield None
        await asyncio.sleep(POLL_S)


def _stop(ctx: StudioContext, live: LiveRun) -> None:
    """A client that has gone away does not keep models busy."""
    if not live.ended:
        ctx.manager.stop(live.id, ctx.manager.owner_key(live.id))
