"""What travels between the studio and its actors on a Ray cluster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from protocols.core import errors
from protocols.core.engine import Chunk, Engine
from protocols.core.errors import EngineError, LostModels, StudioError
from protocols.core.models import ModelSpec
from protocols.lib.prompts import Message


class Counter(Protocol):
    """Counts a base's prompts. It is sent to the studio, where counting must not wait."""

    window: int

    def length(self, model: ModelSpec, messages: Sequence[Message], prefix: str = "") -> int:
        """Number of the prompt's tokens."""


class Countable(Engine, Protocol):
    """An engine that can serve inside an actor."""

    def prompter(self, model: ModelSpec) -> Counter:
        """What counts a model's prompts. Raises :class:`EngineError` before it is loaded."""


@dataclass(frozen=True)
class Failure:
    """An expected error as data: exceptions with arguments of their own do not survive pickling."""

    kind: str
    message: str
    models: Mapping[str, Failure] = field(default_factory=dict)
    """Why each of the models of a fused text cannot take part."""

    @classmethod
    def of(cls, error: StudioError) -> Failure:
        """Describe an error."""
        lost = {name: cls.of(own) for name, own in _lost(error).items()}
        return cls(type(error).__name__, error.message, lost)

    def error(self) -> StudioError:
        """The error again; of an unknown kind it is an :class:`EngineError`."""
        if self.models:
            return LostModels({name: own.error() for name, own in self.models.items()})
        kind = getattr(errors, self.kind, EngineError)
        known = isinstance(kind, type) and issubclass(kind, StudioError)
        made: StudioError = kind(self.message) if known else EngineError(self.message)
        return made


def _lost(error: StudioError) -> Mapping[str, StudioError]:
    return error.errors if isinstance(error, LostModels) else {}


@dataclass(frozen=True)
class Place:
    """Where an actor lives."""

    node: str
    address: str
    pid: int
    engine: str


@dataclass(frozen=True)
class Loaded:
    """What came of loading: counters by base, and the first failure."""

    counters: Mapping[str, Counter]
    failure: Failure | None = None


Part = tuple[Chunk, ...] | Failure
"""What a stream sends at once: the chunks since the last time, or why it ends."""


def base_of(model: ModelSpec) -> str:
    """Names a model's base: models with the same one share an actor."""
    return f"{model.source}@{model.revision}"
