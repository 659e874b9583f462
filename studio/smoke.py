"""Loads one model and makes a few tokens: ``python -m studio.smoke``, a process with limits.

Reads a model spec from standard input and writes one JSON object. Started by
:mod:`studio.contribution_checks`, so that whatever a contributed model does to memory or time ends
here.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from typing import Any

from protocols.core.engine import GenerateRequest
from protocols.core.errors import StudioError
from protocols.core.models import ModelSpec, Sampling
from protocols.lib.prompts import question_messages
from studio.contribution_worker import limit, say

QUESTION = "What is 2 + 2?"
TOKENS = 16
CPU_SECONDS = 600


async def speak(model: ModelSpec) -> dict[str, Any]:
    """A few greedy tokens. Expected errors are told, not raised."""
    from protocols.engines.transformers_engine import TransformersEngine

    engine, began = TransformersEngine(), time.monotonic()
    sampling = Sampling(max_tokens=TOKENS, temperature=0.0)
    request = GenerateRequest("smoke", model, question_messages(QUESTION), sampling)
    text, tokens = "", 0
    try:
        async for chunk in engine.stream(request):
            text, tokens = text + chunk.text, tokens + chunk.tokens
    except StudioError as error:
        return {"problem": error.message}
    except MemoryError:
        return {"problem": "it needs more memory than a model of its size should"}
    finally:
        await engine.close()
    if not text.strip():
        return {"problem": "it answered a simple question with nothing"}
    return {"text": text, "tokens": tokens, "seconds": time.monotonic() - began}


def main() -> None:
    """Read, limit, speak, tell."""
    model = ModelSpec.model_validate_json(sys.stdin.read())
    limit([model], CPU_SECONDS)
    # Threads that wait for each other use processor time up, and a few tokens need only one.
    os.environ["OMP_NUM_THREADS"] = "1"
    say(asyncio.run(speak(model)))


if __name__ == "__main__":
    main()
