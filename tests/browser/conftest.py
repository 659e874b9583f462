"""The app as people meet it: in its own process with real models, or with scripted ones."""

from __future__ import annotations

import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from protocols.engines.scripted import ScriptedEngine
from studio import app
from studio.runs import RunManager
from studio.settings import Settings
from tests.browser.harness import CHROMIUM, PATIENCE_MS, Chromiums, running_app
from tests.conftest import ROOT
from tests.helpers import until

Launched = tuple[RunManager, str]

pytestmark = pytest.mark.browser


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """On a busy machine a real browser may be late: such a test runs again, and says so."""
    for item in items:
        if item.get_closest_marker("browser"):
            item.add_marker(pytest.mark.flaky(reruns=2))


@pytest.fixture(scope="package")
def chromiums() -> Iterator[Chromiums]:
    """One Chromium for all these tests: while it runs, no other test could use asyncio."""
    if CHROMIUM is None:
        pytest.skip("no chromium: install it with apt-get install chromium")
    with Chromiums() as made:
        yield made


@pytest.fixture
def browser(chromiums: Chromiums) -> Browser:
    """The Chromium that runs; a fresh one after a crash, so that a rerun can work."""
    return chromiums.running()


@pytest.fixture(scope="package")
def real_app(
    workspace: Path, base_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """``python app.py`` with the embedded pool and a workspace of its own for runs."""
    folder = tmp_path_factory.mktemp("workspace")
    (folder / "models").symlink_to(workspace.resolve() / "models")
    with running_app([sys.executable, "app.py"], folder) as (url, process):
        yield url
    assert process.returncode == 128 + signal.SIGTERM, "its engine was not closed"


@contextmanager
def launched(engine: ScriptedEngine, workspace: Path, **more: object) -> Iterator[Launched]:
    """The app in this process; starting it takes seconds."""
    assets = workspace / "assets"
    shutil.copytree(ROOT / "assets" / "pool", assets / "pool")
    fields = {"workspace": workspace, "assets": assets, "port": 0}
    ctx = app.compose(Settings.model_validate({**fields, **more}), engine)
    demo = app.build(ctx)
    app.launch(demo, ctx, block=False)
    try:
        yield ctx.manager, f"http://127.0.0.1:{demo.server_port}"
    finally:
        demo.close()
        ctx.manager.close()
        ctx.lab.close()


@pytest.fixture(scope="package")
def common_app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launched]:
    """The app for all tests that have nothing to set: each gives it an engine of its own."""
    with launched(ScriptedEngine(), tmp_path_factory.mktemp("common")) as started:
        yield started


@pytest.fixture
def scripted_app(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Callable[..., str]]:
    """Serves the app on a scripted engine; returns its address. With settings it is a new app."""
    with ExitStack() as stack:

        def serve(engine: ScriptedEngine, **settings: object) -> str:
            if settings:
                return stack.enter_context(launched(engine, tmp_path, **settings))[1]
            manager, url = request.getfixturevalue("common_app")
            manager.engine = engine
            stack.callback(stop_all, manager)
            return str(url)

        yield serve


def stop_all(manager: RunManager) -> None:
    """Leave no run to the next test."""
    for live in list(manager._runs.values()):
        manager.stop(live.id, manager.owner_key(live.id))
    until(lambda: not manager.playing and not manager.waiting)


class Visit:
    """A page with a record of what it asked for and complained about."""

    def __init__(self, context: BrowserContext) -> None:
        self.page: Page = context.new_page()
        self.outside: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", self._asked)
        self.page.on("pageerror", lambda error: self._complained(str(error)))
        self.page.on("console", self._said)

    def _asked(self, request: object) -> None:
        url = request.url  # type: ignore[attr-defined]
        if not url.startswith(("http://127.0.0.1", "data:", "blob:", "about:")):
            self.outside.append(url)

    def _said(self, message: object) -> None:
        text = message.text  # type: ignore[attr-defined]
        if message.type == "error":  # type: ignore[attr-defined]
            self._complained(text)

    def _complained(self, text: str) -> None:
        """Keep it, unless it is Gradio's own word on a stream that a reload cut off."""
        if not any(known in text for known in ("AbortError", "errored out", "manifest.json")):
            self.complaints.append(text)


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Visit]]:
    """Opens a page like a new visitor; checks at the end that nothing left the machine."""
    contexts: list[BrowserContext] = []
    visits: list[Visit] = []

    def open_page(url: str, width: int = 1400, height: int = 1000, **more: object) -> Visit:
        context = browser.new_context(viewport={"width": width, "height": height}, **more)  # type: ignore[arg-type]
        context.set_default_timeout(PATIENCE_MS)
        contexts.append(context)
        visits.append(Visit(context))
        visits[-1].page.goto(url)
        return visits[-1]

    yield open_page
    for context in contexts:
        context.close()
    for one in visits:
        assert one.outside == [], "the page asked another host"
        assert one.complaints == [], "the page complained"
