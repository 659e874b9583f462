"""What does a pool of 32 contributors cost against one of 12 on this machine?

For each engine and size, in turn and in a process of its own: seconds to start and to load, memory
of the process and its children, and tokens a second for 8 and 16 streams at a time, one stream a
contributor. On a machine that others use, processor seconds tell more than seconds.

The adapters are random (rank 2 for the first eleven, rank 1 for the others, as in the pools):
trained specialists end after a few tokens, these go on. Run with
``python -m tests.bench.pool_sizes vllm 32``; without words it does all four.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from protocols.core.engine import Engine, GenerateRequest
from protocols.core.models import ModelSpec, Sampling
from protocols.engines.embedded_base import base_dir
from protocols.engines.transformers_engine import TransformersEngine
from protocols.engines.vllm_engine import VllmEngine
from protocols.lib.prompts import question_messages
from studio.settings import Settings
from tests.bench.common import say
from tests.engines.worlds import make_adapter

FIRST, TOKENS = 11, 32
ENGINES: dict[str, type[Engine]] = {"transformers": TransformersEngine, "vllm": VllmEngine}
SIZES = (12, 32)
STREAMS = (8, 16)


def members(base: ModelSpec, size: int, folder: Path) -> list[ModelSpec]:
    """The base and its adapters, ``size`` models together."""
    made = [base]
    for number in range(1, size):
        rank = 2 if number <= FIRST else 1
        path = make_adapter(folder / f"a{number}", number, Path(base.source).name, rank=rank)
        made.append(base.model_copy(update={"id": f"a{number}", "adapter": str(path)}))
    return made


def used() -> tuple[float, float]:
    """(Memory in MiB, processor seconds) of this process and its children together."""
    here = psutil.Process()
    tree = [here, *here.children(recursive=True)]
    times = [one.cpu_times() for one in tree]
    return sum(one.memory_full_info().uss for one in tree) / 2**20, sum(
        t.user + t.system for t in times
    )


async def one(engine: Engine, model: ModelSpec, number: int) -> int:
    """Stream one answer; returns its tokens."""
    messages = question_messages(f"Round {number}. Count upwards. Do not stop.")
    sampling = Sampling(max_tokens=TOKENS, temperature=0.0)
    request = GenerateRequest(f"{number}/{model.id}", model, messages, sampling, "1, 2, 3,")
    return sum([chunk.tokens async for chunk in engine.stream(request)])


async def serve(engine: Engine, models: Sequence[ModelSpec], streams: int, seed: int) -> str:
    """One round of ``streams`` contributors at a time, spread over the whole pool."""
    # With 16 streams a pool of 12 has four contributors that answer twice.
    asked = [models[place * len(models) // streams] for place in range(streams)]
    began, (_, before) = time.perf_counter(), used()
    tokens = sum(await asyncio.gather(*(one(engine, m, seed + i) for i, m in enumerate(asked))))
    seconds, busy = time.perf_counter() - began, used()[1] - before
    return f"{streams} streams: {tokens / seconds:.1f} tokens/s, {tokens / busy:.1f} per CPU second"


async def measure(name: str, size: int) -> None:
    """Measure one engine with one pool and say what was found."""
    engine = ENGINES[name]()
    base = ModelSpec(id="base", source=str(base_dir(Settings().workspace)))
    with tempfile.TemporaryDirectory() as folder:
        models, (_, before) = members(base, size, Path(folder)), used()
        began = time.perf_counter()
        try:
            await engine.load(models)
            seconds, (memory, after) = time.perf_counter() - began, used()
            say(
                f"{name}, {size} models: loaded in {seconds:.1f} s ({after - before:.1f} CPU "
                f"seconds), {memory:.0f} MiB"
            )
            for streams in STREAMS:
                await serve(engine, models, streams, 0)
                say(f"{name}, {size} models, {await serve(engine, models, streams, 100)}")
            say(f"{name}, {size} models: {used()[0]:.0f} MiB afterwards")
        finally:
            await engine.close()


if __name__ == "__main__":
    if len(sys.argv) == 3:
        asyncio.run(measure(sys.argv[1], int(sys.argv[2])))
    else:
        for engine_name in ENGINES:
            for pool_size in SIZES:
                command = [sys.executable, "-m", __spec__.name, engine_name, str(pool_size)]
                subprocess.run(command, check=True)
