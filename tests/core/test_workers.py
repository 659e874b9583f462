"""Threads of fits under stress: nothing said is lost, each leaves when told, the end comes once."""

from __future__ import annotations

import asyncio
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from protocols.core.events import Progress
from protocols.core.workers import FitStopped, Workers
from tests.helpers import HANGS_S

THREADS, REPORTS = 8, 40


class Told:
    """What the threads of one storm did."""

    def __init__(self) -> None:
        self.ended: list[str] = []
        self.settled: list[int] = []

    def work(self, workers: Workers, number: int) -> None:
        try:
            for step in range(REPORTS):
                workers.tell(Progress(unit="step", done=step, note=str(number)))
            self.ended.append("done")
        except FitStopped:
            self.ended.append("left")
            raise


async def storm(close_after: int) -> tuple[Told, int]:
    """Threads report until so many reports have been heard; then the fit is over."""
    told = Told()
    workers = Workers(lambda: told.settled.append(len(told.ended)))
    works = [
        asyncio.ensure_future(workers.run(partial(told.work, workers, n))) for n in range(THREADS)
    ]
    heard = 0
    while heard < close_after:
        heard += isinstance(await workers.mail.get(), Progress)
    workers.close()
    await asyncio.gather(*works, return_exceptions=True)
    return told, heard


def test_every_report_arrives_and_the_end_comes_once() -> None:
    told, heard = asyncio.run(asyncio.wait_for(storm(THREADS * REPORTS), HANGS_S))
    assert heard == THREADS * REPORTS and told.ended == ["done"] * THREADS
    assert told.settled == [THREADS]


def test_threads_leave_whenever_the_fit_ends() -> None:
    rng = random.Random(3)
    for _ in range(30):
        close_after = rng.randint(0, THREADS * REPORTS - 1)
        told, _ = asyncio.run(asyncio.wait_for(storm(close_after), HANGS_S))
        assert told.settled == [len(told.ended)], "the last thread ends a fit, and only once"


def test_a_function_that_got_no_thread_in_time_settles_the_fit_as_well() -> None:
    """Otherwise the lock of a stopped fit would stay for as long as the process lives."""

    async def stopped_early() -> tuple[list[str], list[str]]:
        release, settled, done = threading.Event(), list[str](), list[str]()
        with ThreadPoolExecutor(1) as one_thread:
            asyncio.get_running_loop().set_default_executor(one_thread)
            busy = asyncio.ensure_future(asyncio.to_thread(release.wait, HANGS_S))
            workers = Workers(lambda: settled.append("settled"))
            waiting = asyncio.ensure_future(workers.run(lambda: done.append("worked")))
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.wait({waiting})
            workers.close()
            release.set()
            await busy
        return settled, done

    assert asyncio.run(stopped_early()) == (["settled"], [])
