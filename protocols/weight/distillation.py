"""Distillation: every contributed model teaches a student, and all students stand on one base.

What a teacher says is what its student learns, so teachers may be of any architecture; the students
are adapters of one base and can be merged. The answer is that of their mean or, where more dev
items say so, of their sum: in a mean of many, each student's change is too small to be heard.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence

from pydantic import Field

from protocols.core.artifacts import Derived
from protocols.core.call import Call, Step
from protocols.core.events import Artifact, Phase
from protocols.core.fit_types import FitContext
from protocols.core.models import ModelSpec
from protocols.core.registry import (
    Config,
    Context,
    Estimate,
    ProtocolSpec,
    Reference,
    fit_setting,
)
from protocols.lib.coefficients import Recipe, interval
from protocols.lib.comparing import compared
from protocols.lib.merged_model import merged_model_answer, seal_artifact
from protocols.lib.prompts import question_messages
from protocols.lib.roles import role_of, trained_model
from protocols.lib.weight_space import LoraMembers
from protocols.training.distill import DistilSettings
from protocols.training.pool_distillation import (
    Distilling,
    added_up,
    agree,
    distil_estimate,
    fidelity,
    kept,
)


class Distillation(Config):
    """Settings of distillation."""

    compare: bool = Field(
        True, description="Also ask every teacher and its student, to see where they agree."
    )
    student: str = fit_setting(
        "", "The model on whose base the students stand; empty: a base model.", choices="models"
    )
    prompts: int = fit_setting(160, "Training questions for each teacher at most.", ge=4)
    only_right: bool = fit_setting(
        True, "Teach only the answers that are right, where the right answer is known."
    )
    steps: int = fit_setting(60, "Training steps of each student.", ge=1, le=100_000)
    batch: int = fit_setting(4, "Answers in a training step.", ge=1, le=256)
    rank: int = fit_setting(4, "Rank of the students' adapters.", ge=1, le=256)
    learning_rate: float = fit_setting(4e-3, "Learning rate at its highest.", gt=0.0, le=1.0)
    train_a: bool = fit_setting(
        False,
        "Train both adapter matrices. Else all students keep the A they share from the start, so "
        "that their changes lie in one subspace and add up without growing in rank.",
    )
    louder: bool = fit_setting(
        True,
        "Also try half of the students' sum and all of it, and keep what answers most dev items; "
        "else their plain mean.",
    )
    everyone: bool = fit_setting(
        True, "Also distil the models that are adapters of the student's base already."
    )


def settings(config: Distillation, seed: int) -> DistilSettings:
    """The form's settings as the trainer's."""
    names = {"prompts", "only_right", "steps", "batch", "rank", "learning_rate", "train_a"}
    return DistilSettings(**config.model_dump(include=names), seed=seed)


async def fit(ctx: FitContext) -> AsyncIterator[Step]:
    """Make the students, say how faithful they are, and take their mean."""
    config: Distillation = ctx.config
    work = Distilling(ctx, settings(config, ctx.seed), config.everyone, config.student)
    async for step in work.steps():
        yield step
    members = LoraMembers(list(work.students.values()))
    async for step in compared(ctx, members):
        yield step
    tried: dict[float, float] = {}
    async for step in added_up(work, members, config.louder, tried):
        yield step
    best = max(tried, key=lambda coefficient: tried[coefficient])
    row, score = [best] * len(members.models), tried[best]
    lost = await ctx.work(members.make, row, ctx.folder / "merged")
    low, high = interval(score, len(work.dev))
    mean = next(iter(tried.values()))
    metrics = {"dev": score, "low": low, "high": high, "n": len(work.dev), "mean": mean}
    recipe = Recipe(
        method="distillation",
        members=tuple(m.id for m in ctx.models),
        weights=tuple(row),
        seed=ctx.seed,
        lost=round(lost, 6),
        details={"students": work.reports, "base": work.host.id},
    )
    first = Derived(
        name="distillation", base=work.host.id, folder="merged", title="The students together"
    )
    students = kept(ctx, work)
    async for step in seal_artifact(ctx, recipe, metrics | fidelity(work.reports), first, students):
        yield step


def pairs(ctx: Context) -> list[tuple[ModelSpec, str]]:
    """Every contributor that has a student here, with the student's id."""
    found = [(model, trained_model(ctx, role_of("student", model.id))) for model in ctx.models]
    return [(model, student) for model, student in found if student]


async def answer(ctx: Context) -> AsyncIterator[Step]:
    """The mean of the students answers; teachers and students are shown side by side."""
    config: Distillation = ctx.config
    both = pairs(ctx) if config.compare else []
    if both:
        yield Phase(name="compare", title="Teachers and their students", index=0, total=2)
        asked = [_asked(ctx, model.id, student) for model, student in both]
        yield [call for pair in asked for call in pair]
        yield agreement([model for model, _ in both], asked)
    async for step in merged_model_answer(ctx):
        yield step


def _asked(ctx: Context, teacher: str, student: str) -> tuple[Call, Call]:
    question = question_messages(ctx.question)
    return (
        Call(f"teacher.{teacher}", teacher, question, role="teacher"),
        Call(f"student.{teacher}", student, question, role="student"),
    )


def agreement(teachers: Sequence[ModelSpec], asked: Sequence[tuple[Call, Call]]) -> Artifact:
    """Whose student says what its teacher says; a pair of which one failed says nothing."""
    rows: Mapping[str, bool | None] = {
        model.id: agree(one.text, other.text) if one.ok and other.ok else None
        for model, (one, other) in zip(teachers, asked, strict=True)
    }
    heard = [row for row in rows.values() if row is not None]
    share = sum(heard) / len(heard) if heard else None
    return Artifact(
        name="teacher_agreement",
        data={"share": share, "n": len(heard), "rows": rows},
        sources=tuple(call.id for pair in asked for call in pair),
    )


def estimate(config: Distillation, models: int, tokens: int) -> Estimate:
    """The mean's answer, its stand-in's, and those of teachers and students."""
    calls = 2 + (2 * models if config.compare else 0)
    return Estimate(calls, 0, calls * tokens)


PROTOCOL = ProtocolSpec(
    title="Distillation",
    summary=(
        "Every contributed model, of whatever architecture, teaches a small student: it answers "
        "questions and the student learns to say the same. All students stand on one base, so "
        "that they can be merged; their mean or sum answers. You see the loss and how often each "
        "student agrees with its teacher."
    ),
    paper=Reference(
        "Kim and Rush 2016, Sequence-Level Knowledge Distillation",
        "https://arxiv.org/abs/1606.07947",
    ),
    answer=answer,
    estimate=estimate,
    config=Distillation,
    min_models=2,
    credit="By how much of each student is in the model that answered.",
    examples=(
        "What is 47 + 38?",
        "Write 67 as a Roman numeral.",
        "How many seconds are 21 minutes?",
    ),
    fit=fit,
    fit_estimate=lambda c, size: distil_estimate(c, size, tried=3 if c.louder else 1),
    needs_artifact=True,
    profiles={
        "thorough": {"prompts": 320, "steps": 150, "batch": 8},
        "large": {
            "prompts": 5000, "only_right": False, "steps": 600, "batch": 16, "rank": 64,
            "learning_rate": 2e-4,
        }
    },
)  # fmt: skip
