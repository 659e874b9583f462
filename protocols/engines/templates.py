"""Chat templates of contributed models, rendered where they can do no harm.

The texts are those of ``transformers``' own renderer, which runs in a process of its own
(:mod:`protocols.engines.template_worker`). A template that loops, or builds something huge, ends
that process; the next prompt starts another one. What ends it otherwise is no template's fault.
"""

from __future__ import annotations

import atexit
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from pathlib import Path

from protocols.core.errors import EngineError
from protocols.lib.prompts import Message

TOO_MUCH = "it takes too long or needs too much memory"
OVER_TIME = -signal.SIGPROF
"""How the process ends that spent its processor time on one template."""
FOREIGN = {-signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP, -signal.SIGPIPE}
"""How it ends when somebody else ends it: its own memory limit ends it in other ways."""
TRIES = 2
START_S, ANSWER_S = 120.0, 60.0
"""Seconds for the process to start, on a machine however busy, and to answer (it needs a few
milliseconds, and its own limit is one second of the processor)."""
WORKER = Path(__file__).with_name("template_worker.py")


class BadTemplateError(Exception):
    """A chat template cannot be rendered; the text says why in a few words."""


class Renderer:
    """One worker process, started when it is first needed. Safe to use from any thread."""

    def __init__(self, answer_s: float = ANSWER_S) -> None:
        """``answer_s`` is how long the process may take for a prompt."""
        self._answer_s = answer_s
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._ready = False
        self._deadly: set[str] = set()

    def start(self) -> None:
        """Start the process beforehand; it is ready about a second later."""
        with self._lock:
            self._running()

    def ask(self, template: str, line: str) -> dict[str, str]:
        """Answer one request.

        A process that ended, for whatever reason but the template's time, is replaced once.
        Raises :class:`BadTemplateError` if the template ends it, and for the same template from
        then on: each time would cost as much again. Raises :class:`EngineError` if others do.
        """
        with self._lock:
            if template in self._deadly:
                raise BadTemplateError(TOO_MUCH)
            code = 0
            for _ in range(TRIES):
                if reply := self._asked(line):
                    found: dict[str, str] = json.loads(reply)
                    return found
                code = self._end()
                if code == OVER_TIME:
                    break
            if code in FOREIGN:
                raise EngineError(
                    "A prompt could not be rendered: the process that renders chat templates was "
                    "ended, or was stopped, twice. Run again when the machine is less busy."
                )
            self._deadly.add(template)
            raise BadTemplateError(TOO_MUCH)

    def _asked(self, line: str) -> str:
        """The process's reply; empty if it has none."""
        process = self._running()
        if not self._ready:
            self._ready = bool(_exchanged(process, "", START_S))
        return _exchanged(process, line + "\n", self._answer_s) if self._ready else ""

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None or self._process.poll() is not None:
            self._end()
            self._process = subprocess.Popen(
                [sys.executable, "-I", str(WORKER)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                encoding="utf-8",
            )
        return self._process

    def _end(self) -> int:
        """End the process; returns how it ended."""
        process, self._process, self._ready = self._process, None, False
        if process is None:
            return 0
        process.kill()
        process.communicate()
        return process.returncode

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._end()


def _exchanged(process: subprocess.Popen[str], said: str, seconds: float) -> str:
    """Say something and hear a line; empty if the process ends, also for taking too long."""
    assert process.stdin is not None and process.stdout is not None
    watchdog = threading.Timer(seconds, process.kill)
    watchdog.daemon = True
    watchdog.start()
    try:
        process.stdin.write(said)
        process.stdin.flush()
        heard = process.stdout.readline()
    except OSError:
        heard = ""
    finally:
        watchdog.cancel()
    return heard if heard.endswith("\n") else ""


@cache
def renderer() -> Renderer:
    """The renderer of this process."""
    made = Renderer()
    atexit.register(made.close)
    return made


def render(
    template: str, messages: Sequence[Message], variables: Mapping[str, str], *, opened: bool = True
) -> str:
    """Render messages; ``opened`` begins the assistant's turn after them.

    Raises :class:`BadTemplateError` with the reason, and :class:`EngineError` as
    :meth:`Renderer.ask`.
    """
    asked = {
        "template": template,
        "messages": [dict(message) for message in messages],
        "variables": dict(variables),
        "open": opened,
    }
    return _rendered(template, json.dumps(asked))


@lru_cache(maxsize=256)
def _rendered(template: str, line: str) -> str:
    """Equal prompts are rendered once: protocols count tokens before they send."""
    found = renderer().ask(template, line)
    if "text" not in found:
        raise BadTemplateError(found["error"])
    return found["text"]
