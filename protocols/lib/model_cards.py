"""Cards of models that were made of contributed ones: who is in them, how much, what was measured.

Contributors write their own names, so every word of theirs is kept from becoming markup.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import JsonValue

from protocols.core.models import ModelSpec
from protocols.lib.coefficients import Recipe, shares

CARD = "README.md"
LONGEST = 120
"""Characters of what a contributor says that a card repeats."""
Metrics = Mapping[str, JsonValue]
HEADINGS = ("name", "id", "weight", "share", "contributor", "licence")


def cell(text: str) -> str:
    """A contributor's words as plain text in one cell of a table."""
    words = " ".join(text.split())[:LONGEST]
    return re.sub(r"([\\`*_\[\]<>|#!])", r"\\\1", words)


def number(value: JsonValue) -> str:
    """A measurement, without decimals that say nothing."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def header(base: str, tags: Sequence[str], library: str = "peft") -> list[str]:
    """The part of a card that programs read."""
    about = {"base_model": base, "library_name": library, "tags": list(tags)}
    return ["---", yaml.safe_dump(about, sort_keys=True).strip(), "---", ""]


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table under the headings of members."""
    lines = [HEADINGS, ["---"] * len(HEADINGS), *rows]
    return [f"| {' | '.join(line)} |" for line in lines]


def contributor_row(model: ModelSpec, weight: float, share: float) -> list[str]:
    """One contributor: name, id, weight, share, who, licence."""
    who = model.contributor
    named = cell(who.name) + (f", {cell(who.institution)}" if who.institution else "")
    licence = cell(who.licence) or "not stated"
    return [cell(model.title), model.id, f"{weight:.6g}", f"{share:.2%}", named, licence]


def model_card(
    models: Sequence[ModelSpec],
    recipe: Recipe,
    metrics: Metrics,
    task: str,
    kind: str = "adapter",
) -> str:
    """The card of a merged model: every contributor with its weight, and what was measured."""
    library = "peft" if kind == "adapter" else "transformers"
    by_id = {model.id: model for model in models}
    parts = shares(recipe.members, recipe.weights)
    rows = [
        contributor_row(by_id[name], weight, parts.get(name, 0.0))
        for name, weight in zip(recipe.members, recipe.weights, strict=True)
    ]
    base = Path(models[0].source).name if Path(models[0].source).is_absolute() else models[0].source
    lost = f" {recipe.lost:.2%} of the change did not fit its rank." if recipe.lost else ""
    used = sum(weight != 0 for weight in recipe.weights)
    return "\n".join(
        [
            *header(base, ["merge", recipe.method], library),
            f"# {recipe.method} of {used} contributed models",
            "",
            f"Made on the task {task} with seed {recipe.seed}.{lost} Members and weights:",
            "",
            *table(rows),
            "",
            "Measured on dev items, which the choice was made on:",
            "",
            *(f"- {name}: {number(value)}" for name, value in metrics.items()),
            "",
        ]
    )


def student_card(
    folder: Path, teacher: ModelSpec, base: ModelSpec, report: Mapping[str, Any], task: str
) -> None:
    """Write the card of a distilled student into its folder."""
    kept = ("rows", "asked", "n", "agreement", "low", "high", "before", "closed")
    told = (*kept, "teacher_score", "student_score")
    measured = [f"- {name}: {number(report[name])}" for name in told]
    named = Path(base.source).name if Path(base.source).is_absolute() else base.source
    lines = [
        *header(named, ["distillation"]),
        f"# Student of {cell(teacher.title)}",
        "",
        f"Distilled on the task {task} from what its teacher answered to train items.",
        "",
        *table([contributor_row(teacher, 1.0, 1.0)]),
        "",
        "Measured on dev items (agreement with the teacher and its 95 % interval; before is the "
        "untrained base's):",
        "",
        *measured,
        "",
    ]
    (folder / CARD).write_text("\n".join(lines), encoding="utf-8")


def agent_card(
    folder: Path, model: ModelSpec, role: str, rows: Sequence[Mapping[str, Any]], task: str
) -> None:
    """Write the card of a trained generator or critic into its folder."""
    named = Path(model.source).name if Path(model.source).is_absolute() else model.source
    learned = [
        f"- iteration {row['iteration']}: {row['rows']} of its own answers, loss {row['loss']}"
        for row in rows
    ]
    lines = [
        *header(named, ["multiagent-finetuning", role]),
        f"# {cell(model.title)} as {role}",
        "",
        f"Trained in debates on the task {task}, on its own answers:",
        "",
        *learned,
        "",
        *table([contributor_row(model, 1.0, 1.0)]),
        "",
    ]
    (folder / CARD).write_text("\n".join(lines), encoding="utf-8")


def as_whole_model(card: str) -> str:
    """The card of an adapter, for the same adapter added to its base."""
    return card.replace("library_name: peft", "library_name: transformers", 1)
