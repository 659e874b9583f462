"""How often one rater may ask: a sliding window per rater, so that nobody slows the others.

Counting is a few steps in memory: it is done for every request, where the server may not wait.
"""

from __future__ import annotations

import threading
from collections import deque

from evals.human.records import Refused

WINDOW_SECONDS = 60.0
_FORGET_OVER = 10_000


class RateLimit:
    """Counts requests per rater over the last ``window`` seconds. ``limit`` 0 = no limit.

    Thread-safe.
    """

    def __init__(self, limit: int, window: float = WINDOW_SECONDS) -> None:
        self._limit, self._window = limit, window
        self._seen: dict[str, deque[float]] = {}
        self._lock = threading.Lock()

    def check(self, rater: str, now: float) -> None:
        """Count one request. Raises :class:`Refused` (429) for one too many."""
        if self.wait(rater, now):
            raise Refused("That was too fast. Wait a minute and go on.", 429)

    def wait(self, rater: str, now: float) -> float:
        """Count one request and return 0.0, or the seconds until one more is taken."""
        if not self._limit:
            return 0.0
        with self._lock:
            times = self._seen.setdefault(rater, deque())
            while times and not now - self._window < times[0] <= now:
                times.popleft()
            if len(times) >= self._limit:
                return times[0] + self._window - now
            times.append(now)
            if len(self._seen) > _FORGET_OVER:
                self._seen.pop(next(iter(self._seen)))
            return 0.0
