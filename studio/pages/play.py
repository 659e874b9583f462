"""Play: pick models and a protocol, ask, and watch the models collaborate."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.components import Component

from protocols.core.errors import StudioError
from protocols.core.models import RunSpec
from protocols.core.registry import ProtocolSpec, protocols
from studio import cost, form, live
from studio.context import StudioContext
from studio.headless import make_spec
from studio.pages import fitting, picker
from studio.pages.common import PRIVATE, notice, visitor_of

LEVEL_NAMES = {
    "api": "who answers?",
    "text": "what do they say?",
    "logit": "next token",
    "weight": "who do they become?",
    "baselines": "baseline",
}
OPENING_PROTOCOL = "multiagent_refine"
BuildPage = Callable[[StudioContext], None]
WELCOME = (
    "<h1>Participation Studio</h1><p>Small language models, each contributed for what it is good "
    "at, answer together. Pick some, choose how they collaborate, ask, and watch.</p>"
)


@dataclass(frozen=True)
class Controls:
    """The left column's components."""

    pool: gr.Dropdown
    models: gr.HTML
    protocol: gr.Dropdown
    about: gr.HTML
    effort: gr.Radio
    tokens: gr.Slider
    seed: gr.Number
    forms: dict[str, dict[str, Component]]
    groups: dict[str, gr.Column]
    fitting: fitting.Panel
    cost: gr.HTML
    question: gr.Textbox
    examples: gr.Dataset
    run: gr.Button
    notice: gr.HTML

    def everything(self) -> set[Component]:
        """All components whose values decide a run."""
        single = {self.pool, self.models, self.protocol, self.tokens, self.seed, self.question}
        fields = {c for fields in self.forms.values() for c in fields.values()}
        return single | fields | self.fitting.inputs()


def build(ctx: StudioContext) -> None:
    """Lay out the page and connect it."""
    with gr.Row(elem_classes="studio-play"):
        with gr.Column(scale=4, min_width=320, elem_classes="studio-controls"):
            gr.HTML(WELCOME, elem_classes="studio-brand")
            controls = _controls(ctx)
        with gr.Column(scale=9, min_width=320, elem_classes="studio-stage"):
            live.mount("run")
    bus = live.bus(ctx)
    ticket = gr.State(None)
    handlers = fitting.Handlers(
        ctx, controls.fitting, controls.protocol, controls.models, lambda g: asked(controls, g)
    )
    _connect_form(ctx, controls, handlers)
    handlers.connect(controls.everything())
    _connect_run(ctx, controls, handlers, bus, ticket)


def _controls(ctx: StudioContext) -> Controls:
    pool, first = ctx.opening_pool, OPENING_PROTOCOL
    question = gr.Textbox(
        label="Your question",
        lines=3,
        max_lines=8,
        placeholder="Ask something the models can work on together",
        value=protocols()[first].examples[0],
        elem_id="question",
    )
    examples = gr.Dataset(
        components=[gr.Textbox(visible=False)],
        samples=[[e] for e in protocols()[first].examples],
        label="Examples",
        type="values",
    )
    run = gr.Button("Run", variant="primary", elem_id="run")
    told = gr.HTML("", elem_classes="studio-notice", visible=False)
    shown = gr.HTML(_cost(first, {}, len(picker.opening(pool)), cost.MAX_TOKENS["balanced"]))
    protocol = gr.Dropdown(_protocol_choices(), value=first, label="Protocol", elem_id="protocol")
    about = gr.HTML(describe(protocols()[first]), elem_classes="studio-about")
    panel = fitting.build(ctx, protocols()[first])
    with gr.Accordion("Models", open=True):
        names = [(p.title, p.id) for p in ctx.pools.values()]
        preset = gr.Dropdown(names, value=pool.id, label="Pool", visible=len(names) > 1)
        models = picker.build(pool, picker.opening(pool))
    effort = gr.Radio(list(cost.EFFORTS), value="balanced", label="Effort", elem_id="effort")
    with gr.Accordion("Details", open=False):
        tokens = gr.Slider(8, 1024, cost.MAX_TOKENS["balanced"], step=8, label="Tokens per answer")
        seed = gr.Number(0, precision=0, minimum=0, label="Seed", info="Equal seeds repeat a run.")
        forms, groups = _forms(ctx, first)
    forms = {name: own | panel.forms.get(name, {}) for name, own in forms.items()}
    return Controls(
        pool=preset, models=models, protocol=protocol, about=about, effort=effort, tokens=tokens,
        seed=seed, forms=forms, groups=groups, fitting=panel, cost=shown, question=question,
        examples=examples, run=run, notice=told,
    )  # fmt: skip


def _protocol_choices() -> list[tuple[str, str]]:
    """Yardsticks pick with the right answer at hand, which a live question does not have."""
    live = [p for p in protocols().values() if not p.yardstick]
    return [(f"{p.title} · {LEVEL_NAMES[p.level]}", p.id) for p in live]


def _forms(
    ctx: StudioContext, first: str
) -> tuple[dict[str, dict[str, Component]], dict[str, gr.Column]]:
    """One hidden form per protocol; choosing a protocol shows its own. How it is fitted is asked in
    the panel for that."""
    forms, groups = {}, {}
    ids = [model.id for model in ctx.opening_pool.specs]
    for name, spec in protocols().items():
        with gr.Column(visible=name == first) as groups[name]:
            forms[name] = form.fields(spec, ids, leave_out=spec.fit_fields if spec.fit else ())
    return forms, groups


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


def _cost(protocol: str, config: dict[str, Any], models: int, tokens: int) -> str:
    spec = protocols()[protocol]
    try:
        spec.check_pool(models)
        bound = spec.estimate(spec.configure(config), models, tokens)
    except StudioError as error:
        return f"<p class='studio-cost studio-warn'>{error.message}</p>"
    return f"<p class='studio-cost'>{cost.sentence(bound, models)}</p>"


def _config(controls: Controls, given: dict[Component, Any]) -> tuple[str, dict[str, Any]]:
    """The chosen protocol's id and the settings that its form holds."""
    name = str(given[controls.protocol])
    spec = protocols().get(name)
    if spec is None:
        return name, {}
    raw = {field: given[c] for field, c in controls.forms[name].items()}
    return name, form.values(raw, spec)


def asked(controls: Controls, given: dict[Component, Any]) -> fitting.Asked:
    """The fit that the page's values describe."""
    name, config = _config(controls, given)
    spec, panel = protocols()[name], controls.fitting
    models = [str(m) for m in given[controls.models] or []]
    return fitting.Asked(
        pool=str(given[controls.pool]),
        protocol=name,
        models=models,
        tasks=[str(t) for t in given[panel.tasks] or []] or fitting.own_tasks(models),
        items=int(given[panel.items] or 0),
        seed=int(given[panel.seed] or 0),
        config={field: value for field, value in config.items() if field in spec.fit_fields},
    )


def with_artifact(ctx: StudioContext, spec: RunSpec, key: str) -> RunSpec:
    """The spec with a chosen artifact and the settings that it was made with.

    Without a choice, a protocol that has to be fitted takes the newest that fits the models,
    whatever the settings for the next fit are.
    """
    protocol = protocols().get(spec.protocol)
    if protocol is None or protocol.fit is None:
        return spec
    if not key and not protocol.needs_artifact:
        return spec
    found = ctx.workspace.artifacts.get(spec.protocol, key) if key else None
    kept = {n: v for n, v in spec.config.items() if n not in protocol.fit_fields}
    made = found.manifest.config if found else {}
    return spec.model_copy(update={"artifact": key, "config": {**kept, **made}})


def _connect_form(ctx: StudioContext, controls: Controls, fits: fitting.Handlers) -> None:
    def choose_protocol(name: str) -> dict[Component, Any]:
        spec = protocols()[name]
        return {
            controls.about: describe(spec),
            controls.examples: gr.Dataset(samples=[[e] for e in spec.examples]),
            **controls.fitting.chosen(ctx, spec),
            **{group: gr.Column(visible=key == name) for key, group in controls.groups.items()},
        }

    def choose_effort(level: cost.Effort, name: str) -> dict[Component, Any]:
        chosen = cost.dial(protocols()[name], level)
        form_of = controls.forms[name]
        return {
            controls.tokens: cost.MAX_TOKENS[level],
            **{form_of[field]: value for field, value in chosen.items()},
        }

    def recount(given: dict[Component, Any]) -> tuple[str, str]:
        name, config = _config(controls, given)
        models = given[controls.models] or []
        run_cost = _cost(name, config, len(models), int(given[controls.tokens] or 1))
        return run_cost, fits.recount(given)

    outputs = [controls.about, controls.examples, *controls.groups.values()]
    outputs += controls.fitting.outputs()
    fields = [c for form_of in controls.forms.values() for c in form_of.values()]
    chosen = controls.protocol.change(choose_protocol, controls.protocol, outputs, **PRIVATE)
    dialled = controls.effort.change(
        choose_effort, [controls.effort, controls.protocol], [controls.tokens, *fields], **PRIVATE
    )
    controls.examples.click(lambda row: row[0], controls.examples, controls.question, **PRIVATE)
    controls.pool.change(
        lambda name: shown_pool(ctx, name), controls.pool, controls.models, **PRIVATE
    )
    built = [spec.id for spec in ctx.opening_pool.specs]
    gr.context.Context.root_block.load(
        lambda: changed_pool(ctx, built), None, controls.models, queue=False, **PRIVATE
    )
    everything, costs = controls.everything(), [controls.cost, controls.fitting.cost]
    for change in (chosen, dialled):
        change.then(recount, everything, costs, **PRIVATE)
    gr.on(
        [controls.models.change, controls.tokens.release, *(c.change for c in fields)],
        recount,
        everything,
        costs,
        trigger_mode="always_last",
        **PRIVATE,
    )


def shown_pool(ctx: StudioContext, name: str) -> gr.HTML:
    """The picker for a pool as it is now: contributions come, and models go into quarantine."""
    pool = ctx.pools.get(str(name)) or ctx.opening_pool
    return picker.update(pool, ctx.workspace.quarantine.held())


def changed_pool(ctx: StudioContext, built: list[str]) -> Any:
    """The opening pool's picker, if it is no longer as it was ``built``.

    Otherwise nothing: an update would undo what a quick visitor has picked already.
    """
    ids = [spec.id for spec in ctx.opening_pool.specs]
    if ids == built and not ctx.workspace.quarantine.held().keys() & set(ids):
        return gr.skip()
    return shown_pool(ctx, ctx.opening_pool.id)


def _connect_run(
    ctx: StudioContext,
    controls: Controls,
    fits: fitting.Handlers,
    bus: gr.HTML,
    ticket: gr.State,
) -> None:
    def start(
        given: dict[Component, Any], request: gr.Request
    ) -> tuple[dict[str, Any] | None, gr.HTML]:
        try:
            pool = ctx.pools.get(str(given[controls.pool])) or ctx.opening_pool
            name, config = _config(controls, given)
            picked = [str(m) for m in given[controls.models] or []]
            question, seed = str(given[controls.question] or ""), int(given[controls.seed] or 0)
            tokens = int(given[controls.tokens] or 96)
            spec = make_spec(name, picked, question, seed, tokens, config)
            spec = with_artifact(ctx, spec, str(given[controls.fitting.artifact] or ""))
            started = ctx.manager.start(spec, pool.specs, visitor_of(ctx, request))
            return live.ticket_for(ctx, started), notice("")
        except StudioError as error:
            return None, notice(error.message)

    async def watch(ticket: dict[str, Any] | None) -> AsyncGenerator[str, None]:
        async for text in live.watch(ctx, ticket):
            yield text

    async def arrive(request: gr.Request) -> dict[str, Any] | None:
        run = live.asked_run(request) or opening_recording(ctx)
        return {"run": run} if run else None

    watching = {"concurrency_limit": None, **PRIVATE}
    page = gr.context.Context.root_block
    panel = controls.fitting
    made = [panel.artifact, panel.told]
    arrived = page.load(arrive, None, ticket, queue=False, **PRIVATE)
    arrived.then(fits.restore, ticket, fits.restored(), **PRIVATE)
    arrived.then(watch, ticket, bus, **watching).then(fits.finish, ticket, made, **PRIVATE)
    started = panel.start.click(
        fits.start, controls.everything(), [ticket, panel.told], concurrency_limit=None, **PRIVATE
    )
    started.then(watch, ticket, bus, **watching).then(fits.finish, ticket, made, **PRIVATE)
    gr.on(
        [controls.run.click, controls.question.submit],
        start,
        controls.everything(),
        [ticket, controls.notice],
        concurrency_limit=None,
        **PRIVATE,
    ).then(watch, ticket, bus, **watching)


def opening_recording(ctx: StudioContext) -> str:
    """The recorded run that greets a first visitor, if there is one."""
    rows = ctx.workspace.list_recordings()
    debates = [row for row in rows if row.protocol == OPENING_PROTOCOL]
    return next((row.run for row in [*debates, *rows]), "")
