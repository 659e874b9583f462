"""The studio's own pages against the rules of WCAG 2.2 AA that a program can check."""

from __future__ import annotations

from collections.abc import Callable, Iterator

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


def serious(page: Page) -> list[str]:
    found = Axe().run(page, options=RULES).response["violations"]
    return [
        f"{one['id']}: {node['target']} {node['html'][:120]}"
        for one in found
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An empty app for both schemes: starting one takes seconds."""
    folder = tmp_path_factory.mktemp("pages")
    with launched(ScriptedEngine(), folder, admin_password="a made-up password") as (_, url):
        yield url


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_has_a_serious_finding(
    scheme: str, address: str, visit: Callable[..., Visit]
) -> None:
    page = visit(f"{address}/?__theme={scheme}", color_scheme=scheme).page
    choose(page, "Majority vote", "Say something.", 3)
    run(page)
    page.wait_for_selector('.ps[data-status="ok"]')
    assert serious(page) == []
    for path, content in FILLED.items():
        page.goto(f"{address}{path}{'&' if '?' in path else '?'}__theme={scheme}")
        expect(page.locator("h1, h2").first).to_be_visible()
        page.wait_for_selector(content)
        assert serious(page) == [], path
