"""Loads one model and makes a few tokens: ``python -m studio.smoke``, a process with limits.

Reads a model spec from standard input and writes one JSON object. Started by
:mod:`studio.verdict`, so that whatever a contributed model does to memory or time ends here.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

from protocols.core.engine import GenerateRequest
from protocols.core.errors import StudioError
from protocols.core.models import ModelSpec, Sampling
from protocols.lib.prompts import question_messages

QUESTION = "What is 2 + 2?"
TOKENS = 16
SPARE = 6 * 2**30
"""Bytes beside three times the weights: libraries, a prompt's memory, packing."""
CPU_SECONDS = 600


def limit(model: ModelSpec) -> None:
    """Give this process an end in memory and in processor time."""
    folders = [Path(model.source), Path(model.adapter or "/nonexistent")]
    files = [path for folder in folders for path in folder.glob("*.safetensors")]
    memory = SPARE + 3 * sum(path.stat().st_size for path in files)
    wanted = {resource.RLIMIT_DATA: memory, resource.RLIMIT_CPU: CPU_SECONDS}
    for kind, most in wanted.items():
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(kind, (most, most))


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
    limit(model)
    sys.stdout.write("\n" + json.dumps(asyncio.run(speak(model))) + "\n")


if __name__ == "__main__":
    main()
