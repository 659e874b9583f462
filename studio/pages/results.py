"""Results: what stored runs show, figure by figure, and reports of blinded studies.

Each number carries its count, its interval and what it was tested against. Figures are made from
the records that ship with the studio, when the page is first asked for them.
"""

from __future__ import annotations

from functools import cache
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from protocols.core.errors import StudioError
from studio.context import StudioContext
from studio.lab import Published
from studio.pages.common import PRIVATE

INTRO = (
    "<h1>Results</h1><p>Each number carries its count, its interval and what it was tested "
    "against. What cannot be shown at this size is said to be so.</p>"
)
ANALYSES = ("scaling", "emergence", "cost", "strength", "diversity")
READING = (
    "<div class='studio-reading' role='status'><p>Reading the stored results. The first time takes "
    "some seconds.</p><span class='studio-busy'></span></div>"
)
NONE_STORED = "<p>No results are stored here yet. Make some with <code>studio bench</code>.</p>"


def build(ctx: StudioContext) -> None:
    """Lay out the page and connect it."""
    gr.HTML(INTRO, elem_classes="studio-brand")
    with gr.Tabs() as tabs:
        with gr.Tab("The paper's questions", id="questions"):
            overview = gr.HTML(READING)
            parts = [(gr.HTML(""), gr.Plot(visible=False, show_label=False)) for _ in ANALYSES]
        with gr.Tab("Blinded studies", id="studies"):
            chosen = gr.Dropdown([], label="Study", elem_id="result")
            about = gr.HTML("")
            shown = gr.HTML("", padding=False)

    def analyses() -> list[Any]:
        return questions(str(ctx.settings.assets), stored_state(ctx.settings.assets))

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
        return [describe(row), frame(row)] if row else ["<p>No study is published yet.</p>", ""]

    page = gr.context.Context.root_block
    page.load(arrive, None, [chosen, tabs], queue=False, **PRIVATE).then(
        show, chosen, [about, shown], **PRIVATE
    )
    page.load(analyses, None, [overview, *(one for part in parts for one in part)], **PRIVATE)
    chosen.change(show, chosen, [about, shown], concurrency_limit=None, **PRIVATE)


def stored_state(assets: Path) -> tuple[tuple[str, int], ...]:
    """Which records are stored and when they changed: what the figures depend on."""
    from studio.questions import stored_results

    return tuple((str(path), path.stat().st_mtime_ns) for path in stored_results(assets))


@cache
def questions(assets: str, state: tuple[tuple[str, int], ...]) -> list[Any]:
    """The overview, then sentence and figure of each analysis. Made once per state of the files."""
    from evals.analyses.everything import analyse, load
    from studio.charts import draw
    from studio.questions import claims_html, described, stored_results

    try:
        records = load(stored_results(Path(assets)))
    except StudioError:
        return [NONE_STORED, *(one for _ in ANALYSES for one in ("", gr.Plot(visible=False)))]
    findings = {finding.id: finding for finding in analyse(records)}
    seeds = ", ".join(str(seed) for seed in sorted({record.seed for record in records}))
    told = [
        f"<h2>The paper and here</h2><p>{len(records):,} answered items, seeds {seeds}. "
        f"Intervals are 95 %.</p>{claims_html(list(findings.values()))}"
    ]
    for name in ANALYSES:
        finding = findings[name]
        figure = draw(finding)
        told.append(f"<h2>{escape(finding.title)}</h2>{described(finding)}")
        told.append(gr.Plot(figure, visible=figure is not None))
    return told


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
