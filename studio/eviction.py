"""Frees what a running app's engine holds of models that are gone, whoever took them away.

A model can be withdrawn, and an artifact removed, by another process (``studio pool remove`` beside
a running app). The files and the list are gone then, but weights that were loaded before would stay
in memory. The run manager looks every second.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from protocols.core.engine import Engine, Remembering
from protocols.core.errors import StudioError
from protocols.core.models import ModelSpec
from studio.contributed import FOLDER as CONTRIBUTED
from studio.workspace import Workspace

log = logging.getLogger(__name__)


async def evict(engine: Engine, workspace: Workspace) -> tuple[ModelSpec, ...]:
    """Unload the models that were withdrawn or whose files are gone; those models.

    Raises :class:`EngineError` if the list of withdrawn models cannot be read.
    """
    if not isinstance(engine, Remembering) or not engine.held:
        return ()
    gone = tuple(await asyncio.to_thread(lambda: list(_gone(engine.held, workspace))))
    for model in gone:
        log.info("'%s' was taken away; it is dropped from memory", model.id)
        with suppress(StudioError):
            await engine.unload(model)
    return gone


def _gone(models: tuple[ModelSpec, ...], workspace: Workspace) -> Iterator[ModelSpec]:
    held = workspace.quarantine.held()
    withdrawn = {name for name, word in held.items() if word.action == "withdraw"}
    roots = [(workspace.root / name).absolute() for name in (CONTRIBUTED, "artifacts")]
    for model in models:
        if model.id in withdrawn or _missing(model, roots):
            yield model


def _missing(model: ModelSpec, roots: list[Path]) -> bool:
    """Whether files of it that this installation kept whole are not there any more."""
    named = (model.adapter, "" if model.is_endpoint else model.source)
    paths = [Path(one).absolute() for one in named if one]
    return any(_kept(path, roots) and not path.exists() for path in paths)


def _kept(path: Path, roots: list[Path]) -> bool:
    """What a fit still works on lies under names with a dot and is the fit's own business."""
    root = next((root for root in roots if path.is_relative_to(root)), None)
    return root is not None and not any(
        part.startswith(".") for part in path.relative_to(root).parts
    )
