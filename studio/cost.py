"""What a run will cost at most, before it is started; and the effort dial that sets it."""

from __future__ import annotations

from typing import Any, Literal, get_args

from protocols.core.registry import Estimate, ProtocolSpec

Effort = Literal["quick", "balanced", "thorough"]
EFFORTS: tuple[Effort, ...] = get_args(Effort)
MAX_TOKENS: dict[Effort, int] = {"quick": 32, "balanced": 96, "thorough": 256}


def sentence(bound: Estimate, models: int) -> str:
    """An upper bound as one line for the page."""
    named = f"{models} model{'s' if models != 1 else ''}"
    calls = f"{bound.calls} call{'s' if bound.calls != 1 else ''}"
    scored = f" and {bound.scores} scored decisions" if bound.scores else ""
    return f"At most {calls}{scored}, {bound.tokens:,} tokens, over {named}."


def dial(protocol: ProtocolSpec, effort: Effort) -> dict[str, Any]:
    """The settings that an effort level means for a protocol.

    A config field says what the three levels mean to it with
    ``json_schema_extra={"effort": [quick, balanced, thorough]}``; other fields stay as they are.
    """
    level = EFFORTS.index(effort)
    chosen = {}
    for name, field in protocol.config.model_fields.items():
        extra = field.json_schema_extra
        if isinstance(extra, dict) and "effort" in extra:
            chosen[name] = extra["effort"][level]  # type: ignore[index]
    return chosen
