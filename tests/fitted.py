"""Artifacts for protocols that must be fitted before they answer, made for artificial pools.

They hold what such an artifact says about itself, and no weights: the scripted engine needs none.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from protocols.core.artifacts import ArtifactStore, Derived, Manifest, fingerprint
from protocols.core.models import ModelSpec, RunSpec, content_hash
from protocols.core.registry import protocols
from protocols.lib.coefficients import Recipe


@cache
def law_store() -> ArtifactStore:
    folder = Path(tempfile.mkdtemp(prefix="law-artifacts-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return ArtifactStore(folder)


def artifacts_for(spec: RunSpec, pool: Sequence[ModelSpec]) -> ArtifactStore | None:
    """A store with an artifact for this run, if its protocol cannot answer without one."""
    protocol = protocols().get(spec.protocol)
    if protocol is None or not protocol.needs_artifact or protocol.level != "weight":
        return None
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
