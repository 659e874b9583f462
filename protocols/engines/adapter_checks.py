"""Whether a contributed LoRA adapter is what its configuration says and fits its base."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from protocols.core.errors import ContributorError
from protocols.core.models import ModelSpec
from protocols.engines.model_files import (
    UNSAFE,
    check_finite,
    check_regular,
    check_safetensors,
    read_json,
)

MAX_ADAPTER = 2 * 2**30
MAX_RANK = 256
MAX_SCALE = 1000.0
"""Largest lora_alpha / r; beyond it an adapter only drowns its base."""
LARGEST = 1e4
"""Size of a number in an adapter; trained ones stay below 100, and what comes near the end of bf16
turns into infinity in the middle of a batch."""
WEIGHTS = "adapter_model.safetensors"
UNSUPPORTED = (
    *("use_dora", "bias", "modules_to_save", "rank_pattern", "alpha_pattern", "lora_bias"),
    *("layer_replication", "megatron_config", "trainable_token_indices", "target_parameters"),
    *("use_qalora", "use_bdlora", "alora_invocation_tokens", "arrow_config", "fan_in_fan_out"),
)
"""Settings of PEFT that change what the weights mean, or name a library to import; a plain adapter
leaves them empty."""
DTYPES = {"F32", "F16", "BF16"}
NAME = re.compile(r"^[A-Za-z0-9_.]+$")
PART = re.compile(r"^(?P<module>.+)\.lora_(?P<side>[AB])(\.default)?\.weight$")
OUTER = re.compile(r"^(?:base_model\.model\.|model\.|language_model\.|transformer\.)+")
"""What stands before a layer's own path, differently in files and in memory."""


def check_adapter(model: ModelSpec, folder: Path) -> None:
    """A LoRA adapter: its configuration, its base and its weights.

    Raises :class:`ContributorError` with one sentence. A base on the hub is compared by name only;
    a local one by the shape of every adapted layer.
    """
    check_regular(model, folder)
    config = read_json(model, folder / "adapter_config.json")
    rank = _checked_rank(model, config)
    _check_settings(model, config)
    _check_base_name(model, config)
    path = folder / WEIGHTS
    if not path.is_file():
        found = [p.name for p in folder.glob("*") if p.suffix in UNSAFE]
        told = f" (only {found[0]}, which may hold code)" if found else ""
        raise ContributorError(f"'{model.id}': the adapter has no safetensors weights{told}.")
    if path.stat().st_size > MAX_ADAPTER:
        raise ContributorError(f"'{model.id}': the adapter is larger than 2 GiB.")
    pairs = _pairs(model, check_safetensors(model, path), rank)
    if Path(model.source).is_dir():
        _check_fits(model, pairs, Path(model.source))


def check_numbers(model: ModelSpec) -> None:
    """Read an adapter's weights once for as long as its file stays the same.

    Adapters of one base are computed together, so one with NaN in it would spoil the others' texts.
    Raises :class:`ContributorError`.
    """
    if model.adapter:
        path = Path(model.adapter, WEIGHTS)
        stamp = path.stat()
        _numbers(model, path, stamp.st_size, stamp.st_mtime_ns)


@lru_cache(maxsize=256)
def _numbers(model: ModelSpec, path: Path, _size: int, _changed: int) -> None:
    check_finite(model, path, LARGEST)


def _checked_rank(model: ModelSpec, config: Mapping[str, Any]) -> int:
    if config.get("peft_type") != "LORA":
        raise ContributorError(f"'{model.id}': the adapter is no LoRA ({config.get('peft_type')}).")
    rank, alpha = config.get("r"), config.get("lora_alpha")
    if type(rank) is not int or not 1 <= rank <= MAX_RANK:
        raise ContributorError(f"'{model.id}': the adapter's rank {rank!r} is not 1 to 256.")
    if not isinstance(alpha, int | float) or alpha is True or not math.isfinite(alpha):
        raise ContributorError(f"'{model.id}': the adapter's lora_alpha is not a number.")
    if not 0 < alpha / rank <= MAX_SCALE:
        raise ContributorError(
            f"'{model.id}': the adapter's lora_alpha {alpha:g} is out of proportion to its rank "
            f"{rank}."
        )
    return rank


def _check_settings(model: ModelSpec, config: Mapping[str, Any]) -> None:
    odd = [name for name in UNSUPPORTED if config.get(name) not in (None, False, "none", {}, [])]
    if odd:
        raise ContributorError(
            f"'{model.id}': the adapter uses {', '.join(odd)}, which the engines do not serve. "
            "Train a plain LoRA adapter."
        )
    for key in ("target_modules", "exclude_modules", "layers_pattern"):
        given = config.get(key)
        names = given if isinstance(given, list) else [given]
        if any(n is not None and n != "all-linear" and not _is_name(n) for n in names):
            # A text is a regular expression to PEFT, and some of those take for ever.
            raise ContributorError(
                f"'{model.id}': {key} of the adapter is a pattern. List the modules' names."
            )


def _is_name(value: object) -> bool:
    return isinstance(value, str) and len(value) <= 200 and bool(NAME.match(value))


def _check_base_name(model: ModelSpec, config: Mapping[str, Any]) -> None:
    wanted = str(config.get("base_model_name_or_path") or "").rstrip("/").rpartition("/")[2]
    given = model.source.rstrip("/").rpartition("/")[2]
    if wanted and wanted.casefold() != given.casefold():
        raise ContributorError(
            f"'{model.id}': the adapter was made for '{wanted}', but its pool entry names "
            f"'{given}' as the base."
        )


def _pairs(model: ModelSpec, header: Mapping[str, Any], rank: int) -> dict[str, tuple[int, int]]:
    """(out, in) of each adapted layer: matrices A [rank, in] and B [out, rank], nothing else."""
    sides: dict[str, dict[str, int]] = {}
    for name, tensor in header.items():
        found, shape = PART.match(name), tensor["shape"]
        if found is None:
            raise ContributorError(f"'{model.id}': '{name}' in the adapter is no LoRA matrix.")
        if tensor["dtype"] not in DTYPES:
            raise ContributorError(
                f"'{model.id}': '{name}' is stored as {tensor['dtype']}; an adapter has "
                "F32, F16 or BF16."
            )
        inner = found["side"] == "B"
        if len(shape) != 2 or shape[inner] != rank:
            raise ContributorError(
                f"'{model.id}': the adapter states rank {rank}, but '{name}' has shape {shape}."
            )
        sides.setdefault(found["module"], {})[found["side"]] = shape[not inner]
    for module, both in sides.items():
        if len(both) != 2:
            raise ContributorError(f"'{model.id}': '{module}' has only one of its two matrices.")
    if not sides:
        raise ContributorError(f"'{model.id}': the adapter is empty.")
    return {module: (both["B"], both["A"]) for module, both in sides.items()}


def _check_fits(model: ModelSpec, pairs: Mapping[str, tuple[int, int]], base: Path) -> None:
    layers = base_layers(model, base)
    for module, (out, into) in pairs.items():
        known = layers.get(OUTER.sub("", module))
        if known is None:
            raise ContributorError(
                f"'{model.id}': the adapter changes '{module}', which its base lacks."
            )
        if known != (out, into):
            raise ContributorError(
                f"'{model.id}': the adapter is made for a layer of {into} to {out} at '{module}'; "
                f"its base has {known[1]} to {known[0]} there."
            )


def base_layers(model: ModelSpec, base: Path) -> dict[str, tuple[int, ...]]:
    """Shapes [out, in] of a local base's matrices, by their path without what stands before it."""
    files = sorted(path for path in base.glob("*.safetensors") if path.is_file())
    stamps = tuple((str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in files)
    return _layers(model, stamps)


@lru_cache(maxsize=32)
def _layers(
    model: ModelSpec, files: tuple[tuple[str, int, int], ...]
) -> dict[str, tuple[int, ...]]:
    return {
        OUTER.sub("", name.removesuffix(".weight")): tuple(tensor["shape"])
        for path, _, _ in files
        for name, tensor in check_safetensors(model, Path(path)).items()
        if len(tensor["shape"]) == 2
    }
