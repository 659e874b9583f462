"""What a client asks: the chat-completions request, and the run that answers it.

The wire format is OpenAI's *Create chat completion*; fields that a run has no meaning for are
refused with a sentence rather than ignored, because ignoring them would change answers in silence.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from protocols.core.errors import UserError
from protocols.core.models import ModelSpec, RunSpec, Sampling
from protocols.core.registry import get_protocol
from studio.headless import first_problem
from studio.pool import Pool

SEPARATOR = "@"
REFUSED = {
    "tools": "Protocols call models, not tools",
    "functions": "Protocols call models, not functions",
    "response_format": "Answers are plain text",
    "logprobs": "An answer of several models has no log-probabilities",
    "audio": "Answers are plain text",
}
"""Fields that would change what is asked for, and why they cannot be honoured."""


class Part(BaseModel):
    """A piece of a message; only text can be read."""

    model_config = ConfigDict(extra="ignore")
    type: str
    text: str = ""


class Message(BaseModel):
    """One turn of the conversation."""

    model_config = ConfigDict(extra="ignore")
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[Part]

    @property
    def text(self) -> str:
        """The turn's text. Raises :class:`UserError` for pictures and sounds."""
        if isinstance(self.content, str):
            return self.content
        if other := next((part.type for part in self.content if part.type != "text"), None):
            raise UserError(f"A message has a part of type '{other[:40]}'; send only text.")
        return "\n".join(part.text for part in self.content)


class StreamOptions(BaseModel):
    """What a stream carries besides the text."""

    model_config = ConfigDict(extra="ignore")
    include_usage: bool = False


class ChatRequest(BaseModel):
    """A chat-completions request. ``config`` holds the protocol's own settings (our extension)."""

    model_config = ConfigDict(extra="allow")
    model: str = Field(min_length=1, max_length=4_000)
    messages: list[Message] = Field(min_length=1, max_length=200)
    stream: bool = False
    stream_options: StreamOptions = StreamOptions()
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=0.0, le=2.0)
    top_p: float | None = Field(None, gt=0.0, le=1.0)
    stop: str | list[str] | None = None
    seed: int | None = Field(None, ge=0, le=2**31 - 1)
    n: int = 1
    config: dict[str, Any] = {}

    def sampling(self, at_most: int) -> Sampling:
        """How every call of the run is sampled; lengths are cut to what the server allows."""
        length = self.max_completion_tokens or self.max_tokens
        stop = [self.stop] if isinstance(self.stop, str) else self.stop or []
        given = {"temperature": self.temperature, "top_p": self.top_p, "stop": tuple(stop)}
        given |= {"max_tokens": min(length, at_most) if length else None}
        return Sampling.model_validate({k: v for k, v in given.items() if v is not None})


def read_request(body: Any) -> ChatRequest:
    """Check a request's body. Raises :class:`UserError` naming the field that cannot be used."""
    if not isinstance(body, Mapping):
        raise UserError("The body must be a JSON object. See the README's part on the API.")
    try:
        asked = ChatRequest.model_validate(body)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][:3])
        raise UserError(f"'{where[:80]}' cannot be used: {first['msg']}.") from None
    for name, why in REFUSED.items():
        if (asked.model_extra or {}).get(name):
            raise UserError(f"'{name}' cannot be used: {why}. Leave it out.")
    if asked.n != 1:
        raise UserError("'n' cannot be used: a run has one answer. Ask again with another seed.")
    return asked


def question_of(messages: Sequence[Message]) -> str:
    """The run's question: the last user turn, after what was said before it.

    Raises :class:`UserError` if the last turn is not the user's.
    """
    *before, last = messages
    if last.role != "user":
        raise UserError("The last message must be the user's; it is the question.")
    rules = [m.text for m in before if m.role in ("system", "developer")]
    turns = [f"{m.role.capitalize()}: {m.text}" for m in before if m.role in ("user", "assistant")]
    blocks = [*rules]
    if turns:
        blocks.append("\n".join(["What was said before:", *turns]))
    return "\n\n".join([*blocks, last.text])


def system_name(protocol: str, pool: str) -> str:
    """The id under which a protocol over a pool is offered as a model."""
    return f"{protocol}{SEPARATOR}{pool}"


def members(
    name: str, pools: Mapping[str, Pool], opening: str, held: Collection[str] = ()
) -> tuple[ModelSpec, ...]:
    """The models that the part after ``@`` names: a pool, ``pool:id,id``, or ``id,id``.

    A whole pool is without the models that are ``held`` in quarantine.

    Raises :class:`UserError` for a pool that is not served.
    """
    pool, colon, ids = name.partition(":")
    if not colon and pool not in pools:
        pool, ids = opening, name
    if pool not in pools:
        known = ", ".join(sorted(pools))
        raise UserError(f"There is no pool '{pool[:80]}'. Known: {known}.")
    specs = {spec.id: spec for spec in pools[pool].specs}
    if not ids:
        return tuple(spec for spec in specs.values() if spec.id not in held)
    if unknown := [one for one in ids.split(",") if one not in specs]:
        raise UserError(
            f"Pool '{pool}' has no model '{unknown[0][:80]}'. Known: {', '.join(specs)}."
        )
    return tuple(specs[one] for one in ids.split(","))


def spec_of(
    asked: ChatRequest,
    pools: Mapping[str, Pool],
    opening: str,
    at_most: int,
    held: Collection[str] = (),
) -> tuple[RunSpec, tuple[ModelSpec, ...]]:
    """The run that answers a request, and its models in order.

    Raises :class:`UserError` for a model name or settings that cannot be used.
    """
    protocol, at, pool = asked.model.partition(SEPARATOR)
    if not at or not protocol:
        raise UserError(
            f"There is no model '{asked.model[:80]}'. A system is named protocol@pool, "
            f"for example {system_name('majority_vote', opening)}; /v1/models lists them."
        )
    get_protocol(protocol)
    models = members(pool or opening, pools, opening, held)
    question = question_of(asked.messages)
    try:
        spec = RunSpec(
            protocol=protocol,
            config=asked.config,
            pool=tuple(model.id for model in models),
            question=question,
            seed=asked.seed or 0,
            sampling=asked.sampling(at_most),
        )
    except ValidationError as error:
        raise UserError(first_problem(error)) from None
    return spec, models
