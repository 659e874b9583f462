"""What a newcomer meets: a recorded run that plays, and a form that asks the same for real."""

from __future__ import annotations

from protocols.core.errors import StudioError
from protocols.core.models import RunSpec
from protocols.core.trace import TraceHeader, read_header
from studio.context import StudioContext
from studio.pages import picker

OPENING_PROTOCOL = "multiagent_refine"


def opening_recording(ctx: StudioContext) -> TraceHeader | None:
    """The recorded run that greets a first visitor, if there is one: a debate if possible."""
    found = []
    for path in sorted(ctx.workspace.recordings.glob("*.jsonl")):
        try:
            found.append(read_header(path))
        except StudioError:
            continue
    return min(found, key=lambda one: one.spec.protocol != OPENING_PROTOCOL, default=None)


def opening_form(ctx: StudioContext, example: str) -> tuple[str, list[str]]:
    """Question and models of the form as the page opens: those of the recording that plays.

    Whoever presses Run after it then sees what was shown happen, not other models that know
    nothing of it. Where it cannot be asked again, ``example`` and the pool's first specialists.
    """
    recorded = opening_recording(ctx)
    spec = recorded.spec if recorded else None
    if spec and _may_be_asked(ctx, spec):
        return spec.question, list(spec.pool)
    return example, picker.opening(ctx.opening_pool)


def _may_be_asked(ctx: StudioContext, spec: RunSpec) -> bool:
    known = {model.id for model in ctx.opening_pool.specs}
    return spec.protocol == OPENING_PROTOCOL and known.issuperset(spec.pool)
