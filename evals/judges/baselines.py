"""Judges that know nothing: what any other judge has to beat.

They are shown beside every judge, because agreement alone means little: where one arm wins most
pairs, a judge that always names it agrees with people most of the time.
"""

from __future__ import annotations

from dataclasses import dataclass

from evals.human.records import PairText, Verdict
from evals.judges.core import Ask, Parsed, in_order
from evals.judges.llm_judge import arm_of
from protocols.core.engine import LoadProgress

BOTH_ORDERS = (Ask(False), Ask(True))


class _KnowsNothing:
    """A judge without a model."""

    prompt_hash = model_hash = ""

    def asks(self) -> tuple[Ask, ...]:
        """Both orders."""
        return BOTH_ORDERS

    async def load(self, progress: LoadProgress | None = None) -> None:
        """Nothing to load."""


@dataclass(frozen=True)
class FirstJudge(_KnowsNothing):
    """Always prefers the answer that is shown first."""

    id: str = "always-first"

    async def verdict(self, pair: PairText, ask: Ask) -> Verdict:
        """Prefer A."""
        return _verdict(self.id, pair, ask, arm_of("A", ask), "A")


@dataclass(frozen=True)
class LongerJudge(_KnowsNothing):
    """Always prefers the longer answer, counted in characters; equal lengths are a tie."""

    id: str = "longer-wins"

    async def verdict(self, pair: PairText, ask: Ask) -> Verdict:
        """Compare lengths."""
        first, second = (len(text) for text in in_order(pair, ask))
        parsed: Parsed = "tie" if first == second else arm_of("A" if first > second else "B", ask)
        return _verdict(self.id, pair, ask, parsed, f"{first} and {second} characters")


def _verdict(judge: str, pair: PairText, ask: Ask, parsed: Parsed, raw: str) -> Verdict:
    return Verdict(pair.item, judge, ask.system_first, ask.repeat, parsed, raw)
