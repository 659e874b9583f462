"""``make bench``: every measurement in one run, on this machine."""

from __future__ import annotations

import asyncio
import platform

import psutil

from tests.bench import engines, overhead, page, reference, votes
from tests.bench.common import say

if __name__ == "__main__":
    memory = psutil.virtual_memory().total / 2**30
    say(f"{platform.machine()}, {psutil.cpu_count()} cores, {memory:.0f} GiB")
    asyncio.run(overhead.measure())
    page.measure_updates()
    page.measure_first_token()
    reference.measure(8)
    votes.main()
    asyncio.run(engines.main())
