"""What the runner needs from an engine: text streams and label scores for contributed models.

An engine keeps models warm and batches requests itself. It knows nothing about protocols.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from protocols.core.events import Finish
from protocols.core.models import Capability, ModelSpec, Sampling
from protocols.lib.prompts import Message

LoadProgress = Callable[[float, float, str], None]
"""Called with (done, total, sentence) while models load; may be called from any thread."""


@dataclass(frozen=True)
class GenerateRequest:
    """Generate text. ``prefix`` is an assistant prefill: the model continues it, ``Chunk.text``
    does not repeat it. ``id`` is unique among the engine's open requests.
    """

    id: str
    model: ModelSpec
    messages: Sequence[Message]
    sampling: Sampling
    prefix: str = ""


@dataclass(frozen=True)
class ScoreRequest:
    """Score each single-character label as the next token after the prompt and ``prefix``.

    After a prefix that does not end in white space the label is scored with a leading space.
    """

    id: str
    model: ModelSpec
    messages: Sequence[Message]
    labels: tuple[str, ...]
    prefix: str = ""


@dataclass(frozen=True)
class Chunk:
    """A piece of a stream. The last one has ``finish`` set and the token counts of the request."""

    text: str
    tokens: int = 1
    finish: Finish | None = None
    prompt_tokens: int = 0


@dataclass(frozen=True)
class Scores:
    """Natural-log probability of each label under the model's full next-token distribution."""

    logprobs: dict[str, float]
    prompt_tokens: int = 0


@runtime_checkable
class Engine(Protocol):
    """Where tokens come from.

    Contract, tested over every engine: a stream closed early frees its request at once; UTF-8 is
    never split; a stop string ends the text and is not part of it; the same seed repeats;
    concurrent requests do not mix; a base or adapter request has the same log-probabilities alone
    and in a mixed batch (within the stated tolerance). Failures raise
    :class:`~protocols.core.errors.EngineError` or ``ContributorError``.
    """

    @property
    def name(self) -> str:
        """What the engine is called in traces and by ``doctor``."""

    @property
    def open_streams(self) -> int:
        """How many requests are being served now."""

    def capabilities(self, model: ModelSpec) -> frozenset[Capability]:
        """What the engine can do with this model."""

    async def load(self, models: Sequence[ModelSpec], progress: LoadProgress | None = None) -> None:
        """Make models ready; those already warm cost nothing."""

    async def unload(self, model: ModelSpec) -> None:
        """Free what the model holds. Unknown models are ignored."""

    def stream(self, request: GenerateRequest) -> AsyncGenerator[Chunk, None]:
        """Generate. Closing the iterator (or cancelling its task) aborts the request."""

    async def score(self, request: ScoreRequest) -> Scores:
        """Score labels in one forward pass."""

    def window(self, model: ModelSpec) -> int:
        """Context length in tokens, prompt and answer together."""

    def count_tokens(self, model: ModelSpec, messages: Sequence[Message], prefix: str = "") -> int:
        """Length of the rendered prompt in tokens."""

    async def close(self) -> None:
        """End everything; the engine cannot be used afterwards."""
