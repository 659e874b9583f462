"""The models of a pool as points of one space, and what lies between and beyond them.

A row of coefficients (one per model, adding up to one) names a model. Adapters of one base are
added up exactly and the base itself is the zero adapter; full models go through mergekit.
"""

from __future__ import annotations

import math
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from protocols.core.artifacts import Derived
from protocols.core.models import ModelSpec, content_hash
from protocols.lib.local_files import local_folder
from protocols.lib.lora_algebra import Lora, combine, gram, read_lora, save_lora, truncate
from protocols.lib.room import PIECE, SHARD

if TYPE_CHECKING:
    import torch

MAX_RANK = 256
"""The highest adapter rank that the engines serve."""
DIGITS = 12
"""Decimals of a coefficient that tell two rows apart."""
Row = Sequence[float]


class Members(ABC):
    """What merging needs of a pool, whichever way its models are stored."""

    kind: str
    from_base = False
    """Whether :meth:`products` are of changes to a base that all of them share."""

    def __init__(self, models: Sequence[ModelSpec]) -> None:
        self.models = tuple(models)
        self._products: NDArray[np.float64] | None = None

    def key(self, row: Row) -> str:
        """Names what a row makes; rows that make the same have the same key."""
        return content_hash([round(c, DIGITS) + 0.0 for c in self.effective(row)])

    def effective(self, row: Row) -> list[float]:
        """The coefficients that matter."""
        return [float(c) for c in row]

    def single(self, row: Row) -> ModelSpec | None:
        """The contributed model that a row is, if it is one of them: nothing needs to be made."""
        units = np.eye(len(self.models))
        keys = {self.key(unit): model for unit, model in zip(units, self.models, strict=True)}
        return keys.get(self.key(row))

    @abstractmethod
    def make(self, row: Row, folder: Path) -> float:
        """Write what a row names into ``folder``; the part of its change that was lost, 0 to 1."""

    @abstractmethod
    def spec(self, name: str, folder: Path) -> ModelSpec:
        """A model made into ``folder``, ready to be called as ``name``."""

    def products(self) -> NDArray[np.float64]:
        """Inner products of the models' differences from one point, [models, models].

        Every model's weights are read for it, once.
        """
        if self._products is None:
            self._products = self.measured()
        return self._products

    @abstractmethod
    def measured(self) -> NDArray[np.float64]:
        """The inner products, from the weights."""

    def derived(self, name: str, title: str) -> Derived:
        """How an artifact lists what was made into its folder ``merged``."""
        base = self.models[0].id
        kind: Any = self.kind
        return Derived(name=name, base=base, folder="merged", kind=kind, title=title)


class LoraMembers(Members):
    """Adapters of one base; a model without an adapter is the base."""

    kind = "adapter"
    from_base = True

    def __init__(self, models: Sequence[ModelSpec]) -> None:
        super().__init__(models)
        self._loras: list[Lora] = []

    @property
    def loras(self) -> list[Lora]:
        """The members' adapters, read once; the base has rank 1 and changes nothing."""
        if not self._loras:
            read = {m.adapter: read_lora(Path(m.adapter)) for m in self.models if m.adapter}
            self._loras = [read.get(m.adapter, Lora(1, {})) for m in self.models]
        return self._loras

    def effective(self, row: Row) -> list[float]:
        """The base's own coefficient changes nothing."""
        return [float(c) if m.adapter else 0.0 for c, m in zip(row, self.models, strict=True)]

    def make(self, row: Row, folder: Path) -> float:
        """Exactly the weighted sum; beyond the rank that engines serve, the nearest to it."""
        lora, lost = truncate(combine(self.loras, self.effective(row)), MAX_RANK)
        save_lora(lora, folder, Path(self.models[0].source).name)
        return lost

    def spec(self, name: str, folder: Path) -> ModelSpec:
        """The first member with another adapter."""
        changes = {"id": name, "name": "", "adapter": str(folder)}
        return self.models[0].model_copy(update=changes)

    def measured(self) -> NDArray[np.float64]:
        """Of the changes to the base."""
        return gram(self.loras)


class FullMembers(Members):
    """Whole models of one architecture."""

    kind = "model"

    def make(self, row: Row, folder: Path) -> float:
        """One linear merge, added up in fp32 and written in the first model's type."""
        used = [(m, c) for m, c in zip(self.models, self.effective(row), strict=True) if c]
        listed = [{"model": str(local_folder(m)), "parameters": {"weight": c}} for m, c in used]
        run_mergekit(
            {"merge_method": "linear", "models": listed, "parameters": {"normalize": False}},
            folder,
            self.dtype(),
        )
        return 0.0

    def dtype(self) -> str:
        """The type that the first model is stored in."""
        from safetensors import safe_open

        names = {"BF16": "bfloat16", "F16": "float16"}
        file = sorted(local_folder(self.models[0]).glob("*.safetensors"))[0]
        with safe_open(file, framework="pt") as tensors:
            first = next(iter(tensors.keys()))
            return names.get(tensors.get_slice(first).get_dtype(), "float32")

    def spec(self, name: str, folder: Path) -> ModelSpec:
        """The first member with other weights."""
        changes = {"id": name, "name": "", "source": str(folder), "revision": ""}
        return self.models[0].model_copy(update=changes)

    def measured(self) -> NDArray[np.float64]:
        """Of the differences from the first model, a few rows of one tensor at a time."""
        import torch

        stores = [open_tensors(local_folder(m)) for m in self.models]
        found = np.zeros((len(stores), len(stores)))
        for name in in_all(stores):
            for rows in pieces(stores[0][name].shape):
                read = torch.stack([one[name].rows(rows).flatten() for one in stores])
                away = read - read[0].clone()
                found += (away @ away.T).double().numpy()
        return found


@dataclass(frozen=True)
class Stored:
    """A tensor in a file that is read when it is asked for, whole or some rows of it, as fp32."""

    file: Any
    name: str

    @property
    def shape(self) -> list[int]:
        """Its sizes; none for a number by itself."""
        return list(self.file.get_slice(self.name).get_shape())

    def whole(self) -> torch.Tensor:
        """All of it."""
        return self.file.get_tensor(self.name).float()

    def rows(self, rows: slice) -> torch.Tensor:
        """Some of its rows."""
        return self.file.get_slice(self.name)[rows].float()


def in_all(stores: Sequence[Mapping[str, Stored]]) -> list[str]:
    """The tensors that every model has; a tied output layer may be stored or not."""
    return [name for name in stores[0] if all(name in one for one in stores)]


def pieces(shape: Sequence[int], most: int = PIECE) -> Iterator[slice]:
    """Ranges of a tensor's rows that hold no more than ``most`` numbers, but one row at least.

    A number by itself has no rows and is left out.
    """
    if shape:
        step = max(1, most // max(1, math.prod(shape[1:])))
        yield from (slice(at, min(at + step, shape[0])) for at in range(0, shape[0], step))


def open_tensors(folder: Path) -> dict[str, Stored]:
    """By tensor name, what reads it: no more than a part of one has to be in memory."""
    from safetensors import safe_open

    found: dict[str, Stored] = {}
    for file in sorted(folder.glob("*.safetensors")):
        tensors = safe_open(file, framework="pt")
        found |= {name: Stored(tensors, name) for name in tensors.keys()}  # noqa: SIM118  no mapping
    return found


def run_mergekit(recipe: dict[str, Any], folder: Path, dtype: str, seed: int | None = None) -> None:
    """Merge full models into ``folder`` with the first one's tokenizer; computed in fp32."""
    from mergekit.config import MergeConfiguration
    from mergekit.merge import MergeOptions, run_merge

    config = MergeConfiguration.model_validate({**recipe, "dtype": "float32", "out_dtype": dtype})
    options = MergeOptions(
        random_seed=seed,
        write_model_card=False,
        quiet=True,
        lazy_unpickle=True,
        low_cpu_memory=False,
        out_shard_size=SHARD,
    )
    shutil.rmtree(folder, ignore_errors=True)
    run_merge(config, str(folder), options)


def members_of(models: Sequence[ModelSpec]) -> Members:
    """The pool as points of one space; :mod:`protocols.lib.preflight` says whether that is so."""
    adapters = any(model.adapter for model in models)
    return LoraMembers(models) if adapters else FullMembers(models)
