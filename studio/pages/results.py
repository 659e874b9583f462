"""Results: what stored runs show, figure by figure, and reports of blinded studies.

Each number carries its count, its interval and what it was tested against. Figures are made from
the records that ship with the studio, when the page is first asked for them.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import Any

import gradio as gr

from evals.analyses.core import Finding
from evals.analyses.everything import ANALYSES
from evals.analyses.points import Point
from protocols.core.errors import StudioError
from studio.context import StudioContext
from studio.files import asset
from studio.lab import Published
from studio.pages.common import PRIVATE
from studio.provenance import PointRecords, attack_html, provenance_html, study_html
from studio.result_parts import Part, overview, part, shown_of
from studio.stored_results import Stored, current, names_of, participants_of

INTRO = (
    "<h1>Results</h1><p>Each number carries its count, its interval and what it was tested "
    "against. What cannot be shown at this size is said to be so.</p>"
)
READING = (
    "<div class='studio-reading' role='status'><p>Reading the stored results. The first time takes "
    "some seconds.</p><span class='studio-busy'></span></div>"
)
NONE_STORED = "<p>No results are stored here yet. Make some with <code>studio bench</code>.</p>"
NO_STUDY = "<p>No study is published yet.</p>"
FOCUS = "() => document.querySelector('.studio-behind:not(:empty)')?.focus()"


def build(ctx: StudioContext) -> None:
    """Lay out the page and connect it."""
    gr.HTML(INTRO, elem_classes="studio-brand")
    with gr.Tabs() as tabs:
        with gr.Tab("The paper's questions", id="questions"):
            _questions(ctx)
        with gr.Tab("Blinded studies", id="studies"):
            _studies(ctx, tabs)


def _questions(ctx: StudioContext) -> None:
    """The analyses of stored runs, and what is behind a point of them."""
    overview = gr.HTML(READING)
    parts = [_part() for _ in ANALYSES]
    standings = gr.HTML("")
    point = gr.HTML("", html_template="<i></i>", js_on_load=asset("points.js"), visible="hidden")

    def analyses() -> Iterator[list[Any]]:
        yield from questions(ctx)

    def pick(asked: str) -> list[Any]:
        return runs_behind(ctx, str(asked))

    shown = [overview, standings, *(one for part in parts for one in part)]
    page = gr.context.Context.root_block
    page.load(analyses, None, shown, concurrency_limit=2, **PRIVATE)
    panels = [panel for *_, panel in parts]
    point.change(pick, point, panels, concurrency_limit=None, **PRIVATE).then(
        None, None, None, js=FOCUS, **PRIVATE
    )


def _studies(ctx: StudioContext, tabs: gr.Tabs) -> None:
    """The reports of published studies."""
    chosen = gr.Dropdown([], label="Study", elem_id="result")
    about = gr.HTML("")
    shown = gr.HTML("", padding=False)

    def arrive(request: gr.Request) -> Any:
        rows = available(ctx)
        asked = str(request.query_params.get("study", ""))
        names = [(row.title, row.slug) for row in rows]
        slugs = [row.slug for row in rows]
        value = asked if asked in slugs else next(iter(slugs), None)
        selected = "studies" if asked else "questions"
        return gr.Dropdown(choices=names, value=value), gr.Tabs(selected=selected)

    def show(slug: str | None) -> list[str]:
        row = next((row for row in available(ctx) if row.slug == slug), None)
        return [describe(row), frame(row)] if row else [NO_STUDY, ""]

    page = gr.context.Context.root_block
    page.load(arrive, None, [chosen, tabs], queue=False, **PRIVATE).then(
        show, chosen, [about, shown], **PRIVATE
    )
    chosen.change(show, chosen, [about, shown], concurrency_limit=None, **PRIVATE)


def _part() -> tuple[gr.HTML, gr.Plot, gr.HTML, gr.HTML]:
    """One analysis: its sentence, its figure, its files and points, the runs behind one."""
    with gr.Column(elem_classes="studio-analysis"):
        told, figure = gr.HTML(""), gr.Plot(visible=False, show_label=False)
        return told, figure, gr.HTML(""), gr.HTML("")


def everything(ctx: StudioContext) -> Stored:
    """What is stored now. Raises :class:`UserError` for a damaged file."""
    return current(ctx.settings)


def questions(ctx: StudioContext) -> Iterator[list[Any]]:
    """The overview, the protocols' tables, then four parts of each analysis.

    What takes long comes one after another, what is made already at once; parts that stay as they
    are are skipped.
    """
    try:
        found = everything(ctx)
    except StudioError as error:
        yield [f"<p role='alert'>{escape(error.message)}</p>", "", *nothing_shown()]
        return
    if not found.records:
        yield [NONE_STORED, "", *_all_parts(ctx, found)]
        return
    shown = shown_of(found)
    seen = not shown.whole
    if seen:
        yield from _one_by_one(found)
    everyone = participants_of(ctx.lab, found.names)
    findings = [everyone if name == everyone.id else found.finding(name) for name in ANALYSES]
    parts = [
        gr.skip() if seen and place // 4 != ANALYSES.index(everyone.id) else one
        for place, one in enumerate(_all_parts(ctx, found))
    ]
    yield [overview(found, findings), shown.standings(), *parts]


def _one_by_one(found: Stored) -> Iterator[list[Any]]:
    """Each analysis when it is done, with what is known until then; nothing of it is final."""
    unchanged = [gr.skip()] * (4 * len(ANALYSES))
    yield [overview(found, (), len(ANALYSES)), "", *nothing_shown()]
    known: list[Finding] = []
    for place, name in enumerate(ANALYSES):
        if name not in found.analyses:
            continue
        made = _shown(shown_of(found).part(name))
        known.append(found.finding(name))
        parts = [*unchanged[: 4 * place], *made, *unchanged[4 * place + 4 :]]
        yield [overview(found, known, len(ANALYSES) - len(known)), gr.skip(), *parts]


def _all_parts(ctx: StudioContext, found: Stored) -> Iterator[Any]:
    """The parts of every analysis; the studies' is another one after every lock."""
    for name in ANALYSES:
        if name in found.analyses:
            yield from _shown(shown_of(found).part(name))
        elif name == "participants":
            yield from _shown(part(found, participants_of(ctx.lab, found.names)))
        else:
            yield from nothing_shown(1)


def _shown(made: Part) -> list[Any]:
    return [made.told, gr.Plot(made.figure, visible=made.figure is not None), made.points, ""]


def nothing_shown(times: int = len(ANALYSES)) -> list[Any]:
    """The parts of analyses of which nothing is known."""
    return ["", gr.Plot(visible=False), "", ""] * times


def runs_behind(ctx: StudioContext, asked: str) -> list[Any]:
    """The panels of all analyses: the asked one shows what is behind the point, the others close.

    ``asked`` came from a browser.
    """
    name, told = "", ""
    try:
        point = Point.read(asked.partition("@")[0])
        name, told = point.analysis, told_behind(ctx, point)
    except StudioError as error:
        told = f"<p role='alert'>{escape(error.message)}</p>"
    at = ANALYSES.index(name) if name in ANALYSES else 0
    return [told if place == at else "" for place in range(len(ANALYSES))]


def told_behind(ctx: StudioContext, point: Point) -> str:
    """What is behind a point as HTML. Raises :class:`UserError` for a point that is not there."""
    if point.analysis == "participants":
        names = names_of(ctx.settings)
        return study_html(participants_of(ctx.lab, names), point, names)
    found = everything(ctx)
    if point.analysis == "harm":
        return attack_html(found.attack(point.row), point, found.names)
    records = found.behind(point)
    title = f"point {point.row + 1} of {found.finding(point.analysis).title}"
    point_records = PointRecords(point, title, records, found.book, found.names)
    return provenance_html(point_records, ctx.workspace)


def available(ctx: StudioContext) -> list[Published]:
    """What may be shown to everybody; the recorded examples alone while the database is away."""
    try:
        return ctx.lab.published_list()
    except StudioError:
        return ctx.lab.examples()


def describe(row: Published) -> str:
    """A line on where the report comes from."""
    label = "<strong class='studio-flag'>Simulated raters</strong> " if row.simulated else ""
    return f"<p>{label}{escape(row.about)}</p>"


def frame(row: Published) -> str:
    """The report itself, a document of its own that can run nothing."""
    return (
        f"<iframe class='studio-report' src='/published/{escape(row.slug)}' sandbox='allow-popups' "
        f"title='Report: {escape(row.title)}'></iframe>"
    )
