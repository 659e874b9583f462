"""Studies: plan a blinded study, make and review its answers, invite raters, lock, read.

Every handler asks on the server whether the lab is asking; what the page holds is never trusted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from evals.human import studies
from evals.human.publish import publish_study
from protocols.core.errors import StudioError, UserError
from studio.context import StudioContext
from studio.judging import judge_planned, planned_worth
from studio.pages import study_form, study_html
from studio.pages.common import PRIVATE, notice
from studio.pages.study_form import StudyForm
from studio.study_work import make_answers, verify_blinding

INTRO = (
    "<h1>Studies</h1><p>Blinded A/B studies: a contributor's model against the participatory "
    "system, pair by pair. Who wrote what leaves the server only after the study is locked.</p>"
)
QUIET: dict[str, Any] = {"concurrency_limit": None, **PRIVATE}


@dataclass(frozen=True)
class Panels:
    """The page's components that show the chosen study."""

    study: gr.Dropdown
    told: gr.HTML
    status: gr.HTML
    job: gr.HTML
    review: gr.HTML
    monitor: gr.HTML
    results: gr.HTML
    stratum: gr.Dropdown

    def shown(self) -> list[Any]:
        """What is drawn anew when a study is chosen or changed."""
        return [self.status, self.job, self.review, self.monitor, self.results, self.stratum]


@dataclass(frozen=True)
class Ending:
    """The controls of a study's end."""

    confirm: gr.Textbox
    lock: gr.Button
    verify: gr.Button
    verdict: gr.HTML
    judge: gr.Button
    publish: gr.Button


def build(ctx: StudioContext) -> None:
    """Lay out the page and connect it."""
    gr.HTML(INTRO, elem_classes="studio-brand")
    closed = gr.HTML(study_html.gate(False, ctx.admin.generated))
    if ctx.admin.accounts:
        gr.LoginButton()
    with gr.Column(visible=False) as inside:
        with gr.Row():
            study = gr.Dropdown([], label="Study", elem_id="study", scale=4)
            leave = gr.HTML("<form method='post' action='/lab/out'><button>Log out</button></form>")
        told = notice("")
        status = gr.HTML(study_html.nothing_yet())
        job = gr.HTML("")  # above the tabs: answers and judgements are made from two of them
        with gr.Tabs():
            with gr.Tab("Plan", elem_classes="studio-plan"):
                form = study_form.build(ctx)
                power = gr.HTML("")
                create = gr.Button("Create the study", variant="primary")
                refused = notice("")
            with gr.Tab("Answers"):
                answers = _answers_tab()
            with gr.Tab("Raters"):
                stratum, count, invite, links = _raters_tab()
            with gr.Tab("Monitor"):
                monitor = gr.HTML("")
            with gr.Tab("Results"):
                ending, results = _results_tab()
    panels = Panels(study, told, status, job, answers["review"], monitor, results, stratum)
    lab = _Handlers(ctx, panels)
    lab.connect_opening(closed, inside, power, leave)
    lab.connect_plan(form, create, refused)
    lab.connect_prefill(form)
    lab.connect_answers(answers)
    lab.connect_raters(count, invite, links)
    lab.connect_results(ending)


def _answers_tab() -> dict[str, Any]:
    made: dict[str, Any] = {}
    with gr.Row():
        made["make"] = gr.Button("Make the answers with the studio's models", variant="primary")
    with gr.Accordion("Or import two files of answers", open=False), gr.Row():
        made["whose"] = gr.Textbox(label="Contributor's model", info="Needed with several.")
        for arm in ("contributor", "system"):
            made[arm] = gr.File(
                label=f"{arm.capitalize()}: .jsonl with 'prompt' and 'response'",
                file_types=[".jsonl"], type="filepath", height=140,
            )  # fmt: skip
        made["import"] = gr.Button("Import")
    made["review"] = gr.HTML("")
    with gr.Row():
        made["item"] = gr.Textbox(label="Leave out a pair", placeholder="its id", scale=3)
        made["exclude"] = gr.Button("Leave it out")
    with gr.Row():
        made["reviewed"] = gr.Button("I have looked at the pairs")
        made["open"] = gr.Button("Open the study to raters", variant="primary")
    return made


def _raters_tab() -> tuple[gr.Dropdown, gr.Number, gr.Button, gr.Textbox]:
    gr.HTML(
        "<p>Each link belongs to one rater and is shown once: only its hash is kept. A rater bound "
        "to a contributor sees that contributor's pairs only.</p>"
    )
    with gr.Row():
        stratum = gr.Dropdown([("all contributors' pairs", "")], value="", label="For")
        count = gr.Number(1, precision=0, minimum=1, maximum=1000, label="How many")
    invite = gr.Button("Make invitation links", variant="primary")
    links = gr.Textbox(label="Links", lines=6, buttons=["copy"], interactive=False, elem_id="links")
    return stratum, count, invite, links


def _results_tab() -> tuple[Ending, gr.HTML]:
    results = gr.HTML("")
    with gr.Row():
        judge = gr.Button("Let the plan's automatic judges judge the pairs (sealed)")
        publish = gr.Button("Publish the report on the Results page")
    with gr.Row():
        confirm = gr.Textbox(label="To lock, type the study's short name", scale=3)
        lock = gr.Button("Lock the study and open its results", variant="stop")
    verify = gr.Button("Verify the blinding of this study")
    verdict = gr.HTML("")
    return Ending(confirm, lock, verify, verdict, judge, publish), results


class _Handlers:
    """What the page's controls do. Each handler first asks whether the lab is asking."""

    def __init__(self, ctx: StudioContext, panels: Panels) -> None:
        self.ctx, self.panels = ctx, panels

    def guarded(self, act: Callable[..., list[Any]], outputs: int) -> Callable[..., list[Any]]:
        """A handler that answers with a notice and ``outputs`` values, for the lab only."""

        def handle(request: gr.Request, *values: Any) -> list[Any]:
            try:
                if not self.ctx.admin.allowed(request):
                    raise UserError("You are not logged in any more. Log in and try again.")
                return [notice(""), *act(*values)]
            except StudioError as error:
                return [notice(error.message), *[gr.skip()] * outputs]

        return handle

    def connect_opening(
        self, closed: gr.HTML, inside: gr.Column, power: gr.HTML, leave: gr.HTML
    ) -> None:
        """Who arrives: the lab sees the studies, everybody else the way in."""

        def arrive(request: gr.Request) -> list[Any]:
            allowed = self.ctx.admin.allowed(request)
            shown = gr.HTML(study_html.gate(allowed, self.ctx.admin.generated), visible=not allowed)
            if not allowed:
                return [shown, gr.Column(visible=False), gr.skip(), gr.skip(), gr.skip()]
            problem, rows = self._rows()
            table = study_html.power_table(*power_rows())
            return [shown, gr.Column(visible=True), rows, table, notice(problem)]

        page = gr.context.Context.root_block
        outputs = [closed, inside, self.panels.study, power, self.panels.told]
        page.load(arrive, None, outputs, queue=False, **PRIVATE)
        shown = self.panels.shown()
        self.panels.study.change(
            self.guarded(self.show, len(shown)),
            self.panels.study,
            [self.panels.told, *shown],
            **QUIET,
        )

        def pulse(request: gr.Request, slug: str | None, seen: Any) -> list[Any]:
            """What moves by itself; it says nothing, so that it wipes no message away."""
            try:
                if not slug or not self.ctx.admin.allowed(request):
                    return [gr.skip()] * 5
                pairs = [slug, studies.load_study(self.ctx.lab.store, slug).pairs]
                review = gr.skip() if pairs == seen else self.review(slug)
                return [*self.moving(slug), review, pairs]
            except StudioError:
                return [gr.skip()] * 5

        panels, seen = self.panels, gr.State(None)
        moving = [panels.status, panels.job, panels.monitor, panels.review, seen]
        gr.Timer(2.0).tick(pulse, [panels.study, seen], moving, **QUIET)

    def _rows(self, chosen: str = "") -> tuple[str, gr.Dropdown]:
        try:
            rows = studies.list_studies(self.ctx.lab.store)
        except StudioError as error:
            return error.message, gr.Dropdown(choices=[])
        names = [(f"{row.spec.title} · {row.spec.slug}", row.spec.slug) for row in reversed(rows)]
        value = chosen or (names[0][1] if names else None)
        return "", gr.Dropdown(choices=names, value=value)

    def show(self, slug: str | None) -> list[Any]:
        """Everything about the chosen study."""
        if not slug:
            return [study_html.nothing_yet(), "", "", "", "", gr.skip()]
        row = studies.load_study(self.ctx.lab.store, slug)
        status, job, monitor = self.moving(slug)
        arms = [("all contributors' pairs", ""), *((a.model,) * 2 for a in row.spec.contributors)]
        locked = row.state == "locked"
        return [
            status,
            job,
            self.review(slug),
            monitor,
            (study_html.result_links(slug) if locked else study_html.SEALED)
            + study_html.judges(planned_worth(row.spec, self.ctx.settings)),
            gr.Dropdown(choices=arms),
        ]

    def review(self, slug: str) -> str:
        """The mask review of a study."""
        found = self.ctx.lab.review(slug)
        return study_html.review(found, self.ctx.lab.blindability(slug)) if found.rows else ""

    def moving(self, slug: str) -> list[Any]:
        """Status, job and monitor of a study."""
        store = self.ctx.lab.store
        row, done = studies.load_study(store, slug), studies.progress(store, slug)
        job = self.ctx.jobs.of(slug)
        return [
            study_html.status(row, done),
            study_html.job(job.title, job.done, job.total, job.note, job.problem),
            study_html.monitor(done),
        ]

    def connect_plan(self, form: StudyForm, create: gr.Button, refused: gr.HTML) -> None:
        """Store a new plan and choose it; what is wrong with it is said beside the button."""

        def make(*values: Any) -> list[Any]:
            row = self.ctx.lab.create(form.spec(values, self.ctx.lab))
            return [self._rows(row.spec.slug)[1]]

        create.click(
            self.guarded(make, 1), form.everything(), [refused, self.panels.study], **QUIET
        )

    def connect_prefill(self, form: StudyForm) -> None:
        """From a contributor's page: the form comes filled in for that model."""
        names = list(study_form.PREFILLED)

        def fill(request: gr.Request) -> list[Any]:
            model = str(request.query_params.get("contributor", ""))
            given = study_form.prefilled(self.ctx, model)
            if not given or not self.ctx.admin.allowed(request):
                return [gr.skip()] * len(names)
            return [given[name] for name in names]

        outputs = [form.fields[name] for name in names]
        gr.context.Context.root_block.load(fill, None, outputs, **PRIVATE)

    def connect_answers(self, made: dict[str, Any]) -> None:
        """Make or import answers, review the masks, open the study."""

        def make(slug: str) -> list[Any]:
            lab, engine = self.ctx.lab, self.ctx.manager.engine
            self.ctx.jobs.start(slug, "Making answers", lambda: make_answers(lab, slug, engine))
            return []

        def bring(
            slug: str, stratum: str, contributor: str | None, system: str | None
        ) -> list[Any]:
            if not contributor or not system:
                raise UserError("Two files are needed: the contributor's answers and the system's.")
            self.ctx.lab.import_answers(slug, Path(contributor), Path(system), stratum or "")
            return []

        def act(change: Callable[..., None]) -> Callable[..., list[Any]]:
            def handle(slug: str, *more: Any) -> list[Any]:
                if not slug:
                    raise UserError("No study is chosen. Choose or create one.")
                change(self.ctx.lab.store, slug, *more)
                return []

            return handle

        wiring: tuple[tuple[gr.Button, Callable[..., list[Any]], list[Any]], ...] = (
            (made["make"], make, []),
            (made["import"], bring, [made["whose"], made["contributor"], made["system"]]),
            (made["exclude"], act(studies.exclude_pair), [made["item"]]),
            (made["reviewed"], act(lambda _, slug: self.ctx.lab.accept(slug)), []),
            (made["open"], act(studies.open_study), []),
        )
        shown = self.panels.shown()
        for button, handler, inputs in wiring:
            button.click(
                self.guarded(handler, 0), [self.panels.study, *inputs], [self.panels.told], **QUIET
            ).success(
                self.guarded(self.show, len(shown)), self.panels.study, [self.panels.told, *shown],
                **QUIET,
            )  # fmt: skip

    def connect_raters(self, count: gr.Number, invite: gr.Button, links: gr.Textbox) -> None:
        """Make links; they begin with the address that the lab itself uses."""

        def make(request: gr.Request, slug: str, stratum: str, number: float) -> list[Any]:
            address = self.ctx.settings.public_url or str(request.request.base_url)

            def act() -> list[Any]:
                urls = self.ctx.lab.invite(slug, int(number or 0), stratum or "", address)
                spec = studies.load_study(self.ctx.lab.store, slug).spec
                open_link = f"{address.rstrip('/')}/join/{slug}" if spec.open_link else ""
                return [study_html.links(urls, open_link)]

            return self.guarded(act, 1)(request)

        invite.click(
            make,
            [self.panels.study, self.panels.stratum, count],
            [self.panels.told, links],
            **QUIET,
        )

    def connect_results(self, end: Ending) -> None:
        """Judge, lock, publish, verify."""

        def close(slug: str, typed: str) -> list[Any]:
            self.ctx.lab.lock(slug, typed or "", by="lab")
            return [self._rows(slug)[1], *self.show(slug)]

        def examine(slug: str) -> list[Any]:
            return [verify_blinding(self.ctx.lab, slug).html()]

        def judge(slug: str) -> list[Any]:
            lab, engine = self.ctx.lab, self.ctx.manager.engine
            self.ctx.jobs.start(
                slug, "Judging", lambda: judge_planned(lab.store, slug, engine, lab.settings)
            )
            return []

        def publish(slug: str) -> list[Any]:
            publish_study(self.ctx.lab.store, slug, "lab")
            return []

        panels, shown = self.panels, self.panels.shown()
        end.lock.click(
            self.guarded(close, 1 + len(shown)), [panels.study, end.confirm],
            [panels.told, panels.study, *shown], **QUIET,
        )  # fmt: skip
        end.verify.click(
            self.guarded(examine, 1), panels.study, [panels.told, end.verdict],
            **{**QUIET, "show_progress": "minimal"},
        )  # fmt: skip
        for button, act in ((end.judge, judge), (end.publish, publish)):
            button.click(self.guarded(act, 0), panels.study, [panels.told], **QUIET)


def power_rows() -> tuple[list[tuple[int, list[float]]], list[float]]:
    """Exact power of the sign test at alpha 0.05, for the planner."""
    from evals.human.statistics.power import power

    shares = [0.55, 0.6, 0.65, 0.7, 0.75, 0.8]
    votes = [25, 50, 100, 200, 400]
    return [(n, [power(n, share, 0.05) for share in shares]) for n in votes], shares
