"""What tests of fits share: artificial questions, and a fit played to its end or left before."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from protocols.core.artifacts import ArtifactStore
from protocols.core.engine import Engine
from protocols.core.events import Artifact, Ended, Event
from protocols.core.fit import FITTED, FitData, FitItem, FitSpec, fit
from protocols.core.models import ModelSpec, Sampling
from tests.helpers import NAMES, make_pool

GREEDY = Sampling(max_tokens=24, temperature=0.0, top_p=1.0)


def made_data(dev: int = 12, train: int = 0) -> FitData:
    """Questions about numbers, each answered right by a text that ends in 'right <number>'."""
    parts = {"dev": dev, "train": train}
    items = {
        part: tuple(
            FitItem(f"{part}-{n}", f"Question {part} {n}?", f"right {n}", "made")
            for n in range(count)
        )
        for part, count in parts.items()
    }
    return FitData(
        task="made",
        items=items,  # type: ignore[arg-type]
        score=lambda item, text: (
            float(text.strip().endswith(item.answer)) if text.strip() else None
        ),
        digest=f"made-{dev}-{train}",
    )


def fit_spec(protocol: str, count: int = 3, **changes: Any) -> FitSpec:
    fields = {"protocol": protocol, "pool": NAMES[:count], "task": "made", "sampling": GREEDY}
    return FitSpec.model_validate({**fields, **changes})


async def play_fit(
    spec: FitSpec,
    engine: Engine,
    root: Path,
    data: FitData | None = None,
    leave_at: int | None = None,
    pool: Sequence[ModelSpec] | None = None,
) -> list[Event]:
    """The events of a fit; with ``leave_at`` the stream is dropped after so many."""
    made: list[Event] = []
    models = pool or make_pool(len(spec.pool))
    stream = fit(spec, models, engine, data or made_data(), ArtifactStore(root))
    async for event in stream:
        made.append(event)
        if leave_at is not None and len(made) > leave_at:
            break
    await stream.aclose()
    return made


def announced(events: Sequence[Event]) -> dict[str, Any]:
    """What a fit that ended well says it has made."""
    last, end = events[-2], events[-1]
    assert isinstance(end, Ended) and end.status == "ok", end
    assert isinstance(last, Artifact) and last.name == FITTED
    return dict(last.data)


def content(root: Path) -> dict[str, bytes]:
    """Every file of every artifact but the one that says when it was made."""
    files = (p for p in sorted(root.rglob("*")) if p.is_file() and p.suffix != ".lock")
    return {str(p.relative_to(root)): p.read_bytes() for p in files if p.name != "made.json"}
