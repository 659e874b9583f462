"""Results: reports of finished studies that were published, and the recorded example."""

from __future__ import annotations

from html import escape
from typing import Any

import gradio as gr

from protocols.core.errors import StudioError
from studio.context import StudioContext
from studio.lab import Published
from studio.pages.play import PRIVATE

INTRO = (
    "<h1>Results</h1><p>Reports of blinded studies. Each number carries its count, its interval "
    "and what it was tested against; what a study cannot show, its report says.</p>"
)


def build(ctx: StudioContext) -> None:
    """Lay out the page and connect it."""
    gr.HTML(INTRO, elem_classes="studio-brand")
    chosen = gr.Dropdown([], label="Study", elem_id="result")
    about = gr.HTML("")
    shown = gr.HTML("", padding=False)

    def arrive(request: gr.Request) -> Any:
        rows = available(ctx)
        asked = str(request.query_params.get("study", ""))
        names = [(row.title, row.slug) for row in rows]
        slugs = [row.slug for row in rows]
        value = asked if asked in slugs else next(iter(slugs), None)
        return gr.Dropdown(choices=names, value=value)

    def show(slug: str | None) -> list[str]:
        row = next((row for row in available(ctx) if row.slug == slug), None)
        return [describe(row), frame(row)] if row else ["<p>No study is published yet.</p>", ""]

    page = gr.context.Context.root_block
    page.load(arrive, None, chosen, queue=False, **PRIVATE).then(
        show, chosen, [about, shown], **PRIVATE
    )
    chosen.change(show, chosen, [about, shown], concurrency_limit=None, **PRIVATE)


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
