"""Learns what each model's confidence is worth: it answers dev items and says how sure it is."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from itertools import chain

import numpy as np

from protocols.core.call import Call, ScoreCall, Step
from protocols.core.errors import ContributorError, EngineError
from protocols.core.events import Artifact, Progress
from protocols.core.fit_types import FitContext, FitItem
from protocols.core.models import ModelSpec
from protocols.lib.calibration import calibrated, write_levels
from protocols.lib.prompts import question_messages
from protocols.lib.self_confidence import confidence, verify_calls

Rated = list[tuple[float, float] | None]
"""Confidence and score of each item, in order; None where the model said nothing."""
WAVE = 32
BINS = 5
KEPT = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""Shares for which the curve of cost against accuracy is computed."""


async def fit_levels(ctx: FitContext, order: Sequence[ModelSpec]) -> AsyncIterator[Step]:
    """Rate every level on the dev items, calibrate it and write the artifact.

    A level that was rated is kept: a killed fit goes on with the next.
    """
    rated: dict[str, Rated] = {}
    for done, model in enumerate(order):
        path = ctx.state / f"{model.id}.json"
        if not path.is_file():
            found: Rated = []
            for start in range(0, len(ctx.items["dev"]), WAVE):
                asked = [_ask(ctx, model, i) for i in ctx.items["dev"][start : start + WAVE]]
                yield [call for call, _ in asked] + list(chain(*(c for _, c in asked)))
                items = ctx.items["dev"][start : start + WAVE]
                found += [_rate(ctx, *one) for one in zip(items, asked, strict=True)]
            part = path.with_suffix(".part")
            part.write_text(json.dumps(found), encoding="utf-8")
            part.rename(path)
        rated[model.id] = [row and tuple(row) for row in json.loads(path.read_text("utf-8"))]
        yield Progress(
            unit="search",
            done=done + 1,
            total=len(order),
            note=f"{model.id} rated on {len(rated[model.id])} answers",
            values={"accuracy": _accuracy(rated[model.id])},
        )
    async for step in _concluded(ctx, order, rated):
        yield step


async def _concluded(
    ctx: FitContext, order: Sequence[ModelSpec], rated: dict[str, Rated]
) -> AsyncIterator[Step]:
    heard = {name: [row for row in rows if row] for name, rows in rated.items()}
    mute = [name for name, rows in heard.items() if not rows]
    if mute:
        raise EngineError(
            f"'{mute[0]}' answered none of the dev items. Leave it out and fit again."
        )
    levels = {name: calibrated(rows, ctx.config.keep) for name, rows in heard.items()}
    write_levels(levels, ctx.folder)
    curve = [curve_point(list(rated.values()), keep) for keep in KEPT]
    yield Artifact(name="cost_curve", data=curve)
    trust = {name: reliability(rows) for name, rows in heard.items()}
    yield Artifact(name="calibration", data={"levels": trust})
    metrics = {
        **{f"accuracy.{name}": round(_accuracy(rows), 4) for name, rows in rated.items()},
        **curve_point(list(rated.values()), ctx.config.keep),
    }
    yield ctx.fitted(metrics, {"order": [m.id for m in order], "keep": ctx.config.keep})


def reliability(rated: Sequence[tuple[float, float]]) -> list[dict[str, float]]:
    """How right a model was where it was how sure, in :data:`BINS` equal steps of confidence.

    These are the confidences as they came, before calibration: after it they fit these very items.
    """
    bins = []
    for place in range(BINS):
        inside = [row for row in rated if min(int(row[0] * BINS), BINS - 1) == place]
        if inside:
            sure, right = (sum(column) / len(inside) for column in zip(*inside, strict=True))
            about = {"predicted": round(sure, 4), "observed": round(right, 4)}
            bins.append({**about, "n": len(inside)})
    return bins


def _ask(ctx: FitContext, model: ModelSpec, item: FitItem) -> tuple[Call, list[ScoreCall]]:
    asking, name = ctx.asking(item.question), f"{model.id}/{item.id}"
    messages = question_messages(item.question)
    call = Call(name, model.id, messages, role="search", quiet=True)
    return call, verify_calls(asking, call, name, quiet=True)


def _rate(
    ctx: FitContext, item: FitItem, asked: tuple[Call, list[ScoreCall]]
) -> tuple[float, float] | None:
    """Confidence and score. Raises :class:`EngineError` if the machine, not the model, failed."""
    call, checks = asked
    if call.error and not isinstance(call.error, ContributorError):
        raise EngineError(f"The levels cannot be rated: {call.error.message}")
    sure = confidence(checks)
    return (sure, ctx.score(item, call.text) or 0.0) if call.ok and sure is not None else None


def _accuracy(rows: Rated) -> float:
    return sum(row[1] if row else 0.0 for row in rows) / max(1, len(rows))


def curve_point(levels: Sequence[Rated], keep: float) -> dict[str, float]:
    """Accuracy and calls per item of a cascade whose levels keep this share of their answers."""
    bounds = [np.quantile([r[0] for r in rows if r] or [1.0], 1 - keep) for rows in levels]
    right, calls = 0.0, 0
    for answers in zip(*levels, strict=True):
        for place, (row, bound) in enumerate(zip(answers, bounds, strict=True), start=1):
            calls += 1
            if place == len(levels) or (row and row[0] >= bound):
                right += row[1] if row else 0.0
                break
    count = max(1, len(levels[0]))
    return {"keep": keep, "accuracy": round(right / count, 4), "calls": round(calls / count, 4)}
