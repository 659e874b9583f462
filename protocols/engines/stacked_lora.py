"""Many LoRA adapters of one base in one forward pass.

The adapters' A matrices of a layer stand below each other, their B matrices beside each other. A
row uses its own adapter because a mask keeps only that adapter's part of A x and carries its
scale: ``y = W x + B_all (mask * (A_all x))``. Rows of the base model have an empty mask. Two small
matrix products serve all rows, however many adapters they mix.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812  the field's name for it
from torch import nn

from protocols.core.errors import ContributorError
from protocols.engines.packed_linear import packed

PREFIX = "base_model.model."
HEAD = "lm_head"


class LoraLinear(nn.Module):  # type: ignore[misc]
    """A linear layer with room for adapters; ``a`` is [total rank, in], ``b`` [out, total rank]."""

    def __init__(self, linear: nn.Linear, mask: Mask) -> None:
        super().__init__()
        self.inner, self.mask = packed(linear), mask
        self.shape = (linear.out_features, linear.in_features)
        self.kind = torch.empty(0, dtype=linear.weight.dtype, device=linear.weight.device)
        self.a: torch.Tensor | None = None
        self.b: torch.Tensor | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The base layer's output plus that of each row's adapter."""
        y: torch.Tensor = self.inner(x)
        if self.a is None or self.b is None or self.mask.rows is None:
            return y
        return y + F.linear(F.linear(x, self.a) * self.mask.rows, self.b)


@dataclass
class Mask:
    """Which adapter each row of the present batch uses: [rows, 1, total rank], or none at all."""

    rows: torch.Tensor | None = None


@dataclass
class Adapter:
    """Where an adapter's part of the stacked rank lies, and its scale."""

    start: int
    rank: int
    scale: float


@dataclass
class AdapterStack:
    """The adapters of one base model; ``layers`` are its linear layers by their path."""

    mask: Mask = field(default_factory=Mask)
    layers: dict[str, LoraLinear] = field(default_factory=dict)
    adapters: dict[str, Adapter] = field(default_factory=dict)
    total: int = 0

    @classmethod
    def install(cls, model: nn.Module) -> AdapterStack:
        """Make room for adapters in every linear layer of a model but its head.

        Layers are packed on the way, the head as well, so the model's own weights are let go.
        """
        stack = cls()
        found = [(n, m) for n, m in model.named_modules() if isinstance(m, nn.Linear)]
        for name, linear in found:
            parent, _, leaf = name.rpartition(".")
            layer = LoraLinear(linear, stack.mask)
            setattr(model.get_submodule(parent), leaf, layer.inner if leaf == HEAD else layer)
            if leaf != HEAD:
                stack.layers[name] = layer
        return stack

    def add(self, key: str, folder: Path) -> None:
        """Read an adapter folder (PEFT format) and stack it under ``key``.

        Raises :class:`ContributorError` if its weights do not fit the base model.
        """
        if key in self.adapters:
            return
        from safetensors.torch import load_file

        config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
        rank = int(config["r"])
        root = rank**0.5 if config.get("use_rslora") else rank
        pairs = dict(self._pairs(load_file(folder / "adapter_model.safetensors"), folder.name))
        for name, (a, b) in pairs.items():
            self._check(name, a, b, rank, folder.name)
        for name, layer in self.layers.items():
            self._extend(layer, pairs.get(name), rank)
        self.adapters[key] = Adapter(self.total, rank, float(config["lora_alpha"]) / root)
        self.total += rank

    def _pairs(
        self, weights: dict[str, torch.Tensor], adapter: str
    ) -> Iterator[tuple[str, tuple[torch.Tensor, torch.Tensor]]]:
        """(layer path, (A, B)) for each adapted layer."""
        for name, a in weights.items():
            if name.endswith(".lora_A.weight"):
                stem = name.removesuffix(".lora_A.weight")
                b = weights.get(f"{stem}.lora_B.weight", torch.empty(0))
                yield stem.removeprefix(PREFIX), (a, b)
            elif not name.endswith(".lora_B.weight"):
                raise ContributorError(
                    f"The adapter '{adapter}' has weights that are no LoRA: {name}."
                )

    def _check(self, name: str, a: torch.Tensor, b: torch.Tensor, rank: int, adapter: str) -> None:
        layer = self.layers.get(name)
        if layer is None:
            raise ContributorError(
                f"The adapter '{adapter}' adapts '{name}', which its base lacks."
            )
        out, into = layer.shape
        if a.shape != (rank, into) or b.shape != (out, rank):
            raise ContributorError(
                f"The adapter '{adapter}' does not fit its base at '{name}': shapes "
                f"{tuple(a.shape)} and {tuple(b.shape)} for a layer of {into} to {out}."
            )

    def _extend(
        self, layer: LoraLinear, pair: tuple[torch.Tensor, torch.Tensor] | None, rank: int
    ) -> None:
        out, into = layer.shape
        a, b = pair or (torch.zeros(rank, into), torch.zeros(out, rank))
        a, b = a.to(layer.kind), b.to(layer.kind)
        layer.a = a if layer.a is None else torch.cat([layer.a, a])
        layer.b = b if layer.b is None else torch.cat([layer.b, b], dim=1)

    def remove(self, key: str) -> None:
        """Take an adapter out of every layer."""
        gone = self.adapters.pop(key, None)
        if gone is None:
            return
        keep = [i for i in range(self.total) if not gone.start <= i < gone.start + gone.rank]
        for layer in self.layers.values():
            if layer.a is not None and layer.b is not None:
                layer.a, layer.b = layer.a[keep].contiguous(), layer.b[:, keep].contiguous()
        self.total -= gone.rank
        for other in self.adapters.values():
            other.start -= gone.rank if other.start > gone.start else 0

    def use(self, keys: list[str], dtype: torch.dtype, device: str) -> None:
        """Set each row's adapter for the next forward pass; an empty key is the base model."""
        if not any(keys):
            self.mask.rows = None
            return
        mask = torch.zeros(len(keys), 1, self.total, dtype=dtype)
        for row, key in enumerate(keys):
            if key:
                one = self.adapters[key]
                mask[row, 0, one.start : one.start + one.rank] = one.scale
        self.mask.rows = mask.to(device)
