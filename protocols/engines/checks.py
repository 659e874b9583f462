"""Whether a contributed model's files may be loaded at all. Models are data, never code.

Only headers and configuration are read here; no weight is loaded and nothing is executed.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

from protocols.core.errors import ContributorError
from protocols.core.models import ModelSpec

MAX_HEADER = 16 * 2**20
"""Bytes of a safetensors header; real ones have a few hundred kilobytes."""
MAX_CONFIG = 2**20
MAX_ADAPTER = 2 * 2**30
MAX_RANK = 256
UNSUPPORTED = ("use_dora", "bias", "modules_to_save", "rank_pattern", "alpha_pattern", "lora_bias")
"""Settings of PEFT that change what the weights mean; a plain adapter leaves them empty."""
UNSAFE = {".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt"}


def check_model(model: ModelSpec) -> None:
    """Check a model's local files. Raises :class:`ContributorError` with one sentence.

    A hub id or an endpoint has no local files and passes.
    """
    folder = Path(model.source)
    if not model.is_endpoint and (folder.is_absolute() or model.source.startswith(".")):
        check_folder(model, folder)
    if model.adapter:
        check_adapter(model, Path(model.adapter))


def check_folder(model: ModelSpec, folder: Path) -> None:
    """A full model: a configuration without code and weights as safetensors."""
    if not (folder / "config.json").is_file():
        raise ContributorError(
            f"'{model.id}': there is no model in the folder '{folder.name}'. If it is the embedded "
            "base, fetch it with: make setup."
        )
    config = read_json(model, folder / "config.json")
    if config.get("auto_map"):
        raise ContributorError(
            f"'{model.id}' wants to run its own code (auto_map in config.json). Only architectures "
            "known to the engines are loaded."
        )
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        raise ContributorError(f"'{model.id}' has no safetensors weights. Convert them first.")
    for path in weights:
        check_safetensors(model, path)


def check_adapter(model: ModelSpec, folder: Path) -> None:
    """A LoRA adapter: its configuration, its base and its weights."""
    config = read_json(model, folder / "adapter_config.json")
    if config.get("peft_type") != "LORA":
        raise ContributorError(f"'{model.id}': the adapter is no LoRA ({config.get('peft_type')}).")
    rank = config.get("r")
    if not isinstance(rank, int) or not 1 <= rank <= MAX_RANK:
        raise ContributorError(f"'{model.id}': the adapter's rank {rank!r} is not 1 to 256.")
    if not isinstance(config.get("lora_alpha"), int | float):
        raise ContributorError(f"'{model.id}': the adapter's lora_alpha is not a number.")
    odd = [name for name in UNSUPPORTED if config.get(name) not in (None, False, "none", {}, [])]
    if odd:
        raise ContributorError(
            f"'{model.id}': the adapter uses {', '.join(odd)}, which the engines do not serve. "
            "Train a plain LoRA adapter."
        )
    wanted = str(config.get("base_model_name_or_path", "")).rstrip("/").rpartition("/")[2]
    given = model.source.rstrip("/").rpartition("/")[2]
    if wanted and wanted.casefold() != given.casefold():
        raise ContributorError(
            f"'{model.id}': the adapter was made for '{wanted}', but its pool entry names "
            f"'{given}' as the base."
        )
    path = folder / "adapter_model.safetensors"
    if not path.is_file():
        found = [p.name for p in folder.glob("*") if p.suffix in UNSAFE]
        told = f" (only {found[0]}, which may hold code)" if found else ""
        raise ContributorError(f"'{model.id}': the adapter has no safetensors weights{told}.")
    if path.stat().st_size > MAX_ADAPTER:
        raise ContributorError(f"'{model.id}': the adapter is larger than 2 GiB.")
    check_rank(model, check_safetensors(model, path), rank)


def check_rank(model: ModelSpec, header: dict[str, Any], rank: int) -> None:
    """Every A matrix [rank, in] and B matrix [out, rank] has the rank that was stated."""
    for name, tensor in header.items():
        side = 0 if ".lora_A." in name else 1 if ".lora_B." in name else None
        shape = tensor.get("shape")
        if side is not None and not (isinstance(shape, list) and shape[side : side + 1] == [rank]):
            raise ContributorError(
                f"'{model.id}': the adapter states rank {rank}, but '{name}' has shape {shape}."
            )


def read_json(model: ModelSpec, path: Path) -> dict[str, Any]:
    """A configuration file. Raises :class:`ContributorError` if it is missing or malformed."""
    try:
        if path.stat().st_size > MAX_CONFIG:
            raise ContributorError(f"'{model.id}': {path.name} is larger than 1 MiB.")
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise ContributorError(
            f"'{model.id}': {path.parent.name}/{path.name} is missing. Restore the files or take "
            "the model out of the pool."
        ) from None
    except (ValueError, RecursionError):
        raise ContributorError(f"'{model.id}': {path.name} is not valid JSON.") from None
    if not isinstance(content, dict):
        raise ContributorError(f"'{model.id}': {path.name} is not a JSON object.")
    return content


def check_safetensors(model: ModelSpec, path: Path) -> dict[str, Any]:
    """The header of a weight file: its length, its JSON, and that it describes the whole file.

    Returns what it says about each tensor.

    Format: 8 bytes little-endian header length, JSON header, tensor bytes (safetensors).
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(8)
        length = struct.unpack("<Q", head)[0] if len(head) == 8 else 0
        if not 2 <= length <= min(MAX_HEADER, size - 8):
            raise ContributorError(f"'{model.id}': {path.name} is damaged (header: {length}).")
        try:
            header: dict[str, Any] = json.loads(file.read(length))
            header.pop("__metadata__", None)
            ends = [tensor["data_offsets"][1] for tensor in header.values()]
        except (ValueError, RecursionError, KeyError, TypeError, AttributeError, IndexError):
            raise ContributorError(f"'{model.id}': {path.name} has a damaged header.") from None
    if max(ends, default=0) != size - 8 - length:
        raise ContributorError(f"'{model.id}': {path.name} is incomplete or has extra bytes.")
    return header
