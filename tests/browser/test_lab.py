"""A lab plans, prepares, opens, locks and reads a study in a browser; visitors see none of it."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from protocols.engines.scripted import ScriptedEngine
from tests.browser.conftest import Visit
from tests.browser.rating_site import Walk

pytestmark = pytest.mark.browser
Launch = Callable[..., str]
Open = Callable[..., Visit]
PASSWORD = "a made-up password"


def log_in(page: Page, address: str) -> None:
    page.goto(address + "/lab")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("tab", name="Plan")).to_be_visible()


def choose(page: Page, label: str, option: str) -> None:
    box = page.get_by_label(label, exact=False).first
    box.click()
    page.get_by_role("option", name=option).first.click()


def plan(page: Page, slug: str) -> None:
    page.get_by_label("Short name").fill(slug)
    choose(page, "Contributors' models", "Capital")
    page.get_by_label("Title").click()
    page.get_by_role("spinbutton", name="number input for Pairs per contributor").fill("3")
    page.get_by_role("spinbutton", name="number input for Pairs per rater").fill("3")
    page.get_by_role("spinbutton", name="number input for Share shown twice").fill("0")
    page.get_by_role("button", name="Create the study").click()
    expect(page.locator(".studio-study")).to_contain_text("smollm2-capitals")
    expect(page.get_by_text("The study is stored")).to_be_visible()


def test_a_lab_walks_a_study_from_plan_to_report(scripted_app: Launch, visit: Open) -> None:
    address = scripted_app(ScriptedEngine(), admin_password=PASSWORD)
    lab = visit(address + "/studies").page
    expect(lab.get_by_text("Studies belong to the lab")).to_be_visible()
    expect(lab.get_by_role("tab", name="Plan")).to_be_hidden()
    log_in(lab, address)
    plan(lab, "made-up-study")
    lab.get_by_role("tab", name="Answers").click()
    lab.get_by_role("button", name="Make the answers").click()
    expect(lab.locator(".studio-review")).to_contain_text("3 pairs", timeout=60_000)
    lab.locator(".studio-review details").first.click()
    expect(lab.locator(".studio-pairtext").first).to_be_visible()
    look_as_a_rater(visit, lab, address)
    lab.get_by_role("button", name="Open the study to raters").click()
    refused = lab.get_by_text("have not been reviewed")
    expect(refused).to_be_visible()
    lab.wait_for_timeout(300)  # what the study looks like now is drawn; the reason must stay
    expect(refused).to_be_in_viewport()
    lab.get_by_role("button", name="I have looked at the pairs").click()
    expect(lab.locator(".studio-steps [data-done='true']")).to_have_count(2)
    lab.get_by_role("button", name="Open the study to raters").click()
    expect(lab.locator(".studio-steps [data-done='true']")).to_have_count(3)
    lab.get_by_role("tab", name="Raters").click()
    lab.get_by_role("button", name="Make invitation links").click()
    links = lab.locator("#links textarea")
    expect(links).to_have_value(re.compile(r"/rate/[\w-]{20,}"))
    rater = visit(links.input_value().split()[0], width=390, height=800).page
    walk = Walk(rater)
    walk.to_pairs()
    for number in (1, 2, 3):
        walk.at_pair(number)
        walk.choose("left")
        walk.receipt()
    walk.guess()
    lab.get_by_role("tab", name="Monitor").click()
    expect(lab.locator(".studio-monitor")).to_contain_text("3 of 3")
    expect(lab.locator(".studio-monitor")).to_contain_text("finished")
    lab.get_by_role("tab", name="Results").click()
    expect(lab.get_by_text("Sealed until the study is locked.", exact=True)).to_be_visible()
    lab.get_by_role("button", name="Verify the blinding").click()
    expect(lab.locator(".studio-checks li")).to_have_count(4, timeout=60_000)
    expect(lab.locator(".studio-checks")).not_to_contain_text("FAILED")
    lock = lab.get_by_role("button", name="Lock the study")
    lock.click()
    expect(lab.locator(".studio-notice, .studio-warn").first).to_contain_text("cannot be undone")
    lab.get_by_label("To lock, type the study's short name").fill("made-up-study")
    lock.click()
    expect(lab.get_by_role("link", name="Report", exact=True)).to_be_visible()
    report = lab.request.get(address + "/lab/studies/made-up-study/report")
    assert report.status == 200 and "<html" in report.text()
    packed = lab.request.get(address + "/lab/studies/made-up-study/export.zip")
    assert packed.status == 200 and packed.body().startswith(b"PK")


def look_as_a_rater(visit: Open, lab: Page, address: str) -> None:
    """The preview shows the pair to the lab only, and nothing comes of pressing its buttons."""
    link = lab.locator(".studio-review details a").first.get_attribute("href")
    assert link and visit(address + "/").page.request.get(address + link).status == 404
    shown = lab.context.new_page()
    shown.goto(address + link)
    expect(shown.locator("#status")).to_contain_text("nothing is saved")
    expect(shown.locator("[data-side]")).to_have_count(2)
    shown.close()


def test_a_draft_is_discarded_by_its_name_only(scripted_app: Launch, visit: Open) -> None:
    address = scripted_app(ScriptedEngine(), admin_password=PASSWORD)
    lab = visit(address + "/studies").page
    log_in(lab, address)
    plan(lab, "a-mistake")
    lab.set_viewport_size({"width": 360, "height": 740})
    for label in ("Short name", "Votes at most"):
        box = lab.get_by_label(label).bounding_box()
        assert box and box["width"] > 270, "two columns are too narrow for a phone"
    out = lab.get_by_role("button", name="Log out").bounding_box()
    assert out and out["x"] + out["width"] <= 360
    lab.set_viewport_size({"width": 1400, "height": 1000})
    lab.get_by_role("button", name="Discard the chosen study").click()
    discard = lab.get_by_role("button", name="Discard the study")
    discard.click()
    expect(lab.locator(".studio-warn").first).to_contain_text("Type 'a-mistake' to confirm")
    lab.get_by_label("To discard, type the study's short name").fill("a-mistake")
    discard.click()
    expect(lab.get_by_text("No study yet")).to_be_visible()


def test_a_visitor_gets_nothing_of_the_lab(scripted_app: Launch, visit: Open) -> None:
    address = scripted_app(ScriptedEngine(), admin_password=PASSWORD)
    page = visit(address + "/compare").page
    expect(page.get_by_text("No study is open to everybody")).to_be_visible()
    unknown = page.request.get(address + "/lab/studies/there-is-none/report")
    config = page.request.get(address + "/config").text()
    assert unknown.status == 404 and PASSWORD not in config
    page.get_by_label("Your invitation").fill("not a link")
    page.get_by_role("button", name="Begin or go on").click()
    expect(page.get_by_role("alert")).to_contain_text("no invitation")
