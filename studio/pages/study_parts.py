"""The Studies page's components by tab: laid out here, connected in ``study_handlers``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from studio.context import StudioContext
from studio.pages import study_form
from studio.pages.common import notice
from studio.pages.study_form import StudyForm


@dataclass(frozen=True)
class Panels:
    """The components that show the chosen study."""

    study: gr.Dropdown
    told: gr.HTML
    status: gr.HTML
    job: gr.HTML
    plan: gr.HTML
    review: gr.HTML
    item: gr.Dropdown
    stratum: gr.Dropdown
    work: gr.HTML
    rater: gr.Dropdown
    monitor: gr.HTML
    results: gr.HTML

    def shown(self) -> list[Any]:
        """What is drawn anew when a study is chosen or changed, in the order of ``show``."""
        return [
            self.status, self.job, self.plan, self.review, self.item, self.stratum, self.work,
            self.rater, self.monitor, self.results,
        ]  # fmt: skip


@dataclass(frozen=True)
class PlanParts:
    """The chosen study's plan, the form of a new one, and how a study is removed."""

    stored: gr.HTML
    form: StudyForm
    power: gr.HTML
    create: gr.Button
    refused: gr.HTML
    confirm: gr.Textbox
    discard: gr.Button


@dataclass(frozen=True)
class AnswerParts:
    """The controls of the Answers tab."""

    make: gr.Button
    whose: gr.Textbox
    contributor: gr.File
    system: gr.File
    bring: gr.Button
    review: gr.HTML
    item: gr.Dropdown
    exclude: gr.Button
    reviewed: gr.Button
    open: gr.Button
    told: gr.HTML


@dataclass(frozen=True)
class RaterParts:
    """The controls of the Raters tab."""

    work: gr.HTML
    stratum: gr.Dropdown
    count: gr.Number
    invite: gr.Button
    links: gr.Textbox
    rater: gr.Dropdown
    renew: gr.Button


@dataclass(frozen=True)
class Ending:
    """The controls of a study's end."""

    confirm: gr.Textbox
    lock: gr.Button
    verify: gr.Button
    verdict: gr.HTML
    judge: gr.Button
    publish: gr.Button
    departure: gr.Textbox
    note: gr.Button
    results: gr.HTML


@dataclass(frozen=True)
class Tabs:
    """What stands in the tabs."""

    plan: PlanParts
    answers: AnswerParts
    raters: RaterParts
    monitor: gr.HTML
    ending: Ending


def plan_tab(ctx: StudioContext) -> PlanParts:
    """The plan of the chosen study and the form of a new one."""
    stored = gr.HTML("")
    form = study_form.build(ctx)
    power = gr.HTML("")
    create = gr.Button("Create the study", variant="primary")
    refused = notice("")
    with gr.Accordion("Discard the chosen study", open=False):
        gr.HTML(
            "<p>For a plan that turned out wrong: its pairs, raters and links are removed and its "
            "short name is free again. Once there are votes nothing is removed any more.</p>"
        )
        with gr.Row():
            confirm = gr.Textbox(label="To discard, type the study's short name", scale=3)
            discard = gr.Button("Discard the study", variant="stop")
    return PlanParts(stored, form, power, create, refused, confirm, discard)


def answers_tab() -> AnswerParts:
    """Both arms' answers, and the look at them before raters do."""
    make = gr.Button("Make the answers with the studio's models", variant="primary")
    with gr.Accordion("Or import two files of answers", open=False), gr.Row():
        whose = gr.Textbox(label="Contributor's model", info="Needed with several.")
        contributor, system = (_answers_file(arm) for arm in ("Contributor", "System"))
        bring = gr.Button("Import")
    review = gr.HTML("")
    with gr.Row():
        item = gr.Dropdown([], label="Leave out a pair", value=None, scale=3)
        exclude = gr.Button("Leave it out")
    told = notice("")  # Above the buttons: below them it can be out of sight.
    with gr.Row():
        reviewed = gr.Button("I have looked at the pairs")
        opened = gr.Button("Open the study to raters", variant="primary")
    return AnswerParts(
        make, whose, contributor, system, bring, review, item, exclude, reviewed, opened, told
    )


def _answers_file(arm: str) -> gr.File:
    return gr.File(
        label=f"{arm}: .jsonl with 'prompt' and 'response'",
        file_types=[".jsonl"], type="filepath", height=140,
    )  # fmt: skip


def raters_tab() -> RaterParts:
    """Invitation links, and another one for who has lost theirs."""
    gr.HTML(
        "<p>Each link belongs to one rater and is shown once: only its hash is kept. Note to whom "
        "you give which; here raters are known by the code behind their link. A rater bound to a "
        "contributor sees that contributor's pairs only.</p>"
    )
    work = gr.HTML("")
    with gr.Row():
        stratum = gr.Dropdown([("all contributors' pairs", "")], value="", label="For")
        count = gr.Number(1, precision=0, minimum=1, maximum=1000, label="How many")
    invite = gr.Button("Make invitation links", variant="primary")
    links = gr.Textbox(
        label="Links, each with its rater", lines=6, buttons=["copy"], interactive=False,
        elem_id="links",
    )  # fmt: skip
    with gr.Accordion("A link was lost or has leaked", open=False), gr.Row():
        rater = gr.Dropdown([], label="Rater", info="Votes and place stay.", value=None, scale=3)
        renew = gr.Button("Make a new link; the old one ends")
    return RaterParts(work, stratum, count, invite, links, rater, renew)


def results_tab() -> Ending:
    """The end of a study: judges, lock, report, checks."""
    results = gr.HTML("")
    with gr.Row():
        judge = gr.Button("Let the plan's automatic judges judge the pairs (sealed)")
        publish = gr.Button("Publish the report on the Results page")
    with gr.Row():
        confirm = gr.Textbox(label="To lock, type the study's short name", scale=3)
        lock = gr.Button("Lock the study and open its results", variant="stop")
    verify = gr.Button("Verify the blinding of this study")
    verdict = gr.HTML("")
    with gr.Accordion("Something was done otherwise than planned", open=False), gr.Row():
        departure = gr.Textbox(
            label="What, in a sentence", info="It stands in the report, with the time.", scale=3
        )
        note = gr.Button("Note it in the record")
    return Ending(confirm, lock, verify, verdict, judge, publish, departure, note, results)
