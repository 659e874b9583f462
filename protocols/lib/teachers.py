"""Who teaches whom when a pool is distilled into students of one base."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from protocols.core.errors import UserError
from protocols.core.models import ModelSpec


def student_base(models: Sequence[ModelSpec], named: str = "") -> ModelSpec:
    """The model on whose base students stand.

    It is ``named``; else that of a model that is a base itself, for it needs no student,
    and among these the one that most of the pool stand on already.
    Raises :class:`UserError` if every model is served elsewhere.
    """
    able = [m for m in models if not m.is_endpoint and (not named or m.id == named)]
    if not able:
        who = f"'{named}' is" if named else "All picked models are"
        raise UserError(
            f"{who} served elsewhere, so nothing can be trained on it. Pick a model whose weights "
            "are on this machine as the student's base."
        )
    stand = [_base(model) for model in models]
    return max(able, key=lambda m: (not m.adapter, stand.count(_base(m))))


def bare(model: ModelSpec) -> ModelSpec:
    """A model's base, to be called by an id of its own if the model has an adapter."""
    if not model.adapter:
        return model
    changes = {"id": f"base.{model.id}"[:64], "name": f"Base of {model.title}", "adapter": ""}
    return model.model_copy(update=changes)


def teachers(models: Sequence[ModelSpec], base: ModelSpec, everyone: bool) -> tuple[ModelSpec, ...]:
    """Who has to be distilled: all but the base itself and, unless ``everyone``, its adapters."""
    return tuple(
        model for model in models if _base(model) != _base(base) or (everyone and model.adapter)
    )


def _base(model: ModelSpec) -> tuple[str, str]:
    local = not model.is_endpoint and Path(model.source).is_dir()
    return (str(Path(model.source).resolve()) if local else model.source), model.revision
