"""Results: what stored runs show, figure by figure, and reports of blinded studies.

Each number carries its count, its interval and what it was tested against. Figures are made from
the records that ship with the studio, when the page is first asked for them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from time import sleep
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
from studio.stored_results import Stored, current, names_of, participants_of, remember

INTRO = (
    "<h1>Results</h1><p>Each number carries its count, its interval and what it was tested "
    "against. What cannot be shown at this size is said to be so.</p>"
)
READING = (
    "<div class='studio-reading' role='status'><p>Reading the stored results. The first time takes "
    "some seconds.</p><span class='studio-busy'></span></div>"
)
STUDIES = "participants"
PAUSE_S = 1.0
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

    What is known already comes at once. What has to be made comes one analysis after another, and
    then all of it again: a browser loses figures that arrive while it still draws others.
    """
    try:
        found = everything(ctx)
    except StudioError as error:
        yield [f"<p role='alert'>{escape(error.message)}</p>", "", *nothing_shown()]
        return
    made = dict(found.findings) if found.known else {}
    whole = [_told(found, made), "", *nothing_shown()]
    yield [*whole]
    for place, name in enumerate(ANALYSES):
        news, shown = name not in made, _part_of(ctx, found, name, made)
        four = slice(2 + 4 * place, 6 + 4 * place)
        whole[four] = _four(shown) if shown else whole[four]
        whole[0] = _told(found, made)
        if news and name != STUDIES:
            step = [gr.skip()] * len(whole)
            step[0], step[four] = whole[0], whole[four]
            yield step
    whole[1] = shown_of(found).standings()
    yield whole
    if found.answers:
        remember(found, ctx.settings)


def _told(found: Stored, made: Mapping[str, Finding]) -> str:
    return overview(found, _in_order(made), _left(made)) if found.answers else NONE_STORED


def prepare(ctx: StudioContext) -> None:
    """Make what the page shows before somebody asks for it, while nothing is played."""
    for _ in questions(ctx):
        while ctx.manager.playing:
            sleep(PAUSE_S)


def _in_order(made: Mapping[str, Finding]) -> list[Finding]:
    return [made[name] for name in ANALYSES if name in made]


def _left(made: Mapping[str, Finding]) -> int:
    """How many analyses are still to be made."""
    return len(ANALYSES) - len(made)


def _part_of(ctx: StudioContext, found: Stored, name: str, made: dict[str, Finding]) -> Part | None:
    """One analysis as it is shown, put among those made; none where there are no records for it.

    That of the studies is another one after every lock, so it is not kept.
    """
    if name == STUDIES:
        made[name] = participants_of(ctx.lab, found.names)
        return part(found, made[name])
    if name not in found.analyses:
        return None
    made[name] = found.finding(name)
    return shown_of(found).part(name)


def _four(shown: Part) -> list[Any]:
    """What an analysis is told with, its figure, its points, and no runs behind one."""
    figure = gr.Plot(shown.figure, visible=shown.figure is not None)
    return [shown.told, figure, shown.points, ""]


def nothing_shown() -> list[Any]:
    """The parts of analyses of which nothing is known."""
    return ["", gr.Plot(visible=False), "", ""] * len(ANALYSES)


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
    if point.analysis == STUDIES:
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
