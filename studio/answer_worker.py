"""Asks models a list of prompts: ``python -m studio.answer_worker``, started by ``own_data``."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from protocols.core.engine import Engine, GenerateRequest
from protocols.core.errors import StudioError
from protocols.core.models import ModelSpec, Sampling
from protocols.lib.prompts import question_messages
from studio.contribution_worker import limit, say

AT_A_TIME = 16
CPU_SECONDS = 2_400
LONGEST = 4_000


async def ask_all(engine: Engine, asked: dict[str, Any]) -> None:
    """Every model, every prompt, greedily; each answer is told when it is there."""
    models = [ModelSpec.model_validate(one) for one in asked["models"]]
    sampling = Sampling(max_tokens=int(asked["tokens"]), temperature=0.0)
    places = asyncio.Semaphore(AT_A_TIME)

    async def one(which: int, row: int, prompt: str) -> None:
        async with places:
            name = f"own-{which}-{row}"
            request = GenerateRequest(name, models[which], question_messages(prompt), sampling)
            text = "".join([chunk.text async for chunk in engine.stream(request)])
        say({"model": which, "row": row, "text": text[:LONGEST]})

    async with asyncio.TaskGroup() as group:
        for row, prompt in enumerate(asked["prompts"]):
            for which in range(len(models)):
                group.create_task(one(which, row, prompt))


async def work(asked: dict[str, Any]) -> None:
    """Answer everything. Expected errors are told, not raised."""
    from protocols.engines.transformers_engine import TransformersEngine

    engine = TransformersEngine()
    try:
        await ask_all(engine, asked)
    except* StudioError as errors:
        first = next(iter(errors.exceptions))
        say({"problem": getattr(first, "message", str(first))})
    except* MemoryError:
        say({"problem": "it needs more memory than a model of its size should"})
    finally:
        await engine.close()


def main() -> None:
    """Read, limit, answer."""
    asked = json.loads(sys.stdin.read())
    limit([ModelSpec.model_validate(one) for one in asked["models"]], CPU_SECONDS)
    asyncio.run(work(asked))


if __name__ == "__main__":
    main()
