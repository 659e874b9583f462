"""The studio's side of one Ray actor: calls that end, whatever happens to the actor."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Sequence
from contextlib import suppress
from typing import Any

from protocols.core.engine import Chunk, FusedRequest, GenerateRequest, ScoreRequest, Scores
from protocols.core.errors import EngineError
from protocols.core.models import ModelSpec
from protocols.engines.ray_actor import Host, MakeEngine
from protocols.engines.ray_options import RayOptions
from protocols.engines.ray_wire import Failure, Loaded, Part, Place

log = logging.getLogger(__name__)
CLOSE_S = 10.0
"""Seconds an actor may take to end its engine before it is killed."""


class ActorLostError(Exception):
    """The actor or its node is gone; the text says how in a word."""


class HeadLostError(ActorLostError):
    """The cluster's head is gone, and with it whatever could start another actor."""


class Replica:
    """An actor that serves a group of bases."""

    def __init__(self, actor: Any, options: RayOptions) -> None:
        self._actor, self._silent_s = actor, options.ray_silent_s
        self.place = Place("", "", 0, "")
        self.warm: set[str] = set()
        """Models that are loaded there, by what :func:`warm_key` says."""
        self.open = 0
        self.lost = False
        self._headless: asyncio.Event = asyncio.Event()

    @classmethod
    def create(cls, make: MakeEngine, gpus: float, options: RayOptions) -> Replica:
        """Ask the cluster for an actor; it is there when :meth:`placed` returns."""
        import ray

        remote = ray.remote(Host).options(
            num_cpus=options.ray_cpus,
            num_gpus=gpus,
            scheduling_strategy="SPREAD",
            # An actor that Ray restarts by itself would have forgotten its models.
            max_restarts=0,
            max_task_retries=0,
            max_concurrency=10_000,
        )
        return cls(remote.remote(make), options)

    async def placed(self, seconds: float) -> bool:
        """Wait until the actor runs. False if the cluster has no room for it in time."""
        asked = asyncio.ensure_future(self._told(self._actor.place.remote()))
        try:
            if not (await asyncio.wait({asked}, timeout=seconds))[0]:
                return False
            self.place = asked.result()
            return True
        finally:
            _forget(asked)

    async def load(self, models: Sequence[ModelSpec], fused: bool) -> Loaded:
        """Load models there. Raises :class:`ActorLostError`."""
        found: Loaded = await self._watched(self._actor.load.remote(list(models), fused))
        if found.failure is None:
            self.warm.update(warm_key(model) for model in models)
        return found

    async def unload(self, model: ModelSpec) -> None:
        """Free what a model holds there. Raises :class:`ActorLostError`."""
        self.warm.discard(warm_key(model))
        await self._watched(self._actor.unload.remote(model))

    async def stream(self, request: GenerateRequest | FusedRequest) -> AsyncGenerator[Chunk, None]:
        """Generate there. Raises :class:`ActorLostError` and what the engine there raises."""
        import ray

        parts = self._actor.stream.options(num_returns="streaming").remote(request)
        ended = False
        try:
            while (part := await self._watched(_next(parts))) is not None:
                if isinstance(part, Failure):
                    ended = True
                    raise part.error()
                for chunk in part:
                    ended = chunk.finish is not None
                    yield chunk
            ended = True
        finally:
            if not ended and not self.lost:
                # Nobody waits for either: the first ends the task, the second a stream under way.
                with suppress(Exception):
                    ray.cancel(parts)
                    self._actor.abort.remote(request.id)

    async def score(self, request: ScoreRequest) -> Scores:
        """Score labels there. Raises :class:`ActorLostError` and what the engine there raises."""
        import ray

        asked = self._actor.score.remote(request)
        try:
            found: Scores | Failure = await self._watched(asked)
        except asyncio.CancelledError:
            ray.cancel(asked)
            raise
        if isinstance(found, Failure):
            raise found.error()
        return found

    async def _watched(self, work: Awaitable[Any]) -> Any:
        """Wait for an answer; a silent actor has to give a sign of life from time to time."""
        task = asyncio.ensure_future(self._told(work))
        headless = asyncio.ensure_future(self._headless.wait())
        try:
            while not task.done():
                waiting = {task, headless}
                first = asyncio.FIRST_COMPLETED
                await asyncio.wait(waiting, timeout=self._silent_s, return_when=first)
                if self._headless.is_set():
                    raise HeadLostError("the head of the Ray cluster was lost")
                if not task.done():
                    await self._sign_of_life()
            return task.result()
        finally:
            _forget(task)
            headless.cancel()

    def behead(self) -> None:
        """Give the actor up because the cluster's head is gone: every open call ends now."""
        self.lost = True
        self._headless.set()

    async def _sign_of_life(self) -> None:
        sign = asyncio.ensure_future(self._told(self._actor.ping.remote()))
        try:
            if not (await asyncio.wait({sign}, timeout=self._silent_s))[0]:
                self.lost = True
                raise ActorLostError("silent")
            sign.result()
        finally:
            _forget(sign)

    async def _told(self, work: Awaitable[Any]) -> Any:
        """An answer of Ray's with its errors as ours."""
        from ray.exceptions import RayError, RayTaskError

        try:
            return await work
        except RayTaskError as error:
            log.exception("in the actor on %s", self.place.address)
            raise EngineError(
                f"The actor on {self.place.address or 'the cluster'} failed "
                f"({type(error.cause).__name__}). The log has the details."
            ) from error
        except RayError as error:
            log.debug("actor on %s: %s", self.place.address, error)
            self.lost = True
            raise ActorLostError(type(error).__name__) from error

    async def close(self) -> None:
        """End the actor and what it has started."""
        if not self.lost:
            ended = asyncio.ensure_future(self._told(self._actor.close.remote()))
            await asyncio.wait({ended}, timeout=CLOSE_S)
            _forget(ended)
        self.kill()

    def kill(self) -> None:
        """End the actor at once."""
        import ray

        self.lost = True
        with suppress(Exception):
            ray.kill(self._actor)


def _forget(task: asyncio.Task[Any]) -> None:
    """Wait for a task no longer, whatever becomes of it."""
    task.cancel()
    task.add_done_callback(lambda done: done.cancelled() or done.exception())


async def _next(parts: Any) -> Part | None:
    """The next thing that a stream sends; None at its end."""
    try:
        ref = await anext(parts)
    except StopAsyncIteration:
        return None
    part: Part = await ref
    return part


def warm_key(model: ModelSpec) -> str:
    """Names what has to be loaded for a model."""
    return f"{model.source}@{model.revision}+{model.adapter}"
