"""Which engine serves eight contributors at once fastest on this machine?

Two workloads over one base and eight adapters: short prompts with 64 new tokens each, and debate
prompts of about 700 tokens with 64 new tokens each. Five ways: vLLM as it is, vLLM with this
repository's LoRA repair, transformers with stacked adapters, merged weights (one model per
contributor, which cannot be batched, so one after another), and the bare base for comparison. All
engines are started first and the ways alternate, so that a drifting machine hits them alike.

The adapters are random: trained specialists end after a few tokens, these go on.
Run with ``python -m tests.bench.engines [file for the numbers as JSON]``.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
from tests.engines.worlds import make_adapter

MODELS, TOKENS, REPEATS = 8, 64, 3
COUNT = "Count upwards. Separate the numbers by commas. Do not stop."
OPINION = (
    "The harbour needs a new lighthouse, because ships arrive at night and the old lamp fails. "
)


class StockVllm(VllmEngine):
    """vLLM without the worker extension."""

    def _arguments(self, *given: Any) -> dict[str, Any]:
        arguments = super()._arguments(*given)
        arguments.pop("worker_extension_cls", None)
        return arguments


@dataclass(frozen=True)
class Way:
    """One way to serve; ``together`` says whether its requests may run at the same time."""

    name: str
    engine: Engine
    models: Sequence[ModelSpec]
    together: bool = True


@dataclass(frozen=True)
class Result:
    """What one measurement gave."""

    tokens: int
    seconds: float
    first_s: float

    @property
    def speed(self) -> float:
        return self.tokens / self.seconds


async def one(way: Way, model: ModelSpec, name: str, question: str) -> tuple[int, float]:
    """Stream one answer: (tokens, monotonic time of the first chunk)."""
    sampling = Sampling(max_tokens=TOKENS, temperature=0.0)
    messages = question_messages(question)
    request = GenerateRequest(name, model, messages, sampling, "1, 2, 3,")
    tokens, first = 0, 0.0
    async for chunk in way.engine.stream(request):
        first = first or time.perf_counter()
        tokens += chunk.tokens
    return tokens, first


async def measure(way: Way, models: Sequence[ModelSpec], questions: Sequence[str]) -> Result:
    pairs = list(zip(models, questions, strict=False))
    names = [f"{time.monotonic_ns()}/{i}" for i in range(len(pairs))]
    calls = [one(way, m, n, q) for (m, q), n in zip(pairs, names, strict=True)]
    start = time.perf_counter()
    done = await asyncio.gather(*calls) if way.together else [await call for call in calls]
    seconds = time.perf_counter() - start
    return Result(sum(t for t, _ in done), seconds, min(f for _, f in done) - start)


def short_prompts(seed: int) -> list[str]:
    return [f"Round {seed}.{i}. {COUNT}" for i in range(MODELS)]


def debate_prompts(seed: int) -> list[str]:
    """About 700 tokens each, and none begins like another: nothing can be reused."""
    return [f"Round {seed}.{i}. " + OPINION * 34 + COUNT for i in range(MODELS)]


def merged(base: ModelSpec, adapter: ModelSpec, folder: Path) -> ModelSpec:
    """A full model with the adapter added to its weights."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(base.source, folder)
    weights = load_file(folder / "model.safetensors")
    added = load_file(Path(adapter.adapter) / "adapter_model.safetensors")
    config = json.loads((Path(adapter.adapter) / "adapter_config.json").read_text())
    for name in [n for n in added if n.endswith("lora_A.weight")]:
        stem = name.removesuffix(".lora_A.weight")
        delta = added[f"{stem}.lora_B.weight"].float() @ added[name].float()
        scaled = delta * config["lora_alpha"] / config["r"]
        key = stem.removeprefix("base_model.model.") + ".weight"
        weights[key] = (weights[key].float() + scaled).to(weights[key].dtype)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return ModelSpec(id=f"merged-{adapter.id}", source=str(folder))


@asynccontextmanager
async def ways(base: ModelSpec, folder: Path) -> AsyncGenerator[list[Way], None]:
    """All ways, started and loaded."""
    adapters = [
        base.model_copy(
            update={
                "id": f"adapter-{i}",
                "adapter": str(make_adapter(folder / f"a{i}", i, Path(base.source).name, rank=8)),
            }
        )
        for i in range(MODELS)
    ]
    whole = [merged(base, m, folder / f"m{i}") for i, m in enumerate(adapters)]
    transformers = TransformersEngine()
    made = [Way("transformers, stacked adapters", transformers, adapters)]
    if has_vllm():
        made.append(Way("vLLM, LoRA repaired" if on_cpu() else "vLLM", VllmEngine(), adapters))
    if has_vllm() and on_cpu():
        made.append(Way("vLLM, LoRA as it comes", StockVllm(), adapters))
    made.append(Way("merged weights, one after another", transformers, whole, together=False))
    try:
        for way in made:
            say(f"starting: {way.name}")
            await way.engine.load([base, *way.models])
        yield made
    finally:
        for way in made:
            await way.engine.close()


async def alternate(
    made: Sequence[Way], play: Callable[[Way, int], Awaitable[Result]]
) -> dict[str, list[Result]]:
    """Each way once to warm up, then in turn, ``REPEATS`` times."""
    found: dict[str, list[Result]] = {way.name: [] for way in made}
    for seed in range(REPEATS + 1):
        for way in made:
            result = await play(way, seed)
            if seed:
                found[way.name].append(result)
    return found


def summary(title: str, found: dict[str, list[Result]]) -> dict[str, Any]:
    rows, numbers = [], {}
    for name, results in found.items():
        speeds = [r.speed for r in results]
        seconds = statistics.median(r.seconds for r in results)
        first = statistics.median(r.first_s for r in results)
        low, middle, high = min(speeds), statistics.median(speeds), max(speeds)
        rows.append(
            [name, f"{middle:.0f}", f"{low:.0f}-{high:.0f}", f"{seconds:.1f}", f"{first:.2f}"]
        )
        numbers[name] = {"tokens_s": middle, "seconds": seconds, "first_token_s": first}
    table(title, ["way", "tokens/s", "range", "seconds", "first token, s"], rows)
    return numbers


async def main(report: Path | None = None) -> None:
    """Measure and print; with ``report`` also write the numbers there as JSON."""
    base = ModelSpec(id="base", source=str(base_dir(Settings().workspace)))
    numbers: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        async with ways(base, Path(folder)) as made:
            numbers["decode"] = summary(
                f"{MODELS} contributors, short prompts, {TOKENS} new tokens each",
                await alternate(made, lambda w, s: measure(w, w.models, short_prompts(s))),
            )
            numbers["debate"] = summary(
                f"{MODELS} contributors, prompts of about 700 tokens, {TOKENS} new tokens each",
                await alternate(made, lambda w, s: measure(w, w.models, debate_prompts(s))),
            )
            batched = [way for way in made if way.together]
            for count in (1, 4, 8):
                numbers[f"base, {count}"] = summary(
                    f"base model alone, {count} streams",
                    await alternate(
                        batched, lambda w, s, n=count: measure(w, [base] * n, short_prompts(50 + s))
                    ),
                )
    if report is not None:
        report.write_text(json.dumps(numbers, indent=2))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]) if len(sys.argv) > 1 else None))
