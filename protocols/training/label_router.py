"""The router that reads: a LoRA on the pool's base learns to say the best model's letter.

Every row lists the models in an order of its own and asks for a letter that is drawn from the soft
label: over many rows that is training on the soft label, and on ties no letter is preferred.
"""

from __future__ import annotations

import math
import random
import shutil
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from protocols.core.artifacts import Derived
from protocols.core.call import Step
from protocols.core.errors import EngineError, UserError
from protocols.core.events import Progress
from protocols.core.fit_types import FitContext
from protocols.core.models import ModelSpec
from protocols.lib.choice import generalist, labels
from protocols.lib.label_routes import label_calls, logits_of, orders_of, route_prompt
from protocols.lib.local_files import local_folder
from protocols.training.routing_data import Part
from protocols.training.sft import CONFIG, SftConfig, train_sft

NAME = "router"
Rows = list[tuple[str, str]]
WAVE = 32
LONGEST = 4096
"""Tokens of a row; a longer one would lose its letter, which stands at the end."""


def base_of(ctx: FitContext) -> ModelSpec:
    """The generalist whose base the router is trained on.

    Raises :class:`UserError` if its weights are not on this machine.
    """
    base = next(model for model in ctx.models if model.id == generalist(ctx.models))
    try:
        local_folder(base)
    except UserError:
        raise UserError(
            f"The weights of '{base.id}' are not on this machine, so no router can be trained on "
            "it. Set kind to 'embedding', or add a local model without an adapter."
        ) from None
    return base.model_copy(update={"adapter": ""})


def training_rows(part: Part, models: Sequence[ModelSpec], passes: int, rng: random.Random) -> Rows:
    """(prompt, letter) rows: each question that tells models apart, ``passes`` times."""
    rows = []
    for _ in range(passes):
        for question, label, weight in zip(part.questions, part.labels, part.weights, strict=True):
            if weight > 0:
                order = rng.sample(list(models), len(models))
                ids = [model.id for model in models]
                right = rng.choices(ids, weights=label.tolist())[0]
                at = [model.id for model in order].index(right)
                rows.append((route_prompt(question, order), labels(order)[at]))
    return rows


def train_label_router(ctx: FitContext, part: Part) -> Path:
    """Train the adapter, or find it trained. Blocks.

    Raises :class:`EngineError` if no question tells the models apart.
    """
    folder, config = ctx.state / NAME, ctx.config
    if (folder / CONFIG).is_file():
        return folder
    rows = training_rows(part, ctx.models, config.epochs, ctx.rng("rows"))
    if not rows:
        raise EngineError(
            "No train question tells the models apart, so there is nothing to learn. Raise the "
            "limit, or fit to tasks that some of the models are better at."
        )
    steps = max(1, math.ceil(len(rows) / config.batch))
    settings = SftConfig(
        steps=steps,
        batch=config.batch,
        learning_rate=config.learning_rate,
        warmup=max(1, steps // 10),
        rank=config.rank,
        alpha=2 * config.rank,
        seed=ctx.seed,
        max_length=LONGEST,
    )
    base = base_of(ctx)
    made = train_sft(
        local_folder(base),
        rows,
        folder,
        base_id=Path(base.source).name if Path(base.source).is_absolute() else base.source,
        config=settings,
        on_step=lambda step, loss: ctx.report("train", step, steps, "The router reads", loss=loss),
    )
    ctx.report("train", steps, steps, f"{len(rows)} rows, {made.seconds:.0f} s", loss=made.loss)
    return folder


class Reading:
    """Asks the trained router about a part; :attr:`logits` has what it says, [items, models]."""

    def __init__(self, ctx: FitContext, adapter: Path, part: Part) -> None:
        update = {"id": f"candidate.{NAME}", "adapter": str(adapter)}
        self.ctx, self.part = ctx, part
        self.model = base_of(ctx).model_copy(update=update)
        self.logits: NDArray[np.float64] = np.zeros_like(part.labels)

    async def asked(self) -> AsyncIterator[Step]:
        """Score every question. Raises :class:`EngineError` if one cannot be scored."""
        ctx, orders = self.ctx, orders_of(self.ctx.models, self.ctx.config.orders)
        ctx.serve(self.model)
        items, names = self.part.table.items, self.part.table.models
        for start in range(0, len(items), WAVE):
            wave = range(start, min(len(items), start + WAVE))
            asked = [
                label_calls(
                    self.model.id, items[at].question, orders, f"route/{items[at].id}", True
                )
                for at in wave
            ]
            yield [call for calls in asked for call in calls]
            for at, calls in zip(wave, asked, strict=True):
                found = logits_of(calls, orders, names)
                if found is None:
                    error = next(call.error for call in calls if call.error)
                    raise EngineError(f"The trained router cannot be asked: {error.message}")
                self.logits[at] = found
            note = "The trained router is asked about dev questions"
            yield Progress(unit="calibrate", done=wave.stop, total=len(items), note=note)
        await ctx.release(self.model)


def keep(ctx: FitContext, adapter: Path) -> Derived:
    """Copy the adapter into the artifact."""
    shutil.copytree(adapter, ctx.folder / NAME, ignore=shutil.ignore_patterns("checkpoint*"))
    return Derived(name=NAME, base=base_of(ctx).id, folder=NAME, title="Trained router")
