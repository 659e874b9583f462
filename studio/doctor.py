"""What this machine can do, what is missing, and the command that mends it."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

import psutil

from protocols.core.errors import StudioError
from studio.pool import check_pool, load_pool, preset_names
from studio.settings import Settings


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. ``missing`` means the studio cannot run models as set up."""

    what: str
    state: Literal["ok", "note", "missing"]
    detail: str
    mend: str = ""

    def as_dict(self) -> dict[str, str]:
        """For ``--json``."""
        return asdict(self)

    def line(self) -> str:
        """For people."""
        mend = f"  -> {self.mend}" if self.mend else ""
        return f"{self.state:<8}{self.what:<18}{self.detail}{mend}"


def fetch_base(settings: Settings, say: Callable[[str], None]) -> Path:
    """Fetch and convert the embedded base model unless it is there. Raises ``EngineError``."""
    from protocols.engines.embedded_base import ensure_base

    return ensure_base(settings.workspace, say)


def examine(settings: Settings) -> list[Finding]:
    """Look at everything. Loads no model."""
    findings = [_machine(), _gpu(), _space(settings), *_packages(), _base(settings)]
    return [*findings, *_engine(settings), _cluster(settings), *_pools(settings)]


def _machine() -> Finding:
    memory = psutil.virtual_memory()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    detail = (
        f"{platform.machine()}, {cores} cores, {memory.total / 2**30:.0f} GiB memory "
        f"({memory.available / 2**30:.0f} free), Python {platform.python_version()}"
    )
    return Finding("machine", "ok", detail)


def _gpu() -> Finding:
    if shutil.which("nvidia-smi") is None:
        return Finding("gpu", "note", "no CUDA device; models run on the processor")
    import torch

    if not torch.cuda.is_available():
        return Finding("gpu", "note", "a CUDA driver, but this torch cannot use it",
                       "pip install -r requirements.txt")  # fmt: skip
    gib = torch.cuda.get_device_properties(0).total_memory / 2**30
    count = torch.cuda.device_count()
    return Finding("gpu", "ok", f"{count} x {torch.cuda.get_device_name(0)}, {gib:.0f} GiB")


def _space(settings: Settings) -> Finding:
    near = settings.workspace
    while not near.exists():
        near = near.parent
    free = shutil.disk_usage(near).free / 2**30
    detail = f"{settings.workspace.name}, {free:.0f} GiB free on its disk"
    if free < 1:
        return Finding("workspace", "missing", detail, "free 1 GiB or set STUDIO_WORKSPACE")
    return Finding("workspace", "ok", detail)


def _packages() -> list[Finding]:
    found = []
    for name in ("gradio", "torch", "transformers", "peft"):
        try:
            found.append(Finding(name, "ok", version(name)))
        except PackageNotFoundError:
            found.append(Finding(name, "missing", "not installed", "make setup"))
    return found


def _base(settings: Settings) -> Finding:
    folder = settings.workspace / "models" / "smollm2-135m-instruct"
    if (folder / "model.safetensors").is_file():
        return Finding("base model", "ok", "SmolLM2-135M-Instruct is in the workspace")
    return Finding("base model", "missing", "the embedded base is not fetched yet",
                   "python -m studio doctor --fetch")  # fmt: skip


def _engine(settings: Settings) -> list[Finding]:
    from protocols.engines.hosting import choose_engine

    try:
        name, why = choose_engine(settings.engine)
        return [Finding("engine", "ok", f"{name}: {why}")]
    except StudioError as error:
        return [Finding("engine", "missing", error.message, "make setup")]


def _cluster(settings: Settings) -> Finding:
    """Ray and what its cluster has; needed only where an address or the engine says so."""
    from protocols.engines.ray_cluster import facts_of, has_ray

    address, mend = settings.ray_address, "pip install -r requirements-cluster.txt"
    if not has_ray():
        if address or settings.engine == "ray":
            return Finding("ray", "missing", "not installed", mend)
        return Finding("ray", "note", "not installed; only a pool on several machines needs it")
    if not address:
        return Finding("ray", "ok", f"{version('ray')}, no cluster set (STUDIO_RAY_ADDRESS)")
    try:
        return Finding("ray", "ok", f"{version('ray')}, {address}: {facts_of(address).sentence()}")
    except StudioError as error:
        return Finding("ray", "missing", error.message, "ray start --address=HOST:PORT")


def _pools(settings: Settings) -> list[Finding]:
    findings = []
    for name in preset_names(settings):
        try:
            count = len(load_pool(name, settings).entries)
            bad = [problem for _, problem in check_pool(name, settings) if problem]
        except StudioError as error:
            findings.append(Finding(f"pool {name}", "missing", error.message))
            continue
        detail = f"{count} models" + (f", {len(bad)} with problems: {bad[0]}" if bad else "")
        findings.append(Finding(f"pool {name}", "note" if bad else "ok", detail))
    return findings
