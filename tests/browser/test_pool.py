"""The Pool page: a visitor cannot hold a model back, the lab can, and then nobody can pick it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from protocols.engines.scripted import ScriptedEngine
from tests.browser.conftest import Visit
from tests.browser.test_lab import PASSWORD, log_in

pytestmark = pytest.mark.browser


def test_a_model_in_quarantine_cannot_be_picked(
    scripted_app: Callable[..., str], visit: Callable[..., Visit]
) -> None:
    address = scripted_app(ScriptedEngine(), admin_password=PASSWORD)
    visitor = visit(address + "/pool").page
    expect(visitor.locator(".studio-pool-card").first).to_be_visible()
    expect(visitor.locator("#held-hold")).to_be_hidden()
    lab = visit(address + "/studies").page
    log_in(lab, address)
    lab.goto(address + "/pool")
    lab.locator("#held-model input").fill("smollm2-roman")
    lab.locator("#held-model input").press("Enter")
    lab.locator("#held-reason textarea, #held-reason input").fill("It <b>floods</b>.")
    lab.locator("#held-hold").click()
    expect(lab.locator("#held-words")).to_contain_text("It <b>floods</b>.")
    expect(lab.locator(".studio-pool-card .studio-card-held")).to_contain_text("the lab: It <b>")
    play = visit(address).page
    box = play.locator(".studio-picker input[value=smollm2-roman]")
    expect(box).to_be_disabled()
    card = play.locator(".studio-card", has=play.locator("input[value=smollm2-roman]"))
    expect(card).to_contain_text("Quarantined on")
    play.get_by_role("button", name="all", exact=True).click()
    expect(box).not_to_be_checked()
    lab.locator("#held-release").click()
    expect(lab.locator(".studio-pool-card .studio-card-held")).to_have_count(0)
    play.reload()
    expect(box).to_be_enabled()


def test_a_visitor_s_upload_is_answered_with_its_points(
    scripted_app: Callable[..., str], visit: Callable[..., Visit]
) -> None:
    page = visit(scripted_app(ScriptedEngine(), hosted=False) + "/pool").page
    page.get_by_role("button", name="Contribute a model").click()
    page.locator("#offer-id input, #offer-id textarea").fill("newcomer")
    page.locator("#offer-consent input").check()
    page.locator("#offer-files input[type=file]").set_input_files(
        {"name": "adapter_config.json", "mimeType": "application/json", "buffer": b"{}"}
    )
    expect(page.locator(".filename .stem")).to_contain_text("adapter_config")
    page.locator("#offer-send").click()
    expect(page.locator("#offer-verdict")).to_contain_text("no safetensors weights")
