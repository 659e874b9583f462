"""The model picker: contributed models as searchable cards; its value is the list of picked ids.

Cards hold what contributors wrote, so they travel as data and reach the page as text only.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import gradio as gr

from protocols.core.models import ModelSpec
from studio.files import asset
from studio.pool import Entry, Pool
from studio.quarantine import Word
from studio.task_words import question_for

OPENING_MODELS = 4


def build(pool: Pool, picked: list[str]) -> gr.HTML:
    """The picker for a pool."""
    return gr.HTML(
        picked,
        html_template='<div class="studio-picker"></div>',
        js_on_load=asset("picker.js"),
        cards=cards(pool, {}, picked),
        elem_id="models",
    )


def update(pool: Pool, held: Mapping[str, Word], picked: Sequence[str] | None = None) -> gr.HTML:
    """The same picker showing another pool; what is ``held`` cannot be picked."""
    free = opening(pool, held) if picked is None else [m for m in picked if m not in held]
    return gr.HTML(value=free, cards=cards(pool, held, free))


def cards(pool: Pool, held: Mapping[str, Word], first: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Every card of a pool, those on top that come ``first``; with the reason on held ones."""
    places = {name: place for place, name in enumerate(first)}
    entries = sorted(pool.entries, key=lambda one: places.get(one.spec.id, len(places)))
    return [card(entry, held.get(entry.spec.id)) for entry in entries]


def opening(pool: Pool, held: Collection[str] = ()) -> list[str]:
    """The models picked when a pool is opened: its first specialists."""
    free = [m for m in pool.specs if m.id not in held]
    specialists = [m.id for m in free if m.adapter] or [m.id for m in free]
    return specialists[:OPENING_MODELS]


def kept(pool: Pool, held: Collection[str], picked: Sequence[str] | None) -> list[str]:
    """Those of the picked models that a pool has and that may be used; without any its first."""
    known = {model.id for model in pool.specs}
    return [m for m in picked or () if m in known and m not in held] or opening(pool, held)


def card(entry: Entry, held: Word | None = None) -> dict[str, Any]:
    """What a card shows."""
    spec = entry.spec
    return {
        "id": spec.id,
        "name": spec.title,
        "domain": spec.contributor.domain,
        "description": spec.contributor.description,
        "by": spec.contributor.name,
        "licence": spec.contributor.licence,
        "size": size(spec),
        "strength": entry.strength_sentence(),
        "ask": question_for(str(entry.card.get("task") or "")),
        "held": held.sentence() if held else "",
    }


def size(spec: ModelSpec) -> str:
    """The number of parameters for people, for example ``135M``."""
    if not spec.parameters:
        return ""
    for unit, name in ((1e9, "B"), (1e6, "M"), (1e3, "K")):
        if spec.parameters >= unit:
            return f"{spec.parameters / unit:.3g}{name}"
    return str(spec.parameters)
