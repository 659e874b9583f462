"""Pool: who contributed which model, what for, and how good it is at it; and how to join.

Anybody may hand in a model; it waits until the lab has looked at it. Holding a model back, letting
it go and withdrawing it are the lab's: each handler asks on the server who is asking.
"""

from __future__ import annotations

import html
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from protocols.core.errors import StudioError, UserError
from studio.context import StudioContext
from studio.contributed import Offer, add, withdraw
from studio.contribution import MAX_UPLOAD
from studio.files import asset
from studio.pages.common import PRIVATE, notice
from studio.pages.picker import cards
from studio.pool import Entry, Pool, load_pool
from studio.quarantine import Word
from studio.verdict import Finding

log = logging.getLogger(__name__)
HAND_IN = (
    "<p>Hand in a LoRA adapter on a base of this pool: <code>adapter_config.json</code> and "
    "<code>adapter_model.safetensors</code>, or a zip archive with both and a README.md. Models "
    "are data: nothing that could run is read. It is checked at once, tried out with a few tokens, "
    "and waits until the lab has looked at it. The lab can remove it whenever you ask.</p>"
)
FIELDS = {
    "id": ("Its id", "Letters, digits, dots and dashes."),
    "name": ("Its name", "As shown to people."),
    "contributor": ("Contributed by", "A person, group or project, as shown to people."),
    "domain": ("Domain", "What it is meant to be good at, in a few words."),
    "description": ("Description", "One or two sentences for people who pick models."),
    "licence": ("Licence of the weights", "For example Apache-2.0. Required."),
    "paper": ("Paper", "A link, if there is one."),
}
INTRO = (
    "<h1>Pool</h1><p>The models that can be picked: who contributed which, what it is good at, and "
    "how good it was when it was measured on items that it was not trained on.</p>"
)
CONSENT = "I may pass this model on, and it may be used and combined with others here."


def build(ctx: StudioContext) -> None:
    """Lay out the page and connect it."""
    gr.HTML(INTRO, elem_classes="studio-brand")
    shown = [_cards(pool) for pool in ctx.pools.values()]
    told = notice("")
    with gr.Accordion("Contribute a model", open=False):
        _connect_hand_in(ctx, shown)
    with gr.Column(visible=False) as inside:
        _connect_lab(ctx, shown, told)

    def arrive(request: gr.Request) -> list[Any]:
        return [*refreshed(ctx), gr.Column(visible=ctx.admin.allowed(request))]

    page = gr.context.Context.root_block
    page.load(arrive, None, [*shown, inside], queue=False, **PRIVATE)


def _cards(pool: Pool) -> gr.HTML:
    return gr.HTML(
        "",
        html_template='<div class="studio-pool"></div>',
        js_on_load=asset("poolpage.js"),
        title=pool.title,
        about=pool.description,
        cards=_shown(pool, {}),
    )


def _shown(pool: Pool, held: Mapping[str, Word]) -> list[dict[str, Any]]:
    each = zip(cards(pool, held), pool.entries, strict=True)
    return [{**card, "facts": facts(entry), "bars": bars(entry)} for card, entry in each]


def refreshed(ctx: StudioContext) -> list[gr.HTML]:
    """Every pool's cards as they are now; contributions from the command line are seen as well."""
    held = ctx.workspace.quarantine.held()
    for name in list(ctx.pools):
        try:
            ctx.pools[name] = load_pool(name, ctx.settings)
        except StudioError as error:
            log.warning("%s", error.message)
    return [gr.HTML(cards=_shown(pool, held)) for pool in ctx.pools.values()]


def _connect_hand_in(ctx: StudioContext, shown: Sequence[gr.HTML]) -> None:
    gr.HTML(HAND_IN)
    names = [(pool.title, pool.id) for pool in ctx.pools.values()]
    pool = gr.Dropdown(names, value=ctx.opening_pool.id, label="Pool", visible=len(names) > 1)
    with gr.Row():
        boxes = [
            gr.Textbox(label=label, info=info, max_lines=3, elem_id=f"offer-{name}", min_width=260)
            for name, (label, info) in FIELDS.items()
        ]
    files = gr.File(
        label=f"Files or a zip archive, up to {MAX_UPLOAD >> 20} MiB",
        file_count="multiple",
        file_types=[".zip", ".safetensors", ".json", ".md"],
        type="filepath",
        height=160,
    )
    consent = gr.Checkbox(label=CONSENT, elem_id="offer-consent")
    send = gr.Button("Check and hand in", variant="primary", elem_id="offer-send")
    verdict = gr.HTML("", elem_id="offer-verdict")

    def hand(*given: Any) -> list[Any]:
        return [hand_in(ctx, *given), *refreshed(ctx)]

    inputs = [files, consent, pool, *boxes]
    # One at a time: a check reads every weight and tries the model out.
    send.click(hand, inputs, [verdict, *shown], concurrency_limit=1, **PRIVATE)


def hand_in(
    ctx: StudioContext,
    files: Sequence[str] | None,
    consent: bool,
    pool: str,
    *words: str,
    try_out: bool = True,
) -> str:
    """Check uploaded files and leave the model waiting; returns what was found, as markup.

    The uploaded files are gone afterwards, whatever happened.
    """
    sources = [Path(name) for name in files or []]
    found: list[Finding] = []
    try:
        if consent is not True:
            raise UserError("Tick the box that says that the model may be used here.")
        given = {k: str(w or "").strip()[:1000] for k, w in zip(FIELDS, words, strict=True)}
        add(
            Offer(pool=str(pool), **given), sources, ctx.settings, who="a visitor",
            wait=True, base_here=True, try_out=try_out, most=MAX_UPLOAD, tell=found.append,
        )  # fmt: skip
        end = "<p>Thank you. The model is here and waits until the lab has looked at it.</p>"
    except StudioError as error:
        end = f"<p role='alert' class='studio-warn'>{html.escape(error.message)}</p>"
    finally:
        for path in sources:
            path.unlink(missing_ok=True)
    return _points(found) + end


def _points(found: Sequence[Finding]) -> str:
    rows = "".join(
        f"<dt>{html.escape(f.point)}: {f.state}</dt><dd>{html.escape(f.text)}</dd>" for f in found
    )
    return f"<dl class='studio-facts'>{rows}</dl>"


def _connect_lab(ctx: StudioContext, shown: Sequence[gr.HTML], told: gr.HTML) -> None:
    gr.HTML("<h2>The lab</h2><p>A model in quarantine cannot be picked, and no run uses it.</p>")
    with gr.Row():
        model = gr.Dropdown([], label="Model", elem_id="held-model", allow_custom_value=True)
        reason = gr.Textbox(
            label="Reason", info="Shown to everybody.", elem_id="held-reason", scale=3
        )
    with gr.Row():
        hold = gr.Button("Quarantine", variant="stop", elem_id="held-hold")
        release = gr.Button("Release or approve", elem_id="held-release")
        remove = gr.Button("Remove a contribution", elem_id="held-remove")
    words = gr.HTML("", elem_id="held-words")

    def act(kind: str) -> Any:
        def handle(request: gr.Request, chosen: str, why: str) -> list[Any]:
            problem = decide(ctx, request, kind, str(chosen or ""), str(why or ""))
            return [notice(problem), history(ctx, request), *refreshed(ctx)]

        return handle

    for button, kind in ((hold, "hold"), (release, "release"), (remove, "remove")):
        button.click(act(kind), [model, reason], [told, words, *shown], **PRIVATE)

    def arrive(request: gr.Request) -> list[Any]:
        ids = [spec.id for pool in ctx.pools.values() for spec in pool.specs]
        return [gr.Dropdown(choices=list(dict.fromkeys(ids))), history(ctx, request)]

    gr.context.Context.root_block.load(arrive, None, [model, words], queue=False, **PRIVATE)


def decide(ctx: StudioContext, request: Any, kind: str, model: str, reason: str) -> str:
    """Carry out the lab's word on a model; returns the problem, or nothing."""
    if not ctx.admin.allowed(request):
        return "Only the lab can do that. Log in on the Studies page."
    held, who = ctx.workspace.quarantine, ctx.admin.who(request)
    try:
        if kind == "hold":
            if not any(model == spec.id for pool in ctx.pools.values() for spec in pool.specs):
                raise UserError("Pick one of the models first.")
            held.hold(model, reason, who)
        elif kind == "release":
            held.release(model, who, reason or "released")
        else:
            withdraw(model, ctx.settings)
    except StudioError as error:
        return error.message
    return ""


def history(ctx: StudioContext, request: Any) -> str:
    """The lab's decisions, newest first, as markup; nothing for others."""
    if not ctx.admin.allowed(request):
        return ""
    words = ctx.workspace.quarantine.history()[:-51:-1]
    rows = "".join(
        f"<tr><td>{html.escape(w.when)}</td><td>{w.action}</td><td>{html.escape(w.model)}</td>"
        f"<td>{html.escape(w.reason)}</td><td>{html.escape(w.who)}</td></tr>"
        for w in words
    )
    return f"<table>{rows}</table>" if rows else "<p>No decisions yet.</p>"


def facts(entry: Entry) -> list[tuple[str, str]]:
    """The stated facts of a card, as (name, value) rows."""
    training = entry.card.get("training", {})
    rows = [
        ("Contributed by", entry.spec.contributor.name),
        ("Licence", entry.spec.contributor.licence),
        ("Training examples", str(training.get("examples", ""))),
        ("Training", _trained(training)),
    ]
    return [(name, value) for name, value in rows if value]


def bars(entry: Entry) -> list[dict[str, Any]]:
    """What was measured of a model: accuracies with their intervals and numbers of items."""
    results = entry.card.get("results", {})
    named = {"own_domain": "Own domain", "base": "Base model there", "others": "Other domains"}
    found = [(name, results.get(key)) for key, name in named.items()]
    return [
        _bar(name, result)
        for name, result in found
        if isinstance(result, dict) and "accuracy" in result
    ]


def _bar(name: str, result: dict[str, Any]) -> dict[str, Any]:
    interval = result.get("ci95")
    between = f", 95% interval {interval[0]:.0%} to {interval[1]:.0%}" if interval else ""
    return {
        "name": name,
        "value": result["accuracy"],
        "percent": f"{result['accuracy']:.0%}",
        "interval": interval,
        "told": f"n={result.get('n', '?')}{between}",
    }


def _trained(training: dict[str, Any]) -> str:
    if "steps" not in training:
        return ""
    minutes = training.get("seconds", 0) / 60
    return f"{training['steps']} steps, seed {training.get('seed')}, {minutes:.1f} min"
