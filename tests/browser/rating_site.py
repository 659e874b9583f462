"""The rating pages on a local server, and a rater with a real browser."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from studio.rating import RatingOptions
from tests.studio.rating_world import SECRET, Person, World, make_world

SERIOUS = ("serious", "critical")
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}


@contextmanager
def serving(world: World) -> Iterator[str]:
    """The world's pages under a local address."""
    config = uvicorn.Config(world.app, port=0, log_level="critical", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        thread.join(0.02)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


class Site:
    """A world, its address, and links to it."""

    def __init__(self, world: World, url: str) -> None:
        self.world = world
        self.url = url

    def link(self) -> str:
        """The link of a fresh rater."""
        return f"{self.url}/rate/{self.world.invite()[0]}"

    def ready(self) -> str:
        """The link of a rater who has come as far as the first pair."""
        token = self.world.invite()[0]
        Person(self.world, token).arrive()
        return f"{self.url}/rate/{token}"


@contextmanager
def new_site(folder: Path) -> Iterator[Site]:
    """A study of four pairs, served to as many raters as come."""
    options = RatingOptions(SECRET, posts_per_minute=1000, pages_per_minute=1000)
    world = make_world(folder, options=options, overlap=9)
    with serving(world) as url:
        yield Site(world, url)
    world.store.close()


def check(page: Page) -> None:
    """No barrier that a program can see, nothing wider than the window, one heading in focus."""
    results = Axe().run(page, options=RULES)
    found = [v for v in results.response["violations"] if v["impact"] in SERIOUS]
    assert not found, [(v["id"], [n["html"] for n in v["nodes"]]) for v in found]
    wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.evaluate(wide) <= 0
    assert page.locator("h1").count() == 1 and page.locator("main").count() == 1


class Walk:
    """A rater's way through the pages; ``touch`` presses as on a phone."""

    def __init__(self, page: Page, *, touch: bool = False, checked: bool = True) -> None:
        self.page = page
        self.touch = touch
        self.checked = checked

    def press(self, selector: str) -> None:
        found = self.page.locator(selector)
        found.tap() if self.touch else found.click()

    def look(self) -> None:
        if self.checked:
            check(self.page)

    def to_instructions(self) -> None:
        self.look()
        self.press(".agree")
        self.press("form[action$='/consent'] .primary")
        expect(self.page.locator("form[action$='/begin']")).to_be_visible()

    def to_practice(self) -> None:
        self.to_instructions()
        self.look()
        self.press("form[action$='/begin'] .primary")
        expect(self.page.locator("[data-ballot=practice-1]")).to_be_visible()

    def to_pairs(self) -> None:
        self.to_practice()
        for number in (1, 2):
            self.look()
            self.choose("left")
            expect(self.page.locator("[data-feedback]")).to_be_visible()
            self.look()
            self.press("[data-go]")
            if number == 1:
                expect(self.page.locator("[data-ballot=practice-2]")).to_be_visible()
        self.at_pair(1)

    def at_pair(self, number: int) -> None:
        expect(self.page.locator(f"[data-ballot=pair-{number}]")).to_be_visible()

    def choose(self, value: str) -> None:
        self.press(f"[data-choice={value}]")
        self.press("[data-ballot] .primary")

    def guess(self, value: str = "unknown") -> None:
        for number in range(1, self.page.locator(".again").count() + 1):
            self.press(f".choice:has([name=guess-{number}][value={value}])")
        self.press("form[action$='/guess'] .primary")
        expect(self.page.locator("form[action$='/guess']")).to_have_count(0)

    def receipt(self) -> str:
        said = self.page.locator("#status[data-kind=saved]")
        expect(said).to_be_visible()
        return said.inner_text().split()[-1]

    def shown(self) -> list[Any]:
        return self.page.locator(".pane .text").all_inner_texts()
