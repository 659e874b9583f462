"""The left column of the Play page: what is asked, of whom, how they collaborate, what it costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.components import Component

from protocols.core.errors import StudioError
from protocols.core.registry import ProtocolSpec, get_protocol, protocols
from studio import cost, form
from studio.context import StudioContext
from studio.files import asset
from studio.pages import fitting, picker
from studio.pages.common import warning
from studio.pages.opening import OPENING_PROTOCOL, opening_form
from studio.pool import Pool

LEVEL_NAMES = {
    "api": "API level",
    "text": "Text level",
    "logit": "Logit level",
    "weight": "Weight level",
    "baselines": "Baseline",
}
"""The levels of collaboration as the field calls them."""
FREE = " They run here: it takes time, not money."
SETUP = (
    "<button type='button' class='studio-setup-button' aria-expanded='false' "
    "aria-controls='setup'>Protocol and models</button>"
)


@dataclass(frozen=True)
class Controls:
    """The left column's components."""

    pool: gr.Dropdown
    models: gr.HTML
    protocol: gr.Dropdown
    about: gr.HTML
    record: gr.HTML
    effort: gr.Radio
    tokens: gr.Slider
    seed: gr.Number
    settings: gr.HTML
    fitting: fitting.Panel
    cost: gr.HTML
    question: gr.Textbox
    examples: gr.HTML
    run: gr.Button
    notice: gr.HTML

    def counted(self) -> set[Component]:
        """The components whose values decide what a run or a fit costs."""
        own = {self.pool, self.models, self.protocol, self.effort, self.tokens, self.settings}
        return own | self.fitting.inputs()

    def everything(self) -> set[Component]:
        """All components whose values decide a run."""
        return self.counted() | {self.seed, self.question, self.fitting.artifact}


def build(ctx: StudioContext) -> Controls:
    """Lay out the column."""
    first = protocols()[OPENING_PROTOCOL]
    question, models = opening_form(ctx, first.examples[0])
    with gr.Column(elem_classes="studio-panel studio-ask"):
        asked = _ask(ctx, first, question, len(models))
    gr.HTML(SETUP, js_on_load=asset("setup.js"), elem_classes="studio-narrow")
    with gr.Column(elem_classes="studio-panel studio-setup", elem_id="setup"):
        return Controls(**asked, **_setup(ctx, first, models))


def _ask(ctx: StudioContext, first: ProtocolSpec, asked: str, count: int) -> dict[str, Any]:
    """The question, its examples, Run, and what that will cost with so many models."""
    question = gr.Textbox(
        label="Your question",
        lines=2,
        max_lines=8,
        placeholder="Ask something the models can work on together",
        value=asked,
        elem_id="question",
    )
    examples = gr.HTML(
        "",
        html_template='<div class="studio-examples"></div>',
        js_on_load=asset("examples.js"),
        samples=list(first.examples),
        elem_id="examples",
    )
    run = gr.Button("Run", variant="primary", elem_id="run")
    told = gr.HTML("", elem_classes="studio-notice", visible=False)
    free = runs_here(ctx.opening_pool)
    shown = gr.HTML(told_cost(first.id, {}, count, cost.MAX_TOKENS["balanced"], free=free))
    return {
        "question": question, "examples": examples, "run": run, "notice": told, "cost": shown,
    }  # fmt: skip


def _setup(ctx: StudioContext, first: ProtocolSpec, picked: list[str]) -> dict[str, Any]:
    """How the models collaborate, which ones, and how much they may do."""
    pool = ctx.opening_pool
    protocol = gr.Dropdown(
        _protocol_choices(), value=first.id, label="How they work together", elem_id="protocol"
    )
    about = gr.HTML(describe(first), elem_classes="studio-about")
    record = gr.HTML("", elem_classes="studio-about")
    panel = fitting.build(ctx, first)
    with gr.Accordion("Models", open=True):
        names = [(p.title, p.id) for p in ctx.pools.values()]
        preset = gr.Dropdown(names, value=pool.id, label="Pool", visible=len(names) > 1)
        models = picker.build(pool, picked)
    effort = gr.Radio(list(cost.EFFORTS), value="balanced", label="Effort", elem_id="effort")
    with gr.Accordion("Details", open=False):
        tokens = gr.Slider(8, 1024, cost.MAX_TOKENS["balanced"], step=8, label="Tokens per answer")
        seed = gr.Number(
            0,
            precision=0,
            minimum=0,
            label="Seed",
            info="Equal seeds draw alike; rounding may still change a word.",
        )
        settings = form.build("settings", first, run_fields(first), pool.specs)
    return {
        "protocol": protocol, "about": about, "record": record, "fitting": panel, "pool": preset,
        "models": models, "effort": effort, "tokens": tokens, "seed": seed, "settings": settings,
    }  # fmt: skip


def _protocol_choices() -> list[tuple[str, str]]:
    """Yardsticks pick with the right answer at hand, which a live question does not have."""
    live = [p for p in protocols().values() if not p.yardstick]
    return [(f"{p.title} · {LEVEL_NAMES[p.level]}", p.id) for p in live]


def run_fields(spec: ProtocolSpec) -> list[str]:
    """The settings of an answer. How a protocol is fitted is asked in the panel for that."""
    fit = spec.fit_fields if spec.fit else ()
    return [name for name in spec.config.model_fields if name not in fit]


def describe(spec: ProtocolSpec) -> str:
    """A protocol's paragraph with its citation. The text is ours, so it may be markup."""
    fit = (
        "<p>It answers once it has been fitted to a task: choose a fitted artifact below, or make "
        "one.</p>"
        if spec.needs_artifact
        else ""
    )
    return (
        f"<p>{spec.summary}</p>{fit}<p class='studio-cite'>Source: "
        f"<a href='{spec.paper.url}' target='_blank' rel='noopener'>{spec.paper.title}</a></p>"
    )


def runs_here(pool: Pool) -> bool:
    """Whether nobody charges for a pool's models."""
    return not any(spec.is_endpoint for spec in pool.specs)


def told_cost(
    protocol: str, config: dict[str, Any], models: int, tokens: int, *, free: bool
) -> str:
    """What a run costs at most, or why it cannot be run. ``free``: all models run here."""
    try:
        spec = get_protocol(protocol)
        spec.check_pool(models)
        bound = spec.estimate(spec.configure(config), models, tokens)
    except StudioError as error:
        return warning(error)
    told = cost.sentence(bound, models) + (FREE if free else "")
    return f"<p class='studio-cost'><b>{spec.title}</b> · {told}</p>"
