"""What hostile models and several people at once can do to a page: nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from protocols.engines.scripted import ScriptedEngine
from tests.browser.conftest import Visit
from tests.browser.harness import overflow
from tests.browser.test_play import choose, run, set_tokens

pytestmark = pytest.mark.browser
Open = Callable[..., Visit]
Launch = Callable[..., str]
CORPUS = [
    "<script>window.pwned = 1</script>",
    '<img src="https://example.com/x.png" onerror="window.pwned = 2">',
    "[link](javascript:window.pwned=3) ![x](https://example.com/y.png)",
    "${window.pwned = 4} {{7*7}} `${'x'}` </script><svg onload=window.pwned=5>",
    "\u202eright to left\u202c مرحبا بالعالم שלום",
    "👩‍👩‍👧‍👦🏳️‍🌈 \u200b\u200d\ufeff zero width",
    "$$\\frac{1}{2}$$ \\(x\\) \\href{javascript:alert(1)}{x}",
    "W" * 20_000,
]


@pytest.mark.parametrize("protocol", ["Multi-agent refine", "Heterogeneous swarms", "Switch"])
def test_hostile_text_is_only_text(scripted_app: Launch, visit: Open, protocol: str) -> None:
    text = " ".join(CORPUS)
    url = scripted_app(ScriptedEngine(text, chunk=4))
    page = visit(url).page
    choose(page, protocol, "<b>What</b> is ${1+1}?", models=3)
    run(page)
    page.wait_for_selector('.ps[data-status="ok"]', timeout=60_000)
    assert page.evaluate("window.pwned") is None
    shown = page.locator(".ps-answer-body").inner_text()
    assert "<script>window.pwned = 1</script>" in shown
    expect(page.locator(".ps-question")).to_have_text("<b>What</b> is ${1+1}?")
    for width in (390, 1400):
        page.set_viewport_size({"width": width, "height": 900})
        assert overflow(page) <= 0


def test_a_flood_does_not_break_the_page(scripted_app: Launch, visit: Open) -> None:
    url = scripted_app(ScriptedEngine(lambda r: "word " * 20_000, chunk=500))
    page = visit(url).page
    choose(page, "Majority vote", "Go on", models=3)
    set_tokens(page, 1024)
    run(page)
    page.wait_for_selector('.ps[data-status="ok"]', timeout=60_000)
    page.get_by_role("button", name="Copy link").click()


def test_one_failed_model_gets_a_card_and_the_others_go_on(
    scripted_app: Launch, visit: Open
) -> None:
    url = scripted_app(ScriptedEngine("The answer is 4.", fail={"smollm2-addition": "middle"}))
    page = visit(url, 390, 844).page
    choose(page, "Majority vote", "What is 2 + 2?", models=3)
    run(page)
    page.wait_for_selector('.ps[data-status="ok"]', timeout=60_000)
    expect(page.locator(".ps-lane .ps-error").filter(has_text="failed")).to_be_visible()
    assert overflow(page) <= 0


def test_people_do_not_see_or_slow_each_other(scripted_app: Launch, visit: Open) -> None:
    slow = ScriptedEngine(
        lambda r: "slow " * 3000 if "slow" in str(r.messages) else "quick.", delay_s=1.0
    )
    url = scripted_app(slow)
    one, two = visit(url).page, visit(url).page
    choose(one, "Majority vote", "slow please", models=3)
    choose(two, "Majority vote", "quick please", models=3)
    run(one)
    run(two)
    two.wait_for_selector('.ps[data-status="ok"]')
    assert one.locator('.ps[data-status="running"]').count() == 1, "the slow run should still run"
    assert "slow please" not in two.content().replace(two.url, "")


def test_a_waiting_run_shows_its_place(scripted_app: Launch, visit: Open) -> None:
    url = scripted_app(ScriptedEngine("word " * 3000, delay_s=1.0), parallel_runs=1)
    one, two = visit(url).page, visit(url).page
    for page in (one, two):
        choose(page, "Majority vote", "Take your time", models=3)
    run(one)
    one.wait_for_selector('.ps[data-status="running"]')
    run(two)
    expect(two.locator(".ps-waiting")).to_contain_text("number 1")
    two.get_by_role("button", name="Leave the queue").click()
    two.wait_for_selector('.ps[data-status="cancelled"]')
    assert one.locator('.ps[data-status="running"]').count() == 1, "another's run was stopped"


def test_private_endpoints_check_what_they_are_given(scripted_app: Launch, visit: Open) -> None:
    """The page's server functions are open to anyone: junk gets a sentence, never a trace."""
    url = scripted_app(ScriptedEngine("word " * 3000, delay_s=1.0))
    page = visit(url).page
    choose(page, "Majority vote", "Take your time", models=3)
    run(page)
    made = page.url.rpartition("run=")[2]
    answers = page.evaluate(
        """async (run) => {
        const config = await (await fetch('/config')).json();
        const bus = config.components.find((c) => c.props?.server_fns?.length);
        const hash = window.__gradio_session || 'someone';
        const ask = async (name, data) => (await fetch('/gradio_api/component_server', {
          method: 'POST', headers: {'Content-Type': 'application/json'},
          body: JSON.stringify({data, component_id: bus.id, fn_name: name, session_hash: hash}),
        })).text();
        const junk = [null, 7, 'x', [], {}, {run: '../../x'}, {run, key: 'nope'}];
        const out = [];
        for (const one of junk) out.push(await ask('cancel', one), await ask('resync', one));
        return out; }""",
        made,
    )
    assert not any("Traceback" in text for text in answers)
    page.wait_for_selector('.ps[data-status="running"]')


def test_on_a_phone_a_new_run_comes_into_view(scripted_app: Launch, visit: Open) -> None:
    url = scripted_app(ScriptedEngine("The answer is 4.", delay_s=0.05))
    page = visit(url, 390, 844).page
    choose(page, "Majority vote", "What is 2 + 2?", models=2)
    run(page)
    page.wait_for_selector('.ps[data-status="ok"]', timeout=60_000)
    expect(page.locator(".ps-head")).to_be_in_viewport()
