"""What a client asks: the chat-completions request, and the run that answers it.

The wire format is OpenAI's *Create chat completion*; fields that a run has no meaning for are
refused with a sentence rather than ignored, because ignoring them would change answers in silence.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from protocols.core.errors import UserError
from protocols.core.models import MAX_QUESTION_CHARS, ModelSpec, RunSpec, Sampling
from protocols.core.registry import get_protocol
from studio.headless import first_problem
from studio.pool import Pool

SEPARATOR = "@"
TOO_LONG = "context_length_exceeded"
MOST_STOPS = 16
REFUSED = {
    "tools": "Protocols call models, not tools",
    "tool_choice": "Protocols call models, not tools",
    "parallel_tool_calls": "Protocols call models, not tools",
    "functions": "Protocols call models, not functions",
    "function_call": "Protocols call models, not functions",
    "web_search_options": "Protocols call models, not tools",
    "response_format": "Answers are plain text",
    "modalities": "Answers are plain text",
    "audio": "Answers are plain text",
    "logprobs": "An answer of several models has no log-probabilities",
    "top_logprobs": "An answer of several models has no log-probabilities",
    "presence_penalty": "The models are sampled without penalties",
    "frequency_penalty": "The models are sampled without penalties",
    "logit_bias": "The models have different tokens",
    "prediction": "Nothing is predicted ahead",
    "reasoning_effort": "Effort is a protocol's own settings, under 'config'",
    "verbosity": "Say in the question how long the answer should be",
    "service_tier": "There is one tier",
    "store": "Every run is stored here and has a link",
}
"""Fields of OpenAI's that would change what is asked for, and why they cannot be honoured."""
AS_USUAL: dict[str, tuple[Any, ...]] = {
    "tool_choice": ("none", "auto"),
    "parallel_tool_calls": (True, False),
    "function_call": ("none", "auto"),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "service_tier": ("auto", "default"),
    "store": (True,),
}
"""Values of theirs that ask for nothing but what happens anyway, beside null and empty ones."""
LABELS = frozenset({"user", "metadata", "safety_identifier", "prompt_cache_key"})
"""Fields that say who asks, not what: they change no answer and are not kept."""
ECHOED = frozenset({"reasoning_content", "reasoning", "annotations", "participation"})
"""What clients send back of an earlier answer, beside its text: it was never part of the talk."""


class RefusedError(UserError):
    """A request that cannot be carried out, with what OpenAI's clients are told besides."""

    def __init__(self, message: str, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.param, self.code = param, code


class NoSuchSystemError(RefusedError):
    """Nothing is offered under this name."""

    def __init__(self, message: str) -> None:
        super().__init__(message, "model", "model_not_found")


class Part(BaseModel):
    """A piece of a message; only text can be read."""

    model_config = ConfigDict(extra="ignore")
    type: str
    text: str = ""


class Message(BaseModel):
    """One turn of the conversation."""

    model_config = ConfigDict(extra="allow")
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[Part] | None = None

    @property
    def text(self) -> str:
        """The turn's text. Raises :class:`UserError` for pictures, sounds, and no text at all."""
        if isinstance(self.content, str):
            return self.content
        if self.content is None:
            raise RefusedError(f"A message of the {self.role} has no text. Send text.", "messages")
        if other := next((part.type for part in self.content if part.type != "text"), None):
            raise RefusedError(
                f"A message has a part of type '{other[:40]}'; send only text.", "messages"
            )
        return "\n".join(part.text for part in self.content)


class StreamOptions(BaseModel):
    """What a stream carries besides the text."""

    model_config = ConfigDict(extra="forbid")
    include_usage: bool | None = None
    include_obfuscation: Literal[False] | None = None


class ChatRequest(BaseModel):
    """A chat-completions request. ``config`` holds the protocol's own settings (our extension)."""

    model_config = ConfigDict(extra="allow")
    model: str = Field(min_length=1, max_length=4_000)
    messages: list[Message] = Field(min_length=1, max_length=200)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=0.0, le=2.0)
    top_p: float | None = Field(None, gt=0.0, le=1.0)
    stop: str | list[str] | None = None
    seed: int | None = Field(None, ge=0, le=2**31 - 1)
    n: int | None = None
    config: dict[str, Any] = {}

    @property
    def counts(self) -> bool:
        """Whether a stream was asked to end with its usage."""
        return bool(self.stream_options and self.stream_options.include_usage)

    def sampling(self, at_most: int) -> Sampling:
        """How every call of the run is sampled, each with ``at_most`` tokens.

        Raises :class:`RefusedError` for more tokens than that.
        """
        stop = [self.stop] if isinstance(self.stop, str) else self.stop or []
        given = {"temperature": self.temperature, "top_p": self.top_p, "stop": tuple(stop)}
        given["max_tokens"] = self._length(at_most) or min(at_most, Sampling().max_tokens)
        return Sampling.model_validate({k: v for k, v in given.items() if v is not None})

    def _length(self, at_most: int) -> int | None:
        names = ("max_tokens", "max_completion_tokens")
        given = {name: value for name in names if (value := getattr(self, name)) is not None}
        for name, value in given.items():
            if value > at_most:
                raise RefusedError(
                    f"'{name}' is {value:,}; each call may have {at_most:,} tokens here. Ask for "
                    "less, or leave it out.", name,
                )  # fmt: skip
        if len(set(given.values())) > 1:
            told = "'max_tokens' and 'max_completion_tokens' differ. Send one."
            raise RefusedError(told, names[1])
        return next(iter(given.values()), None)


def read_request(body: Any) -> ChatRequest:
    """Check a request's body. Raises :class:`RefusedError` naming the field that cannot be used.

    Nothing that would change an answer is passed over in silence.
    """
    if not isinstance(body, Mapping):
        raise RefusedError("The body must be a JSON object. See the README's part on the API.")
    try:
        asked = ChatRequest.model_validate(body)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][:3])
        raise RefusedError(f"'{where[:80]}' cannot be used: {first['msg']}.", where[:80]) from None
    for name, value in (asked.model_extra or {}).items():
        _check_extra(name, value)
    for message in asked.messages:
        _check_message(message)
    _check_combinations(asked)
    return asked


def _check_extra(name: str, value: Any) -> None:
    """Refuse a field that has no meaning here, unless it asks for nothing."""
    nothing = value is None or value in ([], {}, "")
    if name in LABELS or nothing or _among(value, AS_USUAL.get(name, ())):
        return
    why = REFUSED.get(name, "It is not known here; a protocol's own settings go under 'config'")
    raise RefusedError(f"'{name[:80]}' cannot be used: {why}. Leave it out.", name[:80])


def _among(value: Any, usual: Sequence[Any]) -> bool:
    """Whether it is one of these, where true is not 1."""
    return any(value == one and isinstance(value, bool) == isinstance(one, bool) for one in usual)


def _check_message(message: Message) -> None:
    for name, value in (message.model_extra or {}).items():
        if value not in (None, [], {}, "") and name not in ECHOED:
            raise RefusedError(
                f"A message has '{name[:80]}', which the models would not see. Leave it out, or "
                "say it in the text.", "messages",
            )  # fmt: skip


def _check_combinations(asked: ChatRequest) -> None:
    if asked.n not in (None, 1):
        told = "'n' cannot be used: a run has one answer. Ask again with another seed."
        raise RefusedError(told, "n")
    if asked.stream_options and not asked.stream:
        raise RefusedError("'stream_options' goes with 'stream'. Leave it out.", "stream_options")
    stops = asked.stop if isinstance(asked.stop, list) else []
    if "" in (asked.stop, *stops) or len(stops) > MOST_STOPS:
        told = f"'stop' cannot be used: send at most {MOST_STOPS} texts, none of them empty."
        raise RefusedError(told, "stop")


def question_of(messages: Sequence[Message]) -> str:
    """The run's question: the last user turn, after what was said before it.

    Raises :class:`UserError` if the last turn is not the user's.
    """
    *before, last = messages
    if last.role != "user":
        raise RefusedError("The last message must be the user's; it is the question.", "messages")
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

    Raises :class:`NoSuchSystemError` for a model name and :class:`RefusedError` for messages and
    settings that cannot be used.
    """
    protocol, models = system_of(asked.model, pools, opening, held)
    question = question_of(asked.messages)
    if len(question) > MAX_QUESTION_CHARS:
        raise RefusedError(
            f"The messages have {len(question):,} characters; at most {MAX_QUESTION_CHARS:,} fit. "
            "Shorten them.", "messages", TOO_LONG,
        )  # fmt: skip
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
        raise RefusedError(first_problem(error)) from None
    return spec, models


def system_of(
    name: str, pools: Mapping[str, Pool], opening: str, held: Collection[str] = ()
) -> tuple[str, tuple[ModelSpec, ...]]:
    """The protocol and the models that a name stands for.

    Raises :class:`NoSuchSystemError` if it stands for none.
    """
    protocol, at, pool = name.partition(SEPARATOR)
    if not at or not protocol:
        raise NoSuchSystemError(
            f"There is no model '{name[:80]}'. A system is named protocol@pool, "
            f"for example {system_name('majority_vote', opening)}; /v1/models lists them."
        )
    try:
        get_protocol(protocol)
        return protocol, members(pool or opening, pools, opening, held)
    except UserError as error:
        raise NoSuchSystemError(error.message) from None
