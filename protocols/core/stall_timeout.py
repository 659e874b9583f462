"""How long a call waits for an engine that gives no sign of life.

A call whose text has begun must go on. One that waits in its engine's queue has time as long as
the engine serves others in the same place: a big wave on a slow machine is no dead engine.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from weakref import WeakKeyDictionary

from protocols.core.engine import Engine
from protocols.core.lost_engines import place_of
from protocols.core.models import ModelSpec

_PULSES: WeakKeyDictionary[Engine, dict[str, float]] = WeakKeyDictionary()
"""When each engine last gave a sign of life, by place, over all runs (seconds of the loop)."""


class StallTimeout:
    """The patience with one call. Its models are served where their bases or endpoints are."""

    def __init__(self, engine: Engine, models: Sequence[ModelSpec], stall_s: float) -> None:
        self._stall_s = stall_s
        self._pulse = _PULSES.setdefault(engine, {})
        self._places = {place_of(model) for model in models}
        self._loop = asyncio.get_running_loop()
        self._heard = self._loop.time()
        self._begun = False

    def hear(self) -> None:
        """The call itself got something: from now on others do not count."""
        self._begun, self._heard = True, self._loop.time()
        self._pulse.update(dict.fromkeys(self._places, self._heard))

    def _left(self) -> float:
        last = self._heard
        if not self._begun:
            last = max([last, *(self._pulse.get(place, 0.0) for place in self._places)])
        return last + self._stall_s - self._loop.time()

    @asynccontextmanager
    async def waiting(self) -> AsyncGenerator[None, None]:
        """Wait inside. Raises :class:`TimeoutError` once the silence has lasted too long."""
        async with asyncio.timeout(None) as limit:
            timers: list[asyncio.TimerHandle] = []
            self._look(limit, timers)
            try:
                yield
            finally:
                for timer in timers:
                    timer.cancel()

    def _look(self, limit: asyncio.Timeout, timers: list[asyncio.TimerHandle]) -> None:
        """Looked at when it might be over, not at every word: a wave has many of both."""
        left = self._left()
        if left <= 0:
            limit.reschedule(self._loop.time())
        else:
            timers[:] = [self._loop.call_later(left, self._look, limit, timers)]
