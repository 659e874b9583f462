"""What the benchmarks share: the real embedded pool and a table to print."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

from protocols.core.engine import Engine
from protocols.core.models import ModelSpec
from studio.app import make_engine
from studio.pool import load_pool
from studio.settings import Settings

QUESTION = "What is 47 + 38?"
SCRIPTED = """
if __name__ == "__main__":
    from studio.settings import Settings, no_telemetry
    no_telemetry()
    from protocols.engines.scripted import ScriptedEngine
    from studio import app
    ctx = app.compose(Settings(), ScriptedEngine("Some words."))
    demo = app.build(ctx)
    app.launch(demo, ctx, block=False)
    print(f"http://127.0.0.1:{demo.server_port}", flush=True)
    demo.block_thread()
"""
"""A process that serves the app with scripted models and prints its address."""


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def specialists(count: int) -> tuple[ModelSpec, ...]:
    """The first ``count`` adapters of the embedded pool."""
    pool = load_pool("embedded", Settings())
    return tuple(m for m in pool.specs if m.adapter)[:count]


@asynccontextmanager
async def warm_engine(models: Sequence[ModelSpec]) -> AsyncGenerator[Engine, None]:
    """The engine this machine would use, with the models loaded."""
    engine = make_engine(Settings())
    try:
        await engine.load(models)
        yield engine
    finally:
        await engine.close()


def table(title: str, head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table in columns."""
    cells = [list(map(str, head)), *[[str(c) for c in row] for row in rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    say(f"\n{title}")
    for row in cells:
        say("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)))
