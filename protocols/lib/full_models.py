"""Writes a whole model: a base with changed tensors, file by file, with its tokenizer."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING

from protocols.core.errors import ContributorError

if TYPE_CHECKING:
    import torch

WEIGHT = ".weight"
SIDE_FILES = ("*.json", "*.jinja", "*.model", "merges.txt", "vocab.txt")


def write_changed(
    base: Path,
    layers: Collection[str],
    change: Callable[[str], torch.Tensor],
    folder: Path,
    on_layer: Callable[[int], None] = lambda _: None,
) -> None:
    """Write ``base`` with ``change(layer)`` [out, in] added to each of ``layers``' weights.

    Added up in fp32 and rounded once to the type of the base. One file of the base is in memory at
    a time. ``on_layer`` is called with the number of layers done.

    Raises :class:`ContributorError` if the base lacks a layer.
    """
    from safetensors.torch import load_file, save_file

    folder.mkdir(parents=True, exist_ok=True)
    done: set[str] = set()
    for file in sorted(base.glob("*.safetensors")):
        tensors = load_file(file)
        for name, weight in tensors.items():
            layer = name.removesuffix(WEIGHT)
            if layer in layers:
                tensors[name] = (weight.float() + change(layer)).to(weight.dtype).contiguous()
                done.add(layer)
                on_layer(len(done))
        save_file(tensors, folder / file.name, metadata={"format": "pt"})
    if missing := set(layers) - done:
        raise ContributorError(f"The base has no layer '{min(missing)}' that an adapter changes.")
    for pattern in SIDE_FILES:
        for file in base.glob(pattern):
            shutil.copyfile(file, folder / file.name)
