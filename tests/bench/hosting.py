"""What does it cost to host many contributors and several bases, on a GPU or without?

Four measurements with one engine: 8 and 32 LoRA contributors on one base and then two bases side by
side, each through the studio and straight from the engine, as tokens a second and as time to the
first token; and a swap, which is the time from asking a base that gave its memory back until its
first token, against asking one that is awake.

The adapters are random (rank 4): trained specialists end after a few tokens, these go on. The
second base is a copy of the first in a folder of its own, unless another one is named.
Run with ``python -m tests.bench.hosting [vllm|transformers] [folder or hub id of a second base]``.
"""

from __future__ import annotations

import asyncio
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path

from protocols.core.engine import Engine, GenerateRequest
from protocols.core.models import ModelSpec, Sampling
from protocols.engines.embedded_base import base_dir
from protocols.engines.hosting import has_vllm
from protocols.engines.transformers_engine import TransformersEngine
from protocols.engines.vllm_arguments import on_cpu
from protocols.engines.vllm_engine import VllmEngine
from protocols.lib.prompts import question_messages
from studio.settings import Settings
from tests.bench.common import say, table
from tests.bench.overhead import STORY, bare, through_studio
from tests.engines.worlds import make_adapter

CONTRIBUTORS, REPEATS, SWAPS = (8, 32), 3, 3
ENGINES: dict[str, type[Engine]] = {"transformers": TransformersEngine, "vllm": VllmEngine}


def contributors(base: ModelSpec, count: int, folder: Path) -> list[ModelSpec]:
    """``count`` random adapters of a base."""
    made = []
    for number in range(count):
        path = make_adapter(folder / f"a{number}", number, Path(base.source).name)
        made.append(base.model_copy(update={"id": f"a{number}", "adapter": str(path)}))
    return made


def second_base(first: ModelSpec, named: str, folder: Path) -> ModelSpec:
    """The base that was named, or a copy of the first one."""
    if not named:
        shutil.copytree(first.source, folder / "second")
        named = str(folder / "second")
    return ModelSpec(id="second", source=named)


async def first_token(engine: Engine, model: ModelSpec, number: int) -> float:
    """Seconds from a request until its first token; the rest is not waited for."""
    sampling = Sampling(max_tokens=8, seed=number)
    request = GenerateRequest(
        f"first{number}/{model.id}", model, question_messages(STORY), sampling
    )
    began = time.perf_counter()
    async with aclosing(engine.stream(request)) as stream:
        async for chunk in stream:
            if chunk.tokens:
                break
    return time.perf_counter() - began


async def speeds(
    name: str, engine: Engine, models: Sequence[ModelSpec], folder: Path
) -> list[object]:
    """A row: both ways in turn, and how long the first token takes when all ask at once."""
    await bare(engine, models, 999)
    pairs = []
    for seed in range(REPEATS):
        one, other = (
            await bare(engine, models, seed),
            await through_studio(engine, models, seed, folder),
        )
        pairs.append((one[0] / one[1], other[0] / other[1]))
    ratio = statistics.median(other / one for one, other in pairs)
    straight, studio = (statistics.median(side) for side in zip(*pairs, strict=True))
    waits = await asyncio.gather(*(first_token(engine, m, n) for n, m in enumerate(models)))
    return [
        name, len(models), f"{straight:.0f}", f"{studio:.0f}", f"{ratio:.2f}",
        f"{statistics.median(waits):.2f} s", f"{max(waits):.2f} s",
    ]  # fmt: skip


async def swaps(engine: Engine, model: ModelSpec) -> list[list[object]]:
    """Seconds to the first token of a base that is awake, and of one that gave its memory back."""
    awake, back = [], []
    for number in range(SWAPS):
        awake.append(await first_token(engine, model, number))
        await (engine.park(model) if isinstance(engine, VllmEngine) else engine.unload(model))
        began = time.perf_counter()
        await engine.load([model])
        loaded = time.perf_counter() - began
        back.append(loaded + await first_token(engine, model, SWAPS + number))
    return [
        ["awake", f"{statistics.median(awake):.2f} s"],
        ["after its memory was given back", f"{statistics.median(back):.2f} s"],
    ]


async def measure(name: str, other: str) -> None:
    """Measure everything with one engine and print two tables."""
    first = ModelSpec(id="base", source=str(base_dir(Settings().workspace)))
    engine = ENGINES[name]()
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        second = second_base(first, other, folder)
        adapters = contributors(first, max(CONTRIBUTORS), folder)
        try:
            rows = []
            for count in CONTRIBUTORS:
                began = time.perf_counter()
                await engine.load([first, *adapters[:count]])
                say(f"{count} contributors loaded in {time.perf_counter() - began:.1f} s")
                label = f"{count} contributors, one base"
                rows.append(await speeds(label, engine, adapters[:count], folder))
            await engine.load([second])
            both = [*adapters[:4], *(second.model_copy(update={"id": f"s{n}"}) for n in range(4))]
            rows.append(await speeds("two bases", engine, both, folder))
            cost = await swaps(engine, second)
        finally:
            await engine.close()
    device = "processor" if on_cpu() else "GPU"
    head = ["what", "streams", "engine", "studio", "ratio", "first token", "slowest"]
    table(f"{name} on the {device}, tokens/s, median of {REPEATS} pairs", head, rows)
    table(f"First token of a base, median of {SWAPS}", ["the base is", "seconds"], cost)


if __name__ == "__main__":
    chosen = sys.argv[1] if len(sys.argv) > 1 else ("vllm" if has_vllm() else "transformers")
    asyncio.run(measure(chosen, sys.argv[2] if len(sys.argv) > 2 else ""))
