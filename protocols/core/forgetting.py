"""Takes a model out of what fitting left: artifacts made with it, fits begun with it, its answers.

A model that was trained with others, merged with them or chosen among them cannot be taken out of
the result, so the whole artifact goes; fitting again without it makes another.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from protocols.core.artifacts import ArtifactStore, Stored, content_print
from protocols.core.errors import UserError
from protocols.core.models import ModelSpec

MODELS = "models.json"
WAIT_S = 20.0
"""Seconds that a fit which was told to stop may take until it has let go."""


@dataclass(frozen=True)
class Forgotten:
    """What was removed: artifacts as ``protocol/key``, fits not finished, and files of caches."""

    artifacts: tuple[str, ...] = ()
    unfinished: int = 0
    cached: int = 0


def note_models(state: Path, models: Sequence[str]) -> None:
    """Write down in a fit's state whom it is about."""
    (state / MODELS).write_text(json.dumps(list(models)), encoding="utf-8")


def artifacts_with(store: ArtifactStore, model: str) -> Iterator[Stored]:
    """The artifacts made here that a model is part of."""
    for folder in sorted(path for path in store.root.glob("[!.]*") if path.is_dir()):
        for stored in store.list(folder.name):
            here = stored.folder.is_relative_to(store.root)
            if here and model in {one.id for one in stored.manifest.models}:
                yield stored


def forget(store: ArtifactStore, model: ModelSpec, wait_s: float = WAIT_S) -> Forgotten:
    """Remove everything in ``store`` that was made with a model. Its files must still be there.

    Raises :class:`UserError` while a fit with it is going on; then nothing was removed. States and
    cached answers from before whose makers were noted cannot be told apart and go as well.
    """
    unfinished = [state for state in store.root.glob("*/.*.state") if _about(state, model.id)]
    with ExitStack() as locks:
        for state in unfinished:
            try:
                locks.enter_context(FileLock(state.with_suffix(".lock"), timeout=wait_s))
            except Timeout:
                raise UserError(
                    f"A fit with '{model.id}' is still going on. Stop it and try again."
                ) from None
        artifacts = list(artifacts_with(store, model.id))
        cached = list(_cached(store, content_print(model)))
        partial = [state.with_suffix(".partial") for state in unfinished]
        for path in [*(one.folder for one in artifacts), *unfinished, *partial, *cached]:
            _remove(path)
    names = tuple(f"{one.manifest.protocol}/{one.manifest.key}" for one in artifacts)
    return Forgotten(names, len(unfinished), len(cached))


def _about(state: Path, model: str) -> bool:
    try:
        return model in json.loads((state / MODELS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return True


def _cached(store: ArtifactStore, made: str) -> Iterator[Path]:
    """What fits share of a model: its answers, students that learnt from them, and what students
    said (of all, because a student's answers do not tell its teacher)."""
    students = [path for path in (store.shared / "students").glob("*") if _of(made, path)]
    answers = (store.shared / "answers").glob("*")
    yield from students
    yield from (path for path in answers if students or _of(made, path))


def _of(made: str, path: Path) -> bool:
    return path.name.startswith(f"{made}-") or "-" not in path.name


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
