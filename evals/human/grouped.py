"""Group commit: writers who wait for the disk at the same time share one transaction.

A commit is on the disk before it returns, and that is what takes long. So the first writer does the
work of all that came while the commit before was under way, and nobody is told anything before the
common commit. If any of them raises, or the commit does, all of it is undone and each is done again
alone: a refused vote, or a full disk, says so to whom it concerns and to nobody else.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Generic, TypeVar, cast

from sqlalchemy import Connection

from protocols.core.errors import EngineError, StudioError

LOG = logging.getLogger(__name__)
MOST = 64
"""Works in one transaction; others wait for the next."""
T = TypeVar("T")


class _Work(Generic[T]):
    """One writer's work and what came of it. ``leads``: its writer does the next transaction."""

    def __init__(self, act: Callable[[Connection], T]) -> None:
        self.act = act
        self.leads = False
        self.woken = threading.Event()
        self._value: T | None = None
        self._error: BaseException | None = EngineError("Not saved: send it again in a moment.")

    def end(self, value: T | None, error: BaseException | None = None) -> None:
        self._value, self._error = value, error

    def result(self) -> T:
        if self._error is not None:
            raise self._error
        return cast("T", self._value)


class Grouped:
    """Runs works in shared transactions of ``write``, in the order they came. Thread-safe."""

    def __init__(self, write: Callable[[], AbstractContextManager[Connection]]) -> None:
        self._write = write
        self._guard = threading.Lock()
        self._waiting: deque[_Work[object]] = deque()
        self._led = False

    def run(self, act: Callable[[Connection], T]) -> T:
        """Return what ``act`` returns, after the commit; raise what it raises, undone.

        ``act`` may be called twice, so it must change nothing but the database.
        """
        work = _Work(act)
        with self._guard:
            self._waiting.append(cast("_Work[object]", work))
            work.leads, self._led = not self._led, True
        if not work.leads:
            work.woken.wait()
        if work.leads:
            self._lead()
        return work.result()

    def _lead(self) -> None:
        """Do what is waiting, one's own among it, and hand over to the first that came since."""
        with self._guard:
            works = [self._waiting.popleft() for _ in range(min(MOST, len(self._waiting)))]
        try:
            self._do(works)
        finally:
            with self._guard:
                heir = self._waiting[0] if self._waiting else None
                self._led = heir is not None
                if heir is not None:
                    heir.leads = True
                    heir.woken.set()
            for work in works:
                work.woken.set()

    def _do(self, works: list[_Work[object]]) -> None:
        if len(works) == 1 or not self._shared(works):
            for work in works:
                self._alone(work)

    def _shared(self, works: list[_Work[object]]) -> bool:
        try:
            with self._write() as connection:
                values = [work.act(connection) for work in works]
        except StudioError:
            return False  # a refusal, or a full disk: usual enough
        except Exception:
            LOG.exception("%d works are done one by one", len(works))
            return False
        for work, value in zip(works, values, strict=True):
            work.end(value)
        return True

    def _alone(self, work: _Work[object]) -> None:
        try:
            with self._write() as connection:
                value = work.act(connection)
        except Exception as error:  # noqa: BLE001  it is raised in its own thread
            work.end(None, error)
        else:
            work.end(value)
