"""Tokens per second through the studio against the bare engine, at 1, 4 and 8 concurrent calls.

The studio's side is a whole run: runner, trace file, run manager and one watching page's bus.
Aim: at least 0.9 of the bare engine.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from protocols.core.engine import Engine, GenerateRequest
from protocols.core.models import ModelSpec, RunSpec, Sampling
from protocols.core.run import run
from protocols.core.trace import TraceHeader, TraceWriter
from protocols.lib.prompts import question_messages
from studio.bus import coalesce, encode, message
from tests.bench.common import say, specialists, table, warm_engine

TOKENS = 64
REPEATS = 5
STORY = "Tell a long story about a lighthouse and the people who live near it."


async def bare(engine: Engine, models: Sequence[ModelSpec], seed: int) -> tuple[int, float]:
    """Stream one answer per model straight from the engine: (tokens, seconds)."""

    async def one(model: ModelSpec) -> int:
        sampling = Sampling(max_tokens=TOKENS, seed=seed)
        request = GenerateRequest(
            f"bench{seed}/{model.id}", model, question_messages(STORY), sampling
        )
        return sum([chunk.tokens async for chunk in engine.stream(request)])

    start = time.perf_counter()
    tokens = sum(await asyncio.gather(*(one(model) for model in models)))
    return tokens, time.perf_counter() - start


async def through_studio(
    engine: Engine, models: Sequence[ModelSpec], seed: int, folder: Path
) -> tuple[int, float]:
    """The same answers as a run that is stored and turned into bus messages."""
    protocol = "majority_vote" if len(models) > 1 else "single_model"
    spec = RunSpec(
        protocol=protocol,
        pool=tuple(m.id for m in models),
        question=STORY,
        seed=seed,
        sampling=Sampling(max_tokens=TOKENS),
    )
    writer = TraceWriter(folder / f"{seed}.jsonl", TraceHeader(run=f"bench-{seed}", spec=spec))
    events, sent = [], 0
    start = due = time.perf_counter()
    async for event in run(spec, models, engine):
        writer.write([event])
        events.append(event)
        if time.perf_counter() >= due:
            encode(message("bench", coalesce(events[sent:]), sent - 1))
            sent, due = len(events), time.perf_counter() + 0.1
    seconds = time.perf_counter() - start
    writer.close()
    return events[-1].usage.completion_tokens, seconds


async def measure() -> None:
    """Alternate both ways, so that a drifting machine hits both alike, and print medians."""
    models = specialists(8)
    rows = []
    async with warm_engine(models) as engine:
        await bare(engine, models, 999)
        with tempfile.TemporaryDirectory() as folder:
            for count in (1, 4, 8):
                pairs = []
                for seed in range(REPEATS):
                    a = await bare(engine, models[:count], seed)
                    b = await through_studio(engine, models[:count], seed, Path(folder))
                    pairs.append((a[0] / a[1], b[0] / b[1]))
                ratio = statistics.median(b / a for a, b in pairs)
                speeds = [statistics.median(side) for side in zip(*pairs, strict=True)]
                rows.append([count, f"{speeds[0]:.0f}", f"{speeds[1]:.0f}", f"{ratio:.2f}"])
        say(f"engine: {engine.name}, {TOKENS} tokens a call, {REPEATS} pairs")
    table("Studio against the bare engine (tokens/s, medians)",
          ["concurrent", "bare", "studio", "ratio"], rows)  # fmt: skip


if __name__ == "__main__":
    asyncio.run(measure())
