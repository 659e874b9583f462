"""A call that has been sent: what has been heard of it and what it has cost so far."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field

from protocols.core.call import AnyCall
from protocols.core.engine import Chunk
from protocols.core.errors import EngineError
from protocols.core.events import Finish, Usage

LEAST_LOGPROB = -1e4
"""Stands for impossible: infinities cannot travel as JSON."""


@dataclass(eq=False)
class Opened:
    """A call between its start and its end. ``sent`` is monotonic seconds."""

    call: AnyCall
    sent: float
    text: list[str] = field(default_factory=list)
    tokens: int = 0
    prompt_tokens: int = 0
    first: float | None = None
    finish: Finish = "stop"

    def take(self, chunk: Chunk) -> bool:
        """Keep a piece of the stream; returns whether it has text."""
        self.tokens += chunk.tokens
        self.prompt_tokens = chunk.prompt_tokens or self.prompt_tokens
        self.finish = chunk.finish or self.finish
        if not chunk.text:
            return False
        if self.first is None:
            self.first = round(time.monotonic() - self.sent, 4)
        self.text.append(chunk.text)
        return True

    def usage(self) -> Usage:
        """What it has cost until now."""
        return Usage(
            prompt_tokens=self.prompt_tokens,
            completion_tokens=self.tokens,
            seconds=round(time.monotonic() - self.sent, 4),
            first_token_s=self.first,
        )


def finite(logprob: float) -> float:
    """The log-probability as a finite number. Raises :class:`EngineError` for one that is none."""
    if math.isnan(logprob):
        raise EngineError("The model's scores are not numbers; its weights may be damaged.")
    return max(min(logprob, 0.0), LEAST_LOGPROB)
