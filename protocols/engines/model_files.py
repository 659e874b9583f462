"""Reads the files that come with a contributed model as data: JSON and safetensors headers.

Nothing is executed and no weight is loaded. What a file claims about itself (its length, its
offsets) is never believed before it is compared with the file.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from protocols.core.errors import ContributorError
from protocols.core.models import ModelSpec

MAX_HEADER = 16 * 2**20
"""Bytes of a safetensors header; real ones have a few hundred kilobytes."""
MAX_TENSORS = 200_000
MAX_CONFIG = 2**20
UNSAFE = {".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt"}


def check_regular(model: ModelSpec, folder: Path) -> None:
    """Refuse links that lead out of a model's folder, and pipes, devices and sockets in it.

    A hub cache links its snapshots to its own blobs; those links are fine.
    """
    home = folder.resolve()
    blobs = home.parent.parent / "blobs"
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        target = path.resolve()
        if path.is_symlink() and home not in target.parents and blobs not in target.parents:
            raise ContributorError(
                f"'{model.id}': {path.name} is a link to a place outside of the model's folder. "
                "Put the file itself there."
            )
        if target.exists() and not (target.is_file() or target.is_dir()):
            raise ContributorError(f"'{model.id}': {path.name} is no ordinary file.")


def read_json(model: ModelSpec, path: Path, limit: int = MAX_CONFIG) -> dict[str, Any]:
    """A configuration file. Raises :class:`ContributorError` if it is missing or malformed."""
    try:
        if path.exists() and not path.is_file():
            raise ContributorError(f"'{model.id}': {path.name} is no ordinary file.")
        if path.stat().st_size > limit:
            raise ContributorError(f"'{model.id}': {path.name} is larger than {limit >> 20} MiB.")
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
    """The header of a weight file, once it is known to describe the whole file.

    Returns ``{"dtype": str, "shape": list[int]}`` by tensor name. The safetensors library itself
    tells whether offsets overlap, leave gaps or contradict shapes, so that what is checked is what
    will be loaded; only the header's length is looked at before, because it decides how much is
    read.

    Format: 8 bytes little-endian header length, JSON header, tensor bytes (safetensors).
    """
    from safetensors import SafetensorError, safe_open

    _check_length(model, path)
    try:
        with safe_open(path, framework="np") as file:
            names = list(file.keys())
            if len(names) > MAX_TENSORS:
                raise ContributorError(f"'{model.id}': {path.name} has {len(names):,} tensors.")
            parts = ((name, file.get_slice(name)) for name in names)
            return {n: {"dtype": p.get_dtype(), "shape": list(p.get_shape())} for n, p in parts}
    except SafetensorError as error:
        what = "is incomplete or has extra bytes" if "Incomplete" in str(error) else ""
        raise ContributorError(
            f"'{model.id}': {path.name} {what or 'has a damaged header'} "
            f"({str(error).splitlines()[0][:120]})."
        ) from None


def _check_length(model: ModelSpec, path: Path) -> None:
    if not path.is_file():
        raise ContributorError(f"'{model.id}': {path.name} is no ordinary file.")
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(8)
    length = struct.unpack("<Q", head)[0] if len(head) == 8 else 0
    if not 2 <= length <= min(MAX_HEADER, size - 8):
        raise ContributorError(f"'{model.id}': {path.name} is damaged (header: {length}).")


def check_finite(model: ModelSpec, path: Path, most: float = math.inf) -> None:
    """Read every weight once; raises :class:`ContributorError` for NaN, infinity, and numbers
    beyond ``most``.

    Takes as long as reading the file; one tensor is in memory at a time.
    """
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        for name in file.keys():  # noqa: SIM118  no mapping
            tensor = file.get_tensor(name)
            if not tensor.is_floating_point() or not tensor.numel():
                continue
            largest = float(tensor.float().abs().max())
            if not math.isfinite(largest) or largest > most:
                held = f"numbers as large as {largest:.3g}"
                told = held if math.isfinite(largest) else "numbers that are not finite"
                raise ContributorError(
                    f"'{model.id}': '{name}' in {path.name} holds {told}. "
                    "The training diverged; contribute an earlier checkpoint."
                )


def unsafe_beside(folder: Path) -> Iterator[str]:
    """Names of files that may hold code (pickles, scripts). They are never opened."""
    for path in sorted(folder.rglob("*")):
        if path.suffix.casefold() in UNSAFE | {".py", ".so", ".dll", ".sh"}:
            yield path.name
