"""How much disk and memory a merge takes at most, from the headers of files: nothing is loaded."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from protocols.core.models import ModelSpec
from protocols.lib.local_files import local_folder
from protocols.lib.lora_algebra import WEIGHTS

FP32 = 4
SHARD = 2 * 10**9
"""Bytes of a file that mergekit writes; two of them wait in memory at most."""
PIECE = 2**22
"""Numbers of a tensor that are compared at a time, for each model."""


@dataclass(frozen=True)
class Room:
    """Bytes of what a merge writes at most, and of memory while it is made."""

    disk: int
    memory: int


def linear_room(models: Sequence[ModelSpec]) -> Room:
    """A weighted sum: of adapters as one adapter, of whole models as one model."""
    if any(model.adapter for model in models):
        numbers, stored = _adapters(models)
        # All factors are read, and stand beside and below each other in the sum, before it is
        # written in their own type.
        return Room(stored, 2 * FP32 * numbers + stored)
    size, largest = _size(models[0]), _largest(models[0])
    # Every model's piece of one tensor and their sum; the rest of the time all of them are compared
    # piece by piece.
    compared = 3 * len(models) * min(PIECE, largest)
    once = FP32 * max((len(models) + 2) * largest, compared)
    return Room(size, once + min(2 * SHARD, size))


def ties_room(models: Sequence[ModelSpec], rank: int = 0) -> Room:
    """A merge with an elected sign; ``rank`` 0 writes a whole model where members are adapters."""
    if any(model.adapter for model in models):
        numbers, stored = _adapters(models)
        layer = max(_widest(model) for model in models if model.adapter)
        own = FP32 * (numbers + 8 * layer)  # one member's change, its mask, the votes, the sum
        if rank:
            return Room(stored, own + 2 * FP32 * numbers + stored)
        file = max(path.stat().st_size for path in _files(models[0]))
        return Room(_size(models[0]), own + file)
    size, largest = _size(models[0]), _largest(models[0])
    # What mergekit holds of one tensor: the models, their changes, and these under their masks.
    once = FP32 * largest * math.ceil(3.5 * len(models) + 4)
    return Room(size, once + min(2 * SHARD, size))


def _files(model: ModelSpec) -> list[Path]:
    return sorted(local_folder(model).glob("*.safetensors"))


def _size(model: ModelSpec) -> int:
    return sum(path.stat().st_size for path in _files(model))


def _largest(model: ModelSpec) -> int:
    """Numbers in the largest tensor of a whole model."""
    return max(count for path in _files(model) for _, count, _ in _tensors(model, path))


def _adapters(models: Sequence[ModelSpec]) -> tuple[int, int]:
    """Numbers in all adapters, and their files' bytes."""
    paths = [(m, Path(m.adapter, WEIGHTS)) for m in models if m.adapter]
    numbers = sum(count for model, path in paths for _, count, _ in _tensors(model, path))
    return numbers, sum(path.stat().st_size for _, path in paths)


def _widest(model: ModelSpec) -> int:
    """Numbers in the largest change, [out, in], that an adapter makes."""
    sides: dict[str, int] = {}
    for name, _, shape in _tensors(model, Path(model.adapter, WEIGHTS)):
        layer, _, side = name.rpartition(".lora_")
        sides[layer] = sides.get(layer, 1) * (shape[1] if side.startswith("A") else shape[0])
    return max(sides.values())


def _tensors(model: ModelSpec, path: Path) -> Iterator[tuple[str, int, list[int]]]:
    """Name, count of numbers and shape of every tensor in a file."""
    from protocols.engines.checks import check_safetensors

    for name, tensor in check_safetensors(model, path).items():
        yield name, math.prod(tensor["shape"]), tensor["shape"]
