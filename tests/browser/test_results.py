"""The Results page in a browser: from a point of a figure to the runs behind it, and to one run."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from playwright.sync_api import Page, expect

from evals.results_file import KEPT, keep_records
from protocols.engines.scripted import ScriptedEngine
from tests.browser.conftest import Visit, launched
from tests.browser.harness import overflow
from tests.browser.test_accessibility import RULES, serious
from tests.conftest import ROOT
from tests.evals.bench.helpers import measure, spec

pytestmark = pytest.mark.browser
Open = Callable[..., Visit]
LONG = 180_000
"""The first visit computes every analysis: on a busy machine that took more than a minute."""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An app with the results of a small artificial bench, whose runs were kept."""
    tmp_path = tmp_path_factory.mktemp("results")
    asked, folder = spec(seeds=(0, 1)), tmp_path / "bench"
    with ThreadPoolExecutor() as aside:  # Playwright's own event loop runs in this thread.
        work = aside.submit(measure, asked, folder, traces=tmp_path / "runs")
    keep_records(work.result()[0], tmp_path / "assets" / "results" / f"small{KEPT}")
    with launched(ScriptedEngine(), tmp_path) as (_, url):
        yield url


def arrive(open_page: Open, address: str, **more: int) -> Page:
    page = open_page(f"{address}/results", **more).page
    expect(page.locator(".js-plotly-plot .points path.point").first).to_be_visible(timeout=LONG)
    return page


def sorts_and_is_filtered(page: Page) -> None:
    """The table of protocols, by a heading's button and by a word."""
    table = page.locator(".studio-standings").first
    column = table.get_by_role("columnheader", name="tokens")
    for order in ("descending", "ascending"):
        column.get_by_role("button").click()
        expect(column).to_have_attribute("aria-sort", order)
        tokens = [
            float(one) for one in table.locator("tbody td:nth-last-child(2)").all_inner_texts()
        ]
        assert len(set(tokens)) > 1
        assert tokens == sorted(tokens, reverse=order == "descending")
    table.get_by_role("searchbox").fill("vote")
    expect(table.locator("tbody tr:visible th")).to_have_text(["Majority vote"])
    expect(table.get_by_role("status")).to_have_text(re.compile("1 of [0-9]+ rows"))


def test_a_point_leads_to_its_records_and_to_a_stored_run(address: str, visit: Open) -> None:
    page = arrive(visit, address)
    sorts_and_is_filtered(page)
    figure = page.locator(".js-plotly-plot").first
    place = figure.locator(".scatterlayer path.point").last  # What it is compared with has none.
    panel = page.locator(".studio-behind")
    place.scroll_into_view_if_needed()
    box = place.bounding_box()
    assert box
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    expect(panel).to_be_visible(timeout=LONG)
    expect(panel.locator("h3")).to_contain_text("Scaling participation")
    expect(panel).to_contain_text("8 answers, ")
    expect(panel.locator("> details")).to_have_count(8)
    first = panel.locator("> details").first
    first.locator("summary").click()
    expect(first.locator("tbody tr")).to_have_count(4)
    for said in ("alpha", "red", "gamma", "green blue", "delta", "could not be read"):
        expect(first.locator("table")).to_contain_text(said)
    expect(first).to_contain_text(re.compile(r"Seed\s*[01], run [0-9a-f]{16}"))
    first.get_by_role("link", name="Watch this run").click()
    expect(page.locator(".ps-title")).to_have_text("Majority vote", timeout=LONG)


def test_the_table_under_a_figure_does_the_same_by_keyboard(address: str, visit: Open) -> None:
    page = arrive(visit, address, width=360, height=800)
    expect(page.locator(".studio-standings").first).to_be_visible(timeout=LONG)
    offered = page.get_by_role("button", name="Figure (SVG)").count()
    assert offered > 1
    expect(page.locator(".js-plotly-plot")).to_have_count(offered)  # None was lost on the way.
    assert overflow(page) <= 0
    points = page.locator(".studio-points").first
    points.locator("summary").focus()
    page.keyboard.press("Enter")
    button = points.get_by_role("button").first
    expect(button).to_be_visible()
    button.focus()
    page.keyboard.press("Enter")
    panel = page.locator(".studio-behind")
    expect(panel).to_be_focused(timeout=LONG)
    assert overflow(page) <= 0
    assert serious(page, RULES) == []


def test_no_figure_of_the_results_that_ship_is_lost_on_the_way(
    scripted_app: Callable[..., str], visit: Open
) -> None:
    """All is known beforehand here, so figures come as fast as they can be sent."""
    address = scripted_app(ScriptedEngine(), assets=ROOT / "assets")
    for width in (1400, 360):
        page = arrive(visit, address, width=width, height=800)
        expect(page.locator(".studio-standings").first).to_be_visible(timeout=LONG)
        offered = page.get_by_role("button", name="Figure (SVG)").count()
        assert offered >= 8
        expect(page.locator(".js-plotly-plot")).to_have_count(offered)
