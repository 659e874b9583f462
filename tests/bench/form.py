"""What the Play page's form costs: opening it, and from a click to settled, in a real Chromium.

Settled: no event of the page is under way and nothing was drawn for a quarter of a second, which
is not counted. Seconds of the browser's main thread are told beside those on the clock, because a
busy machine stretches only the latter. Aim: three picks under 0.3 s on a quiet machine.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from playwright.sync_api import Browser, CDPSession, Page, Request

from tests.bench.common import SCRIPTED, say, table
from tests.browser.harness import Chromiums, running_app

REPEATS = 5
QUIET_MS = 250
WATCH = """() => {
  window.lastChange = performance.now();
  new MutationObserver(() => { window.lastChange = performance.now(); }).observe(document.body,
    { subtree: true, childList: true, attributes: true, characterData: true });
}"""


@dataclass
class Traffic:
    """Gradio events that a page sent, by size."""

    sizes: list[int] = field(default_factory=list)

    def sent(self, request: Request) -> None:
        """Note a request if it is an event."""
        if request.method == "POST" and "/queue/join" in request.url:
            self.sizes.append(len(request.post_data_buffer or b""))


def busy(session: CDPSession) -> float:
    """Seconds that the page's main thread has worked so far."""
    metrics = session.send("Performance.getMetrics")["metrics"]
    return float(next(m["value"] for m in metrics if m["name"] == "TaskDuration"))


def settled(page: Page) -> float:
    """Wait until nothing has changed for a while; how long ago the last change was, in seconds."""
    quiet = f"() => performance.now() - window.lastChange > {QUIET_MS}"
    page.wait_for_function(quiet, polling=20, timeout=60_000)
    return float(page.evaluate("(performance.now() - window.lastChange) / 1000"))


def act(page: Page, do: Callable[[Page], None]) -> list[float]:
    """What an action costs: seconds, seconds of the main thread, events, bytes."""
    session, traffic = page.context.new_cdp_session(page), Traffic()
    session.send("Performance.enable")
    page.on("request", traffic.sent)
    page.evaluate("() => { window.lastChange = performance.now(); }")
    start, before = time.perf_counter(), busy(session)
    do(page)
    quiet = settled(page)
    took = [time.perf_counter() - start - quiet, busy(session) - before]
    page.remove_listener("request", traffic.sent)
    return [*took, len(traffic.sizes), sum(traffic.sizes)]


def three_picks(page: Page) -> None:
    """Clicks on three cards, one after another as fast as the page takes them."""
    page.evaluate(
        "() => [...document.querySelectorAll('.studio-picker input')].slice(4, 7)"
        ".forEach((box) => box.click())"
    )


def another_protocol(page: Page) -> None:
    """Another protocol is chosen, its list being open already."""
    page.get_by_role("option").filter(has_text="DARE-TIES").click()


def opened(browser: Browser, url: str) -> tuple[Page, list[float]]:
    """A fresh visitor's page, and what opening it cost: seconds, main thread, bytes."""
    page = browser.new_context(viewport={"width": 1400, "height": 1000}).new_page()
    session, sizes = page.context.new_cdp_session(page), list[int]()
    session.send("Performance.enable")
    session.send("Network.enable")
    session.on("Network.loadingFinished", lambda e: sizes.append(int(e["encodedDataLength"])))
    start = time.perf_counter()
    page.goto(url)
    page.locator(".studio-picker input").first.wait_for()
    page.locator("#run").wait_for()
    took = time.perf_counter() - start
    return page, [took, busy(session), sum(sizes) / 1024]


def visit(browser: Browser, url: str) -> dict[str, list[float]]:
    """One visit's measurements."""
    page, opening = opened(browser, url)
    page.evaluate(WATCH)
    page.wait_for_selector(".ps-player", timeout=60_000)
    page.get_by_role("button", name="Pause").click()
    settled(page)
    picks = act(page, three_picks)
    page.locator("#protocol input").click()
    page.get_by_role("option").first.wait_for()
    chosen = act(page, another_protocol)
    nodes = float(page.evaluate("document.querySelectorAll('*').length"))
    page.context.close()
    return {"open": opening, "picks": picks, "protocol": chosen, "nodes": [nodes]}


def middle(visits: list[dict[str, list[float]]], what: str) -> list[float]:
    """The median of each figure of an action."""
    return [statistics.median(column) for column in zip(*(v[what] for v in visits), strict=True)]


def measure() -> None:
    """Print the page's figures."""
    command = [sys.executable, "-c", SCRIPTED]
    with (
        tempfile.TemporaryDirectory() as name,
        Chromiums() as made,
        running_app(command, Path(name)) as (url, _),
    ):
        browser = made.running()
        config = urllib.request.urlopen(f"{url}/config").read()
        visit(browser, url)
        visits = [visit(browser, url) for _ in range(REPEATS)]
    count = len(json.loads(config)["components"])
    say(f"{count} components, /config {len(config) / 1024:.0f} KiB, "
        f"{middle(visits, 'nodes')[0]:.0f} nodes")  # fmt: skip
    opening = middle(visits, "open")
    table(
        f"Play page, median of {REPEATS} visits",
        ["what", "seconds", "main thread s", "events", "bytes"],
        [
            ["open to usable", *(f"{x:.2f}" for x in opening[:2]), "-", f"{opening[2]:.0f} KiB"],
            *(
                [title, f"{s:.2f}", f"{b:.2f}", f"{events:.0f}", f"{size:.0f}"]
                for title, (s, b, events, size) in (
                    ("three picks to settled", middle(visits, "picks")),
                    ("another protocol to settled", middle(visits, "protocol")),
                )
            ),
        ],
    )


if __name__ == "__main__":
    measure()
