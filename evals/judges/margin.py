"""What judges share that give each answer a number: the margin between the two numbers decides.

Such judges hardly ever give two answers the same number, people often call them equal; so answers
closer than ``tau`` are a tie. ``tau`` is written into a study's plan, or calibrated so that the
judge ties as often as people did.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise

from evals.human.records import PairText, Verdict
from evals.judges.core import Ask, Parsed
from evals.judges.fingerprints import weights_hash
from protocols.core.models import ModelSpec


def margin_verdict(contributor: float, system: float, tau: float) -> Parsed:
    """Return who has the higher number; closer than ``tau`` is a tie, NaN or infinity unparsed."""
    delta = system - contributor
    if not math.isfinite(delta):
        return "unparsed"
    if delta == 0 or abs(delta) < tau:
        return "tie"
    return "system" if delta > 0 else "contributor"


def calibrate_tau(deltas: Sequence[float], tie_rate: float) -> float:
    """Return the ``tau`` for which the share of ties is nearest to ``tie_rate`` (0 to 1).

    Equal margins tie together or not at all. NaN margins are left out. 0.0 without margins.
    """
    sizes = sorted(abs(delta) for delta in deltas if math.isfinite(delta))
    if not sizes:
        return 0.0
    # Midway between two margins, so that rounding a stored tau cannot turn a verdict.
    middles = [(low + high) / 2 for low, high in pairwise(sorted({0.0, *sizes}))]
    wanted = tie_rate * len(sizes)
    steps = [0.0, *middles, sizes[-1] + 1.0]
    ties = {tau: max(bisect_left(sizes, tau), bisect_right(sizes, 0.0)) for tau in steps}
    return min(steps, key=lambda tau: (abs(ties[tau] - wanted), tau))


class MarginJudge(ABC):
    """Each answer is judged alone, so there is one judgement of a pair and no order."""

    id: str
    model: ModelSpec
    tau: float

    @property
    @abstractmethod
    def prompt_hash(self) -> str:
        """Names what the judge is told beside the texts, its margin included."""

    @cached_property
    def model_hash(self) -> str:
        """Names the weights; computed on first use, as files may be read."""
        return weights_hash(self.model)

    def asks(self) -> tuple[Ask, ...]:
        """One judgement; no order is shown to the model."""
        return (Ask(system_first=False),)

    def by_margin(
        self,
        pair: PairText,
        ask: Ask,
        contributor: float,
        system: float,
        notes: Sequence[str] = (),
    ) -> Verdict:
        """The verdict that the two answers' numbers come to; ``notes`` stay in its raw text."""
        raw = f"contributor={contributor:.4f} system={system:.4f} tau={self.tau:.4f}"
        return Verdict(
            item=pair.item,
            judge=self.id,
            system_first=ask.system_first,
            repeat=ask.repeat,
            parsed=margin_verdict(contributor, system, self.tau),
            raw=" ".join([raw, *(f"[{note}]" for note in notes)]),
            score_contributor=contributor,
            score_system=system,
            prompt_hash=self.prompt_hash,
            model_hash=self.model_hash,
        )
