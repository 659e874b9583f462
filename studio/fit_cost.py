"""What a fit will cost, before it is started: answers at most, and the time they took before.

Nothing is assumed about the machine: time comes from the artifacts that were made on it.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from protocols.core.artifacts import ArtifactStore, Stored
from protocols.core.registry import ProtocolSpec, protocols

UNMEASURED = "No fit was timed here yet; what is left will be shown."


class Size(NamedTuple):
    """How large a fit is: models of the pool, train and dev items."""

    models: int
    train: int
    dev: int


def sentence(spec: ProtocolSpec, config: Any, size: Size, store: ArtifactStore, engine: str) -> str:
    """What a fit asks for and how long it may take, as one line."""
    named = f"{size.models} models, {size.train} train and {size.dev} dev items"
    answers = spec.fit_answers(config, size.models, size.dev) if spec.fit_answers else 0
    asked = f"At most {answers:,} short answers: {named}." if answers else f"{named}."
    seconds = predicted(spec, answers, size, store, engine)
    return f"{asked} {f'About {spoken(seconds)} by the fits before.' if seconds else UNMEASURED}"


def predicted(
    spec: ProtocolSpec, answers: int, size: Size, store: ArtifactStore, engine: str
) -> float | None:
    """Seconds, from the newest fit of this protocol by this engine, scaled to the work.

    Where the number of answers is known, any protocol's fit tells how long an answer takes. None
    if there was no such fit.
    """
    own = next(_timed(store.list(spec.id), engine), None)
    if answers:
        others = (one for name in protocols() for one in store.list(name))
        found = own or next(_timed(others, engine), None)
        return answers * float(found.made()["seconds"]) / _calls(found) if found else None
    if own is None:
        return None
    work = len(own.manifest.models) * _items(own)
    return float(own.made()["seconds"]) * size.models * size.dev / work


def _timed(found: Iterable[Stored], engine: str) -> Iterator[Stored]:
    """Those that this engine made, with a time that can be scaled."""
    for one in found:
        made = one.made()
        if made.get("engine") == engine and made.get("seconds") and _items(one) and _calls(one):
            yield one


def _calls(one: Stored) -> float:
    return float(one.made().get("calls") or 0)


def _items(one: Stored) -> float:
    found = one.manifest.metrics.get("n")
    return float(found) if isinstance(found, int | float) else 0.0


def spoken(seconds: float) -> str:
    """A duration in the unit that people would use."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def command(
    protocol: str, pool: str, models: Sequence[str], tasks: Sequence[str], **more: Any
) -> str:
    """The same fit for a terminal. ``more`` are ``limit``, ``seed`` and ``config``."""
    words = ["python -m studio fit", f"--protocol {protocol}", f"--pool {pool}"]
    words += [f"--models {','.join(models)}", f"--task {','.join(tasks) or 'TASK'}"]
    words += [f"--{name} {more[name]}" for name in ("limit", "seed") if more.get(name)]
    settings = more.get("config", {}).items()
    words += [f"--set {shlex.quote(f'{name}={value}')}" for name, value in settings]
    return " ".join(words)
