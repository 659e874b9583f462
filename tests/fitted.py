"""Artifacts for protocols that must be fitted before they answer, made for artificial pools.

Merged models' hold what such an artifact says about itself, and no weights: the scripted engine
needs none. Routers are really fitted, to questions and models that are artificial.
"""

from __future__ import annotations

import asyncio
import atexit
import shutil
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

from protocols.core.artifacts import ArtifactStore, Derived, Manifest, fingerprint
from protocols.core.events import Event
from protocols.core.fit import FitData, FitItem, FitSpec, fit
from protocols.core.models import ModelSpec, RunSpec, content_hash
from protocols.core.registry import protocols
from protocols.engines.scripted import ScriptedEngine
from protocols.lib.coefficients import Recipe


@cache
def law_store() -> ArtifactStore:
    folder = Path(tempfile.mkdtemp(prefix="law-artifacts-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return ArtifactStore(folder)


def artifacts_for(spec: RunSpec, pool: Sequence[ModelSpec]) -> ArtifactStore | None:
    """A store with an artifact for this run, if its protocol cannot answer without one."""
    protocol = protocols().get(spec.protocol)
    if protocol is None or not protocol.needs_artifact:
        return None
    if protocol.level == "api":
        return routers_for(spec, pool)
    models = [model for model in pool if model.id in spec.pool]
    store, key = law_store(), content_hash(protocol.id, sorted(spec.pool))
    if store.get(protocol.id, key) is None and models:
        (store.partial(protocol.id, key) / "merged").mkdir(parents=True, exist_ok=True)
        names = tuple(model.id for model in models)
        recipe = Recipe(method=protocol.id, members=names, weights=(1.0,) * len(names))
        manifest = Manifest(
            protocol=protocol.id,
            algorithm=protocol.fit_version,
            key=key,
            task="none",
            data="none",
            seed=0,
            config={},
            models=tuple(fingerprint(model) for model in models),
            recipe=recipe.model_dump(mode="json"),
            derived=(Derived(name=protocol.id, base=names[0], folder="merged"),),
        )
        store.seal(manifest, {"created": "2026-11-21T00:00:00+00:00"})
    return store


TOPICS = ("rivers", "numbers", "colours", "planets", "tools", "grains", "fabrics", "games")
"""Model ``i`` of an artificial pool knows topic ``i``."""


def question_about(topic: str, number: int) -> str:
    return f"Name item {number} on the list of {topic}, please."


def topic_data(topics: Sequence[str], train: int = 6, dev: int = 4) -> FitData:
    """Questions about topics; who knows a topic answers with its name."""
    items = {
        part: tuple(
            FitItem(f"{part}-{topic}-{n}", question_about(topic, first + n), topic, topic)
            for n in range(count)
            for topic in topics
        )
        for part, count, first in (("train", train, 0), ("dev", dev, 100))
    }

    def score(item: FitItem, text: str) -> float | None:
        return float(item.answer in text) if text.strip() else None

    return FitData("topics", items, score, content_hash(list(topics), train, dev))  # type: ignore[arg-type]


def experts(pool: Sequence[ModelSpec], topics: Sequence[str] = TOPICS) -> ScriptedEngine:
    """Each model answers everything with the topic that it knows."""
    return ScriptedEngine({m.id: t for m, t in zip(pool, topics, strict=False)})


async def fit_topics(
    protocol: str,
    pool: Sequence[ModelSpec],
    store: ArtifactStore,
    engine: ScriptedEngine | None = None,
    data: FitData | None = None,
    **config: object,
) -> list[Event]:
    """The events of fitting a router to topics; by default its vectors are parts of words."""
    data = data or topic_data(TOPICS[: len(pool)])
    spec = FitSpec.model_validate(
        {
            "protocol": protocol,
            "pool": [model.id for model in pool],
            "task": data.task,
            "config": {"encoder": "words", **config},
        }
    )
    return [event async for event in fit(spec, pool, engine or experts(pool), data, store)]


def routers_for(spec: RunSpec, pool: Sequence[ModelSpec]) -> ArtifactStore:
    """A store with a router that was fitted to these models."""
    models = sorted((m for m in pool if m.id in spec.pool), key=lambda model: model.id)
    with ThreadPoolExecutor(1) as thread:  # there may be a running loop in this one
        thread.submit(asyncio.run, _fitted_once(spec.protocol, models)).result()
    return law_store()


async def _fitted_once(protocol: str, models: Sequence[ModelSpec]) -> None:
    key = (protocol, *(model.id for model in models))
    if models and key not in _MADE:
        _MADE.add(key)
        await fit_topics(protocol, models, law_store(), **QUICK.get(protocol, {}))


QUICK: dict[str, dict[str, object]] = {"graph_routing": {"steps": 20, "networks": 1}}
_MADE: set[tuple[str, ...]] = set()
