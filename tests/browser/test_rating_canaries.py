"""T-L1 in a browser: in a whole session of 25 pairs nothing that arrives or stays names an arm."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Response, expect

from studio.rating import RatingOptions
from tests.browser.rating_site import Walk, serving
from tests.studio.rating_world import DENIED, SECRET, make_pairs, make_world

pytestmark = [pytest.mark.browser, pytest.mark.slow]
PAIRS = 25
KEPT = """() => JSON.stringify([document.title, document.documentElement.outerHTML,
  Object.entries(localStorage), Object.entries(sessionStorage), document.cookie, location.href,
  performance.getEntries().map(e => e.name)])"""


def test_no_canary_in_anything_a_browser_receives_or_keeps(
    tmp_path: Path, browser: Browser
) -> None:
    options = RatingOptions(SECRET, posts_per_minute=1000, pages_per_minute=1000)
    world = make_world(tmp_path, make_pairs(PAIRS), options=options, pairs_per_rater=PAIRS)
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    answers: list[Response] = []
    seen: list[str] = []
    page.on("response", lambda answer: answers.append(answer))
    page.on("console", lambda line: seen.append(line.text))
    page.on("request", lambda asked: seen.append(f"{asked.url} {asked.post_data}"))
    with serving(world) as url:
        page.goto(f"{url}/rate/{world.invite()[0]}")
        walk = Walk(page, checked=False)
        walk.to_pairs()
        for number in range(1, PAIRS + 1):
            walk.at_pair(number)
            seen.append(page.evaluate(KEPT))
            walk.choose(("left", "right", "tie_good", "tie_bad")[number % 4])
        expect(page.locator(".again")).to_have_count(3)
        walk.guess()
        seen += [page.evaluate(KEPT), json.dumps(context.cookies())]
        for answer in answers:
            seen.append(json.dumps(answer.all_headers()))
            if not 300 <= answer.status < 400:  # a browser keeps no body of these
                seen.append(answer.text())
    context.close()
    assert len(world.rows("vote")) == PAIRS
    world.store.close()
    text = "\n".join(seen).lower()
    assert text.count("text about") > 2 * PAIRS  # it is the session that is searched
    for canary in DENIED:
        assert canary not in text, canary
