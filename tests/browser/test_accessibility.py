"""The studio's own pages against the rules of WCAG 2.2 AA that a program can check."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from protocols.engines.scripted import ScriptedEngine
from tests.browser.conftest import Visit, launched
from tests.browser.test_play import choose, run

pytestmark = pytest.mark.browser
FILLED = {
    "/replays": ".studio-search",
    "/pool": ".studio-pool-card",
    "/compare": "text=No study is open",
    "/results": "text=No results are stored",
    "/studies": "text=Studies belong to the lab",
    "/contributor?model=smollm2-roman": "text=Recent answers",
}
"""What each page shows once Gradio has filled it; the frame comes before."""
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa"]}
COLOURS = {"runOnly": {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}}
IS_DARK = "document.body.classList.contains('dark')"
SETTLED = "document.getAnimations().every(one => !(one instanceof CSSTransition))"


def serious(page: Page, options: dict[str, Any]) -> list[str]:
    found = Axe().run(page, options=options).response["violations"]
    return [
        f"{one['id']}: {node['target']} {node['html'][:120]}"
        for one in found
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]


def check(page: Page) -> None:
    """Every rule in the light, and the colours again in the dark: nothing else is another there."""
    page.emulate_media(color_scheme="light")
    page.wait_for_function(f"!{IS_DARK} && {SETTLED}")
    assert serious(page, RULES) == [], f"{page.url}, light"
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(f"{IS_DARK} && {SETTLED}")
    assert serious(page, COLOURS) == [], f"{page.url}, dark"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An empty app."""
    folder = tmp_path_factory.mktemp("pages")
    with launched(ScriptedEngine(), folder, admin_password="a made-up password") as (_, url):
        yield url


def test_no_page_has_a_serious_finding(address: str, visit: Callable[..., Visit]) -> None:
    page = visit(address).page
    choose(page, "Majority vote", "Say something.", 3)
    run(page)
    page.wait_for_selector('.ps[data-status="ok"]')
    check(page)
    for path, content in FILLED.items():
        page.goto(f"{address}{path}")
        expect(page.locator("h1, h2").first).to_be_visible()
        page.wait_for_selector(content)
        check(page)
