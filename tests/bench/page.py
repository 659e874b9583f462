"""What a watching page costs and how soon it shows something, in a real Chromium.

* Click to first token: eight lanes of real models on a warm engine. Aim: under 1 s.
* Eight lanes of 2,000 tokens each from the scripted engine at about 50 tokens a second and lane:
  bytes per update, and the server's processor time with a watching page minus without one.
  Aim: linear, under 1 KB per update, under 10 % of a core at 10 updates a second.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from playwright.sync_api import Browser, CDPSession, Page

from tests.bench.common import table
from tests.browser.harness import Chromiums, running_app
from tests.browser.test_play import choose, run
from tests.conftest import ROOT

LANES, TOKENS, REPEATS = 8, 2_000, 5
SCRIPTED = """
import sys
from pathlib import Path
from studio.settings import Settings, no_telemetry
if __name__ == "__main__":
    no_telemetry()
    from protocols.engines.scripted import ScriptedEngine
    from studio import app
    settings = Settings()
    text = "token " * 2000
    ctx = app.compose(settings, ScriptedEngine(text, delay_s=0.02))
    demo = app.build(ctx)
    app.launch(demo, ctx, block=False)
    print(f"http://127.0.0.1:{demo.server_port}", flush=True)
    demo.block_thread()
"""


@contextmanager
def app(command: list[str], folder: Path) -> Iterator[tuple[str, psutil.Process]]:
    """An app in a process of its own."""
    with running_app(command, folder) as (url, process):
        yield url, psutil.Process(process.pid)


def cpu(process: psutil.Process) -> float:
    """Processor seconds of a process so far."""
    times = process.cpu_times()
    return float(times.user + times.system)


def first_token(page: Page) -> float:
    """Seconds from the click on Run to the first text in a lane."""
    before = page.locator(".ps").get_attribute("data-run")
    start = time.perf_counter()
    page.get_by_role("button", name="Run", exact=True).click()
    page.wait_for_function(
        """before => { const ps = document.querySelector('.ps');
        return ps.dataset.run && ps.dataset.run !== before
          && [...document.querySelectorAll('.ps-lane .ps-text')].some((n) => n.textContent); }""",
        arg=before,
        polling=10,
        timeout=120_000,
    )
    return time.perf_counter() - start


def first_visit(browser: Browser, url: str) -> float:
    """Seconds from opening the page to the recorded run playing, for a new visitor."""
    context = browser.new_context()
    page = context.new_page()
    start = time.perf_counter()
    page.goto(url)
    page.wait_for_selector(".ps-player")
    page.wait_for_selector(".ps-lane")
    took = time.perf_counter() - start
    context.close()
    return took


def measure_first_token() -> None:
    """Median over several runs on a warm engine."""
    with tempfile.TemporaryDirectory() as name, Chromiums() as made:
        browser = made.running()
        folder = Path(name)
        (folder / "models").symlink_to((ROOT / ".studio" / "models").resolve())
        with app([sys.executable, "app.py"], folder) as (url, _):
            visits = [first_visit(browser, url) for _ in range(REPEATS)]
            page = browser.new_page()
            page.goto(url)
            choose(page, "Majority vote", "Tell a long story about the sea.", LANES)
            run(page)
            page.wait_for_selector('.ps[data-status="ok"]', timeout=300_000)
            took = []
            for _ in range(REPEATS):
                took.append(first_token(page))
                page.wait_for_selector('.ps[data-status="ok"]', timeout=300_000)
    timed = {
        "first visit to playing recording": visits,
        f"click to first token, {LANES} lanes": took,
    }
    rows = [
        [what, *(f"{of:.2f}" for of in (statistics.median(all_), min(all_), max(all_)))]
        for what, all_ in timed.items()
    ]
    table(f"Seconds, {REPEATS} times each", ["what", "median", "least", "most"], rows)


def received(session: CDPSession) -> list[int]:
    """Sizes in bytes of what the page receives, envelope included, as it arrives."""
    sizes: list[int] = []
    session.send("Network.enable")
    session.on("Network.dataReceived", lambda event: sizes.append(int(event["dataLength"])))
    return sizes


def measure_updates() -> None:
    """Bytes and processor time of one watched run of eight lanes."""
    with tempfile.TemporaryDirectory() as name, Chromiums() as made:
        browser = made.running()
        command = [sys.executable, "-c", SCRIPTED]
        with app(command, Path(name)) as (url, process):
            page = browser.new_page()
            page.goto(url)
            choose(page, "Majority vote", "Go on", LANES)
            page.get_by_text("Details").click()
            page.get_by_role("spinbutton", name="Tokens per answer").fill("1024")
            page.evaluate("""() => { window.updates = []; const feed = Studio.feed;
              Studio.feed = (m) => { if (m.ev) window.updates.push(
                [performance.now(), JSON.stringify(m).length]); return feed(m); }; }""")
            counts = received(page.context.new_cdp_session(page))
            run(page)
            start, busy = time.perf_counter(), cpu(process)
            page.wait_for_selector('.ps[data-status="ok"]', timeout=300_000)
            seconds, busy = time.perf_counter() - start, cpu(process) - busy
            sizes = [size for _, size in page.evaluate("window.updates")]
    report(sizes, counts, seconds, busy)


def report(sizes: list[int], counts: list[int], seconds: float, busy: float) -> None:
    """Print the figures; the last quarter against the first shows whether cost grows."""
    quarter = max(1, len(sizes) // 4)
    rows = [
        ["updates", f"{len(sizes)} ({len(sizes) / seconds:.1f} a second)"],
        ["median frame on the wire", f"{statistics.median(counts):.0f} B"],
        ["all bytes on the wire, per update", f"{sum(counts) / max(1, len(sizes)):.0f}"],
        ["median message, first quarter", f"{statistics.median(sizes[:quarter]):.0f} B"],
        ["median message, last quarter", f"{statistics.median(sizes[-quarter:]):.0f} B"],
        ["server processor, all of it", f"{100 * busy / seconds:.0f} % of a core"],
    ]
    table(f"{LANES} lanes, one watching page, {seconds:.0f} s", ["what", "figure"], rows)


if __name__ == "__main__":
    measure_updates()
    measure_first_token()
