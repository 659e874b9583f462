"""Train / search: fit the chosen protocol to tasks, and choose what was fitted for the next run.

On a hosted Space only the lab may start fits. Every handler asks on the server; hiding the button
is a courtesy.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.components import Component

from evals.tasks.core import task_names
from evals.tasks.fitting import fit_data
from protocols.core.artifacts import Stored
from protocols.core.errors import StudioError, UserError
from protocols.core.events import Artifact
from protocols.core.fit import FITTED, FitSpec
from protocols.core.models import ModelSpec
from protocols.core.registry import FitSize, ProtocolSpec, get_protocol, protocols
from studio import fit_cost, form, live
from studio.context import StudioContext
from studio.figure_parts import percent
from studio.fit_command import fit_spec
from studio.pages.common import PRIVATE, notice, visitor_of, warning

ITEMS = 12
SMALL = "small"
NEWEST = ("The newest that fits the picked models", "")
CLOSED = "On this hosted demo the lab starts fits. On a machine of your own, this does the same:"
PRESS_STOP = "() => document.querySelector(':is(.ps-stop-all, .ps-leave):not([hidden])')?.click()"
Values = dict[Component, Any]


@dataclass(frozen=True)
class Panel:
    """The components of the panel; ``settings`` is the chosen protocol's form."""

    box: gr.Accordion
    artifact: gr.Dropdown
    tasks: gr.Dropdown
    items: gr.Number
    seed: gr.Number
    profile: gr.Radio
    cost: gr.HTML
    start: gr.Button
    stop: gr.Button
    told: gr.HTML
    settings: gr.HTML

    def inputs(self) -> set[Component]:
        """What decides a fit, beside the protocol and the models."""
        return {self.tasks, self.items, self.seed, self.settings}

    def chosen(
        self,
        ctx: StudioContext,
        spec: ProtocolSpec,
        models: Sequence[ModelSpec],
        config: Mapping[str, Any] | None = None,
    ) -> Values:
        """What choosing a protocol changes here.

        ``models`` are those of the pool on show, ``config`` the settings that are no defaults.
        """
        return {
            self.box: gr.Accordion(visible=spec.fit is not None, open=spec.needs_artifact),
            self.artifact: gr.Dropdown(choices(ctx, spec.id), value=""),
            self.profile: gr.Radio(_profiles(spec), value=SMALL, visible=bool(spec.profiles)),
            self.told: gr.skip() if ctx.settings.hosted else notice(""),
            self.settings: form.update(spec, spec.fit_fields, models, config),
        }

    def outputs(self) -> list[Any]:
        """The components that :meth:`chosen` changes."""
        return [self.box, self.artifact, self.profile, self.told, self.settings]


def build(ctx: StudioContext, first: ProtocolSpec) -> Panel:
    """Lay out the panel for the opening protocol."""
    fitted = first.fit is not None
    with gr.Accordion(
        "Train / search", open=first.needs_artifact, visible=fitted, elem_id="fitting"
    ) as box:
        artifact = gr.Dropdown(
            choices(ctx, first.id), value="", label="Fitted artifact for the next run",
            info="What training or searching left; choosing one picks its models.",
            elem_id="artifact",
        )  # fmt: skip
        tasks = gr.Dropdown(
            list(task_names()), value=[], multiselect=True, elem_id="fit-tasks",
            label="Tasks to learn from",
            info="Empty = what the picked models are specialists of. Train and dev items only.",
        )  # fmt: skip
        with gr.Row():
            items = gr.Number(
                ITEMS, precision=0, minimum=0, label="Items", info="Of each part; 0 = all.",
                elem_id="fit-items", min_width=120,
            )  # fmt: skip
            seed = gr.Number(
                0,
                precision=0,
                minimum=0,
                label="Seed",
                info="Equal seeds repeat it.",
                min_width=120,
            )
        cost = gr.HTML("")
        with gr.Row():
            start = gr.Button("Start", variant="primary", elem_id="fit-start", min_width=90)
            stop = gr.Button("Stop", elem_id="fit-stop", min_width=90)
        told = gr.HTML("", visible=False, elem_id="fit-told")
        with gr.Accordion("Settings of the fit", open=False):
            profile = gr.Radio(
                _profiles(first), value=SMALL, label="Settings", visible=bool(first.profiles),
                info="Small runs here in minutes; paper is the published setting, for a GPU.",
            )  # fmt: skip
            settings = form.build("fit-settings", first, first.fit_fields, ctx.opening_pool.specs)
    return Panel(box, artifact, tasks, items, seed, profile, cost, start, stop, told, settings)


def _profiles(spec: ProtocolSpec) -> list[str]:
    return [SMALL, *spec.profiles]


def own_tasks(models: Sequence[str]) -> list[str]:
    """The tasks that the models are specialists of, by name."""
    return [task for task in task_names() if any(m.endswith(f"-{task}") for m in models)]


def choices(ctx: StudioContext, protocol: str) -> list[tuple[str, str]]:
    """The fitted artifacts of a protocol that models of some pool here can use."""
    known = {model.id for pool in ctx.pools.values() for model in pool.specs}
    usable = [
        one
        for one in ctx.workspace.artifacts.list(protocol)
        if {model.id for model in one.manifest.models} <= known
    ]
    return [NEWEST, *((label(one), one.manifest.key) for one in usable)]


def label(one: Stored) -> str:
    """An artifact in a list: tasks, score on dev items and their number, models, date."""
    manifest, created = one.manifest, str(one.made().get("created", ""))
    dev, n = (manifest.metrics.get(name) for name in ("dev", "n"))
    score = f"dev {percent(dev)}" if isinstance(dev, int | float) else ""
    parts = [
        manifest.task.replace(",", ", "),
        f"{score} (n {n:g})" if score and isinstance(n, int | float) else score,
        f"{len(manifest.models)} models",
        created[:16].replace("T", " "),
        manifest.key[:6],
    ]
    return " · ".join(part for part in parts if part)


def may_fit(ctx: StudioContext, request: gr.Request | None) -> bool:
    """Whether this visitor may start fits: everybody at home, the lab on a hosted Space."""
    return not ctx.settings.hosted or ctx.admin.allowed(request)


@dataclass(frozen=True)
class Asked:
    """A fit as the page's form has it."""

    pool: str
    protocol: str
    models: list[str]
    tasks: list[str]
    items: int
    seed: int
    config: dict[str, Any]

    def spec(self) -> FitSpec:
        """The checked spec. Raises :class:`UserError`."""
        if not self.tasks:
            raise UserError("No task is picked. Pick at least one task to learn from.")
        tasks = ",".join(self.tasks)
        return fit_spec(
            self.protocol, self.config, self.models, tasks, limit=self.items, seed=self.seed
        )

    def changed(self) -> dict[str, Any]:
        """The settings that are not at their defaults."""
        fields = get_protocol(self.protocol).config.model_fields
        return {n: v for n, v in self.config.items() if v != fields[n].get_default()}


def told_cost(ctx: StudioContext, asked: Asked) -> str:
    """What the fit will cost, and the command that does the same."""
    try:
        spec = get_protocol(asked.protocol)
        config = spec.configure(asked.config)
        spec.check_pool(len(asked.models))
        fit = asked.spec()
        parts = fit_data(fit.task, fit.limit, fit.seed).items
        items = len(parts["train"]), len(parts["dev"])
        size = FitSize(len(asked.models), *items, fit.sampling.max_tokens)
        store, engine = ctx.workspace.artifacts, ctx.manager.engine.name
        line = fit_cost.sentence(spec, config, size, store, engine)
    except StudioError as error:
        return warning(error)
    command = fit_cost.command(
        asked.protocol, asked.pool, asked.models, asked.tasks,
        limit=asked.items, seed=asked.seed, config=asked.changed(),
    )  # fmt: skip
    shown = f"<code>{html.escape(command)}</code>"
    return (
        f"<p class='studio-cost'>{html.escape(line)}</p><details class='studio-command'>"
        f"<summary>The same in a terminal</summary>{shown}</details>"
    )


class Handlers:
    """The panel's events. ``read`` makes what is asked for of the page's values."""

    def __init__(
        self,
        ctx: StudioContext,
        panel: Panel,
        protocol: gr.Dropdown,
        models: gr.HTML,
        read: Callable[[Values], Asked],
    ) -> None:
        self.ctx, self.panel, self.read = ctx, panel, read
        self.protocol, self.models = protocol, models

    def recount(self, given: Values) -> str:
        """The cost of what is set."""
        spec = protocols().get(str(given[self.protocol]))
        if spec is None or spec.fit is None:
            return ""
        try:
            return told_cost(self.ctx, self.read(given))
        except StudioError as error:
            return warning(error)

    def start(self, given: Values, request: gr.Request) -> tuple[dict[str, Any] | None, gr.HTML]:
        """Begin a fit: the ticket to watch it with, or why not."""
        try:
            if not may_fit(self.ctx, request):
                raise UserError("On a hosted demo the lab starts fits. Log in on the Studies page.")
            asked = self.read(given)
            spec = asked.spec()
            pool = self.ctx.pools.get(asked.pool) or self.ctx.opening_pool
            data = fit_data(spec.task, spec.limit, spec.seed)
            visitor = visitor_of(self.ctx, request)
            started = self.ctx.manager.start_fit(spec, pool.specs, data, visitor)
        except StudioError as error:
            return None, notice(error.message)
        return live.ticket_for(self.ctx, started), notice("")

    def finish(self, ticket: dict[str, Any] | None) -> Values:
        """Choose what a watched fit has made for the next run."""
        run = self.ctx.manager.get(ticket["run"]) if ticket else None
        key = run and run.fit and next(
            (e.data["key"] for e in reversed(run.events)
             if isinstance(e, Artifact) and e.name == FITTED), "",
        )  # fmt: skip
        if not run or not key:
            return {self.panel.told: gr.skip()}
        said = "Fitted. The next run uses it: ask a question and press Run."
        return {
            self.panel.artifact: gr.Dropdown(choices(self.ctx, run.spec.protocol), value=key),
            self.panel.told: notice(said, "status"),
        }

    def picked(self, key: str, name: str) -> list[str] | None:
        """The models of a chosen artifact, if there is one."""
        found = self.ctx.workspace.artifacts.get(name, key) if key else None
        return [model.id for model in found.manifest.models] if found else None

    def profiled(self, given: Values) -> Values:
        """A profile's settings; what it does not name goes back to its default."""
        spec = get_protocol(str(given[self.protocol]))
        named = spec.profiles.get(str(given[self.panel.profile]), {})
        settings = form.value(spec, spec.fit_fields, named)
        told = self.recount({**given, self.panel.settings: settings})
        return {self.panel.settings: settings, self.panel.cost: told}

    def restored(self, spec: FitSpec) -> Values:
        """After a reload: what was asked for in the fit that this page watches."""
        protocol = get_protocol(spec.protocol)
        return {
            self.protocol: spec.protocol,
            self.models: list(spec.pool),
            self.panel.tasks: spec.task.split(","),
            self.panel.items: spec.limit,
            self.panel.seed: spec.seed,
            self.panel.settings: form.value(protocol, protocol.fit_fields, spec.config),
        }

    def opened(self, request: gr.Request) -> Values:
        """Whether this visitor sees the buttons or the sentence that stands for them."""
        allowed = may_fit(self.ctx, request)
        buttons = {b: gr.Button(visible=allowed) for b in (self.panel.start, self.panel.stop)}
        told = notice("") if allowed else notice(CLOSED, "status")
        return {**buttons, self.panel.told: told}

    def connect(self, counted: set[Component]) -> None:
        """Connect what concerns the panel only; ``counted`` decides what things cost."""
        panel = self.panel
        shown = [panel.settings, panel.cost]
        panel.profile.input(self.profiled, {*counted, panel.profile}, shown, **PRIVATE)
        panel.stop.click(None, js=PRESS_STOP, **PRIVATE)
        if self.ctx.settings.hosted:
            buttons = [panel.start, panel.stop, panel.told]
            gr.context.Context.root_block.load(self.opened, None, buttons, queue=False, **PRIVATE)
