"""People rating in a real browser: whole studies by mouse, by touch, by keys, without scripts."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from evals.human import studies
from tests.browser.conftest import Visit
from tests.browser.rating_site import Site, Walk, check, new_site, serving
from tests.studio.rating_world import make_pairs, make_world

pytestmark = pytest.mark.browser
Open = Callable[..., Visit]
PHONE = {"width": 320, "height": 640, "has_touch": True, "is_mobile": True}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with new_site(tmp_path) as made:
        yield made


def test_a_whole_study_with_the_mouse_in_english(site: Site, visit: Open) -> None:
    page = visit(site.link(), 1280, 900).page
    walk = Walk(page)
    walk.to_pairs()
    for number, value in enumerate(["left", "right", "tie_good", "tie_bad"], 1):
        walk.at_pair(number)
        if number == 1:
            walk.look()
        walk.choose(value)
        receipt = walk.receipt()
        (vote,) = [row for row in site.world.rows("vote") if row["number"] == number]
        assert vote["outcome"] == value and vote["hash"].startswith(receipt)
        assert vote["input"] == "mouse" and vote["layout"] == "side"
        assert 0 < vote["visible_ms"] <= vote["wall_ms"]
        assert vote["scrolled_left"] and vote["scrolled_right"]
    walk.look()
    expect(page.locator(".bottom")).to_contain_text("You can stop whenever you like")
    walk.guess("left")
    walk.look()
    expect(page.locator(".bottom")).not_to_contain_text("You can stop whenever you like")
    expect(page.locator(".bottom")).to_contain_text("Withdraw")
    assert "DONE-42" in page.locator("main").inner_text()
    assert [row["value"] for row in site.world.rows("guess")] == ["left"] * 3
    assert page.url == f"{site.url}/rate"


def test_a_whole_study_by_touch_on_a_phone_in_arabic(site: Site, visit: Open) -> None:
    page = visit(site.link(), **PHONE, locale="ar").page
    assert page.evaluate("[document.documentElement.lang, document.documentElement.dir]") == [
        "ar", "rtl",
    ]  # fmt: skip
    walk = Walk(page, touch=True)
    walk.to_pairs()
    for number in (1, 2, 3, 4):
        walk.at_pair(number)
        if number == 1:
            walk.look()
            walk.press(".pane >> nth=0 >> .jump a")
            focused = page.evaluate("document.activeElement.dataset.side")
            assert focused == "right" or page.url.endswith("#text-1-right")
        walk.choose("left")
        walk.receipt()
    walk.look()
    walk.guess()
    walk.look()
    votes = site.world.rows("vote")
    assert [(v["input"], v["layout"]) for v in votes] == [("touch", "stacked")] * 4


def test_left_is_left_in_every_language(site: Site, visit: Open) -> None:
    page = visit(site.link(), 1280, 900, locale="ar").page
    Walk(page, checked=False).to_pairs()
    boxes = [page.locator(f"[data-side={side}]").bounding_box() for side in ("left", "right")]
    choices = [page.locator(f"[data-choice={side}]").bounding_box() for side in ("left", "right")]
    for left, right in (boxes, choices):
        assert left and right and left["x"] < right["x"] and left["width"] == right["width"]
        assert left["y"] == right["y"] and left["height"] == right["height"]


def test_a_whole_study_by_keys_alone(site: Site, visit: Open) -> None:
    page = visit(site.link(), 1280, 900).page
    keys = page.keyboard
    keys.press("Tab")
    expect(page.locator(".skip-link")).to_be_focused()
    keys.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    keys.press("Tab")
    expect(page.locator("[name=agree]")).to_be_focused()
    keys.press("Space")
    keys.press("Tab")
    keys.press("Enter")
    expect(page.locator("form[action$='/begin']")).to_be_visible()
    expect(page.locator("h1")).to_be_focused()
    for _ in range(2):  # past the help on keys to the button
        keys.press("Tab")
    keys.press("Enter")
    for number in (1, 2):
        expect(page.locator(f"[data-ballot=practice-{number}]")).to_be_visible()
        keys.press("ArrowLeft")
        keys.press("Enter")
        expect(page.locator("[data-feedback]")).to_be_visible()
        expect(page.locator("h1")).to_be_focused()
        keys.press("Tab")
        keys.press("Enter")
        expect(page.locator("[data-ballot]")).to_be_visible()
        expect(page.locator("h1")).to_be_focused()
    pressed = [("ArrowLeft", "left"), ("2", "right"), ("=", "tie_good"), ("ArrowDown", "tie_bad")]
    for number, (key, value) in enumerate(pressed, 1):
        expect(page.locator(f"[data-ballot=pair-{number}]")).to_be_visible()
        keys.press(key)
        expect(page.locator(f"[data-choice={value}] input")).to_be_checked()
        keys.press("Enter")
        expect(page.locator("#status[data-kind=saved]")).to_be_visible()
        expect(page.locator("h1")).to_be_focused()
    keys.press("Tab")
    for _ in range(3):  # each group of three is one stop, after the texts of its pair
        while page.evaluate("document.activeElement.type") != "radio":
            keys.press("Tab")
        keys.press("ArrowDown")
        keys.press("Tab")
    while page.evaluate("document.activeElement.className") != "button primary":
        keys.press("Tab")
    keys.press("Enter")
    expect(page.locator(".code")).to_be_visible()
    votes = site.world.rows("vote")
    assert [vote["outcome"] for vote in votes] == [value for _, value in pressed]
    assert {vote["input"] for vote in votes} == {"keyboard"}


def test_keys_in_a_text_field_only_write(site: Site, visit: Open) -> None:
    page = visit(site.ready(), 1280, 900).page
    page.locator(".more summary").click()
    page.locator("#comment").click()
    for key in ("1", "2", "3", "4", "=", "ArrowLeft", "ArrowRight", "ArrowDown", "Enter"):
        page.keyboard.press(key)
    assert page.locator("#comment").input_value().replace("\n", "") == "1234="
    assert page.locator("[name=outcome]:checked").count() == 0
    page.locator("[name=strength]").first.click()
    page.keyboard.press("ArrowRight")  # moves in its own group
    assert page.locator("[name=outcome]:checked").count() == 0
    assert page.locator("[name=strength][value='2']").is_checked()
    page.locator("[data-side=left]").focus()
    page.keyboard.press("ArrowDown")  # scrolls the answer
    assert page.locator("[name=outcome]:checked").count() == 0
    assert site.world.rows("vote") == []


def test_the_keys_can_be_switched_off_for_good(site: Site, visit: Open) -> None:
    page = visit(site.ready(), 1280, 900).page
    page.locator(".keys summary").click()
    check(page)
    page.locator("[data-keys]").click()
    page.reload()
    page.keyboard.press("1")
    assert page.locator("[name=outcome]:checked").count() == 0
    page.locator(".keys summary").click()
    page.locator("[data-keys]").click()
    page.locator("h1").click()
    page.keyboard.press("1")
    assert page.locator("[name=outcome]:checked").count() == 1


def test_without_a_choice_nothing_is_sent_and_the_page_says_why(site: Site, visit: Open) -> None:
    page = visit(site.ready(), 1280, 900).page
    page.locator("[data-ballot] .primary").click()
    expect(page.locator("#status")).to_have_text("Please choose an answer first.")
    page.locator(".skip summary").click()
    page.locator(".skip .button").click()
    expect(page.locator("#status")).to_have_text("Please choose a reason first.")
    assert site.world.rows("vote") == []
    page.locator("[name=skip_reason][value=unclear]").check()
    check(page)
    page.locator(".skip .button").click()
    expect(page.locator("[data-ballot=pair-2]")).to_be_visible()
    assert [row["outcome"] for row in site.world.rows("vote")] == ["skip"]


def test_an_answer_never_looked_at_gets_one_nudge(tmp_path: Path, visit: Open) -> None:
    long = [replace(p, contributor="word " * 900, system="term " * 900) for p in make_pairs(4)]
    world = make_world(tmp_path, long)
    with serving(world) as url:
        page = visit(f"{url}/rate/{world.invite()[0]}", **PHONE).page
        walk = Walk(page, touch=True, checked=False)
        walk.to_pairs()
        page.keyboard.press("1")
        page.keyboard.press("Enter")
        expect(page.locator("#status")).to_contain_text("not looked at both answers")
        assert world.rows("vote") == []
        page.keyboard.press("Enter")
        walk.receipt()
        (vote,) = world.rows("vote")
        assert not vote["scrolled_left"] and not vote["scrolled_right"]
    world.store.close()


# Time


def test_time_counts_only_while_the_page_is_looked_at(site: Site, visit: Open) -> None:
    page = visit(site.link(), 1280, 900).page
    page.clock.install()
    Walk(page, checked=False).to_pairs()
    page.clock.pause_at(page.evaluate("Date.now()") + 60_000)
    page.reload()
    start = _visible(page)
    page.clock.run_for(10_000)
    _show(page, "hidden")
    page.clock.run_for(50_000)  # another tab
    _show(page, "visible")
    page.clock.run_for(7_000)
    page.mouse.move(300, 300)
    page.clock.run_for(300_000)  # away from the desk: a minute of it counts
    page.mouse.move(310, 300)
    page.clock.run_for(3_000)
    page.clock.resume()
    Walk(page, checked=False).choose("left")
    Walk(page).receipt()
    (vote,) = site.world.rows("vote")
    assert 80_000 <= vote["visible_ms"] - start < 125_000  # with the other tab 130
    assert vote["wall_ms"] >= 370_000


def _visible(page: Page) -> int:
    kept = page.evaluate("JSON.parse(sessionStorage.getItem('rate-watch pair-1'))")
    return int(kept["visible"])


def _show(page: Page, state: str) -> None:
    page.evaluate(
        "state => { Object.defineProperty(document, 'visibilityState', "
        "{configurable: true, get: () => state}); "
        "document.dispatchEvent(new Event('visibilitychange')); }",
        state,
    )


def test_the_first_real_vote_is_near(site: Site, visit: Open) -> None:
    """Under 90 seconds from landing: five words a second, each line once, a second per press."""
    page = visit(site.link(), 1280, 900).page
    read: set[str] = set()
    presses = 0

    class Counting(Walk):
        def look(self) -> None:
            read.update(page.locator("main").inner_text().splitlines())

        def press(self, selector: str) -> None:
            nonlocal presses
            presses += 1
            super().press(selector)

    walk = Counting(page)
    walk.to_practice()
    for number, better in ((1, "Spring"), (2, "sixty")):
        walk.look()
        side = page.locator("[data-side]", has_text=better).get_attribute("data-side")
        walk.choose(str(side))
        walk.look()
        walk.press("[data-go]")
        expect(page.locator(f"[data-ballot=practice-{number}]")).to_have_count(0)
    walk.look()
    walk.choose("left")
    walk.receipt()
    words = sum(len(line.split()) for line in read)
    assert words > 100 and words / 5 + presses < 90, (words, presses)


def test_everything_works_without_javascript(site: Site, visit: Open) -> None:
    page = visit(site.link(), **PHONE, java_script_enabled=False).page
    page.locator("[name=agree]").check()
    page.locator("form[action$='/consent'] .primary").click()
    page.locator("form[action$='/begin'] .primary").click()
    for _ in range(2):
        page.locator("[data-choice=left]").click()
        page.locator("[data-ballot] .primary").click()
        page.locator("[data-go]").click()
    for number in (1, 2, 3, 4):
        expect(page.locator(f"[data-ballot=pair-{number}]")).to_be_visible()
        page.locator("[data-choice=right]").click()
        page.locator("[data-ballot] .primary").click()
        expect(page.locator("#status")).to_contain_text("✓")
    for number in (1, 2, 3):
        page.locator(f"[name=guess-{number}][value=unknown]").check()
    page.locator("form[action$='/guess'] .primary").click()
    expect(page.locator("main")).to_contain_text("DONE-42")
    assert [row["outcome"] for row in site.world.rows("vote")] == ["right"] * 4
    page.locator(".bottom a").click()
    page.locator(".danger").click()
    page.wait_for_url("**/rate/withdrawn?lang=*")
    assert site.world.rows("rater")[0]["withdrawn_at"]


def test_undo_shows_the_last_choice_and_changes_it(site: Site, visit: Open) -> None:
    page = visit(site.ready(), 1280, 900).page
    walk = Walk(page, checked=False)
    before = walk.shown()
    walk.choose("left")
    walk.receipt()
    walk.press("form[action$='/undo'] button")
    walk.at_pair(1)
    expect(page.locator("[data-choice=left] input")).to_be_checked()
    assert walk.shown() == before
    check(page)
    walk.choose("tie_good")
    walk.at_pair(2)
    outcomes = [(row["outcome"], row["revision"]) for row in site.world.rows("vote")]
    assert outcomes == [("left", 1), ("tie_good", 2)]


def test_another_language_keeps_the_pair_and_its_sides(site: Site, visit: Open) -> None:
    page = visit(site.ready(), 1280, 900).page
    walk = Walk(page, checked=False)
    walk.choose("left")
    walk.at_pair(2)
    before = walk.shown()
    for code in ("ar", "zh", "fr", "es", "en"):
        walk.press(".menu summary")
        if code == "ar":
            check(page)
        walk.press(f".menu [value={code}]")
        expect(page.locator("html")).to_have_attribute("lang", code)
        walk.at_pair(2)
        assert walk.shown() == before
        check(page)


def test_the_own_result_can_be_kept_as_a_picture(site: Site, visit: Open) -> None:
    page = visit(site.link(), 1280, 900).page
    walk = Walk(page)
    walk.to_pairs()
    for number in (1, 2, 3, 4):
        walk.at_pair(number)
        if number == 1:
            walk.look()
        walk.choose("left")
        walk.receipt()
    walk.guess()
    assert page.locator("[data-certificate]").count() == 0
    studies.lock_study(site.world.store, site.world.spec.slug, by="lab")
    page.reload()
    size = page.evaluate(
        "document.querySelector('[data-certificate]').decode().then(() =>"
        " document.querySelector('[data-certificate]').naturalWidth)"
    )
    assert size == 720
    walk.look()
    saved = {}
    for name, button in (("png", "button[data-png]"), ("svg", "a[download]")):
        with page.expect_download() as download:
            page.click(button)
        assert download.value.suggested_filename == f"certificate.{name}"
        saved[name] = Path(download.value.path()).read_bytes()
    assert saved["svg"].startswith(b"<svg") and "4 pairs judged blind" in saved["svg"].decode()
    width, height = struct.unpack(">II", saved["png"][16:24])
    assert saved["png"].startswith(b"\x89PNG") and (width, height) == (1440, 500)
    assert len(saved["png"]) > 5000, "a blank picture of this size is smaller"


def test_after_losing_the_cookie_the_link_goes_on(site: Site, visit: Open) -> None:
    link = site.ready()
    page = visit(link, 1280, 900).page
    walk = Walk(page, checked=False)
    walk.choose("left")
    walk.at_pair(2)
    page.context.clear_cookies()
    page.goto(link)
    walk.at_pair(2)
    expect(page.locator("h1")).to_have_text("Pair 2 of 4")
