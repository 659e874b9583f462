"""Sparse changes and an elected sign: the arithmetic of DARE and TIES, one tensor at a time.

A member's change is thinned (at random or by size), the members vote on each element's sign, and
only those that agree are added up. Every member's change is made twice and never kept, so memory
does not grow with the pool. Sources: Yu et al. 2024, "DARE", arXiv 2311.03099; Yadav et al. 2023,
"TIES-Merging", arXiv 2306.01708.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch

Thin = Literal["random", "magnitude"]
Rescale = Literal["density", "l1", "none"]
Change = Callable[[int], "torch.Tensor"]
"""A member's change of one tensor, by the member's place."""
TINY = 1e-7


@dataclass(frozen=True)
class TiesSettings:
    """How changes are merged.

    ``density`` is the part of each change that is kept. ``rescale`` divides what is kept by the
    density, as in DARE, or gives it the L1 norm that the change had, as mergekit does. With
    ``normalize`` an element is divided by the weights of those who agreed on it. The merged change
    is multiplied by ``scale``.
    """

    density: float = 0.5
    thin: Thin = "random"
    rescale: Rescale = "density"
    normalize: bool = True
    scale: float = 1.0
    seed: int = 0


def mask(shape: Sequence[int], density: float, *names: object) -> torch.Tensor:
    """Which elements are kept at random; depends on ``density`` and ``names`` only."""
    import torch

    digest = hashlib.sha256("/".join(map(str, names)).encode()).digest()
    chance = torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
    return torch.rand(tuple(shape), generator=chance) < density


def thinned(change: torch.Tensor, settings: TiesSettings, *names: object) -> torch.Tensor:
    """A change with only ``density`` of its elements; ``names`` tell its random mask apart."""
    if settings.density >= 1:
        return change
    if settings.thin == "random":
        kept = change * mask(change.shape, settings.density, settings.seed, *names)
    else:
        kept = change * _largest(change, settings.density)
    if settings.rescale == "none":
        return kept
    if settings.rescale == "density":
        return kept / settings.density
    before, after = float(change.abs().sum()), float(kept.abs().sum())
    return kept if min(before, after) < TINY else kept * (before / after)


def _largest(change: torch.Tensor, density: float) -> torch.Tensor:
    """Where the largest elements are; at least one."""
    import torch

    flat = change.abs().flatten()
    count = max(1, int(density * flat.numel()))
    keep = torch.zeros_like(flat)
    keep[torch.argsort(flat, descending=True)[:count]] = 1
    return keep.reshape(change.shape)


def merged(
    change: Change, weights: Sequence[float], settings: TiesSettings, name: str
) -> torch.Tensor:
    """The members' merged change of the tensor ``name``."""
    import torch

    def part(member: int) -> torch.Tensor:
        return weights[member] * thinned(change(member), settings, member, name)

    members = [member for member, weight in enumerate(weights) if weight]
    votes = sum(part(member) for member in members)
    elected = torch.where(torch.as_tensor(votes) >= 0, 1.0, -1.0)
    total = torch.zeros_like(elected)
    agreed = torch.zeros_like(elected)
    for member in members:
        one = part(member)
        agrees = (one.sign() == elected).float()
        total += one * agrees
        agreed += weights[member] * agrees
    if settings.normalize:
        total = total / torch.where(agreed == 0, 1.0, agreed)
    return total * settings.scale


def conflict(change: Change, members: int) -> float:
    """The share of changed elements on whose sign the members disagree, before any thinning."""
    import torch

    up = down = torch.zeros((), dtype=torch.bool)
    for member in range(members):
        one = change(member)
        up, down = up | (one > 0), down | (one < 0)
    changed = int((up | down).sum())
    return float((up & down).sum()) / changed if changed else 0.0
