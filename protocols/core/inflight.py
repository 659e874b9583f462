"""A call that has been sent: what has been heard of it and what it has cost so far."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field, replace

from protocols.core.call import AnyCall
from protocols.core.engine import Chunk
from protocols.core.errors import EngineError
from protocols.core.events import Finish, Usage

LEAST_LOGPROB = -1e4
"""Stands for impossible: infinities cannot travel as JSON."""
TOKEN_CHARS = 128
"""No text has more characters than this for each of its tokens; the longest runs of spaces do."""


@dataclass(eq=False)
class InFlightCall:
    """A call between its start and its end. ``sent`` is monotonic seconds.

    ``most`` is the number of tokens it may cost. An endpoint that goes on beyond them is not heard
    any further, whatever it claims that its chunks cost.
    """

    call: AnyCall
    sent: float
    most: int = 0
    text: list[str] = field(default_factory=list)
    tokens: int = 0
    prompt_tokens: int = 0
    first: float | None = None
    finish: Finish = "stop"
    heard: int = 0
    full: bool = False

    def within(self, chunk: Chunk) -> Chunk:
        """As much of a piece of the stream as the call may still cost; marks the call as full.

        Half characters (lone surrogates), which cannot be stored, become question marks.
        """
        if not chunk.text.isascii():
            chunk = replace(chunk, text=chunk.text.encode("utf-8", "replace").decode())
        room = self.most * TOKEN_CHARS - self.heard
        left = self.most - self.tokens
        if chunk.tokens <= left and len(chunk.text) <= room:
            return chunk
        self.full = True
        text = chunk.text[:room] if chunk.tokens <= left or not left else ""
        return replace(chunk, text=text, tokens=min(chunk.tokens, left), finish="length")

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
        self.heard += len(chunk.text)
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
