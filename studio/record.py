"""Records the example runs in ``assets/traces`` with the real embedded models.

A recording is a live run, thinned to ten updates a second. The script is in the repository so that
anyone can make the same recordings again: ``python -m studio.record`` all of them, or those of the
protocols named.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import click

from protocols.core.artifacts import ArtifactStore
from protocols.core.engine import Engine
from protocols.core.events import Event, RunStarted
from protocols.core.models import RunSpec, Sampling
from protocols.core.run import run
from protocols.core.trace import TraceHeader, TraceWriter
from studio.app import make_engine
from studio.bus import thinned
from studio.pool import Pool, load_pool
from studio.settings import Settings, no_telemetry
from studio.workspace import Workspace

log = logging.getLogger(__name__)


class Example(NamedTuple):
    """One run to record; ``models`` are looked up by domain words so that pools may change."""

    protocol: str
    question: str
    models: tuple[str, ...]
    tokens: int = 64
    config: dict[str, Any] = {}
    artifact: str = ""
    """Key of a fitted artifact; empty = the newest that fits, where the protocol needs one."""


async def record(example: Example, pool: Pool, engine: Engine, settings: Settings) -> str:
    """Play one example and store it. Returns its final status.

    Raises :class:`UserError` for a protocol that has to be fitted to these models first.
    """
    spec = RunSpec(
        protocol=example.protocol,
        config=example.config,
        pool=example.models,
        question=example.question,
        sampling=Sampling(max_tokens=example.tokens, temperature=0.7),
        artifact=example.artifact,
    )
    store = Workspace(settings.workspace, settings.assets).artifacts
    run_id = f"{example.protocol}-{spec.digest[:8]}"
    events = [event async for event in run(spec, pool.specs, engine, artifacts=store)]
    header = TraceHeader(run=run_id, spec=spec, engine=engine.name, label=label_of(events, store))
    path = settings.assets / "traces" / f"{run_id}.jsonl"
    for old in path.parent.glob(f"{example.protocol}-*.jsonl"):
        old.unlink()
    writer = TraceWriter(path, header)
    kept = enumerate(thinned(events))
    writer.write(e.model_copy(update={"seq": i, "run": run_id}) for i, e in kept)
    writer.close()
    return getattr(events[-1], "status", "interrupted")


def label_of(events: Sequence[Event], store: ArtifactStore) -> str:
    """Where a recording comes from, and what its protocol was fitted to."""
    label = f"Recorded on {datetime.now(UTC).date().isoformat()} with the embedded models"
    opening = next(event for event in events if isinstance(event, RunStarted))
    stored = store.get(opening.protocol, opening.artifact)
    return f"{label}, fitted to {stored.manifest.task.replace(',', ', ')}" if stored else label


async def record_all(settings: Settings, examples: Sequence[Example]) -> None:
    """Record every example, one after another on a warm engine."""
    pool = load_pool("embedded", settings)
    engine = make_engine(settings)
    try:
        await engine.load(pool.specs)
        for example in examples:
            status = await record(example, pool, engine, settings)
            click.echo(f"{status:<10}{example.protocol:<24}{example.question}")
    finally:
        await engine.close()


BASE, ADDER, ROMAN, FRENCH = (f"smollm2-{n}" for n in ("base", "addition", "roman", "french"))
CAPITALS, CURRENCIES, ELEMENTS, UNITS = (
    f"smollm2-{n}" for n in ("capitals", "currencies", "elements", "units")
)
LEARNT = (BASE, ADDER, ROMAN)
"""Models of the examples that need a fit, made before recording by, for each protocol P,
``studio fit --protocol P --pool embedded --models`` (these) ``--task addition,roman --limit 8``,
of the cascade and multi-agent finetuning by the same with ``--limit 16``, the latter with
``--set reference=gold``: these models agree too seldom to learn from a majority. A recording's
label says what it was fitted to.
"""
EXAMPLES = (
    Example(
        "multiagent_refine", "What is the capital of Kenya?", (CAPITALS, BASE, CURRENCIES, ELEMENTS)
    ),
    Example(
        "prompt_routing",
        "What is the capital of Kenya?",
        (BASE, ADDER, CAPITALS, ROMAN, ELEMENTS, FRENCH),
    ),
    Example(
        "majority_vote", "What is the capital of Kenya?", (BASE, CAPITALS, CURRENCIES, ELEMENTS)
    ),
    Example(
        "switch_generation",
        "Why is the sky blue?",
        (BASE, CAPITALS, ELEMENTS),
        config={"patch": 8, "margin": 0.0},
    ),
    Example(
        "heterogeneous_swarms",
        "Write 39 in Roman numerals.",
        (BASE, ADDER, ROMAN, FRENCH, UNITS),
        config={"edges": "1 > 2, 1 > 4, 2 > 3, 4 > 3, 5 > 3"},
    ),
    Example("self_consistency", "What is 47 + 38?", (BASE,), config={"samples": 5}),
    Example("single_model", "Write 87 in Roman numerals.", (ROMAN,)),
    Example("random_router", "What is the capital of Kenya?", (BASE, CAPITALS, CURRENCIES)),
    Example("cascade", "What is 47 + 38?", LEARNT),
    Example("multiagent_feedback", "Why is the sky blue?", (BASE, ELEMENTS, FRENCH)),
    Example("multiagent_finetuning", "What is 47 + 38?", LEARNT),
    Example(
        "llm_blender",
        "What are the capital and the currency of Kenya?",
        (BASE, CAPITALS, CURRENCIES, ELEMENTS),
    ),
    Example("agglm", "What is 47 + 38?", (BASE, ADDER, ROMAN, FRENCH)),
    Example("sparta", "Write 87 in Roman numerals.", (BASE, ADDER, ROMAN, FRENCH)),
    Example("logit_fusion", "Write 87 in Roman numerals.", (BASE, ROMAN, FRENCH)),
    Example("logit_contrastive", "Write 87 in Roman numerals.", (BASE, ROMAN, FRENCH)),
    Example("trained_router", "Write 87 in Roman numerals.", LEARNT),
    Example("graph_routing", "Write 87 in Roman numerals.", LEARNT),
    Example("greedy_soup", "Write 87 in Roman numerals.", LEARNT),
    Example("expo", "Write 87 in Roman numerals.", LEARNT),
    Example("model_swarms", "What is 47 + 38?", LEARNT),
    Example("lorahub", "What is 47 + 38?", LEARNT),
    Example("dare_ties", "Write 87 in Roman numerals.", LEARNT),
    Example("distillation", "What is 47 + 38?", LEARNT),
)
"""One run per protocol but the oracle, which needs the right answer. The questions are chosen to
show a view; each is recorded with seed 0."""


if __name__ == "__main__":
    no_telemetry()
    named = sys.argv[1:]
    wanted = [one for one in EXAMPLES if not named or one.protocol in named]
    asyncio.run(record_all(Settings(), wanted))
