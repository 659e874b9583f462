"""Pool: who contributed which model, what for, and how good it is at it."""

from __future__ import annotations

from typing import Any

import gradio as gr

from studio.context import StudioContext
from studio.files import asset
from studio.pages.picker import card
from studio.pool import Entry


def build(ctx: StudioContext) -> None:
    """Lay out the page."""
    for pool in ctx.pools.values():
        gr.HTML(
            "",
            html_template='<div class="studio-pool"></div>',
            js_on_load=asset("poolpage.js"),
            title=pool.title,
            about=pool.description,
            cards=[{**card(entry), "facts": facts(entry)} for entry in pool.entries],
        )


def facts(entry: Entry) -> list[tuple[str, str]]:
    """The measured and stated facts of a card, as (name, value) rows."""
    training, results = entry.card.get("training", {}), entry.card.get("results", {})
    rows = [
        ("Contributed by", entry.spec.contributor.name),
        ("Licence", entry.spec.contributor.licence),
        ("Own domain", _measured(results.get("own_domain"))),
        ("Base model there", _measured(results.get("base"))),
        ("Other domains", _measured(results.get("others"))),
        ("Training examples", str(training.get("examples", ""))),
        ("Training", _trained(training)),
    ]
    return [(name, value) for name, value in rows if value]


def _measured(result: Any) -> str:
    """An accuracy with its sample size and interval."""
    if not isinstance(result, dict) or "accuracy" not in result:
        return ""
    interval = result.get("ci95")
    between = f", 95% interval {interval[0]:.0%} to {interval[1]:.0%}" if interval else ""
    return f"{result['accuracy']:.0%} (n={result.get('n', '?')}{between})"


def _trained(training: dict[str, Any]) -> str:
    if "steps" not in training:
        return ""
    minutes = training.get("seconds", 0) / 60
    return f"{training['steps']} steps, seed {training.get('seed')}, {minutes:.1f} min"
