"""How long the Results page takes in a real Chromium, just after a start and once more.

An app of its own serves the results that ship with the studio. Told are seconds from opening the
page to its first lines (the main finding so far and the contents), to its first figure and to all
figures and tables, and processor seconds of the server. Aim on a quiet machine: a first opening
shows its first lines within 1 s, its first figure within 2.5 s and everything within 6 s; a second
one everything within 2 s.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import psutil
from playwright.sync_api import Browser

from tests.bench.common import SCRIPTED, table
from tests.bench.page import cpu
from tests.browser.harness import Chromiums, running_app

SEEN = {
    "first lines": ".studio-short p",
    "first figure": ".js-plotly-plot .points",
    "everything": "#protocols",
}
"""What is waited for, by what is on the page then; the tables of protocols come last."""
LONG = 300_000


def opened(browser: Browser, url: str) -> list[float]:
    """Seconds from opening the page until each of :data:`SEEN` is there."""
    page = browser.new_context(viewport={"width": 1400, "height": 1000}).new_page()
    start = time.perf_counter()
    page.goto(f"{url}/results", wait_until="commit")
    took = []
    for selector in SEEN.values():
        page.locator(selector).first.wait_for(state="attached", timeout=LONG)
        took.append(time.perf_counter() - start)
    page.context.close()
    return took


def measure() -> None:
    """Print the first and the second opening of one server."""
    command = [sys.executable, "-c", SCRIPTED]
    with (
        tempfile.TemporaryDirectory() as name,
        Chromiums() as made,
        running_app(command, Path(name)) as (url, process),
    ):
        browser, server = made.running(), psutil.Process(process.pid)
        rows = []
        for which in ("first", "second"):
            before = cpu(server)
            took = opened(browser, url)
            rows.append([which, *(f"{one:.2f}" for one in took), f"{cpu(server) - before:.2f}"])
    load = psutil.getloadavg()[0]
    head = ["opening", *SEEN, "server processor s"]
    table(f"Results page, seconds from opening it (load {load:.1f})", head, rows)


if __name__ == "__main__":
    measure()
