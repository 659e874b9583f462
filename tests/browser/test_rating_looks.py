"""The rating pages to look at: any window, any text, and no difference between the sides."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect

from evals.human.store import Store
from tests.browser.conftest import Visit
from tests.browser.harness import overflow
from tests.browser.rating_site import Site, Walk, new_site, serving
from tests.studio.rating_world import World, make_pairs, make_world
from tests.studio.test_rating_blind import HOSTILE, swapped

pytestmark = pytest.mark.browser
Open = Callable[..., Visit]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with new_site(tmp_path) as made:
        yield made


@pytest.mark.parametrize(
    ("width", "scheme"),
    [
        (320, "dark"),
        pytest.param(640, "light", marks=pytest.mark.slow),
        pytest.param(1280, "dark", marks=pytest.mark.slow),
    ],
)
def test_every_page_fits_any_window_in_both_schemes(
    site: Site, visit: Open, width: int, scheme: str
) -> None:
    page = visit(site.link(), width, 600, color_scheme=scheme, reduced_motion="reduce").page
    walk = Walk(page)
    walk.to_pairs()
    page.locator(".more summary").click()
    page.locator(".skip summary").click()
    walk.look()
    small = page.evaluate(
        "[...document.querySelectorAll("
        "'button, summary, label:not(.field), .button, .jump a, .bottom a')]"
        ".map(e => e.getBoundingClientRect()).filter(r => r.height && r.height < 43.5).length"
    )
    assert small == 0
    page.goto(f"{site.url}/rate/withdraw")
    walk.look()


def test_text_at_twice_its_size_fits(site: Site, visit: Open) -> None:
    page = visit(site.ready(), 1280, 900).page
    page.add_style_tag(url="/rate/static/rate.css")
    page.evaluate("document.documentElement.style.fontSize = '200%'")
    assert overflow(page) <= 0


def test_hostile_text_stays_text_in_two_equal_boxes(tmp_path: Path, visit: Open) -> None:
    texts = [text.encode("utf-8", "replace").decode() for text in HOSTILE.values()]
    plain = replace(make_pairs(1)[0], system="A plain answer.")
    pairs = [
        replace(plain, item=str(n), prompt=text, contributor=text) for n, text in enumerate(texts)
    ]
    fields = {"consent": texts[0], "rubric": texts[1], "title": texts[2]}
    world = make_world(tmp_path, pairs, pairs_per_rater=len(pairs), **fields)
    with serving(world) as url:
        page = visit(f"{url}/rate/{world.invite()[0]}", 1280, 900).page
        asked: list[str] = []
        page.on("dialog", lambda dialog: asked.append(dialog.message))
        walk = Walk(page, checked=False)
        walk.to_pairs()
        left_over = [_letters(text) for text in texts]
        for number in range(1, len(pairs) + 1):
            walk.at_pair(number)
            left, right = (page.evaluate(STYLE, side) for side in ("left", "right"))
            assert left == right
            assert overflow(page) <= 0
            assert page.locator(FOREIGN).count() == 0
            (hostile,) = {_letters(text) for text in walk.shown()} - {"A plain answer."}
            left_over.remove(hostile)
            walk.choose("tie_bad")
        expect(page.locator(".again")).to_have_count(3)
        assert left_over == [] and asked == []
    world.store.close()


FOREIGN = "main :is(img, iframe, style, script, base, a:not([href^='#'], [href^='/rate']))"
STYLE = """side => { const e = document.querySelector(`[data-side=${side}]`);
  const s = getComputedStyle(e), box = e.getBoundingClientRect();
  return [box.width, box.height, box.top, ...[...s].map(k => `${k}: ${s[k]}`)]; }"""


def _letters(text: str) -> str:
    """A text without what a browser leaves out or replaces: controls, spaces at ends of lines."""
    return " ".join(re.sub("[\x00-\x08\ufffd]", "", text).split())


# Blinding, seen from the browser


@pytest.mark.slow
def test_with_swapped_arms_the_browser_receives_the_same_bytes(
    tmp_path: Path, browser: Browser
) -> None:
    first = make_world(tmp_path, overlap=9)
    token = first.invite()[0]
    first.store.close()
    start = (tmp_path / "studies.db").read_bytes()
    sessions = []
    for swap in (False, True):
        file = tmp_path / str(swap)
        file.write_bytes(start)
        world = World(Store.open(f"sqlite:///{file}"), first.spec)
        with serving(world) as url:
            sessions.append(_session(browser, world, f"{url}/rate/{token}", swap=swap))
        world.store.close()
    assert len(sessions[0]["pages"]) == 8
    assert sessions[0] == sessions[1]


def _session(browser: Browser, world: World, link: str, *, swap: bool) -> dict[str, list[str]]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    asked: list[str] = []
    page.on(
        "request", lambda request: asked.append(f"{request.method} {urlsplit(request.url).path}")
    )
    page.goto(link)
    walk = Walk(page, checked=False)
    walk.to_instructions()
    if swap:
        swapped(world.store)
    pages = []
    page.locator("form[action$='/begin'] .primary").click()
    for number in (1, 2):
        expect(page.locator(f"[data-ballot=practice-{number}]")).to_be_visible()
        pages.append(_dom(page))
        walk.choose("left")
        page.locator("[data-go]").click()
    for number in (1, 2, 3, 4):
        walk.at_pair(number)
        pages.append(_dom(page))
        walk.choose("tie_bad")
        walk.receipt()
    pages.append(_dom(page))
    walk.guess()
    pages.append(_dom(page))
    context.close()
    return {"pages": pages, "asked": asked}


def _dom(page: Page) -> str:
    """What the page holds, without what chance or the clock put there."""
    text = re.sub(r'(name="(?:nonce|ticket[-\d]*|seal)" value=")[^"]+', r"\1X", page.content())
    return re.sub(r"(✓[^<]*?)[0-9a-f]{12}", r"\1X", text)
