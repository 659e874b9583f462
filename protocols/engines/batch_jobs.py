"""What a batch worker is asked to do: generate, score, or run a function between two steps."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch

from protocols.core.errors import EngineError
from protocols.core.events import Finish
from protocols.core.models import Sampling
from protocols.engines.fusing import Part
from protocols.engines.streaming_text import StreamingText

BROKEN = "broken"
"""What a row says, with ``abort``, whose model computes numbers that are not finite."""
Hear = Callable[[str, int, Finish | None], None]
"""Called in the worker's thread with (text, tokens, finish)."""


@dataclass(eq=False)
class Row:
    """A request to generate. ``ids`` are its prompt and then all that was fed to the model."""

    ids: list[int]
    adapter: str
    sampling: Sampling
    text: StreamingText
    hear: Hear
    cancelled: threading.Event = field(default_factory=threading.Event)
    generator: torch.Generator = field(default_factory=torch.Generator)
    next_id: int = 0
    made: int = 0
    pending: ClassVar[bool] = False

    def give_up(self) -> None:
        """Tell the caller that nothing more will come."""
        self.hear("", 0, "abort")

    def broke(self) -> None:
        """Tell the caller that nothing more will come because of the model itself."""
        self.hear(BROKEN, 0, "abort")


@dataclass(eq=False)
class ScoreJob:
    """A request for next-token log-probabilities of some token ids."""

    ids: list[int]
    adapter: str
    wanted: list[int]
    done: Future[list[float]] = field(default_factory=Future)

    def give_up(self) -> None:
        """Tell the caller that nothing will come."""
        _fail(self.done)


@dataclass(eq=False)
class Task:
    """A function to run between two steps."""

    act: Callable[[], None]
    done: Future[None] = field(default_factory=Future)

    def run(self) -> None:
        """Run it unless the caller has lost interest."""
        if self.done.set_running_or_notify_cancel():
            try:
                self.act()
            except Exception as error:
                self.done.set_exception(error)
            else:
                self.done.set_result(None)

    def give_up(self) -> None:
        """Tell the caller that it will not be run; as a failure, not as if he had left."""
        _fail(self.done)


def _fail(done: Future[Any]) -> None:
    """Say that the engine stopped; a caller may leave in the very moment that it is said."""
    with suppress(InvalidStateError):
        done.set_exception(EngineError("The engine stopped. Run again: it is loaded."))


Group = tuple[Row | Part, ...]
"""Rows that join the batch together: a plain row alone, the parts of a fusion all or none. Half of
one fusion and half of another would fill the slots and wait for each other for ever."""
