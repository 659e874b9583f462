"""How likely a language model finds an answer: the log-probability of the whole text.

Nothing is generated and nothing is read from words: the answer's tokens are read in one pass after
the question, as the model would be asked, and their natural log-probabilities are added up. The end
of the answer does not count, so a text that breaks off is not punished for it.

A fluent wrong answer is likely too. With ``contrast`` that part of the log-probability is taken off
which the base model without its adapter gives the text: what is left is what the adapter taught.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from protocols.core.errors import ContributorError, EngineError
from protocols.core.models import ModelSpec
from protocols.engines.checks import check_model
from protocols.engines.prompter import Prompter
from protocols.lib.prompts import question_messages
from protocols.training.sft import load_base
from protocols.training.trainers import device

WINDOW = 4096
"""Tokens of question and answer together; what is beyond is left out at the answer's end."""


def load_likelihood(model: ModelSpec, contrast: float = 0.0) -> AnswerLikelihood:
    """Load a language model, or a LoRA on one, from this machine.

    ``contrast`` is the share of the base's own log-probability that is taken off (0 = none of it);
    it means nothing without an adapter.

    Raises:
        EngineError: the model is not a folder on this machine.
        ContributorError: its files are missing, damaged or hold code.
    """
    folder = Path(model.source)
    if not folder.is_dir():
        raise EngineError(
            f"'{model.title}' ({model.source}) is not on this machine. Name its folder."
        )
    check_model(model)
    network, tokenizer = load_base(folder, device())
    if model.adapter:
        from peft import PeftModel

        network = PeftModel.from_pretrained(network, model.adapter)
    return AnswerLikelihood(model, network.eval(), tokenizer, contrast)


class AnswerLikelihood:
    """Scores answers by a causal language model. One thread at a time may call it."""

    def __init__(
        self, model: ModelSpec, network: Any, tokenizer: Any, contrast: float = 0.0
    ) -> None:
        self._model, self._network = model, network
        self._contrast = contrast if model.adapter else 0.0
        self._prompter = Prompter(tokenizer, WINDOW)

    def __call__(self, question: str, answers: Sequence[str]) -> list[float]:
        """Return each answer's score in natural logs: log p(answer | question), less the contrast.

        Raises :class:`ContributorError` for a question that leaves no room for an answer.
        """
        if not self._contrast:
            return self._logps(question, answers)
        parts = self.parts(question, answers)
        return [own - self._contrast * base for own, base in parts]

    def parts(self, question: str, answers: Sequence[str]) -> list[tuple[float, float]]:
        """Return log p(answer | question) with the adapter and without it; needs an adapter."""
        own = self._logps(question, answers)
        with self._network.disable_adapter():
            return list(zip(own, self._logps(question, answers), strict=True))

    def _logps(self, question: str, answers: Sequence[str]) -> list[float]:
        import torch

        asked = self._prompter.ids(self._model, question_messages(question))
        if len(asked) >= WINDOW:
            raise ContributorError(f"'{self._model.title}' has no room for so long a question.")
        room = WINDOW - len(asked)
        with torch.inference_mode():
            return [self._logp(asked, self._answer(answer, room)) for answer in answers]

    def _answer(self, text: str, room: int) -> list[int]:
        cleaned = self._prompter.clean(text)
        ids: list[int] = self._prompter.tokenizer(cleaned, add_special_tokens=False)["input_ids"]
        return ids[:room]

    def _logp(self, asked: list[int], said: list[int]) -> float:
        """An empty answer has log-probability 0: nothing was said that could be unlikely."""
        import torch

        if not said:
            return 0.0
        where = self._network.device
        ids = torch.tensor([asked + said], device=where)
        # Positions as a list: of a slice, torch copies the vocabulary's matrix for each row.
        places = torch.arange(len(asked) - 1, ids.shape[1] - 1, device=where)
        logits = self._network(input_ids=ids, use_cache=False, logits_to_keep=places).logits[0]
        logp = torch.log_softmax(logits.float(), dim=-1)
        return float(logp.gather(1, torch.tensor(said, device=where)[:, None]).sum())
