"""Studies: plan a blinded study, make and review its answers, invite raters, lock, read.

Every handler asks on the server whether the lab is asking; what the page holds is never trusted.
"""

from __future__ import annotations

import gradio as gr

from studio.context import StudioContext
from studio.pages import study_html, study_parts
from studio.pages.common import notice
from studio.pages.study_handlers import Handlers
from studio.pages.study_parts import Panels, Tabs

INTRO = (
    "<h1>Studies</h1><p>Blinded A/B studies: a contributor's model against the participatory "
    "system, pair by pair. Who wrote what leaves the server only after the study is locked.</p>"
)


def build(ctx: StudioContext) -> None:
    """Lay out the page and connect it."""
    gr.HTML(INTRO, elem_classes="studio-brand")
    closed = gr.HTML(study_html.gate(False, ctx.admin.generated))
    if ctx.admin.accounts:
        gr.LoginButton()
    with gr.Column(visible=False, elem_classes="studio-lab") as inside:
        with gr.Row():
            study = gr.Dropdown([], label="Study", elem_id="study", scale=4)
            leave = gr.HTML("<form method='post' action='/lab/out'><button>Log out</button></form>")
        told = notice("")
        status = gr.HTML("")
        job = gr.HTML("")  # above the tabs: answers and judgements are made from two of them
        tabs = _tabs(ctx)
    panels = Panels(
        study, told, status, job, tabs.plan.stored, tabs.answers.review, tabs.answers.item,
        tabs.raters.stratum, tabs.raters.work, tabs.raters.rater, tabs.monitor, tabs.ending.results,
    )  # fmt: skip
    lab = Handlers(ctx, panels)
    lab.connect_opening(closed, inside, leave)
    lab.connect_pulse()
    lab.connect_plan(tabs.plan)
    lab.connect_prefill(tabs.plan.form)
    lab.connect_answers(tabs.answers)
    lab.connect_raters(tabs.raters)
    lab.connect_results(tabs.ending)
    lab.connect_record(tabs.ending)


def _tabs(ctx: StudioContext) -> Tabs:
    with gr.Tabs():
        with gr.Tab("Plan", elem_classes="studio-plan"):
            plan = study_parts.plan_tab(ctx)
        with gr.Tab("Answers"):
            answers = study_parts.answers_tab()
        with gr.Tab("Raters"):
            raters = study_parts.raters_tab()
        with gr.Tab("Monitor"):
            monitor = gr.HTML("")
        with gr.Tab("Results"):
            ending = study_parts.results_tab()
    return Tabs(plan, answers, raters, monitor, ending)
