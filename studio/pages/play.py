"""Play: pick models and a protocol, ask, and watch the models collaborate."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.components import Component

from protocols.core.errors import NotFittedError, StudioError
from protocols.core.models import RunSpec
from protocols.core.registry import ProtocolSpec, get_protocol, protocols
from studio import cost, form, live
from studio.context import StudioContext
from studio.headless import make_spec
from studio.pages import controls as column
from studio.pages import fitting, picker
from studio.pages.common import EXPECT, PRIVATE, notice, visitor_of, warning
from studio.pages.controls import (
    OPENING_PROTOCOL,
    Controls,
    describe,
    run_fields,
    runs_here,
    told_cost,
)
from studio.pool import Pool
from studio.track_record import record_html

Values = dict[Component, Any]
BuildPage = Callable[[StudioContext], None]
WELCOME = (
    "<h1>Small models, answering together</h1><p>People contribute models for what they care "
    "about; together the models answer as one system. That is participatory AI.</p>"
    "<details class='studio-how'><summary>How it works</summary><ol>"
    "<li><b>Ask.</b> Take an example or type a question, and press Run.</li>"
    "<li><b>Watch.</b> Every model has a colour and two letters: see who says what, who reads "
    "whom, and how it is decided.</li>"
    "<li><b>See who contributed.</b> The answer tells each model's share and how it is counted."
    "</li></ol><p>The models that come with the studio are tiny, so that they run on any computer. "
    "They are often wrong, and nothing hides it. <a href='/results'>What was measured</a> · "
    "<a href='/pool#contribute'>Contribute a model</a></p></details>"
)

UNFITTED = (
    "{} has to be fitted to these models first: press Start under Train / search, or choose there "
    "what was fitted before."
)


def build(ctx: StudioContext) -> None:
    """Lay out the page and connect it."""
    with gr.Row(elem_classes="studio-play"):
        with gr.Column(scale=4, min_width=320, elem_classes="studio-controls"):
            gr.HTML(WELCOME, elem_classes="studio-brand")
            controls = column.build(ctx)
        with gr.Column(scale=9, min_width=320, elem_classes="studio-stage"):
            _stage(ctx)
    bus = live.bus(ctx)
    ticket = gr.State(None)
    handlers = fitting.Handlers(
        ctx, controls.fitting, controls.protocol, controls.models, lambda g: asked(controls, g)
    )
    _connect_form(Form(ctx, controls, handlers))
    handlers.connect(controls.counted())
    _connect_run(Form(ctx, controls, handlers), bus, ticket)


def _stage(ctx: StudioContext) -> None:
    if opening_recording(ctx):
        live.mount("A recorded run is opening", "It shows how models work together.", busy=True)
    else:
        live.mount("The models work here", "Ask a question and press Run.")


def _config(controls: Controls, given: Values) -> tuple[str, dict[str, Any]]:
    """The chosen protocol's id and the settings that its forms hold. Raises :class:`UserError`."""
    spec = get_protocol(str(given[controls.protocol]))
    sent = form.values(given[controls.settings], spec)
    fit = form.values(given[controls.fitting.settings], spec) if spec.fit else {}
    return spec.id, {**sent, **fit}


def asked(controls: Controls, given: Values) -> fitting.Asked:
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


@dataclass(frozen=True)
class Form:
    """What choosing in the left column changes there."""

    ctx: StudioContext
    controls: Controls
    fits: fitting.Handlers

    def pool(self, given: Values) -> Pool:
        """The pool on show."""
        return self.ctx.pools.get(str(given[self.controls.pool])) or self.ctx.opening_pool

    def spec(self, given: Values) -> ProtocolSpec:
        """The chosen protocol."""
        return get_protocol(str(given[self.controls.protocol]))

    def costs(self, given: Values) -> Values:
        """What a run and a fit would cost at most."""
        controls, models = self.controls, given[self.controls.models] or []
        try:
            name, config = _config(controls, given)
            tokens, free = int(given[controls.tokens] or 1), runs_here(self.pool(given))
            line = told_cost(name, config, len(models), tokens, free=free)
        except StudioError as error:
            line = warning(error)
        return {controls.cost: line, controls.fitting.cost: self.fits.recount(given)}

    def protocol(self, given: Values, fit: Mapping[str, Any] | None = None) -> Values:
        """Another protocol: its explanation, examples and forms, that of ``fit`` not as usual."""
        controls, spec = self.controls, self.spec(given)
        models, dialled = self.pool(given).specs, cost.dial(spec, given[controls.effort])
        fields = run_fields(spec)
        now = {**given, controls.settings: form.value(spec, fields, dialled)}
        return {
            controls.about: describe(spec),
            controls.examples: gr.HTML(samples=list(spec.examples)),
            controls.settings: form.update(spec, fields, models, dialled),
            **controls.fitting.chosen(self.ctx, spec, models, fit),
            **self.costs(now),
        }

    def effort(self, given: Values) -> Values:
        """Another effort level: what it means for the protocol, the rest as it is."""
        controls, spec = self.controls, self.spec(given)
        level: cost.Effort = given[controls.effort]
        changed = {**form.values(given[controls.settings], spec), **cost.dial(spec, level)}
        now = {
            controls.tokens: cost.MAX_TOKENS[level],
            controls.settings: form.value(spec, run_fields(spec), changed),
        }
        return {**now, **self.costs({**given, **now})}

    def picker(self, given: Values) -> Values:
        """Another pool: its models, also where a setting names one."""
        controls, spec = self.controls, self.spec(given)
        pool, panel = self.pool(given), self.controls.fitting
        picked = picker.opening(pool, self.ctx.workspace.quarantine.held())
        return {
            controls.models: shown_pool(self.ctx, pool.id),
            controls.settings: form.update(spec, run_fields(spec), pool.specs),
            panel.settings: form.update(spec, spec.fit_fields, pool.specs),
            **self.costs({**given, controls.models: picked}),
        }

    def artifact(self, given: Values) -> Values:
        """A fitted artifact: its models are picked."""
        controls = self.controls
        models = self.fits.picked(given[controls.fitting.artifact], given[controls.protocol])
        if models is None:
            return {controls.models: gr.skip()}
        return {controls.models: models, **self.costs({**given, controls.models: models})}

    def record(self, protocol: str) -> str:
        """How the protocol did in the stored results; nothing to say of a baseline."""
        spec = get_protocol(str(protocol))
        if spec.level == "baselines":
            return ""
        return record_html(spec.id, self.ctx.settings.assets, self.ctx.pools)

    def explained(self) -> list[Component]:
        """The components that :meth:`protocol` changes."""
        controls = self.controls
        own = [controls.about, controls.examples, controls.settings]
        return [*own, *controls.fitting.outputs(), *self.costed()]

    def costed(self) -> list[Component]:
        """The components that :meth:`costs` changes."""
        return [self.controls.cost, self.controls.fitting.cost]


def _connect_form(page: Form) -> None:
    controls, panel = page.controls, page.controls.fitting
    counted, costs = controls.counted(), page.costed()
    controls.protocol.select(page.protocol, counted, page.explained(), **PRIVATE)
    # Reading the stored results takes a moment, so nothing else waits for it.
    told = {"fn": page.record, "inputs": controls.protocol, "outputs": controls.record}
    controls.protocol.change(**told, **PRIVATE)
    gr.context.Context.root_block.load(**told, **PRIVATE)
    dialled = [controls.tokens, controls.settings, *costs]
    controls.effort.input(page.effort, counted, dialled, **PRIVATE)
    controls.examples.input(
        None, controls.examples, controls.question, js="(text) => text", **PRIVATE
    )
    shown = [controls.models, controls.settings, panel.settings, *costs]
    controls.pool.input(page.picker, counted, shown, **PRIVATE)
    made = [controls.models, *costs]
    panel.artifact.change(page.artifact, {*counted, panel.artifact}, made, **PRIVATE)
    # Not their change: a component's value changes, too, when an event has set it.
    own = [controls.models.input, controls.tokens.release, controls.settings.input]
    fit = [panel.settings.input, panel.tasks.input, panel.items.input, panel.seed.input]
    gr.on([*own, *fit], page.costs, counted, costs, trigger_mode="always_last", **PRIVATE)


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


def _connect_run(page: Form, bus: gr.HTML, ticket: gr.State) -> None:
    ctx, controls, fits = page.ctx, page.controls, page.fits
    panel, built = controls.fitting, [spec.id for spec in ctx.opening_pool.specs]

    def start(given: Values, request: gr.Request) -> tuple[dict[str, Any] | None, gr.HTML]:
        try:
            name, config = _config(controls, given)
            picked = [str(m) for m in given[controls.models] or []]
            question, seed = str(given[controls.question] or ""), int(given[controls.seed] or 0)
            tokens = int(given[controls.tokens] or 96)
            spec = make_spec(name, picked, question, seed, tokens, config)
            spec = with_artifact(ctx, spec, str(given[panel.artifact] or ""))
            specs = page.pool(given).specs
            started = ctx.manager.start(spec, specs, visitor_of(ctx, request))
            return live.ticket_for(ctx, started), notice("")
        except NotFittedError:
            return None, notice(UNFITTED.format(page.spec(given).title))
        except StudioError as error:
            return None, notice(error.message)

    async def watch(ticket: dict[str, Any] | None) -> AsyncGenerator[str, None]:
        async for text in live.watch(ctx, ticket):
            yield text

    def arrive(given: Values, request: gr.Request) -> Values:
        run = live.asked_run(request) or opening_recording(ctx)
        watched = ctx.manager.get(run) if run else None
        changed = {controls.models: changed_pool(ctx, built), ticket: {"run": run} if run else None}
        if not watched or not watched.fit:
            return changed
        asked = fits.restored(watched.fit[0])
        fit = asked.pop(panel.settings)
        explained = page.protocol({**given, **asked, panel.settings: fit}, fit["values"])
        return {**changed, **explained, **asked}

    watching = {"concurrency_limit": None, **PRIVATE}
    made = [panel.artifact, panel.told]
    restored = [
        *page.explained(),
        controls.protocol,
        controls.models,
        panel.tasks,
        panel.items,
        panel.seed,
    ]
    gr.context.Context.root_block.load(
        arrive, controls.counted(), [ticket, *restored], queue=False, **PRIVATE
    ).then(watch, ticket, bus, **watching).then(fits.finish, ticket, made, **PRIVATE)
    started = panel.start.click(
        fits.start,
        controls.everything(),
        [ticket, panel.told],
        js=EXPECT,
        concurrency_limit=None,
        **PRIVATE,
    )
    started.then(watch, ticket, bus, **watching).then(fits.finish, ticket, made, **PRIVATE)
    gr.on(
        [controls.run.click, controls.question.submit],
        start,
        controls.everything(),
        [ticket, controls.notice],
        js=EXPECT,
        concurrency_limit=None,
        **PRIVATE,
    ).then(watch, ticket, bus, **watching)


def opening_recording(ctx: StudioContext) -> str:
    """The recorded run that greets a first visitor, if there is one."""
    rows = ctx.workspace.list_recordings()
    debates = [row for row in rows if row.protocol == OPENING_PROTOCOL]
    return next((row.run for row in [*debates, *rows]), "")
