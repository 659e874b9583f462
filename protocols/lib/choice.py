"""Choosing among models by scored labels: letters for models, descriptions as data, averages.

A decision is never read out of free text: each option has a one-character label and the deciding
model is asked how likely each label comes next.
"""

from __future__ import annotations

import math
import random
import string
from collections.abc import Mapping, Sequence

from protocols.core.call import ScoreCall
from protocols.core.errors import UserError, unknown
from protocols.core.models import ModelSpec

LABELS = string.ascii_uppercase + string.ascii_lowercase
"""One label per option; 52 options at most."""
NEUTRAL = "N/A"
"""A question without content: what is liked about a listing when nothing is asked."""
DESCRIPTION_CHARS = 160


def generalist(models: Sequence[ModelSpec]) -> str:
    """The first model without an adapter, else the first: who decides unless told otherwise."""
    return next((m.id for m in models if not m.adapter), models[0].id)


def labels(models: Sequence[ModelSpec]) -> tuple[str, ...]:
    """One label per model. Raises :class:`UserError` if there are more models than labels."""
    if len(models) > len(LABELS):
        raise UserError(
            f"One model can choose among {len(LABELS)} models at most; {len(models)} are picked. "
            "Pick fewer."
        )
    return tuple(LABELS[: len(models)])


def position_of(name: str, names: Sequence[str]) -> int:
    """Where a model stands in the pool, by its id or its number from 1.

    Raises :class:`UserError`, with a suggestion, if it is not there.
    """
    if name in names:
        return list(names).index(name)
    if name.isdecimal() and 1 <= int(name) <= len(names):
        return int(name) - 1
    raise unknown("picked model", name, names)


def listing_text(models: Sequence[ModelSpec]) -> str:
    """One line per model with its label; contributors' words are clipped to one short line."""
    return "\n".join(
        f"{label}. {one_line(m)}" for label, m in zip(labels(models), models, strict=True)
    )


def one_line(model: ModelSpec) -> str:
    """What a model says it is for, on one line."""
    told = model.contributor.description or model.contributor.domain or model.title
    return " ".join(told.split())[:DESCRIPTION_CHARS]


def listings(models: Sequence[ModelSpec], orders: int, rng: random.Random) -> list[list[ModelSpec]]:
    """The models in their given order, reversed, and then shuffled."""
    made = [list(models), list(reversed(models))]
    made += [rng.sample(models, len(models)) for _ in range(max(0, orders - 2))]
    return made[:orders]


def distribution(
    calls: Sequence[ScoreCall],
    neutral: Sequence[ScoreCall],
    orders: Sequence[Sequence[ModelSpec]],
    models: Sequence[ModelSpec],
) -> dict[str, float]:
    """What the decider thinks of each model; uniform if no scoring call ended well.

    ``neutral`` are the same listings with :data:`NEUTRAL` for a question. What a label scores there
    is a liking for its letter or place and is taken off (Zhao et al. 2021, "Calibrate Before Use",
    arXiv 2102.09690); the rest is averaged over the listings. Without this a small model says "A"
    whatever is asked, and averaging over orders only shares that out among the models listed first.
    A decider that was trained on orders of all kinds has unlearnt this; without ``neutral`` nothing
    is taken off.
    """
    found = []
    for number, (call, order) in enumerate(zip(calls, orders, strict=True)):
        if call.ok:
            empty = neutral[number] if neutral else None
            liking = empty.logprobs if empty and empty.ok else dict.fromkeys(call.labels, 0.0)
            pairs = zip(order, call.labels, strict=True)
            found.append({m.id: call.logprobs[label] - liking[label] for m, label in pairs})
    mean = mean_scores(found) if found else dict.fromkeys((m.id for m in models), 0.0)
    top = max(mean.values())
    weights = {m.id: math.exp(mean[m.id] - top) for m in models}
    total = sum(weights.values())
    return {name: weight / total for name, weight in weights.items()}


def mean_scores(scores: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of scores of the same options."""
    count = len(scores)
    return {key: sum(one[key] for one in scores) / count for key in scores[0]}


def entropy(distribution: Mapping[str, float]) -> float:
    """Entropy in bits divided by that of the uniform distribution: 0 is certain, 1 is a guess."""
    if len(distribution) < 2:
        return 0.0
    bits = -sum(p * math.log2(p) for p in distribution.values() if p > 0)
    return bits / math.log2(len(distribution))
