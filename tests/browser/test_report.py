"""The page as a reader meets it: a wide window, a phone, the dark, and a program for barriers."""

from __future__ import annotations

from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from evals.human.certificate import certificate, certificate_html
from evals.human.render import render_html
from evals.human.report import build_report
from tests.evals.human.report.studies import figure_8
from tests.evals.human.report.test_render import HOSTILE, full

pytestmark = pytest.mark.browser
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
VIEWS = [("report", 1280, "dark"), ("report", 320, "light"), ("certificate", 320, "light")]
WIDER = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    shown = {
        "report": render_html(build_report(full("A rather long name of a study " * 3))),
        "hostile": render_html(build_report(full(HOSTILE))),
        "certificate": certificate_html(certificate(figure_8(), "rater-0")),
    }
    for name, text in shown.items():
        (folder / f"{name}.html").write_text(text, encoding="utf-8")
    return {name: folder / f"{name}.html" for name in shown}


def opened(browser: Browser, path: Path, width: int, scheme: str) -> tuple[Page, list[str]]:
    dark = "dark" if scheme == "dark" else "light"
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=dark)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: asked.append(message.text))
    page.goto(path.as_uri())
    return page, asked


@pytest.mark.parametrize(("name", "width", "scheme"), VIEWS)
def test_readers_meet_no_barrier_and_the_page_no_server(
    browser: Browser, pages: dict[str, Path], name: str, width: int, scheme: str
) -> None:
    page, asked = opened(browser, pages[name], width, scheme)
    assert asked == [pages[name].as_uri()]
    assert page.evaluate(WIDER) <= 0
    found = Axe().run(page, options=RULES).response["violations"]
    assert not found, [(v["id"], [n["html"] for n in v["nodes"]][:3]) for v in found]
    page.close()


def test_hostile_names_run_nothing_and_widen_nothing(
    browser: Browser, pages: dict[str, Path]
) -> None:
    page, asked = opened(browser, pages["hostile"], 320, "light")
    assert asked == [pages["hostile"].as_uri()] and page.evaluate(WIDER) <= 0
    assert "onerror=alert(1)" in page.locator("h1").inner_text()
    page.close()


def test_a_dark_screen_prints_dark_on_white(browser: Browser, pages: dict[str, Path]) -> None:
    page, _ = opened(browser, pages["report"], 760, "dark")
    colour = "getComputedStyle(document.body).color"
    assert page.evaluate(colour) == "rgb(233, 237, 243)"
    page.emulate_media(media="print")
    assert page.evaluate(colour) == "rgb(24, 32, 44)" and page.evaluate(WIDER) <= 0
    page.close()


def test_the_forest_plot_is_drawn_to_scale(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text(render_html(build_report(figure_8())), encoding="utf-8")
    page, _ = opened(browser, path, 1280, "light")
    box = page.locator(".forest .all .plot > svg").bounding_box()
    point = page.locator(".forest .all .point").bounding_box()
    line = page.locator(".forest .all .reach").bounding_box()
    assert box is not None and point is not None and line is not None
    middle = (point["x"] + point["width"] / 2 - box["x"]) / box["width"]
    assert middle == pytest.approx(0.63, abs=0.005)
    assert (line["x"] - box["x"]) / box["width"] == pytest.approx(0.5276, abs=0.01)
    page.close()
