"""Threads that train or search for a fit, and what they report meanwhile.

They cannot be killed, so they are told: once a fit is over, the next report raises.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from protocols.core.errors import StudioError
from protocols.core.events import Event

T = TypeVar("T")


class FitStopped(StudioError):
    """Raised inside a worker's report once nobody waits for the worker any more."""

    owner = "user"


class Workers:
    """The threads of one fit. Made inside the fit's event loop."""

    def __init__(self, settle: Callable[[], None]) -> None:
        """``settle`` is called once, when the fit is over and its last thread has ended."""
        self.mail: asyncio.Queue[Event | None] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        self._settle = settle
        self._running, self._closed, self._settled = 0, False, False
        self.threads: set[int] = set()
        """The ids of the threads that work now."""
        self._lock = threading.Lock()

    async def run(self, function: Callable[[], T]) -> T:
        """The function's result; the thread goes on alone if the caller is cancelled."""
        with self._lock:
            self._running += 1
        # Shielded: a function that still waited for a thread would be dropped without a trace, and
        # the fit would never settle.
        return await asyncio.shield(self._loop.run_in_executor(None, self._guarded, function))

    def _guarded(self, function: Callable[[], T]) -> T:
        me = threading.get_ident()
        self.threads.add(me)
        try:
            if self._closed:
                raise FitStopped("The fit was stopped.")
            return function()
        finally:
            self.threads.discard(me)
            self._leave()

    def _leave(self, running: int = 1, closed: bool = False) -> None:
        with self._lock:
            self._running -= running
            self._closed = self._closed or closed
            over = self._closed and not self._running and not self._settled
            self._settled = self._settled or over
        if over:
            self._settle()

    def tell(self, event: Event) -> None:
        """Pass an event on. Raises :class:`FitStopped` when nobody listens."""
        if self._closed:
            raise FitStopped("The fit was stopped.")
        with suppress(RuntimeError):  # the loop was closed under a thread that still works
            self._loop.call_soon_threadsafe(self.mail.put_nowait, event)

    def close(self) -> None:
        """The fit is over: workers leave at their next report."""
        self._leave(running=0, closed=True)
