"""A reward model as a judge: each answer gets a number, and the margin decides.

Reward models hardly ever give two answers the same number, people often call them equal; so answers
closer than ``tau`` are a tie. ``tau`` is written into a study's plan, or calibrated so that the
judge ties as often as people did.
"""

from __future__ import annotations

import asyncio
import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from evals.human.records import PairText, Verdict
from evals.judges.core import Ask, Parsed
from evals.judges.fingerprints import weights_hash
from protocols.core.engine import LoadProgress
from protocols.core.errors import ContributorError, EngineError, StudioError
from protocols.core.models import ModelSpec, content_hash
from protocols.engines.checks import check_model, check_safetensors, read_json
from protocols.engines.prompter import Prompter
from protocols.training.preferences import answered
from protocols.training.sft import CONFIG, WEIGHTS

Scorer = Callable[[str, Sequence[str]], list[float]]
"""Gives each answer to a question its reward."""
WINDOW = 4096
"""Tokens of question and answer together; what is beyond is left out at the answer's end."""


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


def load_scorer(model: ModelSpec) -> Scorer:
    """Load a reward model: a sequence classifier, or a LoRA with its head on a local base.

    Raises:
        EngineError: the model is on the hub and this machine has no CUDA device, or it cannot be
            loaded.
        ContributorError: its files are missing, damaged or hold code, it has more than one output,
            or it has no chat template.
    """
    import torch

    cuda = torch.cuda.is_available()
    if not Path(model.source).is_dir() and not cuda:
        raise EngineError(
            f"The reward model '{model.title}' ({model.source}) needs a CUDA GPU. Pick the "
            "embedded reward model, or judge on a machine with a GPU."
        )
    check_files(model)
    try:
        network, tokenizer = _load(model, "cuda" if cuda else "cpu")
    except StudioError:
        raise
    except (OSError, ValueError, RuntimeError) as error:
        raise EngineError(
            f"The reward model '{model.title}' cannot be loaded ({type(error).__name__}). "
            "Check its source, revision and adapter."
        ) from error
    return TextScorer(model, network, tokenizer)


def check_files(model: ModelSpec) -> None:
    """Check local files without loading them: models are data, never code.

    Raises :class:`ContributorError` with one sentence. The engines' own check of adapters would
    refuse the head.
    """
    check_model(model.model_copy(update={"adapter": ""}))
    if model.adapter:
        read_json(model, Path(model.adapter) / CONFIG)
        path = Path(model.adapter) / WEIGHTS
        if not path.is_file():
            raise ContributorError(f"'{model.id}': the adapter has no safetensors weights.")
        check_safetensors(model, path)


def _load(model: ModelSpec, device: str) -> tuple[Any, Any]:
    """The network with its head, in fp32 on a processor: bf16 would round margins away."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    if model.adapter:
        from peft import PeftModel

        from protocols.training.reward import load_scorer as load_headed

        base, tokenizer = load_headed(Path(model.source), device, dtype="float32")
        return PeftModel.from_pretrained(base, model.adapter).eval(), tokenizer
    revision = model.revision or None
    tokenizer = AutoTokenizer.from_pretrained(model.source, revision=revision)
    network = AutoModelForSequenceClassification.from_pretrained(
        model.source,
        revision=revision,
        dtype=torch.bfloat16 if device == "cuda" else torch.float32,
        use_safetensors=True,
    )
    if network.config.num_labels != 1:
        raise ContributorError(
            f"'{model.title}' has {network.config.num_labels} outputs; a reward model has one."
        )
    return network.to(device).eval(), tokenizer


class TextScorer:
    """Scores answers with a network that has one output. One thread at a time may call it."""

    def __init__(self, model: ModelSpec, network: Any, tokenizer: Any) -> None:
        self._model, self._network = model, network
        self._prompter = Prompter(tokenizer, WINDOW)

    def __call__(self, question: str, answers: Sequence[str]) -> list[float]:
        """Return the reward of each answer; one text at a time, so padding can never matter."""
        return [self._reward(question, answer) for answer in answers]

    def _reward(self, question: str, answer: str) -> float:
        import torch

        ids = torch.tensor([self._ids(question, answer)], device=self._network.device)
        with torch.inference_mode():
            logits = self._network(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
        return float(logits[0, 0])

    def _ids(self, question: str, answer: str) -> list[int]:
        """Token ids of the conversation as trained on; control tokens in texts are taken out."""
        turns = answered(self._prompter.clean(question), self._prompter.clean(answer))
        try:
            text = self._prompter.tokenizer.apply_chat_template(
                [dict(turn) for turn in turns], tokenize=False
            )
        except ValueError as error:
            raise ContributorError(
                f"The reward model '{self._model.title}' has no chat template."
            ) from error
        ids: list[int] = self._prompter.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids[:WINDOW]
