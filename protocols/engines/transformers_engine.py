"""Models in this process with transformers: many adapters of one base in one forward pass.

Serves machines without vLLM, and processors, where it is faster than vLLM for many adapters. It
knows requests and base models; one worker thread per base does the computing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from protocols.core.engine import Chunk, GenerateRequest, LoadProgress, ScoreRequest, Scores
from protocols.core.errors import EngineError, StudioError
from protocols.core.events import Finish
from protocols.core.models import Capability, ModelSpec
from protocols.engines.checks import check_model
from protocols.engines.prompter import Prompter
from protocols.lib.prompts import Message

if TYPE_CHECKING:
    from protocols.engines.batch_worker import BatchWorker

log = logging.getLogger(__name__)
Said = tuple[str, int, Finish | None]


@dataclass(eq=False)
class Base:
    """A loaded base model: its worker, its tokenizer, and the adapter folders on it."""

    worker: BatchWorker
    prompter: Prompter
    adapters: set[str] = field(default_factory=set)


class TransformersEngine:
    """Implements :class:`protocols.core.engine.Engine`."""

    name = "transformers"

    def __init__(self) -> None:
        self._bases: dict[str, Base] = {}
        self._lock = asyncio.Lock()
        self._open = 0

    @property
    def open_streams(self) -> int:
        """Requests being served now."""
        return self._open

    def capabilities(self, model: ModelSpec) -> frozenset[Capability]:
        """Prefill, label scores and adapters, for every local model."""
        return frozenset({"prefill", "score", "adapters"})

    async def load(self, models: Sequence[ModelSpec], progress: LoadProgress | None = None) -> None:
        """Load bases and adapters.

        Every model that can be loaded is; the first failure is raised afterwards.
        """
        failures: list[StudioError] = []
        async with self._lock:
            for number, model in enumerate(models):
                if progress and not self._is_warm(model):
                    progress(number, len(models), f"Loading {model.title}")
                try:
                    await self._load_one(model)
                except StudioError as error:
                    failures.append(error)
        if failures:
            raise failures[0]

    def _is_warm(self, model: ModelSpec) -> bool:
        base = self._bases.get(_key(model))
        return base is not None and (not model.adapter or model.adapter in base.adapters)

    async def _load_one(self, model: ModelSpec) -> None:
        if self._is_warm(model):
            return
        await asyncio.to_thread(check_model, model)
        key = _key(model)
        if key not in self._bases:
            self._bases[key] = await asyncio.to_thread(_load_base, model)
        base = self._bases[key]
        if model.adapter:
            folder = Path(model.adapter)
            add = base.worker.stack.add
            await asyncio.wrap_future(
                base.worker.add_adapter(model.adapter, lambda: add(model.adapter, folder))
            )
            base.adapters.add(model.adapter)

    async def unload(self, model: ModelSpec) -> None:
        """Remove an adapter, or free a base with everything on it."""
        base = self._bases.get(_key(model))
        if base is None:
            return
        if not model.adapter:
            self._bases.pop(_key(model))
            await asyncio.to_thread(base.worker.stop)
        elif model.adapter in base.adapters:
            base.adapters.discard(model.adapter)
            await asyncio.wrap_future(base.worker.remove_adapter(model.adapter))

    async def _ready(self, model: ModelSpec) -> Base:
        """The model's base with its adapter, loaded if need be; a dead worker is replaced."""
        base = self._bases.get(_key(model))
        if base and not base.worker.alive:
            del self._bases[_key(model)]
        if not self._is_warm(model):
            await self.load([model])
        return self._bases[_key(model)]

    async def stream(self, request: GenerateRequest) -> AsyncGenerator[Chunk, None]:
        """Generate; closing the iterator takes the row out of the batch before the next step."""
        from protocols.engines.batch_worker import Row
        from protocols.engines.streaming_text import StreamingText

        base = await self._ready(request.model)
        ids = base.prompter.fitting(request.model, request.messages, request.prefix)
        loop, said = asyncio.get_running_loop(), asyncio.Queue[Said]()

        def hear(text: str, tokens: int, finish: Finish | None) -> None:
            # The caller's loop may be closed by now; then nobody listens.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(said.put_nowait, (text, tokens, finish))

        most = min(request.sampling.max_tokens, base.prompter.window - len(ids))
        sampling = request.sampling.model_copy(update={"max_tokens": most})
        text = StreamingText(base.prompter.tokenizer, ids)
        row = Row(ids, request.model.adapter, sampling, text, hear)
        self._open += 1
        try:
            base.worker.submit(row)
            async for chunk in self._chunks(request, said, len(ids)):
                yield chunk
        finally:
            row.cancelled.set()
            self._open -= 1

    async def _chunks(
        self, request: GenerateRequest, said: asyncio.Queue[Said], prompt_tokens: int
    ) -> AsyncGenerator[Chunk, None]:
        while True:
            text, tokens, finish = await said.get()
            if finish == "abort":
                raise EngineError(
                    f"'{request.model.title}' could not go on; the log has the details. Run again."
                )
            yield Chunk(text, tokens, finish, prompt_tokens if finish else 0)
            if finish:
                return

    async def score(self, request: ScoreRequest) -> Scores:
        """Label log-probabilities from one forward pass."""
        from protocols.engines.batch_worker import ScoreJob

        base = await self._ready(request.model)
        ids = base.prompter.fitting(request.model, request.messages, request.prefix)
        labels = base.prompter.label_ids(request.model, request.labels, request.prefix)
        job = ScoreJob(ids, request.model.adapter, labels)
        self._open += 1
        try:
            base.worker.submit(job)
            found = await asyncio.wrap_future(job.done)
        except (StudioError, asyncio.CancelledError):
            raise
        except Exception as error:
            log.exception("score %s", request.id)
            raise EngineError(f"'{request.model.title}' could not score the options.") from error
        finally:
            self._open -= 1
        return Scores(dict(zip(request.labels, found, strict=True)), len(ids))

    def window(self, model: ModelSpec) -> int:
        """Context length in tokens. Raises :class:`EngineError` before the model is loaded."""
        return self._prompter(model).window

    def count_tokens(self, model: ModelSpec, messages: Sequence[Message], prefix: str = "") -> int:
        """Length of the rendered prompt in tokens."""
        return len(self._prompter(model).ids(model, messages, prefix))

    def _prompter(self, model: ModelSpec) -> Prompter:
        base = self._bases.get(_key(model))
        if base is None:
            raise EngineError(f"'{model.title}' is not loaded.")
        return base.prompter

    async def close(self) -> None:
        """End all workers."""
        for base in self._bases.values():
            await asyncio.to_thread(base.worker.stop)
        self._bases.clear()


def _key(model: ModelSpec) -> str:
    return f"{model.source}@{model.revision}"


def _load_base(model: ModelSpec) -> Base:
    """Load a base and start its worker. Takes seconds."""
    from protocols.engines.batch_worker import BatchWorker
    from protocols.engines.loading import load_weights

    loaded = load_weights(model)
    worker = BatchWorker(loaded.network, loaded.ends, loaded.device)
    return Base(worker, Prompter(loaded.tokenizer, loaded.window))
