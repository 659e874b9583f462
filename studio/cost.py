"""What a run will cost at most, before it is started; and the effort dial that sets it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

from protocols.core.registry import ProtocolSpec

Effort = Literal["quick", "balanced", "thorough"]
EFFORTS: tuple[Effort, ...] = get_args(Effort)
MAX_TOKENS: dict[Effort, int] = {"quick": 32, "balanced": 96, "thorough": 256}


@dataclass(frozen=True)
class Cost:
    """An upper bound: calls that generate, calls that only score, tokens per generating call."""

    calls: int
    scores: int
    tokens_each: int

    @property
    def tokens(self) -> int:
        """Generated tokens at most."""
        return self.calls * self.tokens_each

    def sentence(self, models: int) -> str:
        """One line for the page."""
        parts = [f"{self.calls} calls x {self.tokens_each} tokens"]
        if self.scores:
            parts.append(f"{self.scores} scored decisions")
        named = f"{models} model{'s' if models != 1 else ''}"
        return f"At most {' + '.join(parts)} = {self.tokens:,} tokens over {named}."


def cost(protocol: ProtocolSpec, config: Any, models: int, max_tokens: int) -> Cost:
    """The most that one answer can cost."""
    calls, scores = protocol.estimate(config, models)
    return Cost(calls, scores, max_tokens)


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
