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


def place(name: str, names: Sequence[str]) -> int:
    """Where a model stands in the pool, by its id or its number from 1.

    Raises :class:`UserError`, with a suggestion, if it is not there.
    """
    if name in names:
        return list(names).index(name)
    if name.isdecimal() and 1 <= int(name) <= len(names):
        return int(name) - 1
    raise unknown("picked model", name, names)


def described(models: Sequence[ModelSpec]) -> str:
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
    calls: Sequence[ScoreCall], orders: Sequence[Sequence[ModelSpec]], models: Sequence[ModelSpec]
) -> dict[str, float]:
    """The mean distribution over model ids; uniform if no scoring call ended well."""
    found = [
        {m.id: call.probabilities[label] for m, label in zip(order, LABELS, strict=False)}
        for call, order in zip(calls, orders, strict=True)
        if call.ok
    ]
    mean = averaged(found) if found else {m.id: 1 / len(models) for m in models}
    return {m.id: mean[m.id] for m in models}


def averaged(distributions: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of distributions over the same options."""
    count = len(distributions)
    return {key: sum(d[key] for d in distributions) / count for key in distributions[0]}


def entropy(distribution: Mapping[str, float]) -> float:
    """Entropy in bits divided by that of the uniform distribution: 0 is certain, 1 is a guess."""
    if len(distribution) < 2:
        return 0.0
    bits = -sum(p * math.log2(p) for p in distribution.values() if p > 0)
    return bits / math.log2(len(distribution))
