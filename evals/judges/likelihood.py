"""A language model as a judge by what it would say itself: the likelier answer is the better one.

A small model that has learned what is asked of it cannot yet say whether somebody else's answer is
right; but it finds right answers likelier. There is no order that could matter, and nothing is read
from words. Longer answers are less likely, so this judge suits short ones; and it prefers answers
of its own kind, so a model of its family among the arms is flagged as for every judge.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from evals.judges.reward_model import RewardJudge
from protocols.core.engine import LoadProgress
from protocols.core.models import content_hash
from protocols.training.answer_likelihood import load_likelihood


@dataclass
class LikelihoodJudge(RewardJudge):
    """Implements :class:`evals.judges.core.Judge`; ``tau`` is in natural logs of probability.

    ``contrast`` is the share of the base's own log-probability that is taken off.
    """

    contrast: float = 0.0

    @property
    def prompt_hash(self) -> str:
        """Names the kind of score, its contrast and the margin."""
        return content_hash(["likelihood", self.contrast, self.tau])

    async def load(self, progress: LoadProgress | None = None) -> None:
        """Load the model. Raises :class:`EngineError` if this machine does not have it."""
        if self.scorer is None:
            self.scorer = await asyncio.to_thread(load_likelihood, self.model, self.contrast)
