"""How often one rater may ask: a sliding window per rater, so that nobody slows the others."""

from __future__ import annotations

import threading
from collections import deque

from evals.human.records import Refused

WINDOW_SECONDS = 60.0
_FORGET_OVER = 10_000


class Pace:
    """Counts requests per rater over the last minute. ``limit`` 0 = no limit. Thread-safe."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._seen: dict[str, deque[float]] = {}
        self._lock = threading.Lock()

    def check(self, rater: str, now: float) -> None:
        """Count one request. Raises :class:`Refused` (429) for one too many."""
        if not self._limit:
            return
        with self._lock:
            times = self._seen.setdefault(rater, deque())
            while times and not now - WINDOW_SECONDS < times[0] <= now:
                times.popleft()
            if len(times) >= self._limit:
                raise Refused("That was too fast. Wait a minute and go on.", 429)
            times.append(now)
            if len(self._seen) > _FORGET_OVER:
                self._seen.pop(next(iter(self._seen)))
