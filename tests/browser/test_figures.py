"""Figures in a real Chromium: they grow with the run, keep what a person has set, and fit a phone;
and the Play page's way from training to a run that uses it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from protocols.core.events import Artifact, Event
from protocols.core.trace import read_trace
from protocols.engines.scripted import ScriptedEngine
from tests import figures as made
from tests.browser.conftest import Visit
from tests.browser.harness import feed, overflow, served
from tests.browser.test_accessibility import COLOURS, RULES, SETTLED, serious
from tests.browser.test_play import pick

pytestmark = pytest.mark.browser
LONG = 60_000


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(tmp_path_factory.mktemp("figures")) as url:
        yield url


def test_every_figure_fits_a_phone_and_has_no_serious_finding(
    address: str, browser: Browser
) -> None:
    page = browser.new_page(viewport={"width": 390, "height": 844})
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(f"{address}/light.html")
    feed(page, made.fit_run())
    shown = page.locator("[data-figure]").evaluate_all("all => all.map(n => n.dataset.figure)")
    assert set(made.things()) <= set(shown)
    assert overflow(page) <= 0
    assert page.locator(".ps-part-chart svg[aria-label*='over']").count() >= 5
    page.evaluate("document.querySelectorAll('details').forEach((n) => { n.open = true; })")
    assert serious(page, RULES) == []
    page.evaluate("document.body.className = 'dark'")
    page.wait_for_function(SETTLED)
    assert serious(page, COLOURS) == []
    assert overflow(page) <= 0 and errors == []
    assert "cannot be drawn" not in page.locator(".ps").inner_text()
    page.close()


def test_a_figure_grows_and_keeps_what_a_person_has_set(address: str, browser: Browser) -> None:
    page = browser.new_page(viewport={"width": 1000, "height": 900})
    page.goto(f"{address}/light.html")
    start = made.fit_run(("no such thing",))[:3]
    events: list[Event] = [*start, *(_swarm(n, 2 + n) for n in (1, 2, 3))]
    feed(page, events[:4])
    expect(page.locator(".ps-title")).to_have_text("Fitting: Greedy soup")
    slider = page.locator('[data-figure="swarm"] input[type="range"]')
    expect(slider).to_have_attribute("max", "0")
    feed(page, events[4:5], 3)
    expect(slider).to_have_attribute("aria-valuetext", re.compile("Iteration 2 of 2"))
    slider.focus()
    page.keyboard.press("Home")
    expect(slider).to_have_attribute("aria-valuetext", re.compile("Iteration 1 of 2"))
    page.locator('[data-figure="swarm"] summary').first.press("Enter")
    feed(page, events[5:6], 4)
    expect(slider).to_have_attribute("aria-valuetext", re.compile("Iteration 1 of 3"))
    expect(page.locator('[data-figure="swarm"] details[open] td')).to_have_count(9)
    page.close()


def _swarm(iterations: int, seq: int) -> Event:
    stamp = {"run": "artificial", "seq": seq, "t": float(seq)}
    event = Artifact(name="swarm", data=made.swarm(iterations))
    return event.model_copy(update=stamp)


def fitting(page: Page, protocol: str, items: int) -> None:
    """Open the panel for a protocol and fill it in."""
    page.get_by_role("button", name="Run", exact=True).wait_for()
    page.locator("#protocol input").click()
    page.locator("li[role=option]").filter(has_text=re.compile(protocol)).click()
    page.locator("#fitting").get_by_role("button", name="Train / search").click()
    pick(page, 3)
    page.locator("#fit-items input").fill(str(items))
    page.keyboard.press("Tab")
    expect(page.locator("#fitting .studio-cost")).to_contain_text(
        f"{items} train and {items} dev items", timeout=LONG
    )


def test_fit_on_the_page_reload_and_run_with_what_was_made(
    scripted_app: Callable[..., str], visit: Callable[..., Visit], tmp_path: Path
) -> None:
    engine = ScriptedEngine("The answer is 7.", delay_s=0.4)
    page = visit(scripted_app(engine, hosted=False)).page
    fitting(page, "Cascade", 4)
    expect(page.locator("#fitting .studio-cost")).to_contain_text("At most 12 answers of up to")
    page.locator("#fit-start").click()
    expect(page.locator(".ps-title")).to_have_text("Fitting: Cascade", timeout=LONG)
    page.reload()
    page.wait_for_selector('.ps[data-status="ok"]', timeout=LONG)
    expect(page.locator(".ps-title")).to_have_text("Fitting: Cascade")
    expect(page.locator(".ps-status")).to_have_text("Fitted")
    expect(page.locator('[data-figure="cost_curve"] svg').first).to_be_visible()
    expect(page.locator("#protocol input")).to_have_value(re.compile("Cascade"), timeout=LONG)
    expect(page.locator(".studio-picker-count")).to_have_text(re.compile("^3 of"), timeout=LONG)
    stored = next((tmp_path / "artifacts" / "cascade").glob("[!.]*"))
    page.locator("#question textarea").fill("What is 3 + 4?")
    before = page.url
    page.get_by_role("button", name="Run", exact=True).click()
    page.wait_for_url(lambda url: url != before, timeout=LONG)
    page.wait_for_selector('.ps[data-status="ok"]', timeout=LONG)
    expect(page.locator(".ps-answer-body")).to_contain_text("7")
    run = page.locator(".ps").get_attribute("data-run")
    opening = read_trace(tmp_path / "runs" / f"{run}.jsonl").events[0]
    assert getattr(opening, "artifact", "") == stored.name


@pytest.mark.slow
def test_visitors_of_a_hosted_demo_see_the_command_and_no_button(
    scripted_app: Callable[..., str], visit: Callable[..., Visit]
) -> None:
    page = visit(scripted_app(ScriptedEngine(), hosted=True)).page
    fitting(page, "Cascade", 4)
    expect(page.locator("#fit-start")).to_have_count(0)
    expect(page.locator("#fit-told")).to_contain_text("the lab starts fits")
    page.get_by_text("The same in a terminal").click()
    expect(page.locator(".studio-command code")).to_contain_text(
        re.compile(r"studio fit --protocol cascade .*--limit 4")
    )
