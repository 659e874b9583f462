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
from dataclasses import dataclass, replace
from itertools import islice, zip_longest
from typing import Literal

from protocols.core.engine import (
    Chunk,
    FusedRequest,
    FusedToken,
    GenerateRequest,
    LoadProgress,
    ScoreRequest,
    Scores,
    WithoutLogits,
)
from protocols.core.errors import (
    CapabilityError,
    ContributorError,
    EngineDied,
    EngineError,
    LostModels,
    StudioError,
    UserError,
)
from protocols.core.events import Finish
from protocols.core.models import Capability, ModelSpec
from protocols.lib.prompts import Message

Request = GenerateRequest | ScoreRequest
Fault = Literal["load", "start", "middle", "dead", "empty", "hang"]
Script = str | Mapping[str, str] | Callable[[GenerateRequest], str] | None
ScoreScript = Mapping[str, float] | Callable[[ScoreRequest], Mapping[str, float]] | None
Faults = Mapping[str, Fault] | Collection[str] | Callable[[Request], Fault | bool | None]

PIECE = re.compile(r"\s*\S+|\s+")
WORDS = [
    *("the", "river", "carries", "small", "stones", "past", "old", "mills", "and", "quiet"),
    *("gardens", "while", "seven", "birds", "argue", "about", "rain,", "bread,", "maps,"),
    *("numbers,", "Zürich,", "東京", "🙂", "before", "every", "answer", "ends", "somewhere"),
]


@dataclass(frozen=True)
class WordCounter:
    """Counts prompts in words; ``window`` is the context length in them."""

    window: int

    def length(self, model: ModelSpec, messages: Sequence[Message], prefix: str = "") -> int:
        """Number of words in the messages and the prefix."""
        texts = [message["content"] for message in messages] + [prefix]
        return sum(len(PIECE.findall(text)) for text in texts)


class ScriptedEngine(WithoutLogits):
    """Replays texts and scores.

    ``script`` gives the reply: one text for all, a text by model id, or a function of the request;
    without one the reply depends on model id, seed, messages and prefix only. ``scores`` does the
    same for labels. ``fail`` names what goes wrong by model id or call id: a collection (all fail
    at the start), a mapping to a :data:`Fault`, or a function. ``delay_s`` is waited before each
    chunk of ``chunk`` tokens. ``window`` is the context length in tokens.

    A fused text takes, word by word, what most of the models' own texts have in that place (by
    weight, then alphabetically), until most of them have ended.
    """

    name = "scripted"

    def __init__(
        self,
        script: Script = None,
        scores: ScoreScript = None,
        fail: Faults = (),
        delay_s: float = 0.0,
        chunk: int = 1,
        capabilities: Collection[Capability] = ("prefill", "score", "logits", "adapters"),
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

    @property
    def held(self) -> tuple[ModelSpec, ...]:
        """The models that were loaded."""
        return tuple(self.loaded.values())

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
                    await self._trip(request, fault, ("middle", "dead"))
                part = pieces[start : start + self._chunk]
                yield Chunk("".join(part), len(part))
            await asyncio.sleep(self._delay_s)
            await self._trip(request, fault, ("middle", "dead"))
            yield Chunk("", 0, finish, prompt_tokens)

    async def load_fused(
        self, models: Sequence[ModelSpec], progress: LoadProgress | None = None
    ) -> None:
        """The same as :meth:`load`."""
        await self.load(models, progress)

    async def stream_fused(self, request: FusedRequest) -> AsyncGenerator[Chunk, None]:
        """Fuse the models' own texts word by word, with the faults of each of them."""
        if "logits" not in self._capabilities:
            raise self._cannot(request.models)
        asked = [_own(request, model) for model in request.models]
        with self._serving(*asked):
            prompt_tokens = sum(map(self._admit, asked))
            await self._lose(asked, ("start", "load", "empty", "hang"))
            tokens, finish = self._fused(request, [self._text(one) for one in asked])
            for number, token in enumerate(tokens):
                await asyncio.sleep(self._delay_s)
                if number >= len(tokens) // 2:
                    await self._lose(asked, ("middle", "dead"))
                yield Chunk(token.text, len(asked), fused=(token,))
            await asyncio.sleep(self._delay_s)
            await self._lose(asked, ("middle", "dead"))
            yield Chunk("", 0, finish, prompt_tokens)

    async def _lose(self, asked: Sequence[GenerateRequest], kinds: tuple[Fault, ...]) -> None:
        """Raise :class:`LostModels` for the models whose fault is one of ``kinds``."""
        lost: dict[str, StudioError] = {}
        for request in asked:
            try:
                await self._trip(request, self._fault(request), kinds)
            except EngineError as error:
                lost[request.model.id] = error
        if lost:
            raise LostModels(lost)

    def _fused(self, request: FusedRequest, texts: list[str]) -> tuple[list[FusedToken], Finish]:
        """The words that win their places, and why the text ends."""
        weights = {m.id: w for m, w in zip(request.models, request.weights, strict=True)}
        places = zip_longest(*(PIECE.findall(text) for text in texts), fillvalue="")
        made: list[FusedToken] = []
        for said in islice(places, request.sampling.max_tokens + 1):
            own = dict(zip(weights, said, strict=True))
            word = min(said, key=lambda one: (-_support(one, own, weights), one))
            if not word:
                break
            behind = [m for m, w in weights.items() if own[m] == word and w > 0]
            shares = {m: (m in behind) / len(behind) for m in weights}
            made.append(FusedToken(word, shares, own, 1.0, 0.0))
        whole = "".join(token.text for token in made)
        kept = _before_stop(whole, request.sampling.stop)
        limit = request.sampling.max_tokens
        finish: Finish = "length" if len(made) > limit and kept == whole else "stop"
        return _up_to(made[:limit], len(kept)), finish

    async def score(self, request: ScoreRequest) -> Scores:
        """Scripted label scores, else ones that depend on model, messages and prefix only."""
        with self._serving(request):
            if "score" not in self._capabilities:
                raise CapabilityError(f"'{request.model.title}' cannot score labels.")
            prompt_tokens = self._admit(request)
            await asyncio.sleep(self._delay_s)
            await self._trip(
                request, self._fault(request), ("start", "load", "middle", "dead", "empty", "hang")
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
        return self.prompter(model).length(model, messages, prefix)

    def prompter(self, model: ModelSpec) -> WordCounter:
        """What counts a model's prompts."""
        return WordCounter(self._window)

    async def close(self) -> None:
        """Refuse everything from now on."""
        self.closed = True

    @contextmanager
    def _serving(self, *requests: Request) -> Iterator[None]:
        if self.closed:
            raise EngineError("The engine is closed.")
        self.requests.extend(requests)
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
        if fault == "dead":
            raise EngineDied(f"The engine of '{request.model.title}' stopped (scripted).")
        raise EngineError(f"'{request.model.title}' failed (scripted: {fault}).")

    def _reply(self, request: GenerateRequest, fault: Fault | None) -> tuple[list[str], Finish]:
        text = "" if fault == "empty" else self._text(request)
        text = _before_stop(text, request.sampling.stop)
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


def _own(request: FusedRequest, model: ModelSpec) -> GenerateRequest:
    """What one model of a fusion would be asked alone."""
    return GenerateRequest(request.id, model, request.messages, request.sampling, request.prefix)


def _before_stop(text: str, stops: Sequence[str]) -> str:
    """The text up to the first stop string in it."""
    for stop in stops:
        text = text.partition(stop)[0] if stop else text
    return text


def _up_to(tokens: Sequence[FusedToken], length: int) -> list[FusedToken]:
    """The tokens of the first ``length`` characters."""
    kept, at = [], 0
    for token in tokens:
        text = token.text[: max(0, length - at)]
        at += len(token.text)
        if text:
            kept.append(replace(token, text=text))
    return kept


def _support(word: str, own: Mapping[str, str], weights: Mapping[str, float]) -> float:
    """Summed weight of the models that have this word; who trusts nobody else decides nothing."""
    trusted = any(said == word and weights[m] > 0 for m, said in own.items())
    return sum(weights[m] for m, said in own.items() if said == word) if trusted else -1e9


def _key(request: Request) -> str:
    """Name what a default reply depends on."""
    content = json.dumps([request.model.id, list(request.messages), request.prefix])
    return hashlib.sha256(content.encode()).hexdigest()
