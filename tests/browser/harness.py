"""A bare page with the live area, served locally, and the Chromium that looks at it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, expect, sync_playwright

from protocols.core.events import Event, dump
from studio.static import script, style
from tests.conftest import ROOT

# A loaded machine is late, not wrong: a wait ends as soon as what it waits for is there.
PATIENCE_MS = 30_000
expect.set_options(timeout=PATIENCE_MS)
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
ARGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage"),
]
ARTIFACTS = Path(__file__).resolve().parents[2] / "test-artifacts"
PICTURES = os.environ.get("STUDIO_PICTURES") == "1"
"""Whether pictures are kept for people to look at; taking them is half the time of these tests."""
# The variables that the app's theme gives; the second set is the dark one.
THEME = """
body { margin: 0; padding: 16px; font-family: system-ui, sans-serif;
  --body-text-color: #1f2937; --block-background-fill: #fff; --border-color-primary: #e2e8f0;
  --color-accent: #6366f1; background: #f8fafc; }
body.dark { --body-text-color: #f1f5f9; --block-background-fill: #0f172a;
  --border-color-primary: #334155; --color-accent: #6366f1; background: #020617; }
"""
PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Live area</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">
<style>{theme}{style}</style><script>{script}</script></head><body class="{mode}">
<main id="place"></main><script>
window.asked = []; window.source = [];
Studio.connect({{
  resync: async (asked) => {{ asked.kind = 'resync'; window.asked.push(asked);
    const ev = window.source.slice(asked.after + 1);
    return {{ v: 1, run: asked.run, from: asked.after, to: asked.after + ev.length, ev }}; }},
  cancel: async (asked) => {{ window.asked.push(asked); return {{ ok: true }}; }},
}});
Studio.mount(document.getElementById('place'));
</script></body></html>"""


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The harness in both modes under a local address."""
    for mode in ("light", "dark"):
        page = PAGE.format(theme=THEME, style=style(), script=script(), mode=mode)
        (folder / f"{mode}.html").write_text(page, encoding="utf-8")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Chromiums:
    """One Chromium, started again when it has died."""

    def __enter__(self) -> Chromiums:
        self._driver = sync_playwright()
        self._play = self._driver.__enter__()
        self._browser: Browser | None = None
        return self

    def __exit__(self, *raised: object) -> None:
        if self._browser is not None:
            self._browser.close()
        self._driver.__exit__(*raised)

    def running(self) -> Browser:
        if self._browser is None or not self._browser.is_connected():
            self._browser = self._play.chromium.launch(executable_path=CHROMIUM, args=ARGS)
        return self._browser


@contextmanager
def running_app(
    command: list[str], workspace: Path, seconds: float = 600.0, **more: str
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """The app in a process of its own, on a free port that it takes itself."""
    environment = {**os.environ, "STUDIO_WORKSPACE": str(workspace), "STUDIO_PORT": "0", **more}
    log = workspace / "log"
    with log.open("wb") as said:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=said, stderr=said)
    try:
        yield _address(log, process, time.monotonic() + seconds), process
    finally:
        process.terminate()
        process.wait(timeout=120)


def _address(log: Path, process: subprocess.Popen[bytes], end: float) -> str:
    while time.monotonic() < end:
        if told := re.search(r"http://127[.]0[.]0[.]1:[0-9]+", log.read_text()):
            return told.group()
        assert process.poll() is None, f"the app ended while it was starting: {log.read_text()}"
        time.sleep(0.1)
    raise AssertionError("the app did not say where it is")


def wire(events: Sequence[Event]) -> list[dict[str, Any]]:
    """Events as the bus sends them."""
    rows = [json.loads(dump(event)) for event in events]
    for row in rows:
        row.pop("run", None)
    return rows


def feed(page: Page, events: Sequence[Event], after: int = -1, run: str = "made-up") -> None:
    """Send events as one bus message and wait until they are painted."""
    to = after + len(events)
    message = {"v": 1, "run": run, "from": after, "to": to, "ev": wire(events)}
    page.evaluate("message => Studio.feed(message)", message)
    page.wait_for_selector(f'.ps[data-seq="{events[-1].seq}"]')


def own(page: Page, run: str = "made-up") -> None:
    """Make the run this page's own: it may stop it."""
    page.evaluate("run => Studio.feed({v: 1, run, key: 'k', hb: -1})", run)


def picture(page: Page, name: str, full_page: bool = True) -> None:
    """Keep a picture in ``test-artifacts``, if pictures are asked for."""
    if PICTURES:
        ARTIFACTS.mkdir(exist_ok=True)
        page.screenshot(path=ARTIFACTS / f"{name}.png", full_page=full_page)


def painted(page: Page) -> None:
    """Wait until the page has painted what it knows by now."""
    page.evaluate("new Promise(r => requestAnimationFrame(() => requestAnimationFrame(r)))")


def overflow(page: Page) -> int:
    """How many pixels the page is too wide."""
    return page.evaluate(
        "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )
