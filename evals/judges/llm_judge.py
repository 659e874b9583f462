"""A language model as a judge, through whichever engine serves it.

Where the engine can score, the judge is asked how likely "A", "B" and "T" (tie) come next, which
leaves nothing to parse; else it writes and its text is read strictly. Every pair is asked in both
orders. It never sees an arm's name: answers arrive masked and leave as A and B.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import cached_property

from evals.human.records import PairText, Verdict
from evals.judges.core import Ask, Parsed, in_order
from evals.judges.fingerprints import weights_hash
from evals.judges.prompt import LABELS, RUBRIC, judge_messages, prompt_hash
from evals.judges.reading import Reading, read_choice
from protocols.core.engine import Engine, GenerateRequest, LoadProgress, ScoreRequest
from protocols.core.models import ModelSpec, Sampling
from protocols.lib.prompts import Message
from protocols.lib.text import shortened

FIRST, SECOND, TIE = LABELS
ANSWER_TOKENS = 256
"""Room for a verdict in words, when the engine cannot score."""
WARM = 0.7
"""Temperature of repeated judgements in words; a single one is greedy."""


@dataclass
class LlmJudge:
    """Implements :class:`evals.judges.core.Judge` with a model and an engine.

    ``repeats`` counts judgements per order in words. Label scores have no chance in them, so they
    are taken once however many repeats are asked for.
    """

    id: str
    model: ModelSpec
    engine: Engine
    repeats: int = 1
    rubric: str = RUBRIC
    seed: int = 0
    max_tokens: int = ANSWER_TOKENS
    _weights: str = field(default="", init=False)

    @cached_property
    def prompt_hash(self) -> str:
        """Names the words around the texts."""
        return prompt_hash(self.rubric)

    @property
    def model_hash(self) -> str:
        """Names source, revision and adapter; computed on first use, as files may be read."""
        self._weights = self._weights or weights_hash(self.model)
        return self._weights

    @property
    def scores(self) -> bool:
        """Whether the engine gives label probabilities for this model."""
        return "score" in self.engine.capabilities(self.model)

    def asks(self) -> tuple[Ask, ...]:
        """Both orders, each as often as it can differ."""
        times = 1 if self.scores else max(1, self.repeats)
        return tuple(Ask(first, number) for number in range(times) for first in (False, True))

    async def load(self, progress: LoadProgress | None = None) -> None:
        """Load the model. Raises what the engine raises."""
        await self.engine.load([self.model], progress)

    async def verdict(self, pair: PairText, ask: Ask) -> Verdict:
        """Judge a pair in one order. Raises :class:`StudioError` if the model fails."""
        # Another run may have taken the judge's place in memory; this costs nothing if it is there.
        await self.engine.load([self.model])
        notes: list[str] = []
        messages = self._messages(pair, ask, notes.append)
        if self.scores:
            found = await self._scored(pair, ask, messages)
            reading, raw = highest(found), written(found)
        else:
            found = {}
            raw = await self._said(pair, ask, messages)
            reading = read_choice(raw)
        first, second = found.get(FIRST), found.get(SECOND)
        return Verdict(
            item=pair.item,
            judge=self.id,
            system_first=ask.system_first,
            repeat=ask.repeat,
            parsed=arm_of(reading, ask),
            raw=" ".join([raw, *(f"[{note}]" for note in notes)]),
            score_contributor=second if ask.system_first else first,
            score_system=first if ask.system_first else second,
            prompt_hash=self.prompt_hash,
            model_hash=self.model_hash,
        )

    def _messages(self, pair: PairText, ask: Ask, warn: Callable[[str], None]) -> list[Message]:
        """The prompt; texts that do not fit are shortened evenly, the instructions never."""
        room = self.engine.window(self.model) - (1 if self.scores else self.max_tokens)

        def build(texts: Sequence[str]) -> list[Message]:
            return judge_messages(texts, self.rubric)

        def fits(messages: Sequence[Message]) -> bool:
            return self.engine.count_tokens(self.model, messages) < room

        return shortened([pair.prompt, *in_order(pair, ask)], build, fits, warn)

    async def _scored(
        self, pair: PairText, ask: Ask, messages: Sequence[Message]
    ) -> dict[str, float]:
        request = ScoreRequest(self._name(pair, ask), self.model, messages, LABELS)
        return (await self.engine.score(request)).logprobs

    async def _said(self, pair: PairText, ask: Ask, messages: Sequence[Message]) -> str:
        name = self._name(pair, ask)
        warmth = WARM if self.repeats > 1 else 0.0
        sampling = Sampling(max_tokens=self.max_tokens, temperature=warmth)
        request = GenerateRequest(name, self.model, messages, sampling.seeded(self.seed, name))
        async with aclosing(self.engine.stream(request)) as chunks:
            return "".join([chunk.text async for chunk in chunks])

    def _name(self, pair: PairText, ask: Ask) -> str:
        """A request id that is unique among this judge's requests and says nothing of arms."""
        return f"judge/{self.id}/{pair.item}/{int(ask.system_first)}{ask.repeat}"


def highest(logprobs: Mapping[str, float]) -> Reading:
    """Return the likeliest label; a tie between A and B is a tie, and NaN is unparsed."""
    if not logprobs or any(math.isnan(value) for value in logprobs.values()):
        return "unparsed"
    top = max(logprobs.values())
    best = [label for label in LABELS if logprobs.get(label) == top]
    if len(best) > 1 or best == [TIE]:
        return "tie"
    return "A" if best == [FIRST] else "B"


def written(logprobs: Mapping[str, float]) -> str:
    """Return label scores as text: what the judge 'said', for audit."""
    return " ".join(f"{label}={value:.4f}" for label, value in logprobs.items())


def arm_of(reading: Reading, ask: Ask) -> Parsed:
    """Return whom a reading names, given who stood first."""
    if reading == "tie" or reading == "unparsed":
        return reading
    return "system" if (reading == "A") == ask.system_first else "contributor"
