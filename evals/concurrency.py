"""Work done side by side, no more of it at a time than engines are meant to batch."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable
from itertools import islice
from typing import Any, TypeVar

Work = TypeVar("Work")
Result = TypeVar("Result")


async def bounded(
    work: Iterable[Work], act: Callable[[Work], Coroutine[Any, Any, Result]], parallel: int
) -> AsyncGenerator[Result, None]:
    """Keep ``parallel`` calls of ``act`` going over ``work``; results come as they finish.

    What ``act`` raises is raised here. Closing the generator cancels what still runs and waits
    until it is gone.
    """
    waiting = iter(work)
    running: set[asyncio.Task[Result]] = set()
    try:
        while True:
            for one in islice(waiting, parallel - len(running)):
                running.add(asyncio.create_task(act(one)))
            if not running:
                return
            finished, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in finished:
                yield task.result()
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
