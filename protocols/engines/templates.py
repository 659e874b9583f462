"""Chat templates of contributed models, rendered where they can do no harm.

The texts are those of ``transformers``' own renderer, which runs in a process of its own
(:mod:`protocols.engines.template_worker`). A template that loops, or builds something huge, ends
that process; the next prompt starts another one.
"""

from __future__ import annotations

import atexit
import json
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from pathlib import Path

from protocols.lib.prompts import Message

TOO_MUCH = "it takes too long or needs too much memory"
WORKER = Path(__file__).with_name("template_worker.py")


class BadTemplateError(Exception):
    """A chat template cannot be rendered; the text says why in a few words."""


class Renderer:
    """One worker process, started when it is first needed. Safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._deadly: set[str] = set()

    def start(self) -> None:
        """Start the process beforehand; it is ready about a second later."""
        with self._lock:
            self._running()

    def ask(self, template: str, line: str) -> dict[str, str]:
        """Answer one request.

        Raises :class:`BadTemplateError` if it ends the process, and for the same template from then
        on: each time would cost as much again.
        """
        with self._lock:
            if template in self._deadly:
                raise BadTemplateError(TOO_MUCH)
            process = self._running()
            assert process.stdin is not None and process.stdout is not None
            try:
                process.stdin.write(line + "\n")
                process.stdin.flush()
                reply = process.stdout.readline()
            except OSError:
                reply = ""
            if not reply:
                self._end()
                self._deadly.add(template)
                raise BadTemplateError(TOO_MUCH)
        found: dict[str, str] = json.loads(reply)
        return found

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

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._end()


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

    Raises :class:`BadTemplateError` with the reason.
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
