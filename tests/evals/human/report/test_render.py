"""The page and the text: self-contained, escaped, readable without a script."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from evals.human.records import Guess, StudyData
from evals.human.render import render_html, to_text
from evals.human.report import build_report
from evals.human.reporting.model import Report
from tests.evals.human.report.studies import (
    counted,
    figure_8,
    guesses,
    judged,
    pair,
    spec,
    study,
    verdicts,
)

HOSTILE = "<img src=//evil.example/x onerror=alert(1)>\"'&{{7*7}}</title></style><script>"
VOID = {"meta", "br", "img", "input", "link", "hr"}


def full(name: str = "plain") -> StudyData:
    """A study in which every block of the report has something to show, named ``name``."""
    models = [f"{name}-a", f"{name}-b"]
    votes = [
        j for k, m in enumerate(models)
        for j in counted(9, 5, 2, rater=f"rater-{k}", model=m, dimensions={name: "left"})
    ]  # fmt: skip
    data = study(
        [*votes, *judged(1, "system", kind="gold", gold="system")],
        spec=spec(
            models, title=name, rubric=name, dimensions=(name,), judges=(name,),
            stopping={"rule": "anytime", "cap": 40},
        ),
        guesses=guesses(3, 1, 1), deviations=(name,), facts={name: name}, simulated=True,
        worth={name: f"Worth: {name}."},
    )  # fmt: skip
    said = [v for k in range(9) for v in verdicts(f"item-{k:03}", "system", "contributor", name)]
    pairs = tuple(pair(j.item, j.stratum, system=name) for j in data.judgements[:9])
    return replace(data, verdicts=tuple(said), pairs=pairs)


@cache
def plain_report() -> Report:
    return build_report(full())


class Page(HTMLParser):
    """Tags and attributes of a page; fails on tags that do not close."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes something else"


def test_the_page_asks_nothing_of_anybody() -> None:
    text = render_html(plain_report())
    page = Page(text)
    tags = {tag for tag, _ in page.tags}
    assert not tags & {"script", "link", "img", "iframe", "object", "embed", "base", "form"}
    for tag, attributes in page.tags:
        for name, value in attributes.items():
            assert not name.startswith("on"), f"{tag} {name}"
            assert name not in ("src", "srcset", "action", "poster", "data")
            if name in ("href", "xlink:href"):
                assert (value or "").startswith("#")
    assert not re.search(r"url\(|@import|//[a-z]", text.replace("http://www.w3.org", ""))


def test_the_contents_lead_to_sections_that_exist() -> None:
    page = Page(render_html(plain_report()))
    ids = [a["id"] for _, a in page.tags if "id" in a]
    links = [a["href"] for tag, a in page.tags if tag == "a"]
    assert len(ids) == len(set(ids)) and {f"#{i}" for i in ids} >= set(links)
    assert len(links) == 9


def test_every_picture_has_words_and_every_table_a_caption() -> None:
    text = render_html(plain_report())
    page = Page(text)
    for tag, attributes in page.tags:
        if tag == "svg" and attributes.get("role") == "img":
            assert attributes.get("aria-label")
    tables = re.findall(r"<table.*?</table>", text, re.DOTALL)
    assert tables and all("<caption" in table for table in tables)
    assert sum(tag == "h1" for tag, _ in page.tags) == 1


def test_hostile_names_stay_text() -> None:
    # Contributors' ids have no such characters in a pool, but a plan may say anything.
    for text in (HOSTILE, "</svg><svg onload=x>{% raw %}\u202eevil a\x1b[31mred\nline"):
        report = build_report(full(text))
        page = Page(render_html(report))
        assert not {"script", "img"} & {tag for tag, _ in page.tags}
        assert not [a for _, a in page.tags if set(a) & {"onerror", "onload"}]
        assert "\x1b" not in to_text(report)


@given(st.text(min_size=1, max_size=30))
def test_any_title_gives_a_well_formed_page(title: str) -> None:
    data = study(counted(2, 1), spec=spec(title=title))
    shown = render_html(build_report(data))
    Page(shown)
    shown.encode("utf-8", "strict")


def test_no_rater_id_reaches_the_page() -> None:
    report = plain_report()
    shown = render_html(report) + to_text(report)
    assert "rater-0" not in shown and "rater-1" not in shown


def test_the_text_holds_the_plot_and_fits_a_terminal() -> None:
    text = to_text(build_report(figure_8(guesses=(Guess("rater-0", True),))))
    lines = text.splitlines()
    assert max(len(line) for line in lines) <= 100
    drawn = [line for line in lines if "#" in line]
    assert len(drawn) == 5 and "63.0% [52.8% to 72.4%]" in drawn[-1]
    assert "not established for contributors in general" in text.replace("\n", " ")


def test_the_page_shows_the_numbers_of_the_report() -> None:
    shown = render_html(build_report(figure_8(guesses=guesses(18, 5, 2))))
    for number in ("63.0%", "52.8% to 72.4%", "p = 0.012", "0.125", "Blinding failed", "6.31"):
        assert number in shown
    assert "20–0–5" in shown and "57.3%" in shown
