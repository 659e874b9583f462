"""Saves models of an artifact as folders that transformers, peft and vLLM load without us."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from protocols.core.artifacts import Stored
from protocols.core.errors import UserError, unknown
from protocols.core.models import ModelSpec
from protocols.engines.checks import check_model
from protocols.lib.full_models import write_changed
from protocols.lib.local_files import local_folder
from protocols.lib.lora_algebra import CONFIG, read_lora
from protocols.lib.model_cards import CARD, as_whole_model

if TYPE_CHECKING:
    import torch


def derived_model(stored: Stored, models: Sequence[ModelSpec], name: str = "") -> ModelSpec:
    """A model of an artifact by its name, with or without ``derived.``; the first without one.

    Raises :class:`UserError` if the artifact holds no such model, or none at all.
    """
    found = {model.id.removeprefix("derived."): model for model in stored.derived(models)}
    if not found:
        about = stored.manifest
        raise UserError(f"The artifact '{about.key}' of {about.protocol} holds no model to save.")
    wanted = name.removeprefix("derived.") or next(iter(found))
    if wanted not in found:
        raise unknown("model in this artifact", wanted, found)
    return found[wanted]


def save_model(model: ModelSpec, out: Path, whole: bool = False) -> None:
    """Write a derived model into the new folder ``out``, with its card.

    An adapter is saved as a PEFT adapter or, if ``whole``, added to its base and saved as an
    ordinary model. The folder appears whole or not at all.
    Raises :class:`UserError` if there is something at ``out`` already.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"'{out.name}' exists already. Name a new folder to save into.")
    check_model(model)
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(f".{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    if model.adapter and whole:
        _whole(model, part)
    elif model.adapter:
        _adapter(model, part)
    else:
        shutil.copytree(model.source, part)
    _shared(part)
    if out.exists():
        out.rmdir()
    part.rename(out)


def _shared(folder: Path) -> None:
    """Give files the mode of new ones: safetensors lets nobody else read what it writes."""
    probe = folder / ".mode"
    probe.touch()
    mode = probe.stat().st_mode
    probe.unlink()
    for file in filter(Path.is_file, folder.rglob("*")):
        file.chmod(mode)


def _adapter(model: ModelSpec, folder: Path) -> None:
    """The adapter with the full hub id of its base, so that peft finds it; a local path stays out.

    A path would only be right on this machine.
    """
    shutil.copytree(model.adapter, folder)
    if not Path(model.source).is_absolute():
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        config["base_model_name_or_path"] = model.source
        config["revision"] = model.revision or None
        (folder / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", "utf-8")


def _whole(model: ModelSpec, folder: Path) -> None:
    """The base with the adapter's change added in fp32 and rounded once to the base's type."""
    lora = read_lora(Path(model.adapter))

    def change(layer: str) -> torch.Tensor:
        a, b = lora.factors[layer]
        return b @ a

    write_changed(local_folder(model), list(lora.factors), change, folder)
    if model.chat_template:
        (folder / "chat_template.jinja").write_text(model.chat_template, encoding="utf-8")
    card = Path(model.adapter) / CARD
    if card.is_file():
        told = as_whole_model(card.read_text(encoding="utf-8"))
        (folder / CARD).write_text(told, encoding="utf-8")
