"""Whom a protocol trains: a local model, its files, its template, and where its adapter goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from protocols.core.errors import StudioError, UserError
from protocols.core.models import ModelSpec
from protocols.lib.choice import generalist
from protocols.lib.local_files import local_folder

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Student:
    """A model that can be trained here; ``adapter`` is where a further training starts from."""

    model: ModelSpec
    base: Path
    adapter: Path | None = None

    @property
    def base_id(self) -> str:
        """What an adapter calls its base, the same on every machine."""
        return Path(self.model.source).name

    def trained(self, name: str, adapter: Path) -> ModelSpec:
        """The model with another adapter, ready to be called as ``name``."""
        changes = {"id": name, "name": "", "adapter": str(adapter)}
        return self.model.model_copy(update=changes)


def student(model: ModelSpec) -> Student:
    """The model as a student. Raises :class:`UserError` if its files are not on this machine."""
    try:
        base = local_folder(model)
    except StudioError:
        raise UserError(
            f"'{model.id}' cannot be trained: its weights are not on this machine. Download them "
            "first, or leave it out."
        ) from None
    return Student(model, base, Path(model.adapter) if model.adapter else None)


def apprentice(models: Sequence[ModelSpec], named: str = "") -> Student:
    """Who is trained for a role: the base of the model named, else of the first generalist.

    Raises :class:`UserError` if none of the models has its files on this machine.
    """
    local = [model for model in models if not model.is_endpoint] or list(models)
    wanted = named or generalist(local)
    found = student(next(model for model in models if model.id == wanted))
    return Student(found.model, found.base)


def load_student(who: Student, device: str) -> tuple[Any, PreTrainedTokenizerBase]:
    """The base and a tokenizer that renders prompts as the engines do for this model."""
    from protocols.training.sft import load_base

    model, tokenizer = load_base(who.base, device)
    if who.model.chat_template:
        tokenizer.chat_template = who.model.chat_template
    return model, tokenizer
