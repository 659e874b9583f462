"""Exact arithmetic with LoRA adapters of one base.

An adapter changes a layer by ``scale * B A``. Changes add up, factors do not: averaging A and B
apart makes cross terms. A weighted sum of adapters is again an adapter, with their A matrices below
each other, their weighted B matrices beside each other, and the sum of their ranks.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from protocols.core.errors import ContributorError

if TYPE_CHECKING:
    import torch

PREFIX = "base_model.model."
A_NAME, B_NAME = ".lora_A.weight", ".lora_B.weight"
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
Factors = dict[str, tuple["torch.Tensor", "torch.Tensor"]]
"""By layer path: A [rank, in] and B [out, rank] in fp32; the change is B A, its scale is in B."""


@dataclass(frozen=True)
class Lora:
    """An adapter in memory; ``kind`` is the name of the type that its file uses."""

    rank: int
    factors: Factors
    kind: str = "bfloat16"

    def change(self, layer: str) -> torch.Tensor | None:
        """What it adds to a layer's weight, [out, in] in fp32; None if it leaves it alone."""
        pair = self.factors.get(layer)
        return None if pair is None else pair[1] @ pair[0]


def read_lora(folder: Path) -> Lora:
    """Read an adapter folder (PEFT format).

    Raises :class:`ContributorError` if it holds anything but plain LoRA matrices of numbers.
    """
    from safetensors.torch import load_file

    config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    rank = int(config["r"])
    scale = float(config["lora_alpha"]) / (rank**0.5 if config.get("use_rslora") else rank)
    weights = load_file(folder / WEIGHTS)
    factors: Factors = {}
    for name, a in weights.items():
        stem = name.removesuffix(A_NAME)
        if name.endswith(A_NAME) and stem + B_NAME in weights:
            b = weights[stem + B_NAME]
            factors[stem.removeprefix(PREFIX)] = (a.float(), scale * b.float())
            _check_finite(folder.name, *factors[stem.removeprefix(PREFIX)])
        elif not name.endswith((A_NAME, B_NAME)):
            raise ContributorError(f"The adapter '{folder.name}' has weights that are no LoRA.")
    kinds = {str(one.dtype).removeprefix("torch.") for one in weights.values()}
    return Lora(rank, factors, kinds.pop() if len(kinds) == 1 else "float32")


def _check_finite(adapter: str, a: torch.Tensor, b: torch.Tensor) -> None:
    """A sum with NaN in it is NaN, whoever else is in it."""
    if not (bool(a.isfinite().all()) and bool(b.isfinite().all())):
        raise ContributorError(f"The adapter '{adapter}' holds numbers that are not finite.")


def combine(loras: Sequence[Lora], coefficients: Sequence[float]) -> Lora:
    """The adapter whose change is the sum of c_j times the members' changes, exactly (in fp32).

    Members with coefficient 0 take no rank, and members that share their A (students of one start)
    take it once. With none left, it has rank 1 and changes nothing.
    """
    import torch

    used = [(one, c) for one, c in zip(loras, coefficients, strict=True) if c]
    if len(used) > 1 and share_inputs([one for one, _ in used]):
        return _summed(used)
    layers = list(dict.fromkeys(name for one in loras for name in one.factors))
    factors: Factors = {}
    for layer in layers:
        shapes = next(one.factors[layer] for one in loras if layer in one.factors)
        parts = [_part(one, layer, c, shapes) for one, c in used] or [_zero(1, shapes)]
        factors[layer] = (torch.cat([a for a, _ in parts]), torch.cat([b for _, b in parts], dim=1))
    kinds = {one.kind for one, _ in used}
    kind = kinds.pop() if len(kinds) == 1 else "float32"
    return Lora(sum(one.rank for one, _ in used) or 1, factors, kind)


def share_inputs(loras: Sequence[Lora]) -> bool:
    """Whether all of them read their layers' inputs by the very same A."""
    import torch

    first = loras[0].factors
    return bool(first) and all(
        one.factors.keys() == first.keys()
        and all(torch.equal(a, first[layer][0]) for layer, (a, _) in one.factors.items())
        for one in loras[1:]
    )


def _summed(used: Sequence[tuple[Lora, float]]) -> Lora:
    """The weighted sum of adapters with one A: (sum of c_j B_j) A, of no higher rank."""
    import torch

    first = used[0][0]
    factors = {
        layer: (a, torch.stack([c * one.factors[layer][1] for one, c in used]).sum(0))
        for layer, (a, _) in first.factors.items()
    }
    kinds = {one.kind for one, _ in used}
    return Lora(first.rank, factors, first.kind if len(kinds) == 1 else "float32")


def _part(
    one: Lora, layer: str, coefficient: float, like: tuple[torch.Tensor, torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor]:
    a, b = one.factors.get(layer) or _zero(one.rank, like)
    return a, coefficient * b


def _zero(rank: int, like: tuple[torch.Tensor, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    import torch

    return torch.zeros(rank, like[0].shape[1]), torch.zeros(like[1].shape[0], rank)


def truncate(lora: Lora, rank: int) -> tuple[Lora, float]:
    """The nearest adapter of at most ``rank``, and the part of the change's norm that it loses.

    By layer, from the singular values of ``R_B R_A`` after a QR of both factors; no matrix of the
    layer's full size is ever made.
    """
    import torch

    if lora.rank <= rank:
        return lora, 0.0
    factors: Factors = {}
    lost = whole = 0.0
    for layer, (a, b) in lora.factors.items():
        q_b, r_b = torch.linalg.qr(b)
        q_a, r_a = torch.linalg.qr(a.T)
        u, values, v = torch.linalg.svd(r_b @ r_a.T)
        keep = min(rank, len(values))
        root = values[:keep].sqrt()
        factors[layer] = _padded((root[:, None] * v[:keep]) @ q_a.T, q_b @ u[:, :keep] * root, rank)
        whole += float((values**2).sum())
        lost += float((values[keep:] ** 2).sum())
    return Lora(rank, factors, lora.kind), (lost / whole) ** 0.5 if whole else 0.0


def _padded(a: torch.Tensor, b: torch.Tensor, rank: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The same change with exactly ``rank`` rows, as a PEFT adapter has one rank for all layers."""
    from torch.nn.functional import pad

    more = rank - a.shape[0]
    return pad(a, (0, 0, 0, more)), pad(b, (0, more))


def from_changes(
    changes: Mapping[str, torch.Tensor], rank: int, kind: str = "float32"
) -> tuple[Lora, float]:
    """The nearest adapter of ``rank`` to given changes [out, in], and the part that it loses."""
    import torch

    factors: Factors = {}
    lost = whole = 0.0
    for layer, change in changes.items():
        u, values, v = torch.linalg.svd(change.float(), full_matrices=False)
        keep = min(rank, len(values))
        root = values[:keep].sqrt()
        factors[layer] = _padded(root[:, None] * v[:keep], u[:, :keep] * root, rank)
        whole += float((values**2).sum())
        lost += float((values[keep:] ** 2).sum())
    return Lora(rank, factors, kind), (lost / whole) ** 0.5 if whole else 0.0


def gram(loras: Sequence[Lora]) -> NDArray[np.float64]:
    """Inner products of the members' changes over all layers, [members, members].

    ``<B_i A_i, B_j A_j>`` is the sum of ``(B_i' B_j) * (A_i A_j')``, so no change is ever built.
    """
    found = np.zeros((len(loras), len(loras)))
    for i, one in enumerate(loras):
        for j, other in enumerate(loras[: i + 1]):
            shared = one.factors.keys() & other.factors.keys()
            pairs = ((*one.factors[name], *other.factors[name]) for name in sorted(shared))
            total = sum(float(((b.T @ d) * (a @ c.T)).sum()) for a, b, c, d in pairs)
            found[i, j] = found[j, i] = total
    return found


def save_lora(lora: Lora, folder: Path, base_id: str) -> None:
    """Write a plain PEFT adapter that transformers, peft and vLLM load, in its members' type."""
    import torch
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    kind = getattr(torch, lora.kind)
    tensors = {}
    for layer, (a, b) in sorted(lora.factors.items()):
        tensors[f"{PREFIX}{layer}{A_NAME}"] = a.to(kind).contiguous()
        tensors[f"{PREFIX}{layer}{B_NAME}"] = b.to(kind).contiguous()
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    text = json.dumps(peft_config(lora, base_id), indent=2, sort_keys=True)
    (folder / CONFIG).write_text(text + "\n", encoding="utf-8")


def peft_config(lora: Lora, base_id: str) -> dict[str, Any]:
    """The adapter's configuration; its scale is 1, as the weights are in B."""
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base_id,
        "r": lora.rank,
        "lora_alpha": lora.rank,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "modules_to_save": None,
        "use_dora": False,
        "use_rslora": False,
        # Whole paths: a short name would also mean layers that no member changes.
        "target_modules": sorted(lora.factors),
    }
