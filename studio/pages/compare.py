"""Compare: the way in for participants, and how blinded rating works here.

Rating itself happens on plain pages under /rate, outside of Gradio (see ``studio.app.routes``).
"""

from __future__ import annotations

import re
from html import escape

import gradio as gr

from evals.human import studies
from protocols.core.errors import StudioError
from studio.context import StudioContext
from studio.pages.common import PRIVATE

OPEN = "<h2>Open to everybody</h2>"
TOKEN = re.compile(r"^[A-Za-z0-9_-]{16,64}$")
INTRO = """
<h1>Which answer is better?</h1>
<p>Two answers to one question, side by side: one by a contributor's model, one by many models
together. You say which is better without knowing which is which.</p>
"""
RULES = """
<ul class='studio-rules'>
<li><strong>Blind</strong> Which answer stands on which side is drawn for you and never leaves the
server before the study ends.</li>
<li><strong>Saved</strong> A vote counts only when it is on the disk; you get a receipt. Stop and go
on later, on another device too, with the same link.</li>
<li><strong>Yours</strong> You can withdraw on every page. What you wrote is then deleted.</li>
</ul>
"""


def build(ctx: StudioContext) -> None:
    """Lay out the page and connect it."""
    gr.HTML(INTRO, elem_classes="studio-brand")
    gr.HTML(RULES)
    with gr.Row(elem_classes="studio-doors"):
        with gr.Column(elem_classes="studio-panel", min_width=280):
            link = gr.Textbox(
                label="Your invitation",
                info="Paste the link you were sent, or its code.",
                placeholder="https://…/rate/…",
                max_lines=1,
                elem_id="invitation",
            )
            go = gr.Button("Begin or go on", variant="primary")
            told = gr.HTML("")
        with gr.Column(elem_classes="studio-panel", min_width=280):
            open_studies = gr.HTML(f"{OPEN}<p>Looking for open studies…</p>")
    for event in (link.submit, go.click):
        event(way_in, link, told, concurrency_limit=None, **PRIVATE)
    page = gr.context.Context.root_block
    page.load(lambda: listing(ctx), None, open_studies, queue=False, **PRIVATE)


def way_in(text: str) -> str:
    """A link to the rating pages for an invitation; whether it is valid is said there."""
    code = str(text or "").strip().rstrip("/").rpartition("/")[2]
    if not TOKEN.match(code):
        return (
            "<p role='alert' class='studio-warn'>This is no invitation. Paste the whole link.</p>"
        )
    return f"<p><a class='studio-button' href='/rate/{code}'>Open the pairs</a></p>"


def listing(ctx: StudioContext) -> str:
    """Studies that anybody may join."""
    try:
        rows = [row for row in studies.list_studies(ctx.lab.store) if row.state == "open"]
    except StudioError:
        return f"{OPEN}<p>Studies cannot be reached at the moment. Try again later.</p>"
    joinable = [row.spec for row in rows if row.spec.open_link]
    if not joinable:
        return (
            f"{OPEN}<p>No study is open to everybody at the moment. Come back "
            "later, or ask the lab for an invitation.</p><p>Until then, <a href='/'>ask a question"
            "</a> of many models together and then of one of them.</p>"
        )
    items = "".join(
        f"<li><a href='/join/{escape(spec.slug)}'>{escape(spec.title)}</a></li>"
        for spec in joinable
    )
    return f"{OPEN}<ul>{items}</ul>"
