"""One running vLLM engine: who is being answered on it, and how it ends without cutting anybody.

``AsyncLLM.shutdown`` leaves its open requests waiting for ever, so they are ended before it.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from protocols.engines.prompter import Prompter

log = logging.getLogger(__name__)
PATIENCE_S, TRIES = 0.2, 25
"""How long aborted requests have to leave before their engine is shut down all the same."""


@dataclass(eq=False)
class Base:
    """A running engine for one base model. A ``leaving`` one takes no more requests."""

    engine: Any
    prompter: Prompter
    slots: int
    rank: int
    asleep: bool = False
    leaving: bool = False
    adapters: dict[str, Any] = field(default_factory=dict)
    """LoRA requests by adapter folder."""
    _open: set[str] = field(default_factory=set)
    _idle: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self._idle.set()

    @property
    def ready(self) -> bool:
        """Whether it takes requests."""
        return not (self.asleep or self.leaving or self.dead)

    @property
    def dead(self) -> bool:
        """Whether its processes have ended."""
        return self.engine is None or bool(self.engine.errored)

    @contextmanager
    def serving(self, request_id: str) -> Iterator[None]:
        """While it is open, the request counts as being answered."""
        self._open.add(request_id)
        self._idle.clear()
        try:
            yield
        finally:
            self._open.discard(request_id)
            if not self._open:
                self._idle.set()

    async def emptied(self) -> None:
        """Take no more requests, and return when the open ones were answered."""
        self.leaving = True
        try:
            await self._idle.wait()
        except asyncio.CancelledError:
            self.leaving = False
            raise

    async def end(self) -> None:
        """End its processes; requests that are still open fail."""
        self.leaving = True
        try:
            await self._abort_open()
        except Exception as error:  # it died just now; what is left of it is ended all the same
            log.warning("vLLM did not end its requests: %s", error)
        finally:
            await asyncio.to_thread(shut_down, self)

    async def _abort_open(self) -> None:
        for _ in range(TRIES):
            if self._idle.is_set() or self.dead:
                break
            await self.engine.abort(list(self._open))
            with suppress(TimeoutError):
                await asyncio.wait_for(self._idle.wait(), PATIENCE_S)


def shut_down(base: Base) -> None:
    """End an engine's processes; collected now, as its finaliser fails at interpreter exit."""
    engine, base.engine = base.engine, None
    if engine is not None:
        engine.shutdown()
        del engine
        gc.collect()


def shut_down_left(left: weakref.ref[Base]) -> None:
    """End what nobody has closed, while there still is an interpreter."""
    base = left()
    if base is not None:
        shut_down(base)
