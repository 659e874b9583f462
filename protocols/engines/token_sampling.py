"""Draws tokens: one per row of a batch, by each row's own settings and random generator.

It knows logits and sampling settings, not where they come from.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch

from protocols.core.models import Sampling

NUCLEUS = 256
"""Tokens among which a nucleus is sought first; the whole vocabulary if they do not reach it."""


class Draws(Protocol):
    """What a row must have."""

    sampling: Sampling
    generator: torch.Generator


def draw(rows: Sequence[Draws], logits: torch.Tensor) -> list[int]:
    """One token id per row of logits [rows, vocabulary]."""
    best = logits.argmax(dim=-1).tolist()
    if all(row.sampling.temperature == 0.0 for row in rows):
        return [int(token) for token in best]
    top, places = logits.topk(min(NUCLEUS, logits.shape[-1]), dim=-1)
    total = torch.tensor([row.sampling.temperature or 1.0 for row in rows], device=logits.device)
    spread = torch.logsumexp(logits / total[:, None], dim=-1)
    tokens = []
    for i, row in enumerate(rows):
        if row.sampling.temperature == 0.0:
            tokens.append(int(best[i]))
            continue
        chances = torch.exp(top[i] / row.sampling.temperature - spread[i]).cpu()
        found = places[i].cpu()
        if float(chances.sum()) < row.sampling.top_p:
            chances, found = _whole(logits[i], row.sampling.temperature)
        tokens.append(int(found[_nucleus(chances, row)]))
    return tokens


def _whole(logits: torch.Tensor, temperature: float) -> tuple[torch.Tensor, torch.Tensor]:
    """All tokens' probabilities in falling order, with their ids."""
    chances, found = torch.softmax(logits / temperature, dim=-1).cpu().sort(descending=True)
    return chances, found


def _nucleus(chances: torch.Tensor, row: Draws) -> int:
    """Draw a place from falling probabilities within the smallest set that reaches ``top_p``."""
    before = chances.cumsum(0) - chances
    kept = chances * (before < row.sampling.top_p)
    return int(torch.multinomial(kept, 1, generator=row.generator))
