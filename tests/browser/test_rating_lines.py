"""Bad lines, impatience and several tabs: a judgement is saved once, and the page never lies."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.browser.rating_site import Site, Walk, check, new_site

pytestmark = pytest.mark.browser


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with new_site(tmp_path) as made:
        yield made


@pytest.fixture
def impatient(site: Site, browser: Browser) -> Iterator[Page]:
    """A page whose complaints about a dead line are expected."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.goto(site.ready())
    yield page
    context.close()


def test_without_a_line_the_page_says_not_saved_and_saves_later(
    site: Site, impatient: Page
) -> None:
    impatient.context.set_offline(True)
    Walk(impatient).choose("right")
    status = impatient.locator("#status")
    expect(status).to_contain_text("Not saved yet, keep this tab open")
    check(impatient)
    assert "✓" not in status.inner_text() and site.world.rows("vote") == []
    impatient.context.set_offline(False)
    receipt = Walk(impatient).receipt()
    (vote,) = site.world.rows("vote")
    assert vote["hash"].startswith(receipt) and vote["outcome"] == "right"


def test_a_lost_reply_is_asked_for_again_and_is_one_vote(site: Site, impatient: Page) -> None:
    lost: list[str] = []

    def lose_first(route: Route) -> None:
        if lost:
            route.continue_()
            return
        route.fetch(max_redirects=0)
        lost.append(route.request.url)
        route.abort()

    impatient.route("**/rate/vote", lose_first)
    Walk(impatient).choose("left")
    receipt = Walk(impatient).receipt()
    (vote,) = site.world.rows("vote")
    assert lost and vote["hash"].startswith(receipt)


def test_a_failing_server_is_tried_until_it_saves(site: Site, impatient: Page) -> None:
    with site.world.store.write() as connection:
        connection.exec_driver_sql(
            "CREATE TRIGGER broken BEFORE UPDATE ON assignment "
            "BEGIN SELECT RAISE(ABORT, 'broken'); END"
        )
    Walk(impatient).choose("left")
    expect(impatient.locator("#status")).to_contain_text("Not saved yet")
    with site.world.store.write() as connection:
        connection.exec_driver_sql("DROP TRIGGER broken")
    Walk(impatient).receipt()
    assert len(site.world.rows("vote")) == 1


def test_impatient_pressing_is_one_vote_and_never_the_next_pair(
    site: Site, impatient: Page
) -> None:
    impatient.locator("[data-choice=left]").click()
    impatient.locator("[data-ballot] .primary").dblclick()
    Walk(impatient).receipt()
    impatient.keyboard.press("1")
    for _ in range(30):  # Enter held down
        impatient.keyboard.down("Enter")
    impatient.keyboard.up("Enter")
    expect(impatient.locator("[data-ballot=pair-3]")).to_be_visible()
    assert len(site.world.rows("vote")) == 2


def test_a_second_tab_is_told_and_goes_on(site: Site, impatient: Page) -> None:
    other = impatient.context.new_page()
    other.goto(f"{site.url}/rate")
    Walk(impatient).choose("left")
    Walk(impatient).receipt()
    Walk(other).choose("right")
    expect(other.locator("h1")).to_have_text("This step is no longer open")
    check(other)
    other.locator("[data-go]").click()
    expect(other.locator("[data-ballot=pair-2]")).to_be_visible()
    assert [row["outcome"] for row in site.world.rows("vote")] == ["left"]
