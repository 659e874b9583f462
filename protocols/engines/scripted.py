"""A deterministic engine for tests: its texts come from a script and it fails on demand.

It follows the engine contract but knows no language model. Nothing a user sees by default runs on
it. A token is a word with the white space before it.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import re
from collections.abc import AsyncGenerator, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Literal

from protocols.core.engine import Chunk, GenerateRequest, LoadProgress, ScoreRequest, Scores
from protocols.core.errors import CapabilityError, ContributorError, EngineError, UserError
from protocols.core.events import Finish
from protocols.core.models import Capability, ModelSpec
from protocols.lib.prompts import Message

Request = GenerateRequest | ScoreRequest
Fault = Literal["load", "start", "middle", "empty", "hang"]
Script = str | Mapping[str, str] | Callable[[GenerateRequest], str] | None
ScoreScript = Mapping[str, float] | Callable[[ScoreRequest], Mapping[str, float]] | None
Faults = Mapping[str, Fault] | Collection[str] | Callable[[Request], Fault | bool | None]

PIECE = re.compile(r"\s*\S+|\s+")
WORDS = [
    *("the", "river", "carries", "small", "stones", "past", "old", "mills", "and", "quiet"),
    *("gardens", "while", "seven", "birds", "argue", "about", "rain,", "bread,", "maps,"),
    *("numbers,", "Zürich,", "東京", "🙂", "before", "every", "answer", "ends", "somewhere"),
]


class ScriptedEngine:
    """Replays texts and scores.

    ``script`` gives the reply: one text for all, a text by model id, or a function of the request;
    without one the reply depends on model id, seed, messages and prefix only. ``scores`` does the
    same for labels. ``fail`` names what goes wrong by model id or call id: a collection (all fail
    at the start), a mapping to a :data:`Fault`, or a function. ``delay_s`` is waited before each
    chunk of ``chunk`` tokens. ``window`` is the context length in tokens.
    """

    name = "scripted"

    def __init__(
        self,
        script: Script = None,
        scores: ScoreScript = None,
        fail: Faults = (),
        delay_s: float = 0.0,
        chunk: int = 1,
        capabilities: Collection[Capability] = ("prefill", "score", "adapters"),
        window: int = 8192,
    ) -> None:
        self._script, self._scores, self._fail = script, scores, fail
        self._delay_s, self._chunk, self._window = delay_s, max(1, chunk), window
        self._capabilities = frozenset(capabilities)
        self.open_streams = 0
        self.peak_streams = 0
        self.requests: list[Request] = []
        self.loaded: dict[str, ModelSpec] = {}
        self.closed = False

    def capabilities(self, model: ModelSpec) -> frozenset[Capability]:
        """What the engine was told it can do, the same for every model."""
        return self._capabilities

    async def load(self, models: Sequence[ModelSpec], progress: LoadProgress | None = None) -> None:
        """Remember the models. Raises :class:`ContributorError` for those scripted to fail."""
        broken: list[str] = []
        for done, model in enumerate(models):
            if progress and model.id not in self.loaded:
                progress(done, len(models), f"Loading {model.title}")
            if isinstance(self._fail, Mapping) and self._fail.get(model.id) == "load":
                broken.append(model.title)
            else:
                self.loaded[model.id] = model
        if broken:
            raise ContributorError(f"'{broken[0]}' cannot be loaded (scripted).")

    async def unload(self, model: ModelSpec) -> None:
        """Forget the model."""
        self.loaded.pop(model.id, None)

    async def stream(self, request: GenerateRequest) -> AsyncGenerator[Chunk, None]:
        """Replay the reply in chunks, with ``max_tokens``, stop strings and scripted faults."""
        with self._serving(request):
            fault = self._fault(request)
            prompt_tokens = self._admit(request)
            if request.prefix and "prefill" not in self._capabilities:
                raise CapabilityError(f"'{request.model.title}' cannot continue a given text.")
            await self._trip(request, fault, ("start", "load", "hang"))
            pieces, finish = self._reply(request, fault)
            for start in range(0, len(pieces), self._chunk):
                await asyncio.sleep(self._delay_s)
                if start and start >= len(pieces) // 2:
                    await self._trip(request, fault, ("middle",))
                part = pieces[start : start + self._chunk]
                yield Chunk("".join(part), len(part))
            await asyncio.sleep(self._delay_s)
            await self._trip(request, fault, ("middle",))
            yield Chunk("", 0, finish, prompt_tokens)

    async def score(self, request: ScoreRequest) -> Scores:
        """Scripted label scores, else ones that depend on model, messages and prefix only."""
        with self._serving(request):
            if "score" not in self._capabilities:
                raise CapabilityError(f"'{request.model.title}' cannot score labels.")
            prompt_tokens = self._admit(request)
            await asyncio.sleep(self._delay_s)
            await self._trip(
                request, self._fault(request), ("start", "load", "middle", "empty", "hang")
            )
            given = self._scores(request) if callable(self._scores) else self._scores
            if given is not None:
                return Scores({label: given[label] for label in request.labels}, prompt_tokens)
            rng = random.Random(_key(request))
            raw = {label: rng.uniform(-6.0, -0.5) for label in request.labels}
            return Scores(raw, prompt_tokens)

    def window(self, model: ModelSpec) -> int:
        """The scripted context length."""
        return self._window

    def count_tokens(self, model: ModelSpec, messages: Sequence[Message], prefix: str = "") -> int:
        """Number of words in the messages and the prefix."""
        texts = [message["content"] for message in messages] + [prefix]
        return sum(len(PIECE.findall(text)) for text in texts)

    async def close(self) -> None:
        """Refuse everything from now on."""
        self.closed = True

    @contextmanager
    def _serving(self, request: Request) -> Iterator[None]:
        if self.closed:
            raise EngineError("The engine is closed.")
        self.requests.append(request)
        self.open_streams += 1
        self.peak_streams = max(self.peak_streams, self.open_streams)
        try:
            yield
        finally:
            self.open_streams -= 1

    def _admit(self, request: Request) -> int:
        used = self.count_tokens(request.model, request.messages, request.prefix)
        if used >= self._window:
            raise UserError(
                f"The prompt for '{request.model.title}' has {used:,} tokens; its context holds "
                f"{self._window:,}. Shorten the question."
            )
        return used

    def _fault(self, request: Request) -> Fault | None:
        if callable(self._fail):
            found = self._fail(request)
            return "start" if found is True else found or None
        for name in (request.model.id, request.id, request.id.partition("/")[2]):
            if name in self._fail:
                return self._fail[name] if isinstance(self._fail, Mapping) else "start"
        return None

    async def _trip(self, request: Request, fault: Fault | None, kinds: tuple[Fault, ...]) -> None:
        """Go wrong now if the fault is one of ``kinds``."""
        if fault is None or fault not in kinds:
            return
        if fault == "hang":
            await asyncio.Event().wait()
        raise EngineError(f"'{request.model.title}' failed (scripted: {fault}).")

    def _reply(self, request: GenerateRequest, fault: Fault | None) -> tuple[list[str], Finish]:
        text = "" if fault == "empty" else self._text(request)
        for stop in request.sampling.stop:
            text = text.partition(stop)[0] if stop else text
        pieces = PIECE.findall(text)
        limit = request.sampling.max_tokens
        return (pieces[:limit], "length") if len(pieces) > limit else (pieces, "stop")

    def _text(self, request: GenerateRequest) -> str:
        if isinstance(self._script, str):
            return self._script
        if callable(self._script):
            return self._script(request)
        if self._script is not None and request.model.id in self._script:
            return self._script[request.model.id]
        rng = random.Random(f"{_key(request)}/{request.sampling.seed}")
        return " ".join(rng.choices(WORDS, k=rng.randint(8, 40))) + "."


def _key(request: Request) -> str:
    """Name what a default reply depends on."""
    content = json.dumps([request.model.id, list(request.messages), request.prefix])
    return hashlib.sha256(content.encode()).hexdigest()
