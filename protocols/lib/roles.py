"""Who plays a role in a protocol: somebody named, somebody trained for it, or a generalist."""

from __future__ import annotations

from collections.abc import Mapping

from protocols.core.models import content_hash
from protocols.core.registry import Context
from protocols.lib.choice import generalist

LONGEST = 64 - len("derived.")
"""Characters that are left of a model's id for a role and its player."""


def role_of(role: str, model: str) -> str:
    """What a contributed model's trained version for ``role`` is called: the same everywhere."""
    name = f"{role}.{model}"
    return name if len(name) <= LONGEST else f"{role}.{content_hash(model)}"


def trained_model(ctx: Context, role: str) -> str:
    """The id of the model that was trained for ``role``; empty if there is none."""
    wanted = f"derived.{role}"
    return next((model.id for model in ctx.derived if model.id == wanted), "")


def model_for_role(ctx: Context, role: str, named: str = "") -> str:
    """Who plays ``role``: the one named, else the one trained for it, else the first generalist."""
    return named or trained_model(ctx, role) or generalist(ctx.models)


def untrained_note(ctx: Context, named: Mapping[str, str]) -> str:
    """A sentence that says which roles nobody was trained for; empty if there are none.

    ``named`` says by role who was picked for it, if anybody was.
    """
    missing = [role for role, name in named.items() if not name and not trained_model(ctx, role)]
    if not missing:
        return ""
    return f"Nobody was trained as {' or '.join(missing)}; a model of the pool does it as it is."


def versions(ctx: Context, role: str) -> dict[str, str]:
    """By contributed model, who plays ``role`` for it: its trained version, else the model."""
    return {model.id: trained_model(ctx, f"{role}.{model.id}") or model.id for model in ctx.models}
