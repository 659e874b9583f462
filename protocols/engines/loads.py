"""Loads of an engine: one at a time, none lost, and none left over when it closes.

A load takes seconds in a thread that nobody can end. Whoever waits for it may leave; the load goes
on, so that what it makes is kept and can be freed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from protocols.core.engine import LoadProgress
from protocols.core.errors import EngineError, StudioError
from protocols.core.models import ModelSpec


class Loads:
    """The loads of one engine. ``lock`` is held while one of them runs."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    async def run(self, load: Callable[[], Awaitable[None]]) -> None:
        """Load once it is its turn; a cancelled waiter does not end it.

        Raises :class:`EngineError` after :meth:`close`.
        """
        task = asyncio.get_running_loop().create_task(self._one(load))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        await asyncio.shield(task)

    async def _one(self, load: Callable[[], Awaitable[None]]) -> None:
        async with self.lock:
            self.check_open()
            await load()

    async def each(
        self,
        models: Sequence[ModelSpec],
        load: Callable[[ModelSpec], Awaitable[None]],
        is_warm: Callable[[ModelSpec], bool],
        progress: LoadProgress | None,
    ) -> None:
        """Load every model that can be loaded, one after another, in one turn.

        ``progress`` hears of those that are not warm. The first failure is raised afterwards.
        """
        failures: list[StudioError] = []

        async def load_all() -> None:
            for number, model in enumerate(models):
                if progress and not is_warm(model):
                    progress(number, len(models), f"Loading {model.title}")
                try:
                    self.check_open()
                    await load(model)
                except StudioError as error:
                    failures.append(error)

        await self.run(load_all)
        if failures:
            raise failures[0]

    def check_open(self) -> None:
        """Raise :class:`EngineError` if the engine was closed meanwhile."""
        if self._closed:
            raise EngineError(
                "The engine was closed, so nothing more is loaded. Start the studio again."
            )

    def refuse(self) -> None:
        """Take no more loads."""
        self._closed = True

    async def close(self) -> None:
        """Take no more loads; return when the one that runs has ended and no other waits."""
        self.refuse()
        running: list[asyncio.Task[Any]] = list(self._tasks)
        await asyncio.gather(*running, return_exceptions=True)
        async with self.lock:  # nor is anything being unloaded
            return


def taken_away(model: ModelSpec) -> EngineError:
    """The sentence for a model that was unloaded between its load and its use."""
    return EngineError(f"'{model.title}' was unloaded while it was asked. Run again.")
