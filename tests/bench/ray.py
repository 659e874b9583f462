"""What a Ray cluster costs: the same streams through an actor and through its engine directly.

Eight streams of 64 tokens on the embedded base, on this machine: the transformers engine in this
process, the same engine inside of one Ray actor with all cores, and inside of two actors with half
of the cores each. The ways alternate, so that a drifting machine hits them alike; all are loaded
all the time, those at rest cost memory only.

Run with ``python -m tests.bench.ray [repeats]``.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
from collections.abc import Sequence

import psutil

from protocols.core.models import ModelSpec
from protocols.engines.embedded_base import base_dir
from protocols.engines.ray_engine import RayEngine
from protocols.engines.ray_options import RayOptions
from protocols.engines.transformers_engine import TransformersEngine
from studio.settings import Settings
from tests.bench.common import say, table
from tests.bench.engines import MODELS, TOKENS, Result, Way, measure, short_prompts
from tests.engines.worlds import ray_cluster

REPEATS = 8


async def main(repeats: int) -> None:
    """Measure and print."""
    cores = psutil.cpu_count() or 1
    base = ModelSpec(id="base", source=str(base_dir(Settings().workspace)))
    with ray_cluster(0) as cluster:
        for cpus in (cores, cores / 2, cores / 2):
            cluster.add_node(num_cpus=cpus, include_log_monitor=False)
        whole, half = (
            RayEngine(RayOptions(ray_address=cluster.address, ray_cpus=cpus, ray_replicas=count))
            for cpus, count in ((cores, 1), (cores / 2, 2))
        )
        made = [
            Way("in this process", TransformersEngine(), [base]),
            Way(f"one Ray actor, {cores} cores", whole, [base]),
            Way(f"two Ray actors, {cores / 2:g} cores each", half, [base]),
        ]
        try:
            for way in made:
                say(f"starting: {way.name}")
                await way.engine.load([base])
            show(*[await alternate(made, base, count, repeats) for count in (1, MODELS)])
        finally:
            for way in made:
                await way.engine.close()


async def alternate(
    made: Sequence[Way], base: ModelSpec, streams: int, repeats: int
) -> tuple[int, dict[str, list[Result]]]:
    """Each way once to warm up, then in turn."""
    found: dict[str, list[Result]] = {way.name: [] for way in made}
    for seed in range(repeats + 1):
        for way in made:
            prompts = short_prompts(1000 * streams + seed)
            result = await measure(way, [base] * streams, prompts)
            if seed:
                found[way.name].append(result)
    return streams, found


def show(*measured: tuple[int, dict[str, list[Result]]]) -> None:
    """A table for each number of streams: medians with ranges, and pairs with the first way."""
    for streams, found in measured:
        plain, rows = next(iter(found.values())), []
        for name, results in found.items():
            pairs = [r.speed / p.speed for r, p in zip(results, plain, strict=True)]
            firsts = [r.first_s for r in results]
            rows.append([name, spread([r.speed for r in results]), spread(pairs, 2),
                         spread(firsts, 3)])  # fmt: skip
        head = ["way", "tokens/s", "against the first", "first token, s"]
        title = f"{streams} streams of {TOKENS} tokens, n = {len(plain)}: median (range)"
        table(title, head, rows)


def spread(values: Sequence[float], digits: int = 0) -> str:
    """Median and range."""
    low, middle, high = (f"{v:.{digits}f}" for v in
                         (min(values), statistics.median(values), max(values)))  # fmt: skip
    return f"{middle} ({low}-{high})"


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else REPEATS))
