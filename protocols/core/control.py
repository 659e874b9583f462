"""What may be done to a run from outside: stop it, or stop one of its models."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Control:
    """The only way back into a run. All methods belong to the run's event loop."""

    def __init__(self) -> None:
        self.reason = ""
        self.stopped_models: set[str] = set()
        self._stop = asyncio.Event()
        self._listeners: list[Callable[[], None]] = []

    @property
    def stopped(self) -> bool:
        """Whether the whole run was asked to stop."""
        return self._stop.is_set()

    def stop(self, reason: str = "Stopped on request.") -> None:
        """Ask the run to end now with its best answer so far. Repeating it changes nothing."""
        if not self.stopped:
            self.reason = reason
            self._stop.set()
            self._tell()

    def stop_model(self, model: str) -> None:
        """End this model's running calls and refuse further ones; the others go on."""
        self.stopped_models.add(model)
        self._tell()

    async def wait(self) -> None:
        """Return once the whole run was asked to stop."""
        await self._stop.wait()

    def listen(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` after every change."""
        self._listeners.append(listener)

    def _tell(self) -> None:
        for listener in self._listeners:
            listener()
