"""Renders chat templates in a process of its own, with little memory and little time.

A chat template is a program that a contributor wrote. The sandbox of Jinja keeps it from files and
from Python, but not from counting to a billion or from building a text of ten gigabytes. So it is
rendered here, where that ends this process and nothing else. Started by
:mod:`protocols.engines.templates`; speaks one JSON object a line.
"""

from __future__ import annotations

import contextlib
import json
import resource
import signal
import sys

MEMORY = 512 * 2**20
"""Bytes of data; rendering needs a few megabytes."""
SECONDS = 1.0
"""Processor seconds for one prompt: a busy machine takes nothing away from them."""
MAX_TEXT = 4 * 2**20


def limit() -> None:
    """Give this process little memory, no files and no core dumps."""
    wanted = {resource.RLIMIT_DATA: MEMORY, resource.RLIMIT_CORE: 0, resource.RLIMIT_FSIZE: 0}
    for kind, most in wanted.items():
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(kind, (most, most))


def answer(line: str) -> dict[str, str]:
    """Render one request; every failure of a template is a word and not an end."""
    from transformers.utils.chat_template_utils import render_jinja_template

    asked = json.loads(line)
    try:
        rendered, _ = render_jinja_template(
            [asked["messages"]],
            chat_template=asked["template"],
            add_generation_prompt=asked["open"],
            **asked["variables"],
        )
    except Exception as error:  # whatever a template raises is the contributor's
        return {"error": type(error).__name__}
    if len(rendered[0]) > MAX_TEXT:
        return {"error": "a text of more than 4 MiB"}
    return {"text": rendered[0]}


def serve() -> None:
    """Answer lines until there are no more."""
    import transformers.utils.chat_template_utils  # noqa: F401  before memory is limited

    limit()
    _say({})  # ready
    for line in sys.stdin:
        # Not a Python handler: one long operation would never let it run. The signal ends us.
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        reply = answer(line)
        _say(reply)
        signal.setitimer(signal.ITIMER_PROF, 0.0)


def _say(reply: dict[str, str]) -> None:
    sys.stdout.write(json.dumps(reply) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    serve()
