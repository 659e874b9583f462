"""The models of a pool as points of one space, and what lies between and beyond them.

A row of coefficients (one per model, adding up to one) names a model. Adapters of one base are
added up exactly and the base itself is the zero adapter; full models go through mergekit.
"""

from __future__ import annotations

import shutil
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocols.core.artifacts import Derived
from protocols.core.models import ModelSpec, content_hash
from protocols.lib.local_files import local_folder
from protocols.lib.lora_algebra import Lora, combine, gram, read_lora, save_lora, truncate

MAX_RANK = 256
"""The highest adapter rank that the engines serve."""
DIGITS = 12
"""Decimals of a coefficient that tell two rows apart."""
Row = Sequence[float]


class Members(ABC):
    """What merging needs of a pool, whichever way its models are stored."""

    kind: str

    def __init__(self, models: Sequence[ModelSpec]) -> None:
        self.models = tuple(models)

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

    @abstractmethod
    def products(self) -> NDArray[np.float64]:
        """Inner products of the models' differences from one point, [models, models]."""

    @abstractmethod
    def bytes_each(self) -> int:
        """Size of what :meth:`make` writes at most."""

    def derived(self, name: str, title: str) -> Derived:
        """How an artifact lists what was made into its folder ``merged``."""
        base = self.models[0].id
        kind: Any = self.kind
        return Derived(name=name, base=base, folder="merged", kind=kind, title=title)


class LoraMembers(Members):
    """Adapters of one base; a model without an adapter is the base."""

    kind = "adapter"

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

    def products(self) -> NDArray[np.float64]:
        """Of the changes to the base."""
        return gram(self.loras)

    def bytes_each(self) -> int:
        """All members' ranks together."""
        files = (Path(m.adapter, "adapter_model.safetensors") for m in self.models if m.adapter)
        return sum(file.stat().st_size for file in files)


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

    def products(self) -> NDArray[np.float64]:
        """Of the differences from the first model, one tensor at a time."""
        readers = [open_tensors(local_folder(m)) for m in self.models]
        found = np.zeros((len(readers), len(readers)))
        for name in readers[0]:
            first = readers[0][name]().float()
            rows = [(reader[name]().float() - first).flatten() for reader in readers]
            found += [[float(a @ b) for b in rows] for a in rows]
        return found

    def bytes_each(self) -> int:
        """As much as the first model."""
        return sum(p.stat().st_size for p in local_folder(self.models[0]).glob("*.safetensors"))


def open_tensors(folder: Path) -> dict[str, Any]:
    """By tensor name, a function that reads it: no more than one has to be in memory."""
    from safetensors import safe_open

    readers: dict[str, Any] = {}
    for file in sorted(folder.glob("*.safetensors")):
        tensors = safe_open(file, framework="pt")
        readers |= {name: lambda t=tensors, n=name: t.get_tensor(n) for name in tensors.keys()}  # noqa: SIM118
    return readers


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
    )
    shutil.rmtree(folder, ignore_errors=True)
    run_merge(config, str(folder), options)


def members_of(models: Sequence[ModelSpec]) -> Members:
    """The pool as points of one space; :mod:`protocols.lib.preflight` says whether that is so."""
    adapters = any(model.adapter for model in models)
    return LoraMembers(models) if adapters else FullMembers(models)
