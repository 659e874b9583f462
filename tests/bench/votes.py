"""50 raters vote on 25 pairs each at one desk, all at once: ``python -m tests.bench.votes [URL]``.

Without a URL the store is an SQLite file in a temporary folder, synced to disk vote by vote.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil

from evals.human.desk import Desk
from evals.human.ledger import verify_chain
from evals.human.records import Rater
from evals.human.store import Store
from tests.evals.human.store.helpers import SLUG, ballot, entered, opened

RATERS, PAIRS = 50, 25


def main(url: str) -> None:
    """Measure and print: votes a second, latencies of showing and saving, memory, the check."""
    store = Store.open(url)
    desk = Desk(store)
    opened(store, PAIRS, pairs_per_rater=PAIRS, overlap=RATERS)
    raters = [entered(desk) for _ in range(RATERS)]
    shown: list[float] = []
    saved: list[float] = []
    before = psutil.Process().memory_info().rss
    barrier = threading.Barrier(RATERS)

    def rate(rater: Rater) -> None:
        barrier.wait()
        for number in range(PAIRS):
            start = time.perf_counter()
            pair = desk.pair(rater)
            middle = time.perf_counter()
            desk.vote(rater, ballot(pair.ticket, "right" if number % 3 else "left"))
            shown.append(middle - start)
            saved.append(time.perf_counter() - middle)

    start = time.perf_counter()
    with ThreadPoolExecutor(RATERS) as pool:
        list(pool.map(rate, raters))
    seconds = time.perf_counter() - start
    grown = (psutil.Process().memory_info().rss - before) / 2**20
    check = verify_chain(store, SLUG)
    kind = "SQLite" if store.is_sqlite else "PostgreSQL"
    sys.stdout.write(f"{kind}: {check.votes} votes of {RATERS} raters at once in {seconds:.1f} s, "
        f"chain {'intact' if check.ok else 'BROKEN'}, memory +{grown:.0f} MiB\n")  # fmt: skip
    for name, times in (("show a pair", shown), ("save a vote", saved)):
        cuts = statistics.quantiles(times, n=100)
        p50, p95, p99 = (cuts[at - 1] * 1000 for at in (50, 95, 99))
        sys.stdout.write(f"  {name}: median {p50:.0f} ms, p95 {p95:.0f} ms, p99 {p99:.0f} ms\n")
    store.close()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main(sys.argv[1] if len(sys.argv) > 1 else str(Path(folder) / "studies.db"))
