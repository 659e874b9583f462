"""DARE and TIES merges of a pool: exact for adapters of one base, by mergekit for whole models."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from protocols.core.errors import UserError, unknown
from protocols.core.models import ModelSpec
from protocols.lib.choice import generalist
from protocols.lib.full_models import WEIGHT, write_changed
from protocols.lib.local_files import local_folder
from protocols.lib.lora_algebra import Lora, from_changes, read_lora, save_lora
from protocols.lib.ties import TiesSettings, conflict, merged
from protocols.lib.weight_space import FullMembers, in_all, open_tensors, run_mergekit

if TYPE_CHECKING:
    import torch

Kind = Literal["adapter", "model"]
OnLayer = Callable[[int, int], None]
"""Called with the layers done and their number; may raise to stop."""


class TieMembers(ABC):
    """The members that have a change to bring; a base model votes for nothing and is left out."""

    kind: Kind

    def __init__(self, models: Sequence[ModelSpec], members: Sequence[ModelSpec]) -> None:
        if not members:
            raise UserError("All picked models are the base. Pick models that differ from it.")
        self.models, self.members = tuple(models), tuple(members)

    @abstractmethod
    def make(
        self, weights: Sequence[float], settings: TiesSettings, folder: Path, on_layer: OnLayer
    ) -> float:
        """Write the merge of the members into ``folder``; the part of the change that was lost."""

    @abstractmethod
    def layers(self) -> list[str]:
        """The tensors that members change."""

    @abstractmethod
    def change(self, layer: str, member: int) -> torch.Tensor:
        """What a member changes in a tensor, in fp32."""

    def conflicts(self, on_layer: OnLayer) -> list[dict[str, Any]]:
        """By tensor, the share of changed elements on whose sign the members disagree."""
        found: list[dict[str, Any]] = []
        layers = self.layers()
        for layer in layers:
            share = conflict(partial(self.change, layer), len(self.members))
            found.append({"layer": layer, "conflict": round(share, 6)})
            on_layer(len(found), len(layers))
        return found


class TieAdapters(TieMembers):
    """Adapters of one base. ``rank`` 0 writes a whole model, which holds the merge exactly."""

    def __init__(self, models: Sequence[ModelSpec], rank: int) -> None:
        super().__init__(models, [model for model in models if model.adapter])
        self.rank, self.kind = rank, "adapter" if rank else "model"
        self._read: list[Lora] = []

    @property
    def loras(self) -> list[Lora]:
        """The members' adapters, read once."""
        self._read = self._read or [read_lora(Path(m.adapter)) for m in self.members]
        return self._read

    def layers(self) -> list[str]:
        """Every layer that some adapter changes."""
        return list(dict.fromkeys(layer for lora in self.loras for layer in lora.factors))

    def change(self, layer: str, member: int) -> torch.Tensor:
        """``scale * B A``; nothing where an adapter leaves a layer alone."""
        import torch

        own = self.loras[member].change(layer)
        if own is not None:
            return own
        a, b = next(one.factors[layer] for one in self.loras if layer in one.factors)
        return torch.zeros(b.shape[0], a.shape[1])

    def make(
        self, weights: Sequence[float], settings: TiesSettings, folder: Path, on_layer: OnLayer
    ) -> float:
        """Merge layer by layer; an adapter keeps the largest directions only."""
        layers = self.layers()

        def one(layer: str) -> torch.Tensor:
            return merged(partial(self.change, layer), weights, settings, layer)

        base = local_folder(self.members[0])
        if not self.rank:
            write_changed(base, layers, one, folder, lambda done: on_layer(done, len(layers)))
            return 0.0
        changes = {}
        for done, layer in enumerate(layers, start=1):
            changes[layer] = one(layer)
            on_layer(done, len(layers))
        lora, lost = from_changes(changes, self.rank, self.loras[0].kind)
        save_lora(lora, folder, Path(self.members[0].source).name)
        return lost


class TieModels(TieMembers):
    """Whole models of one architecture and the one among them that the others came from."""

    kind: Kind = "model"

    def __init__(self, models: Sequence[ModelSpec], base: str) -> None:
        name = base or generalist(models)
        by_id = {model.id: model for model in models}
        if name not in by_id:
            raise unknown("picked model", name, by_id)
        self.base = by_id[name]
        super().__init__(models, [model for model in models if model.id != name])
        self._tensors = [open_tensors(local_folder(m)) for m in (self.base, *self.members)]

    def layers(self) -> list[str]:
        """Every tensor of the base, by its name without ``.weight``."""
        return [name.removesuffix(WEIGHT) for name in in_all(self._tensors)]

    def change(self, layer: str, member: int) -> torch.Tensor:
        """The difference from the base."""
        name = layer if layer in self._tensors[0] else layer + WEIGHT
        return self._tensors[member + 1][name].whole() - self._tensors[0][name].whole()

    def make(
        self, weights: Sequence[float], settings: TiesSettings, folder: Path, on_layer: OnLayer
    ) -> float:
        """One mergekit merge; it rescales to the L1 norm that a change had."""
        listed = [
            {
                "model": str(local_folder(model)),
                "parameters": {"weight": weight, "density": settings.density},
            }
            for model, weight in zip(self.members, weights, strict=True)
        ]
        shared = {
            "normalize": settings.normalize,
            "lambda": settings.scale,
            "rescale": settings.rescale != "none",
        }
        recipe = {
            "merge_method": "dare_ties" if settings.thin == "random" else "ties",
            "base_model": str(local_folder(self.base)),
            "models": listed,
            "parameters": shared,
        }
        on_layer(0, 1)
        run_mergekit(recipe, folder, FullMembers([self.base]).dtype(), settings.seed)
        return 0.0


def tie_members(models: Sequence[ModelSpec], rank: int = 0, base: str = "") -> TieMembers:
    """A pool as members of a merge; ``rank`` matters to adapters, ``base`` to whole models."""
    if any(model.adapter for model in models):
        return TieAdapters(models, rank)
    return TieModels(models, base)
