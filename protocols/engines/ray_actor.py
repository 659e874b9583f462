"""The inside of a Ray actor: one engine of ours, and what the studio may ask of it.

Runs on any node of the cluster. Nothing here knows other actors; whatever goes wrong is sent back
as a :class:`Failure`, so the studio never unpickles a library's exception.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing, suppress
from pathlib import Path

from protocols.core.engine import Chunk, FusedRequest, GenerateRequest, ScoreRequest, Scores
from protocols.core.errors import StudioError
from protocols.core.models import ModelSpec
from protocols.engines.ray_wire import Countable, Failure, Loaded, Part, Place, base_of

log = logging.getLogger(__name__)
MakeEngine = Callable[[], Countable]
Mail = asyncio.Queue[Chunk | Failure | None]


class Host:
    """Serves the models of one group with an engine of its own."""

    def __init__(self, make: MakeEngine) -> None:
        self._engine = make()
        self._open: dict[str, asyncio.Task[None]] = {}

    async def place(self) -> Place:
        """Say where this is."""
        import ray

        node = ray.get_runtime_context().get_node_id()
        return Place(node, ray.util.get_node_ip_address(), os.getpid(), self._engine.name)

    async def ping(self) -> int:
        """Give a sign of life: the number of open requests."""
        return self._engine.open_streams

    async def load(self, models: Sequence[ModelSpec], fused: bool) -> Loaded:
        """Load what can be loaded; the first failure is told."""
        absent = {model.id: failure for model in models if (failure := _absent(model))}
        failures = list(absent.values())
        there = [model for model in models if model.id not in absent]
        load = self._engine.load_fused if fused else self._engine.load
        try:
            if there:
                await load(there)
        except StudioError as error:
            failures.append(Failure.of(error))
        except Exception as error:
            log.exception("loading")
            names = ", ".join(f"'{model.title}'" for model in there)
            told = f"{names} could not be loaded ({type(error).__name__}). The log has the details."
            failures.append(Failure("EngineError", told))
        counters = {}
        for model in there:
            with suppress(StudioError):
                counters[base_of(model)] = self._engine.prompter(model)
        return Loaded(counters, failures[0] if failures else None)

    async def unload(self, model: ModelSpec) -> None:
        """Free what the model holds."""
        with suppress(StudioError):
            await self._engine.unload(model)

    async def stream(self, request: GenerateRequest | FusedRequest) -> AsyncGenerator[Part, None]:
        """Generate; what has come since the last time is sent together.

        A cancelled task, a closed generator and :meth:`abort` all free the request.
        """
        mail: Mail = asyncio.Queue()
        pump = asyncio.ensure_future(self._pump(request, mail))
        self._open[request.id] = pump
        try:
            ended = False
            while not ended:
                chunks, failure, ended = await _collected(mail)
                if chunks:
                    yield chunks
                if failure:
                    yield failure
        finally:
            self._open.pop(request.id, None)
            pump.cancel()

    async def _pump(self, request: GenerateRequest | FusedRequest, mail: Mail) -> None:
        """Move the engine's chunks into the mail; at the end a failure or None."""
        end: Failure | None = None
        try:
            if isinstance(request, FusedRequest):
                chunks = self._engine.stream_fused(request)
            else:
                chunks = self._engine.stream(request)
            async with aclosing(chunks):
                async for chunk in chunks:
                    mail.put_nowait(chunk)
        except StudioError as error:
            end = Failure.of(error)
        except Exception as error:
            log.exception("request %s", request.id)
            end = Failure("EngineError", f"A model could not answer ({type(error).__name__}).")
        finally:
            mail.put_nowait(end)

    async def score(self, request: ScoreRequest) -> Scores | Failure:
        """Score labels."""
        try:
            return await self._engine.score(request)
        except StudioError as error:
            return Failure.of(error)
        except Exception as error:
            log.exception("score %s", request.id)
            told = f"'{request.model.title}' could not score the options ({type(error).__name__})."
            return Failure("EngineError", told)

    async def abort(self, request_id: str) -> None:
        """End a stream."""
        if pump := self._open.get(request_id):
            pump.cancel()

    async def close(self) -> None:
        """End the engine and its processes."""
        await self._engine.close()


async def _collected(mail: Mail) -> tuple[tuple[Chunk, ...], Failure | None, bool]:
    """What is there, at least one thing: the chunks, why the stream failed, whether it ended."""
    chunks: list[Chunk] = []
    item = await mail.get()
    while isinstance(item, Chunk):
        chunks.append(item)
        if mail.empty():
            return tuple(chunks), None, False
        item = mail.get_nowait()
    return tuple(chunks), item, True


def _absent(model: ModelSpec) -> Failure | None:
    """Why a model cannot be loaded here: a folder that this node does not have."""
    for name in (model.source, model.adapter):
        if Path(name).is_absolute() and not Path(name).is_dir():
            told = (
                f"'{model.title}' cannot be loaded on node {os.uname().nodename} of the cluster: "
                f"it has no folder {name}. Put it there on every node, or name a hub id."
            )
            return Failure("ContributorError", told)
    return None
