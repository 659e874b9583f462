"""A reward model as a judge: each answer gets a number, and the margin decides."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from evals.human.records import PairText, Verdict
from evals.judges.core import Ask
from evals.judges.margin import MarginJudge
from protocols.core.engine import LoadProgress
from protocols.core.errors import EngineError
from protocols.core.models import ModelSpec, content_hash
from protocols.training.reward_scorer import Scorer, load_scorer


@dataclass
class RewardJudge(MarginJudge):
    """Implements :class:`evals.judges.core.Judge` with a reward model.

    ``scorer`` is made from ``model`` on loading unless it is given; ``tau`` is in its units.
    """

    id: str
    model: ModelSpec
    tau: float = 0.0
    scorer: Scorer | None = None
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)
    """One pair at a time: more would only wait, in threads that others need."""

    @property
    def prompt_hash(self) -> str:
        """Names the margin: it is told nothing else, and another margin is another judge."""
        return content_hash(["margin", self.tau])

    async def load(self, progress: LoadProgress | None = None) -> None:
        """Load the model. Raises :class:`EngineError` if this machine cannot run it."""
        if self.scorer is None:
            self.scorer = await asyncio.to_thread(load_scorer, self.model)

    async def verdict(self, pair: PairText, ask: Ask) -> Verdict:
        """Score both answers. Raises :class:`EngineError` before :meth:`load`."""
        if self.scorer is None:
            raise EngineError(f"The reward model '{self.id}' is not loaded.")
        answers = [pair.contributor, pair.system]
        async with self._turn:
            contributor, system = await asyncio.to_thread(self.scorer, pair.prompt, answers)
        return self.by_margin(pair, ask, contributor, system)
