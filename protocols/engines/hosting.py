"""Which engine serves which model, and what stays in memory.

Endpoints are served over HTTP, everything else by one engine: here, or on a Ray cluster. Texts that
several models write together need whole distributions: where that engine keeps those to itself, a
second one beside it serves them. Loads happen once however many ask; when memory runs short, the
base that was used least recently is dropped.
"""

from __future__ import annotations

import logging
import sys
import time
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import psutil

from protocols.core.engine import (
    Chunk,
    Engine,
    FusedRequest,
    GenerateRequest,
    LoadProgress,
    ScoreRequest,
    Scores,
)
from protocols.core.errors import EngineError, LostModels, StudioError
from protocols.core.models import Capability, ModelSpec
from protocols.engines.base_rotation import PlannedEngine
from protocols.engines.loads import Loads
from protocols.engines.openai_engine import OpenAIEngine
from protocols.engines.planning import Plan
from protocols.engines.ray_cluster import has_ray
from protocols.engines.ray_engine import RayEngine
from protocols.engines.ray_options import RayOptions
from protocols.engines.transformers_engine import TransformersEngine
from protocols.engines.vllm_arguments import key_of, on_cpu
from protocols.engines.vllm_engine import VllmEngine
from protocols.engines.zero_gpu import ZeroGpuEngine, on_zero_gpu
from protocols.lib.prompts import Message

log = logging.getLogger(__name__)
Preference = Literal["auto", "vllm", "transformers", "ray", "zerogpu", "scripted"]
MEMORY_SHARE = 0.7
"""The part of the free memory that loaded bases may fill."""


def has_vllm() -> bool:
    """Whether vLLM is installed and the torch extras that break it are not."""
    return find_spec("vllm") is not None


def choose_engine(prefer: Preference = "auto") -> tuple[str, str]:
    """The local engine to use and the reason, as shown by ``doctor``.

    Raises :class:`EngineError` if the one asked for is not installed.
    """
    if prefer == "transformers":
        return "transformers", "asked for"
    if prefer == "zerogpu" or (prefer == "auto" and on_zero_gpu()):
        return "zerogpu", "a Space whose GPU is lent by the call"
    if prefer == "ray":
        if not has_ray():
            raise EngineError("Ray is not installed: pip install -r requirements-cluster.txt")
        return "ray", "asked for"
    if prefer == "vllm":
        if not has_vllm():
            raise EngineError("vLLM is not installed. Install it with make setup.")
        return "vllm", "asked for"
    if has_vllm() and not on_cpu():
        return "vllm", "a CUDA build of vLLM is installed"
    return "transformers", CPU_REASON


CPU_REASON = (
    "on a processor it decodes many adapters of one base in one pass, which is faster there than "
    "vLLM's adapters (make bench shows both)"
)


def make_local(
    prefer: Preference, plan: Plan | None = None, ray: RayOptions | None = None
) -> Engine:
    """The engine of models that are not endpoints, not yet loaded; only vLLM follows a plan."""
    name, _ = choose_engine(prefer)
    if name == "ray":
        return RayEngine(ray)
    if name == "zerogpu":
        return ZeroGpuEngine()
    if name != "vllm":
        return TransformersEngine()
    return PlannedEngine(VllmEngine(plan=plan), plan) if plan else VllmEngine()


def free_bytes() -> int:
    """Memory that is free where models are computed: on the GPU if there is one."""
    import torch

    if torch.cuda.is_available():
        return int(torch.cuda.mem_get_info()[0])
    return int(psutil.virtual_memory().available)


class HostedEngine:
    """Implements :class:`protocols.core.engine.Engine` by passing requests on.

    ``memory_bytes`` bounds the weights of local bases; by default a share of what is free. With a
    ``plan``, vLLM's bases are held to it instead; on a Ray cluster, what its actors may take bounds
    them. ``ray`` says how that is used, by default as the environment does.
    """

    def __init__(
        self,
        prefer: Preference = "auto",
        memory_bytes: int | None = None,
        plan: Plan | None = None,
        ray: RayOptions | None = None,
    ) -> None:
        self._local = make_local(prefer, plan, ray) if plan or ray else make_local(prefer)
        self._remote = OpenAIEngine()
        free = int(psutil.virtual_memory().available * MEMORY_SHARE)
        if prefer == "ray":
            free = sys.maxsize
        self._budget = memory_bytes if memory_bytes is not None else free
        if isinstance(self._local, PlannedEngine):
            self._budget = sum(device.memory for device in self._local.plan.devices)
        self._used: dict[str, float] = {}
        """When each local base was last used (monotonic seconds)."""
        self._loaded: dict[str, ModelSpec] = {}
        self._held: dict[ModelSpec, None] = {}
        """What the engines may have in memory, endpoints included."""
        self._busy: Counter[str] = Counter()
        """Open requests by local base."""
        self._loads = Loads()
        self._fuser: HostedEngine | None = None
        """Fuses texts if the local engine cannot; made when it is first needed."""

    @property
    def name(self) -> str:
        """The local engine's name."""
        return self._local.name

    @property
    def open_streams(self) -> int:
        """Requests being served now."""
        fused = self._fuser.open_streams if self._fuser else 0
        return self._local.open_streams + self._remote.open_streams + fused

    @property
    def held(self) -> tuple[ModelSpec, ...]:
        """The models that this hosting, or the one beside it, may have in memory."""
        return (*self._held, *(self._fuser.held if self._fuser else ()))

    def _engine(self, model: ModelSpec) -> Engine:
        return self._remote if model.is_endpoint else self._local

    def _holder(self, model: ModelSpec) -> Engine:
        """The engine that has the model in memory; the one that would load it if none has."""
        fuser = self._fuser
        if fuser and model.id in fuser._loaded and model.id not in self._loaded:
            return fuser
        return self._engine(model)

    def capabilities(self, model: ModelSpec) -> frozenset[Capability]:
        """What the model's engine can do; local models can be fused, here or beside it."""
        found = self._engine(model).capabilities(model)
        return found if model.is_endpoint else found | {"logits"}

    async def load(self, models: Sequence[ModelSpec], progress: LoadProgress | None = None) -> None:
        """Make room, then load; one load at a time, and a cancelled waiter does not end it."""
        await self._loads.run(lambda: self._load(models, progress))

    async def _load(self, models: Sequence[ModelSpec], progress: LoadProgress | None) -> None:
        local = [m for m in models if not m.is_endpoint]
        remote = [m for m in models if m.is_endpoint]
        self._held.update(dict.fromkeys(models))
        if self._fuser and any(m.id not in self._loaded for m in local):
            await self._fuser.hand_over()
        await self._make_room(local)
        for model in local:
            self._used[key_of(model)] = time.monotonic()
        errors: list[Exception] = []
        for engine, part in ((self._local, local), (self._remote, remote)):
            try:
                if part:
                    await engine.load(part, progress)
            except StudioError as error:
                errors.append(error)
        self._loaded.update({m.id: m for m in local if self._is_there(m)})
        if errors:
            raise errors[0]

    def _is_there(self, model: ModelSpec) -> bool:
        """Whether a model was loaded: only then does its engine know its window."""
        try:
            return self._local.window(model) > 0
        except StudioError:
            return False

    async def _make_room(self, wanted: Sequence[ModelSpec]) -> None:
        """Drop the idle bases used longest ago until the wanted ones fit the budget."""
        if isinstance(self._local, PlannedEngine):
            return
        keep = {key_of(m) for m in wanted}
        sizes = _sizes([*self._loaded.values(), *wanted])
        while idle := self._idle(keep):
            there = {key_of(m) for m in self._loaded.values()}
            if sum(sizes.get(base, 0) for base in keep | there) <= self._budget:
                break
            await self._drop(idle[0])

    def _idle(self, keep: set[str]) -> list[str]:
        """The bases that nobody uses now, the one used longest ago first."""
        there = {key_of(m) for m in self._loaded.values()}
        free = [base for base in there - keep if not self._busy[base]]
        return sorted(free, key=lambda base: self._used.get(base, 0.0))

    async def _drop(self, base: str) -> None:
        models = [m for m in self._loaded.values() if key_of(m) == base]
        log.info("dropping %s to make room", ", ".join(m.id for m in models))
        # First, so that whoever asks for one meanwhile waits for it to be loaded again.
        for model in models:
            del self._loaded[model.id]
        self._held = {m: None for m in self._held if m.is_endpoint or key_of(m) != base}
        await self._local.unload(models[0].model_copy(update={"adapter": ""}))

    async def load_fused(
        self, models: Sequence[ModelSpec], progress: LoadProgress | None = None
    ) -> None:
        """Make models ready to write one text together.

        A second copy of a base is kept while memory lasts; else the local engine lets go of those
        that nobody uses.
        """
        remote = [model for model in models if model.is_endpoint]
        if remote:
            await self._remote.load_fused(remote)
        fuser = self._fusing(models)
        if fuser is not self and sum(_sizes(models).values()) > free_bytes() * MEMORY_SHARE:
            await self.hand_over()
        if isinstance(self._local, RayEngine):
            await self._local.load_fused([m for m in models if not m.is_endpoint], progress)
        else:
            await fuser.load(models, progress)

    def _fusing(self, models: Sequence[ModelSpec]) -> HostedEngine:
        """This hosting if its local engine gives whole distributions, else the one beside it."""
        if all("logits" in self._local.capabilities(model) for model in models):
            return self
        if self._fuser is None:
            self._loads.check_open()
            self._fuser = HostedEngine("transformers", self._budget)
        return self._fuser

    async def hand_over(self) -> None:
        """Drop every base that nobody uses now, because another engine needs the memory."""
        async with self._loads.lock:
            while idle := self._idle(set()):
                await self._drop(idle[0])

    async def unload(self, model: ModelSpec) -> None:
        """Free what the model holds."""
        self._loaded.pop(model.id, None)
        self._held.pop(model, None)
        await self._engine(model).unload(model)
        if self._fuser:
            await self._fuser.unload(model)

    async def stream(self, request: GenerateRequest) -> AsyncGenerator[Chunk, None]:
        """Pass on to the model's engine."""
        async with self._using(request.model) as engine, aclosing(engine.stream(request)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def stream_fused(self, request: FusedRequest) -> AsyncGenerator[Chunk, None]:
        """Pass on to the engine that gives whole distributions."""
        remote = [model for model in request.models if model.is_endpoint]
        fuser = self._fusing(request.models)
        async with AsyncExitStack() as stack:
            if remote:
                chunks = self._remote.stream_fused(request)
            elif fuser is self:
                # The actors of a cluster load what they fuse themselves, all in one of them.
                if not isinstance(self._local, RayEngine):
                    await self._hold(stack, request.models)
                chunks = self._local.stream_fused(request)
            else:
                # What cannot be loaded is named by the one that fuses.
                with suppress(StudioError):
                    await self.load_fused(request.models)
                chunks = fuser.stream_fused(request)
            await stack.enter_async_context(aclosing(chunks))
            async for chunk in chunks:
                yield chunk

    async def _hold(self, stack: AsyncExitStack, models: Sequence[ModelSpec]) -> None:
        """Keep models from being dropped. Raises :class:`LostModels` for those not to be had."""
        lost: dict[str, StudioError] = {}
        for model in models:
            try:
                await stack.enter_async_context(self._using(model))
            except StudioError as error:
                lost[model.id] = error
        if lost:
            raise LostModels(lost)

    async def score(self, request: ScoreRequest) -> Scores:
        """Pass on to the model's engine."""
        async with self._using(request.model) as engine:
            return await engine.score(request)

    @asynccontextmanager
    async def _using(self, model: ModelSpec) -> AsyncGenerator[Engine, None]:
        """The model's engine; its base is not dropped meanwhile, and loaded if it was before."""
        base = key_of(model)
        self._used[base] = time.monotonic()
        self._held[model] = None
        self._busy[base] += 1
        try:
            if model.id not in self._loaded and not model.is_endpoint:
                await self.load([model])
            yield self._engine(model)
        finally:
            self._busy[base] -= 1

    def window(self, model: ModelSpec) -> int:
        """Context length in tokens."""
        return self._holder(model).window(model)

    def count_tokens(self, model: ModelSpec, messages: Sequence[Message], prefix: str = "") -> int:
        """Length of the rendered prompt in tokens."""
        return self._holder(model).count_tokens(model, messages, prefix)

    def status(self) -> dict[str, Any]:
        """What is loaded and how much of the budget it takes, for people."""
        beside: dict[str, Any] = {"models": [], "bytes": 0}
        if self._fuser:
            beside = self._fuser.status()
        return {
            "engine": self.name,
            "models": sorted({*self._loaded, *beside["models"]}),
            "bytes": sum(_sizes(list(self._loaded.values())).values()) + beside["bytes"],
            "budget": self._budget,
        }

    async def close(self) -> None:
        """End everything; what is still being loaded is waited for."""
        # The engines know how to end a load, or that it cannot be ended.
        self._loads.refuse()
        await self._local.close()
        await self._remote.close()
        if self._fuser:
            await self._fuser.close()
        await self._loads.close()


def _sizes(models: Sequence[ModelSpec]) -> dict[str, int]:
    """Bytes of the models' bases, each once."""
    return {key_of(model): weight_bytes(model) for model in models}


def weight_bytes(model: ModelSpec) -> int:
    """Bytes of a local base's weights; from the number of parameters (bf16) if not here."""
    folder = Path(model.source)
    if folder.is_dir():
        return sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    return 2 * model.parameters
