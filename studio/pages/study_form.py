"""The form of a new study: the usual choices as fields, everything else in its YAML."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components import Component

from evals.human.study import StudySpec, spec_from
from evals.judges.registry import BASELINES, about
from evals.tasks.core import load_task, task_names
from protocols.core.registry import protocols
from studio.context import StudioContext
from studio.judging import offered
from studio.lab import Lab, yaml_fields
from studio.settings import Settings

LANGUAGES = [
    ("English", "en"), ("中文", "zh"), ("Español", "es"), ("Français", "fr"), ("العربية", "ar"),
]  # fmt: skip
TIES = [("leave them out", "drop"), ("count them half", "half")]
PREFILLED = ("slug", "pool", "contributors", "models", "questions")
"""What a contributor's page fills in."""
STOPS = [("at a fixed number of votes", "fixed"), ("as soon as it is decided (anytime)", "anytime")]


@dataclass(frozen=True)
class StudyForm:
    """The components of the form by the name of what they set."""

    fields: dict[str, Component]
    upload: gr.File

    def everything(self) -> list[Component]:
        """All components, the uploaded file last."""
        return [*self.fields.values(), self.upload]

    def spec(self, values: tuple[Any, ...], lab: Lab) -> StudySpec:
        """The plan that the form describes; an uploaded question file is kept by the lab.

        Raises :class:`UserError` with one sentence.
        """
        given = dict(zip(self.fields, values, strict=False))
        uploaded = values[len(self.fields)]
        titles = {name: str(getattr(one, "label", name)) for name, one in self.fields.items()}
        return spec_from(
            plan(given, lab.keep_questions(Path(uploaded)) if uploaded else ""), titles
        )


def build(ctx: StudioContext) -> StudyForm:
    """Lay out the form."""
    fields: dict[str, Component] = {}
    with gr.Row():
        fields["title"] = gr.Textbox(
            label="Title", info="Raters see it.", value="Which answer is better?", max_length=120
        )
        fields["slug"] = gr.Textbox(
            label="Short name", info="Small letters, digits and '-'; part of the links."
        )
    upload = _arms(ctx, fields)
    fields["rubric"] = gr.Textbox(
        label="What raters are asked", value="Which answer would you rather have received?"
    )
    _amounts(ctx.settings, fields)
    _words(fields)
    return StudyForm(fields, upload)


def _arms(ctx: StudioContext, fields: dict[str, Component]) -> gr.File:
    """What is compared, and on which questions."""
    pool = ctx.opening_pool
    ids = [(model.title, model.id) for model in pool.specs]
    names = {spec.title: spec.id for spec in protocols().values()}
    with gr.Row():
        fields["pool"] = gr.Dropdown(
            [(p.title, p.id) for p in ctx.pools.values()], value=pool.id, label="Pool"
        )
        fields["contributors"] = gr.Dropdown(
            ids, label="Contributors' models", info="Each is compared with the system.",
            multiselect=True, value=[],
        )  # fmt: skip
    with gr.Row():
        fields["protocol"] = gr.Dropdown(
            [*names.items()], value="majority_vote", label="Participatory system: protocol"
        )
        fields["models"] = gr.Dropdown(
            ids, label="Its models", info="Empty = the whole pool.", multiselect=True, value=[]
        )
    with gr.Row():
        fields["questions"] = gr.Dropdown(
            question_choices(), value="task:composite/test", label="Questions",
            info="A task split, hub:DATASET/SPLIT, or your own file below: a 'prompt' in each row, "
            "if you like with 'category' and 'language'.",
            allow_custom_value=True,
        )  # fmt: skip
        fields["limit"] = gr.Slider(1, 200, 25, step=1, label="Pairs per contributor")
    return gr.File(
        label="Your own instead (.jsonl, .csv)",
        file_types=[".jsonl", ".csv"], type="filepath", height=140,
    )  # fmt: skip


def _amounts(settings: Settings, fields: dict[str, Component]) -> None:
    """How many votes, and how they are counted."""
    with gr.Row():
        fields["pairs_per_rater"] = gr.Slider(1, 200, 25, step=1, label="Pairs per rater")
        fields["overlap"] = gr.Slider(1, 20, 1, step=1, label="Raters per pair")
        fields["repeat_share"] = gr.Slider(
            0, 0.5, 0.1, step=0.05, label="Share shown twice", info="The sides change."
        )
        fields["gold_share"] = gr.Slider(
            0,
            0.5,
            0.0,
            step=0.05,
            label="Share with a known winner",
            info="Do raters read? Made of questions beyond the pairs.",
        )
    with gr.Row():
        fields["tie_policy"] = gr.Dropdown(TIES, value="drop", label="Ties in the headline")
        fields["rule"] = gr.Dropdown(STOPS, value="fixed", label="Collecting ends")
        fields["cap"] = gr.Number(100, precision=0, minimum=1, label="Votes at most")
        fields["alpha"] = gr.Number(
            0.05, minimum=0.001, maximum=0.49, label="Significance level (alpha)"
        )
    fields["judges"] = gr.Dropdown(
        judge_choices(settings), value=[], multiselect=True,
        label="Automatic judges of the same pairs",
        info="Optional; sealed like the votes. Beside each: how often it was right about pairs "
        "whose better answer is known. One half is chance.",
    )  # fmt: skip


def _words(fields: dict[str, Component]) -> None:
    """Languages and texts; what has no field of its own is YAML."""
    with gr.Row():
        fields["languages"] = gr.CheckboxGroup(LANGUAGES, value=["en"], label="Languages")
        fields["dimensions"] = gr.Textbox(
            label="More criteria", info="Separated by commas; optional for raters."
        )
    with gr.Accordion("Names to hide, consent, links, anything else", open=False):
        fields["masks"] = gr.Textbox(
            label="More names to hide", info="Separated by commas. The arms' own are always hidden."
        )
        fields["consent"] = gr.Textbox(label="Consent text", lines=4, info="Empty = the usual one.")
        fields["completion_code"] = gr.Textbox(label="Completion code", max_length=64)
        fields["open_link"] = gr.Checkbox(label="Anyone with the study's link may rate")
        fields["yaml"] = gr.Code(
            label="Further fields (YAML), such as max_tokens: 200", language="yaml", lines=4
        )


def prefilled(ctx: StudioContext, model: str) -> dict[str, Any]:
    """The form's updates for a study of one model against its pool; {} for an unknown model.

    The questions are those of its own domain where a task has them, until the user gives others.
    """
    for pool in ctx.pools.values():
        for entry in pool.entries:
            if entry.spec.id == model:
                ids = [(spec.title, spec.id) for spec in pool.specs]
                task = entry.card.get("task")
                return {
                    "slug": f"{_short(model)}-{datetime.now(UTC):%y%m%d}",
                    "pool": pool.id,
                    "contributors": gr.Dropdown(choices=ids, value=[model], multiselect=True),
                    "models": gr.Dropdown(choices=ids, value=[], multiselect=True),
                    "questions": f"task:{task}/test" if task else gr.skip(),
                }
    return {}


def _short(model: str) -> str:
    """A model's id as a study's short name."""
    return re.sub(r"[^a-z0-9]+", "-", model.lower()).strip("-")[:36] or "model"


def question_choices() -> list[tuple[str, str]]:
    """The splits that a study may ask; training items are none."""
    rows = []
    for name in task_names():
        task = load_task(name)
        for split in ("test", "heldout", "dev"):
            count = len(task.splits[split])
            if count:
                rows.append((f"{task.title}: {split}, {count} items", f"task:{name}/{split}"))
    return rows


def judge_choices(settings: Settings) -> list[tuple[str, str]]:
    """The judges that a study can name, with what is known of them."""
    entries = offered(settings)
    baselines = [(f"{name}: {about(judge)}", name) for name, judge in BASELINES.items()]
    return [*((entry.title, name) for name, entry in entries.items()), *baselines]


def plan(given: dict[str, Any], uploaded: str) -> dict[str, Any]:
    """The form's values as the fields of a plan. Raises :class:`UserError` for bad YAML."""
    questions = uploaded or str(given["questions"] or "")
    fields = {
        name: given[name]
        for name in (
            "slug", "title", "pool", "rubric", "tie_policy", "alpha", "repeat_share", "gold_share",
            "languages", "consent", "completion_code", "open_link",
        )
        if given[name] is not None  # what nobody has touched keeps the plan's default
    }  # fmt: skip
    fields |= {
        "pairs_per_rater": int(given["pairs_per_rater"]),
        "overlap": int(given["overlap"]),
        "dimensions": listed(given["dimensions"]),
        "masks": listed(given["masks"]),
        "judges": given["judges"] or [],
        "stopping": {"rule": given["rule"], "cap": int(given["cap"] or 0)},
        "system": {"protocol": given["protocol"], "models": given["models"] or []},
        "contributors": [
            {"model": model, "questions": questions, "limit": int(given["limit"])}
            for model in given["contributors"] or []
        ],
    }
    return fields | yaml_fields(str(given["yaml"] or ""))


def listed(text: Any) -> list[str]:
    """Words separated by commas."""
    return [word.strip() for word in str(text or "").split(",") if word.strip()]
