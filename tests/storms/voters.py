"""A process that rates: simulated raters in threads at one service, each acknowledgement on a line.

Every thread has one rater's link, resumes at whatever step that rater is, sends each vote and, once
the service has answered, appends "TOKEN NONCE CODE" to the log in one write. A fault names where
the process kills itself: ``before-commit:N``, ``after-commit:N`` and ``before-reply:N`` strike at
the N-th vote; ``none`` leaves it to the parent.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from sqlalchemy import Connection

from evals.human.raters import rater_by_token
from evals.human.rating_service import RatingService
from evals.human.records import Ballot, Rater, Refused
from evals.human.store import Store
from tests.evals.human.store.helpers import warm_up

T = TypeVar("T")


class Struck:
    """Counts votes and kills the process at the chosen place of the chosen one."""

    def __init__(self, fault: str) -> None:
        self._place, _, number = fault.partition(":")
        self._number = int(number or 0)
        self._votes = itertools.count(1)
        self._here = threading.local()

    def next_vote(self) -> None:
        self._here.vote = next(self._votes)

    @property
    def vote(self) -> int:
        return getattr(self._here, "vote", 0)

    def begin(self) -> None:
        """A transaction of this thread begins; it may hold the votes of others too."""
        self._here.inside = set()

    def hold(self, vote: int) -> None:
        self._here.inside.add(vote)

    def reach_commit(self, place: str) -> None:
        if place == self._place and self._number in self._here.inside:
            os.kill(os.getpid(), signal.SIGKILL)

    def reach(self, place: str) -> None:
        if place == self._place and self.vote == self._number:
            os.kill(os.getpid(), signal.SIGKILL)


class FaultyStore(Store):
    """The store with a hook on either side of COMMIT."""

    struck = Struck("none")

    def together(self, study: str, act: Callable[[Connection], T]) -> T:
        vote = self.struck.vote

        def counted(connection: Connection) -> T:
            self.struck.hold(vote)
            return act(connection)

        return super().together(study, counted)

    @contextmanager
    def write(self) -> Iterator[Connection]:
        with super().write() as connection:
            self.struck.begin()
            yield connection
            self.struck.reach_commit("before-commit")
        self.struck.reach_commit("after-commit")


def nonce(token: str, ticket: str) -> str:
    """The same for each try of the same vote, as a page keeps it until it is acknowledged."""
    reference = ticket.split(".")[0]
    return hashlib.sha256(f"{token}{reference}".encode()).hexdigest()[:32]


def vote_once(service: RatingService, rater: Rater, token: str, log: int, struck: Struck) -> None:
    pair = service.pair(rater)
    key = nonce(token, pair.ticket)
    outcome = "left" if int(key[:2], 16) % 2 else "right"
    struck.next_vote()
    receipt = service.vote(rater, Ballot(pair.ticket, key, outcome, reason=f"because {key}"))
    struck.reach("before-reply")
    os.write(log, f"{token} {key} {receipt.code}\n".encode())


def rate(service: RatingService, token: str, log: int, struck: Struck) -> None:
    rater = rater_by_token(service.store, token)
    while (step := service.screen(rater).step) != "guess":
        try:
            if step == "pair":
                vote_once(service, rater, token, log, struck)
            else:
                warm_up(service, rater)
        except Refused as error:  # another process served this rater meanwhile
            if error.status != 409:
                raise


def vote_all(url: str, tokens: list[str], log_path: str, fault: str = "none") -> None:
    """What the process runs: every rater to the end, unless the fault comes first."""
    store = FaultyStore.open(url)
    store.struck = struck = Struck(fault)
    service = RatingService(store, per_minute=0)
    log = os.open(log_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    with ThreadPoolExecutor(len(tokens)) as pool:
        for done in [pool.submit(rate, service, token, log, struck) for token in tokens]:
            done.result()
    store.close()
