"""Results: what stored runs show, figure by figure, and reports of blinded studies.

Each number carries its count, its interval and what it was tested against. Figures are made from
the records that ship with the studio, when the page is first asked for them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from html import escape
from typing import Any

import gradio as gr

from evals.analyses.core import Finding
from evals.analyses.everything import ANALYSES
from evals.analyses.points import Point
from protocols.core.errors import StudioError
from studio.charts import draw
from studio.context import StudioContext
from studio.files import asset
from studio.lab import Published
from studio.pages.common import PRIVATE
from studio.provenance import PointRecords, attack_html, points_html, provenance_html, study_html
from studio.results_tables import results_html
from studio.stored_analyses import claims_html, described
from studio.stored_results import Stored, participants_of, state_of, stored

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
            overview = gr.HTML(READING)
            parts = [_part() for _ in ANALYSES]
            point = gr.HTML(
                "", html_template="<i></i>", js_on_load=asset("points.js"), visible="hidden"
            )
        with gr.Tab("Blinded studies", id="studies"):
            chosen = gr.Dropdown([], label="Study", elem_id="result")
            about = gr.HTML("")
            shown = gr.HTML("", padding=False)

    def analyses() -> list[Any]:
        return questions(ctx)

    def pick(asked: str) -> list[Any]:
        return runs_behind(ctx, str(asked))

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
    shown_parts = [one for part in parts for one in part]
    page.load(analyses, None, [overview, *shown_parts], concurrency_limit=2, **PRIVATE)
    panels = [panel for *_, panel in parts]
    point.change(pick, point, panels, concurrency_limit=None, **PRIVATE).then(
        None, None, None, js=FOCUS, **PRIVATE
    )
    chosen.change(show, chosen, [about, shown], concurrency_limit=None, **PRIVATE)


def _part() -> tuple[gr.HTML, gr.Plot, gr.HTML, gr.HTML]:
    """One analysis: its sentence, its figure, its points as a table, the runs behind one."""
    with gr.Column(elem_classes="studio-analysis"):
        told, figure = gr.HTML(""), gr.Plot(visible=False, show_label=False)
        return told, figure, gr.HTML(""), gr.HTML("")


def everything(ctx: StudioContext) -> Stored:
    """What is stored now. Raises :class:`UserError` for a damaged file."""
    assets, workspace = ctx.settings.assets, ctx.settings.workspace
    return stored(assets, workspace, state_of(assets, workspace))


def questions(ctx: StudioContext) -> list[Any]:
    """The overview, then sentence, figure, points and an empty panel of each analysis."""
    try:
        found = everything(ctx)
    except StudioError as error:
        return [f"<p role='alert'>{escape(error.message)}</p>", *nothing_shown()]
    findings = {**found.findings, "participants": participants_of(ctx.lab)}
    return [_overview(found, list(findings.values())), *_parts(found, findings)]


def _overview(found: Stored, findings: list[Finding]) -> str:
    if not found.records:
        return NONE_STORED
    seeds = ", ".join(str(seed) for seed in sorted({record.seed for record in found.reported}))
    left = len(found.records) - len(found.reported)
    dev = f"{left:,} more on dev items stand in the tables of protocols only. " if left else ""
    return (
        f"<h2>The paper and here</h2><p>{len(found.reported):,} answers, seeds {seeds}. {dev}"
        "Intervals are 95 %. Pick a point of a figure, or a button in the table under it, to read "
        f"the runs behind it.</p>{claims_html(findings)}"
        f"<h2 id='protocols'>Every protocol and what it has to beat</h2>{_tables(found)}"
    )


@lru_cache(maxsize=2)
def _tables(found: Stored) -> str:
    """The table of every stored file."""
    return "".join(results_html(name, kept) for name, kept in found.files.items())


def _parts(found: Stored, findings: Mapping[str, Finding]) -> Iterator[Any]:
    for name in ANALYSES:
        finding = findings.get(name)
        if finding is None:
            yield from nothing_shown(1)
            continue
        stays = name in found.findings  # The studies' finding is another one after every lock.
        figure, points = _drawn_once(found, name) if stays else _drawn(found, finding)
        yield f"<h2 id='{name}'>{escape(finding.title)}</h2>{described(finding)}"
        yield gr.Plot(figure, visible=figure is not None)
        yield points
        yield ""


@lru_cache(maxsize=2 * len(ANALYSES))
def _drawn_once(found: Stored, name: str) -> tuple[Any, str]:
    """Counting what is behind each point takes seconds for many records."""
    return _drawn(found, found.findings[name])


def _drawn(found: Stored, finding: Finding) -> tuple[Any, str]:
    """A finding's figure without its title, and its points as a table."""
    points = points_html(finding, links(finding, found), found.names) if len(finding.table) else ""
    return draw(finding, found.names, titled=False), points


def nothing_shown(times: int = len(ANALYSES)) -> list[Any]:
    """The parts of analyses of which nothing is known."""
    return ["", gr.Plot(visible=False), "", ""] * times


def links(finding: Finding, found: Stored) -> dict[int, int]:
    """How many runs or verdicts stand behind each point of a finding."""
    if finding.id == "participants":
        return {int(at): int(n) for at, n in finding.table["items"].items()}
    return found.counts(finding.id)


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
        return study_html(participants_of(ctx.lab), point)
    found = everything(ctx)
    if point.analysis == "harm":
        return attack_html(found.attack(point.row), point, found.names)
    records = found.behind(point)
    title = f"point {point.row + 1} of {found.findings[point.analysis].title}"
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
