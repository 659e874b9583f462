"""Models on a Ray cluster: one actor for each base with its adapters, placed by Ray.

Inside of an actor works one of the other engines. Calls go to the replica with the fewest open
ones. When an actor or its node is lost, its calls fail with a sentence and another actor is started
with the same models. There is no distribution of our own: where an actor runs is Ray's business.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from protocols.core.engine import (
    Chunk,
    FusedRequest,
    GenerateRequest,
    LoadProgress,
    ScoreRequest,
    Scores,
)
from protocols.core.errors import EngineError
from protocols.core.models import Capability, ModelSpec
from protocols.engines.ray_actor import MakeEngine
from protocols.engines.ray_cluster import CONNECTION, answers, facts, free, head
from protocols.engines.ray_group import Group, raise_first
from protocols.engines.ray_options import RayOptions
from protocols.engines.ray_replica import ActorLostError, HeadLostError, Replica, warm_key
from protocols.engines.ray_wire import Countable, Counter, base_of
from protocols.lib.prompts import Message

log = logging.getLogger(__name__)
HEAD_S, HEAD_TRIES = 4.0, 3
"""How often the cluster's head is looked for, and how often in vain until it counts as lost: well
within the minute after which Ray ends a process that has no head."""
Key = tuple[str, ...]
"""Names a group: its base, or the bases of models that write texts together."""


def make_inner(name: str) -> Countable:
    """The engine of an actor, by name."""
    from protocols.engines.transformers_engine import TransformersEngine
    from protocols.engines.vllm_engine import VllmEngine

    made: Countable = VllmEngine() if name == "vllm" else TransformersEngine()
    return made


class RayEngine:
    """Implements :class:`protocols.core.engine.Engine` on a Ray cluster."""

    name = "ray"

    def __init__(self, options: RayOptions | None = None, make: MakeEngine | None = None) -> None:
        """``make`` makes the engine of an actor, inside of it; by default as the options say."""
        self._options = options or RayOptions()
        self._make = make
        self._groups: dict[Key, Group] = {}
        self._open = 0
        self._gpus = 0.0
        self._connected = self._closed = False
        self._connecting = asyncio.Lock()
        self._watch: asyncio.Task[None] | None = None

    @property
    def open_streams(self) -> int:
        """Requests being served now."""
        return self._open

    def capabilities(self, model: ModelSpec) -> frozenset[Capability]:
        """Prefill, label scores, adapters and whole distributions."""
        return frozenset({"prefill", "score", "logits", "adapters"})

    async def load(self, models: Sequence[ModelSpec], progress: LoadProgress | None = None) -> None:
        """Start the actors of the models' bases, all at once, and load the models there.

        Every model that can be loaded is; the first failure is raised afterwards.
        """
        await self._connect()
        models = list(map(absolute, models))
        parts: dict[Key, list[ModelSpec]] = {}
        for model in models:
            parts.setdefault((base_of(model),), []).append(model)
        self._tell(progress, models)
        loads = (self._group(key).load(part) for key, part in parts.items())
        raise_first(await asyncio.gather(*loads, return_exceptions=True))

    async def load_fused(
        self, models: Sequence[ModelSpec], progress: LoadProgress | None = None
    ) -> None:
        """Load models into one actor, where they can write one text together."""
        await self._connect()
        models = list(map(absolute, models))
        self._tell(progress, models)
        await self._fused_group(models).load(models)

    def _tell(self, progress: LoadProgress | None, models: Sequence[ModelSpec]) -> None:
        known = {key for group in self._groups.values() for key in group.models}
        for number, model in enumerate(models):
            if progress and warm_key(model) not in known:
                progress(number, len(models), f"Loading {model.title} on the cluster")

    async def _connect(self) -> None:
        async with self._connecting:
            if self._closed:
                raise EngineError("The engine is closed.")
            if not self._connected:
                await asyncio.to_thread(CONNECTION.open, self._options.ray_address)
                self._connected = True
                found = await asyncio.to_thread(facts)
                wanted = self._options.ray_gpus
                self._gpus = float(found.gpus > 0) if wanted is None else wanted
                self._watch = asyncio.create_task(self._watch_head(await asyncio.to_thread(head)))
                log.info("Ray cluster: %s", found.sentence())

    async def _watch_head(self, address: tuple[str, int]) -> None:
        """Leave the cluster when its head is gone: calls fail with a sentence, this process stays.

        Without this, Ray would go on with what runs and end the whole studio after a minute.
        """
        silent = 0
        while silent < HEAD_TRIES:
            await asyncio.sleep(HEAD_S)
            there = await asyncio.to_thread(answers, address)
            silent = 0 if there else silent + 1
        log.warning("the head of the Ray cluster at %s:%s was lost", *address)
        groups, self._groups = self._groups, {}
        for group in groups.values():
            await group.behead()
        self._connected = False
        await asyncio.to_thread(CONNECTION.drop)

    @property
    def _inner(self) -> str:
        """Name of the engine inside of actors."""
        chosen = self._options.ray_engine
        return ("vllm" if self._gpus else "transformers") if chosen == "auto" else chosen

    def _group(self, key: Key, inner: str = "") -> Group:
        if key not in self._groups:
            make = self._make or partial(make_inner, inner or self._inner)
            made = Group(make, bool(inner), self._gpus, self._options, self._make_room)
            self._groups[key] = made
        return self._groups[key]

    def _fused_group(self, models: Sequence[ModelSpec]) -> Group:
        """The group whose actors have all the models, in an engine that gives distributions."""
        bases = tuple(sorted({base_of(model) for model in models}))
        if len(bases) == 1 and (self._make or self._inner == "transformers"):
            return self._group(bases)
        return self._group(("fused", *bases), "transformers")

    async def _make_room(self, wanting: Group) -> None:
        """End the idle groups used longest ago until the cluster has what an actor takes."""
        for _ in range(len(self._groups)):
            there = await asyncio.to_thread(free)
            enough = there.get("CPU", 0.0) >= self._options.ray_cpus
            idle = [g for g in self._groups.values() if g is not wanting and g.idle]
            if (enough and there.get("GPU", 0.0) >= self._gpus) or not idle:
                return
            log.info("ending the actors of a base to make room on the cluster")
            await min(idle, key=lambda group: group.used).end()

    async def unload(self, model: ModelSpec) -> None:
        """Free what the model holds: an adapter, or the actors of a base."""
        model = absolute(model)
        for key, group in list(self._groups.items()):
            if base_of(model) in key:
                await (group.unload(model) if model.adapter else group.end())

    @asynccontextmanager
    async def _serving(
        self, group: Group, models: Sequence[ModelSpec], partly: bool = False
    ) -> AsyncGenerator[Replica, None]:
        """The replica that serves a request. An actor that is lost becomes an error."""
        replica = await group.ready(models, partly)
        replica.open += 1
        try:
            yield replica
        except HeadLostError as lost:
            names = " with ".join(f"'{model.title}'" for model in models)
            raise EngineError(
                f"{names} could not go on: {lost}. Run again when it is back; STUDIO_RAY_ADDRESS "
                "says where it is looked for."
            ) from lost
        except ActorLostError as lost:
            replica.kill()
            group.replenish()
            names = " with ".join(f"'{model.title}'" for model in models)
            raise EngineError(
                f"{names} could not go on: the Ray actor on {replica.place.address} was lost "
                f"({lost}). Run again: another one is being started."
            ) from lost
        finally:
            replica.open -= 1

    async def stream(self, request: GenerateRequest) -> AsyncGenerator[Chunk, None]:
        """Generate; closing the iterator aborts the request in its actor."""
        self._open += 1
        try:
            await self._connect()
            asked = replace(request, model=absolute(request.model))
            group = self._group((base_of(asked.model),))
            async with (
                self._serving(group, [asked.model]) as replica,
                aclosing(replica.stream(asked)) as chunks,
            ):
                async for chunk in chunks:
                    yield chunk
        finally:
            self._open -= 1

    async def stream_fused(self, request: FusedRequest) -> AsyncGenerator[Chunk, None]:
        """Generate one text from models that lie in one actor; closing aborts it there."""
        self._open += 1
        try:
            await self._connect()
            asked = replace(request, models=tuple(map(absolute, request.models)))
            group = self._fused_group(asked.models)
            async with (
                self._serving(group, asked.models, partly=True) as replica,
                aclosing(replica.stream(asked)) as chunks,
            ):
                async for chunk in chunks:
                    yield chunk
        finally:
            self._open -= 1

    async def score(self, request: ScoreRequest) -> Scores:
        """Score labels in one forward pass."""
        self._open += 1
        try:
            await self._connect()
            asked = replace(request, model=absolute(request.model))
            group = self._group((base_of(asked.model),))
            async with self._serving(group, [asked.model]) as replica:
                return await replica.score(asked)
        finally:
            self._open -= 1

    def window(self, model: ModelSpec) -> int:
        """Context length in tokens. Raises :class:`EngineError` before the model is loaded."""
        return self._counter(model).window

    def count_tokens(self, model: ModelSpec, messages: Sequence[Message], prefix: str = "") -> int:
        """Length of the rendered prompt in tokens, counted here."""
        return self._counter(model).length(model, messages, prefix)

    def _counter(self, model: ModelSpec) -> Counter:
        base = base_of(absolute(model))
        for group in self._groups.values():
            if base in group.counters:
                return group.counters[base]
        raise EngineError(f"'{model.title}' is not loaded.")

    async def close(self) -> None:
        """End all actors, and the cluster if it was started here."""
        async with self._connecting:
            self._closed = True
        if self._watch:
            self._watch.cancel()
        await asyncio.gather(*(group.close() for group in self._groups.values()))
        if self._connected:
            self._connected = False
            await asyncio.to_thread(CONNECTION.close)


def absolute(model: ModelSpec) -> ModelSpec:
    """The same with the paths of folders that are here made absolute: actors run elsewhere."""
    update = {
        name: str(Path(path).resolve())
        for name, path in (("source", model.source), ("adapter", model.adapter))
        if path and not Path(path).is_absolute() and Path(path).is_dir()
    }
    return model.model_copy(update=update) if update else model
