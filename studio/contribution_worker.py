"""Work on a contribution in a process of its own: one JSON object in, one a line out.

Whatever a contributed model or data set does to memory or time ends there. The process ends with
its time, with whoever listens, or when it is stopped.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import resource
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from protocols.core.errors import ContributorError, UserError
from protocols.core.models import ModelSpec

log = logging.getLogger(__name__)
LONGEST_LINE = 2**16
SPARE = 6 * 2**30
"""Bytes beside three times the weights: libraries, a prompt's memory, packing."""


def ask_worker(
    module: str, asked: dict[str, Any], seconds: float, stop: threading.Event | None = None
) -> Iterator[dict[str, Any]]:
    """Start ``python -m module``, give it ``asked``, and yield what it says, object by object.

    Raises :class:`ContributorError` at the end of its time or if it is killed by its limits, and
    :class:`UserError` once ``stop`` is set.
    """
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    with tempfile.TemporaryFile() as complaints, subprocess.Popen(
        [sys.executable, "-m", module],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=complaints, text=True,
        env=environment,
    ) as process:  # fmt: skip
        late = threading.Event()
        watchman = threading.Thread(target=_guard, args=(process, seconds, stop, late), daemon=True)
        watchman.start()
        try:
            yield from _lines(process, asked)
            code = process.wait()
        finally:
            process.kill()
            watchman.join()
        if stop is not None and stop.is_set():
            raise UserError("Stopped. Nothing was kept.")
        if late.is_set():
            raise ContributorError(f"It was not done within {seconds / 60:.0f} minutes.")
        if code:
            complaints.seek(0)
            log.warning("%s: %s", module, complaints.read()[-2000:].decode(errors="replace"))
            raise ContributorError("Working with it ended the process (memory or time limit).")


def _guard(
    process: subprocess.Popen[str],
    seconds: float,
    stop: threading.Event | None,
    late: threading.Event,
) -> None:
    """Kill the process when it is stopped or late."""
    waited = 0.0
    while process.poll() is None:
        if waited >= seconds:
            late.set()
        if late.is_set() or (stop is not None and stop.is_set()):
            process.kill()
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.25)
        waited += 0.25


def _lines(process: subprocess.Popen[str], asked: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if process.stdin is None or process.stdout is None:
        return
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(json.dumps(asked))
        process.stdin.close()
    while line := process.stdout.readline(LONGEST_LINE):
        with contextlib.suppress(ValueError):
            told = json.loads(line)
            if isinstance(told, dict):
                yield told


def limit(models: list[ModelSpec], cpu_seconds: int, spare: int = SPARE) -> None:
    """Give this process an end in memory and in processor time."""
    folders = {Path(one) for model in models for one in (model.source, model.adapter) if one}
    files = [path for folder in folders for path in folder.glob("*.safetensors")]
    memory = spare + 3 * sum(path.stat().st_size for path in files)
    wanted = {resource.RLIMIT_DATA: memory, resource.RLIMIT_CPU: cpu_seconds}
    for kind, most in wanted.items():
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(kind, (most, most))


def say(line: dict[str, Any]) -> None:
    """Say one object, from inside of the process."""
    sys.stdout.write("\n" + json.dumps(line) + "\n")
    sys.stdout.flush()
