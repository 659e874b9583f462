"""A reward model as a judge: each answer gets a number, and the margin decides.

Reward models hardly ever give two answers the same number, people often call them equal; so answers
closer than ``tau`` are a tie. ``tau`` is written into a study's plan, or calibrated so that the
judge ties as often as people did.
"""

from __future__ import annotations

import asyncio
import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from evals.human.records import PairText, Verdict
from evals.judges.core import Ask, Parsed
from evals.judges.fingerprints import weights_hash
from protocols.core.engine import LoadProgress
from protocols.core.errors import EngineError
from protocols.core.models import ModelSpec, content_hash
from protocols.training.reward_scorer import Scorer, load_scorer


def margin_verdict(contributor: float, system: float, tau: float) -> Parsed:
    """Return who has the higher reward; closer than ``tau`` is a tie, NaN or infinity unparsed."""
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


@dataclass
class RewardJudge:
    """Implements :class:`evals.judges.core.Judge` with a reward model.

    ``scorer`` is made from ``model`` on loading unless it is given. Each answer is scored alone, so
    there is one judgement of a pair and no order.
    """

    id: str
    model: ModelSpec
    tau: float = 0.0
    scorer: Scorer | None = None
    _weights: str = field(default="", init=False)
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)
    """One pair at a time: more would only wait, in threads that others need."""

    @property
    def prompt_hash(self) -> str:
        """Names the margin: it is told nothing else, and another margin is another judge."""
        return content_hash(["margin", self.tau])

    @property
    def model_hash(self) -> str:
        """Names the weights."""
        self._weights = self._weights or weights_hash(self.model)
        return self._weights

    def asks(self) -> tuple[Ask, ...]:
        """One judgement; the order is not shown to the model."""
        return (Ask(system_first=False),)

    async def load(self, progress: LoadProgress | None = None) -> None:
        """Load the model. Raises :class:`EngineError` if this machine cannot run it."""
        if self.scorer is None:
            self.scorer = await asyncio.to_thread(load_scorer, self.model)

    async def verdict(self, pair: PairText, ask: Ask) -> Verdict:
        """Score both answers."""
        if self.scorer is None:
            raise EngineError(f"The reward model '{self.id}' is not loaded.")
        answers = [pair.contributor, pair.system]
        async with self._turn:
            contributor, system = await asyncio.to_thread(self.scorer, pair.prompt, answers)
        return Verdict(
            item=pair.item,
            judge=self.id,
            system_first=ask.system_first,
            repeat=ask.repeat,
            parsed=margin_verdict(contributor, system, self.tau),
            raw=f"contributor={contributor:.4f} system={system:.4f} tau={self.tau:.4f}",
            score_contributor=contributor,
            score_system=system,
            prompt_hash=self.prompt_hash,
            model_hash=self.model_hash,
        )
