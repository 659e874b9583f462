"""Models in this process with transformers: many adapters of one base in one forward pass.

Serves machines without vLLM, and processors, where it is faster than vLLM for many adapters. It
knows requests and base models; one worker thread per base does the computing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from protocols.core.engine import Chunk, GenerateRequest, LoadProgress, ScoreRequest, Scores
from protocols.core.errors import ContributorError, EngineError, StudioError
from protocols.core.events import Finish
from protocols.core.models import Capability, ModelSpec
from protocols.engines.checks import check_model
from protocols.engines.prompter import Prompter
from protocols.lib.prompts import Message

if TYPE_CHECKING:
    from protocols.engines.batch_worker import BatchWorker

log = logging.getLogger(__name__)
WINDOW = 8192
"""Longest context that is served, in tokens."""
AGREE = 0.05
"""Largest relative difference of logits that bf16 explains (measured: 0.01)."""
Said = tuple[str, int, Finish | None]


class Base:
    """A loaded base model: its worker and its tokenizer."""

    def __init__(self, worker: BatchWorker, prompter: Prompter) -> None:
        self.worker, self.prompter = worker, prompter
        self.adapters: set[str] = set()


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
    """Load weights and tokenizer; safetensors only, never remote code. Takes seconds."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from protocols.engines.batch_worker import BatchWorker
    from protocols.engines.slots import ATTENTION

    device = "cuda" if torch.cuda.is_available() else "cpu"
    revision: dict[str, Any] = {"revision": model.revision} if model.revision else {}
    try:
        tokenizer = AutoTokenizer.from_pretrained(model.source, **revision)
        loaded = AutoModelForCausalLM.from_pretrained(
            model.source,
            dtype=torch.bfloat16,
            attn_implementation=ATTENTION,
            use_safetensors=True,
            **revision,
        )
    except Exception as error:
        log.exception("loading %s", model.id)
        raise ContributorError(
            f"'{model.title}' could not be loaded ({type(error).__name__}): its files are not a "
            "model that transformers knows. python -m studio pool check says more."
        ) from error
    window = _window(loaded.config)
    loaded = loaded.to(device).eval()
    if not _agrees(loaded):
        raise ContributorError(
            f"'{model.title}' is built in a way ({loaded.config.model_type}) that cannot be batched "
            "here. Serve it elsewhere and give its endpoint as the source."
        )
    ends = _end_ids(loaded, tokenizer)
    return Base(BatchWorker(loaded, ends, device), Prompter(tokenizer, window))


def _window(config: Any) -> int:
    """Context length in tokens; layers that see a sliding window only are not let go beyond it."""
    window = min(WINDOW, getattr(config, "max_position_embeddings", None) or WINDOW)
    slides = "sliding_attention" in (getattr(config, "layer_types", None) or ["sliding_attention"])
    return min(window, getattr(config, "sliding_window", None) or window) if slides else window


def _agrees(model: Any) -> bool:
    """Whether the slot cache computes what the model's own code does, on a short prompt.

    Architectures whose attention does more (soft caps, sinks, recurrent layers) would otherwise
    answer wrongly without an error.
    """
    import torch

    from protocols.engines.slots import ATTENTION, SlotCache

    ids = torch.arange(3, 19, device=model.device)[None] % model.config.vocab_size
    cache = SlotCache(1, model.dtype, str(model.device))
    try:
        with torch.inference_mode():
            model.set_attn_implementation("eager")
            wanted = model(input_ids=ids, use_cache=False).logits[0, -1].float()
            model.set_attn_implementation(ATTENTION)
            given = [{"ids": ids[:, :8], "at": 0}, {"ids": ids[:, 8:], "at": 8}]
            for part in given:
                size = part["ids"].shape[1]
                out = model(
                    input_ids=part["ids"],
                    position_ids=torch.arange(part["at"], part["at"] + size, device=ids.device)[
                        None
                    ],
                    attention_mask=cache.aim(0, [part["at"]], size),
                    past_key_values=cache,
                    use_cache=True,
                )
    except Exception:
        log.exception("%s does not work with slots", model.config.model_type)
        return False
    found = out.logits[0, -1].float()
    return bool((found - wanted).abs().max() <= AGREE * (1 + wanted.abs().max()))


def _end_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    """Every token that ends a text, from the generation config and the tokenizer."""
    given = model.generation_config.eos_token_id
    ids = given if isinstance(given, list) else [given]
    return frozenset(i for i in (*ids, tokenizer.eos_token_id) if i is not None)
