"""Models served elsewhere: any OpenAI-compatible endpoint, through the official client.

The client does the retries (before the first token only), time-outs and connection pooling. Keys
come from the environment and are never stored or logged. What a server cannot do is known only
when it is asked, so scores and prefill may raise :class:`CapabilityError`.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from protocols.core.engine import (
    Chunk,
    GenerateRequest,
    LoadProgress,
    ScoreRequest,
    Scores,
    WithoutLogits,
)
from protocols.core.errors import CapabilityError, EngineError, StudioError, UserError
from protocols.core.events import Finish
from protocols.core.models import Capability, ModelSpec
from protocols.lib.prompts import Message
from protocols.lib.text import without_control

log = logging.getLogger(__name__)
WINDOW = 8192
"""Assumed context length in tokens, where neither the pool nor the server states one."""
TOP = 20
"""How many likeliest tokens are asked for when labels are scored; the protocol's most."""
CHARS_PER_TOKEN = 3.0
"""A cautious guess: the server's tokenizer is not known here."""
FINISH: dict[str, Finish] = {"stop": "stop", "length": "length"}


@dataclass(eq=False)
class Connection:
    """A client, the ids of the models that use it, and how many of their requests are open."""

    client: Any
    users: set[str] = field(default_factory=set)
    open: int = 0


class OpenAIEngine(WithoutLogits):
    """Implements :class:`protocols.core.engine.Engine` over HTTP."""

    name = "openai"

    def __init__(self) -> None:
        self._connections: dict[tuple[str, str], Connection] = {}
        """By address and the variable with the key."""
        self._places: dict[str, asyncio.Semaphore] = {}
        self._windows: dict[str, int] = {}
        """What servers say about their models' context, by model id."""
        self._open = 0

    @property
    def open_streams(self) -> int:
        """Requests being served now."""
        return self._open

    def capabilities(self, model: ModelSpec) -> frozenset[Capability]:
        """What servers commonly can do; vLLM's can do both."""
        return frozenset({"prefill", "score"})

    async def load(self, models: Sequence[ModelSpec], progress: LoadProgress | None = None) -> None:
        """Ask each endpoint whether it serves the model.

        Every model is asked for; the first :class:`EngineError` is raised afterwards.
        """
        failures: list[StudioError] = []
        for number, model in enumerate(models):
            if progress and _key(model) not in self._connections:
                progress(number, len(models), f"Connecting to {model.title}")
            try:
                await self._check(model)
            except StudioError as error:
                failures.append(error)
        if failures:
            raise failures[0]

    async def _check(self, model: ModelSpec) -> None:
        try:
            async with self._using(model) as client:
                served = [entry async for entry in client.models.list()]
        except Exception as error:
            raise _explained(model, error) from error
        names = [entry.id for entry in served]
        if served and _served_name(model) not in names:
            raise EngineError(
                f"The endpoint of '{model.title}' does not serve '{_served_name(model)}'; it "
                f"serves {', '.join(names[:5])}. Set served_name in the pool entry."
            )
        told = [getattr(e, "max_model_len", None) for e in served if e.id == _served_name(model)]
        if told and type(told[0]) is int and told[0] > 0:
            self._windows[model.id] = told[0]

    @asynccontextmanager
    async def _using(self, model: ModelSpec) -> AsyncGenerator[Any, None]:
        """The endpoint's client with the model's own time-out and retries, for one request."""
        import openai

        key = _key(model)
        if key not in self._connections:
            secret = os.environ.get(model.endpoint.key_variable, "none")
            made = openai.AsyncOpenAI(base_url=model.source, api_key=secret)
            self._connections[key] = Connection(made)
        connection = self._connections[key]
        connection.users.add(model.id)
        connection.open += 1
        try:
            yield connection.client.with_options(
                timeout=model.endpoint.timeout_s, max_retries=model.endpoint.retries
            )
        finally:
            connection.open -= 1
            await self._close_unused(key)

    async def _close_unused(self, key: tuple[str, str]) -> None:
        """Close a connection that no model uses any more and no request is open on."""
        found = self._connections.get(key)
        if found and not found.users and not found.open:
            del self._connections[key]
            await found.client.close()

    def _place(self, model: ModelSpec) -> asyncio.Semaphore:
        """One of the endpoint's places; models at one address share them."""
        if model.source not in self._places:
            self._places[model.source] = asyncio.Semaphore(model.endpoint.parallel)
        return self._places[model.source]

    async def unload(self, model: ModelSpec) -> None:
        """Forget the model; the last one of an endpoint closes the connection.

        Requests that are open go on: they may be another visitor's.
        """
        if connection := self._connections.get(_key(model)):
            connection.users.discard(model.id)
            await self._close_unused(_key(model))

    async def stream(self, request: GenerateRequest) -> AsyncGenerator[Chunk, None]:
        """Generate; closing the iterator closes the connection, which ends it at the server."""
        sampling, begun = request.sampling, False
        self._open += 1
        try:
            async with self._place(request.model), self._using(request.model) as client:
                answer = await client.chat.completions.create(
                    **_common(request.model, request.messages, request.prefix),
                    max_tokens=sampling.max_tokens,
                    temperature=sampling.temperature,
                    top_p=sampling.top_p,
                    seed=sampling.seed,
                    stop=list(sampling.stop) or None,
                    stream=True,
                    stream_options={"include_usage": True},
                )
                async with answer:
                    async for chunk in _chunks(answer):
                        begun = True
                        yield chunk
        except Exception as error:
            raise _explained(request.model, error, begun) from error
        finally:
            self._open -= 1

    async def score(self, request: ScoreRequest) -> Scores:
        """Label log-probabilities out of the likeliest next tokens.

        A label that is not among the likeliest gets the smallest log-probability reported: an
        upper bound. Raises :class:`CapabilityError` if the server reports none.
        """
        import openai

        self._open += 1
        try:
            async with self._place(request.model), self._using(request.model) as client:
                answer = await client.chat.completions.create(
                    **_common(request.model, request.messages, request.prefix),
                    max_tokens=1,
                    temperature=0.0,
                    logprobs=True,
                    top_logprobs=TOP,
                )
        except openai.BadRequestError as error:
            # Asked for a text the same way it would answer: what it refuses is the scores.
            raise CapabilityError(_explained(request.model, error).message) from error
        except Exception as error:
            raise _explained(request.model, error) from error
        finally:
            self._open -= 1
        return Scores(_labels(request, answer), answer.usage.prompt_tokens if answer.usage else 0)

    def window(self, model: ModelSpec) -> int:
        """The context length by the pool entry, else by the server, else assumed."""
        return model.endpoint.window or self._windows.get(model.id, WINDOW)

    def count_tokens(self, model: ModelSpec, messages: Sequence[Message], prefix: str = "") -> int:
        """A cautious estimate from the number of characters."""
        characters = sum(len(m["content"]) for m in messages) + len(prefix)
        return int(characters / CHARS_PER_TOKEN) + 8 * len(messages)

    async def close(self) -> None:
        """Close all connections."""
        while self._connections:
            _, connection = self._connections.popitem()
            await connection.client.close()


def _served_name(model: ModelSpec) -> str:
    return model.served_name or model.id


def _common(model: ModelSpec, messages: Sequence[Message], prefix: str) -> dict[str, Any]:
    """What every request carries; a prefill continues the last, assistant turn (vLLM's way).

    The server's tokenizer is not known here, so everything that any well-known one takes for a
    control token is removed from what is sent.
    """
    turns = [{"role": m["role"], "content": without_control(m["content"])} for m in messages]
    prefix = without_control(prefix)
    if not prefix:
        return {"model": _served_name(model), "messages": turns}
    turns.append({"role": "assistant", "content": prefix})
    extra = {"continue_final_message": True, "add_generation_prompt": False}
    return {"model": _served_name(model), "messages": turns, "extra_body": extra}


async def _chunks(answer: Any) -> AsyncGenerator[Chunk, None]:
    """The server's pieces as ours; token counts come from its last message if it sends them."""
    finish: Finish = "stop"
    counted, prompt, total = 0, 0, None
    async for piece in answer:
        if piece.usage:
            prompt, total = piece.usage.prompt_tokens or 0, piece.usage.completion_tokens
        if not piece.choices:
            continue
        choice = piece.choices[0]
        finish = FINISH.get(choice.finish_reason or "", finish)
        said = choice.delta.content
        if isinstance(said, str) and said:  # the client does not check what servers send
            counted += 1
            yield Chunk(said, 1)
    yield Chunk("", max(0, (total or counted) - counted), finish, prompt)


def _labels(request: ScoreRequest, answer: Any) -> dict[str, float]:
    content = answer.choices[0].logprobs.content if answer.choices[0].logprobs else None
    if not content or not content[0].top_logprobs:
        raise CapabilityError(
            f"The server of '{request.model.title}' reports no log-probabilities, so the model "
            "cannot decide among options. Let another model decide."
        )
    found: dict[str, float] = {}
    for entry in content[0].top_logprobs:
        token = entry.token.strip()
        if token in request.labels:
            found[token] = max(entry.logprob, found.get(token, entry.logprob))
    floor = min(entry.logprob for entry in content[0].top_logprobs)
    return {label: found.get(label, floor) for label in request.labels}


def _key(model: ModelSpec) -> tuple[str, str]:
    return model.source, model.endpoint.key_variable


def _explained(model: ModelSpec, error: Exception, begun: bool = False) -> StudioError:
    """One sentence for a client error, without the request, which may hold a key.

    ``begun`` says that a part of the text was there already.
    """
    import openai

    if isinstance(error, StudioError):
        return error
    where, given = f"The endpoint of '{model.title}'", model.endpoint
    if isinstance(error, openai.BadRequestError):
        return UserError(f"{where} refused the request: {str(error.message)[:200]}")
    gone = "broke off in the middle. Run again." if begun else "cannot be reached. Is it running?"
    key = f"refused the key. Set it in {given.key_variable}."
    sayings: list[tuple[type[Exception], str]] = [
        (openai.AuthenticationError, key),
        (openai.PermissionDeniedError, key),
        (openai.RateLimitError, "takes no more requests now. Lower 'parallel' in its pool entry."),
        (openai.APITimeoutError, f"did not answer in {given.timeout_s:g} s."),
        (openai.APIConnectionError, gone),
    ]
    for kind, saying in sayings:
        if isinstance(error, kind):
            return EngineError(f"{where} {saying}")
    log.error("endpoint of %s", model.id, exc_info=error)
    return EngineError(f"{where} failed ({type(error).__name__}).")
