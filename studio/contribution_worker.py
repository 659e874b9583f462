"""Work on a contribution in a process of its own: one JSON object in, one a line out.

Whatever a contributed model or data set does to memory or time ends there. The process ends with
its processor time, after a long silence, with whoever listens, or when it is stopped. How long all
of it may take by the clock is not limited: that would be a limit on how busy the machine is.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from protocols.core.errors import ContributorError, UserError
from protocols.core.models import ModelSpec

log = logging.getLogger(__name__)
LONGEST_LINE = 2**16
SILENT_S = 3_600.0
"""How long a process may say nothing. Loading is silent, and on a busy machine it takes long."""
SPARE = 6 * 2**30
"""Bytes beside three times the weights: libraries, a prompt's memory, packing."""


@dataclass
class Watch:
    """When a process was last heard, how long it may be silent, and who may stop it."""

    silent_s: float
    stop: threading.Event | None
    heard: float = field(default_factory=time.monotonic)
    late: bool = False

    def stopped(self) -> bool:
        """Whether somebody stopped it."""
        return self.stop is not None and self.stop.is_set()

    def guard(self, process: subprocess.Popen[str]) -> None:
        """Kill the process when it is stopped or was silent for too long."""
        while process.poll() is None:
            self.late = time.monotonic() - self.heard >= self.silent_s
            if self.late or self.stopped():
                process.kill()
                return
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.25)


def ask_worker(
    module: str,
    asked: dict[str, Any],
    stop: threading.Event | None = None,
    *,
    silent_s: float = SILENT_S,
) -> Iterator[dict[str, Any]]:
    """Start ``python -m module``, give it ``asked``, and yield what it says, object by object.

    Raises :class:`ContributorError` after ``silent_s`` seconds without a word or if it is killed by
    its limits, and :class:`UserError` once ``stop`` is set.
    """
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    with tempfile.TemporaryFile() as complaints, subprocess.Popen(
        [sys.executable, "-m", module],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=complaints, text=True,
        env=environment,
    ) as process:  # fmt: skip
        watch = Watch(silent_s, stop)
        watchman = threading.Thread(target=watch.guard, args=(process,), daemon=True)
        watchman.start()
        try:
            for told in _lines(process, asked):
                watch.heard = time.monotonic()
                yield told
            code = process.wait()
        finally:
            process.kill()
            watchman.join()
        if watch.stopped():
            raise UserError("Stopped. Nothing was kept.")
        if watch.late:
            raise ContributorError(f"Nothing was heard of it for {silent_s / 60:.0f} minutes.")
        if code == -signal.SIGXCPU:
            raise ContributorError("It used up the processor time that it may have.")
        if code:
            complaints.seek(0)
            log.warning("%s: %s", module, complaints.read()[-2000:].decode(errors="replace"))
            raise ContributorError("Working with it ended the process (memory limit or a crash).")


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
    # At the first limit of processor time it is told so, and whoever listens learns the reason.
    wanted = {
        resource.RLIMIT_DATA: (memory, memory),
        resource.RLIMIT_CPU: (cpu_seconds, cpu_seconds + 5),
    }
    for kind, most in wanted.items():
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(kind, most)


def say(line: dict[str, Any]) -> None:
    """Say one object, from inside of the process."""
    sys.stdout.write("\n" + json.dumps(line) + "\n")
    sys.stdout.flush()
