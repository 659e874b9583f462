"""The model picker: contributed models as searchable cards; its value is the list of picked ids.

Cards hold what contributors wrote, so they travel as data and reach the page as text only.
"""

from __future__ import annotations

from typing import Any

import gradio as gr

from protocols.core.models import ModelSpec
from studio.files import asset
from studio.pool import Entry, Pool

OPENING_MODELS = 4


def build(pool: Pool, picked: list[str]) -> gr.HTML:
    """The picker for a pool."""
    return gr.HTML(
        picked,
        html_template='<div class="studio-picker"></div>',
        js_on_load=asset("picker.js"),
        cards=[card(entry) for entry in pool.entries],
        elem_id="models",
    )


def update(pool: Pool) -> gr.HTML:
    """The same picker showing another pool."""
    return gr.HTML(value=opening(pool), cards=[card(entry) for entry in pool.entries])


def opening(pool: Pool) -> list[str]:
    """The models picked when a pool is opened: its first specialists."""
    specialists = [m.id for m in pool.specs if m.adapter] or [m.id for m in pool.specs]
    return specialists[:OPENING_MODELS]


def card(entry: Entry) -> dict[str, Any]:
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
    }


def size(spec: ModelSpec) -> str:
    """The number of parameters for people, for example ``135M``."""
    if not spec.parameters:
        return ""
    for unit, name in ((1e9, "B"), (1e6, "M"), (1e3, "K")):
        if spec.parameters >= unit:
            return f"{spec.parameters / unit:.3g}{name}"
    return str(spec.parameters)
