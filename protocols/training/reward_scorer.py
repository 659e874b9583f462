"""A reward model at work: it gives an answer to a question a number.

Any sequence classifier with one output, or a LoRA with its head on a local base. Answers are scored
one at a time, each alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocols.core.errors import ContributorError, EngineError, StudioError, UserError
from protocols.core.fit_types import FitContext
from protocols.core.models import ModelSpec, content_hash
from protocols.core.torch_setup import ONE_LOAD_AT_A_TIME
from protocols.engines.checks import check_model
from protocols.engines.model_files import check_safetensors, read_json
from protocols.engines.prompter import Prompter
from protocols.lib.choice import generalist
from protocols.lib.local_files import local_folder
from protocols.training.pool_answers import Table
from protocols.training.preferences import answered
from protocols.training.sft import CONFIG, WEIGHTS

Scorer = Callable[[str, Sequence[str]], list[float]]
"""Gives each answer to a question its reward."""
WINDOW = 4096
"""Tokens of question and answer together; what is beyond is left out at the answer's end."""
SHOWN = 8
"""Items between two reports."""


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
    tokenizer = AutoTokenizer.from_pretrained(
        model.source, revision=revision, trust_remote_code=False
    )
    with ONE_LOAD_AT_A_TIME:
        network = AutoModelForSequenceClassification.from_pretrained(
            model.source,
            revision=revision,
            dtype=torch.bfloat16 if device == "cuda" else torch.float32,
            use_safetensors=True,
            trust_remote_code=False,
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
        text = self._prompter.text(self._model, answered(question, answer), opened=False)
        ids: list[int] = self._prompter.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids[:WINDOW]


def reward_spec(ctx: FitContext) -> ModelSpec:
    """The reward model that a fit's settings name: a hub id or a folder (a model or an adapter).

    An adapter belongs to the base of the pool's first generalist. Raises :class:`UserError` if none
    is named or the folder holds neither.
    """
    name = ctx.config.reward_model
    if not name:
        raise UserError(
            "The judge is a reward model, but none is named. Set 'Reward model' (reward_model) to "
            "a folder or a hub id, or 'Judge' (judge) to 'task'."
        )
    folder = Path(name)
    if (folder / CONFIG).is_file():
        base = next(m for m in ctx.models if m.id == generalist(ctx.models))
        source = str(local_folder(base))
        return ModelSpec(id="reward", source=source, adapter=str(folder.resolve()))
    if folder.is_dir():
        return ModelSpec(id="reward", source=str(folder.resolve()))
    if folder.is_absolute() or name.startswith("."):
        raise UserError(f"There is no reward model in '{folder.name}'. Name another folder.")
    return ModelSpec(id="reward", source=name)


def rewards(ctx: FitContext, table: Table) -> NDArray[np.float64]:
    """The reward of every answer of a table, [items, models]; see :func:`rewards_of`."""
    return rewards_of(ctx, [item.question for item in table.items], table.texts)


def rewards_of(
    ctx: FitContext, questions: Sequence[str], answers: Sequence[Sequence[str]]
) -> NDArray[np.float64]:
    """The reward of every answer, [questions, answers], as a place between 0 and 1 among all.

    Rewards have no scale of their own: they are taken about their mean, in standard deviations, and
    squashed. A text without words gets 0. Blocks; what was scored is remembered.
    """
    spec = reward_spec(ctx)
    path = ctx.state / f"rewards-{content_hash(ctx.config.reward_model, answers)}.json"
    known: list[list[float | None]] = json.loads(path.read_text("utf-8")) if path.is_file() else []
    scorer = load_scorer(spec) if len(known) < len(questions) else None
    for at in range(len(known), len(questions)):
        assert scorer
        texts = answers[at]
        found = iter(scorer(questions[at], [text for text in texts if text.strip()]))
        known.append([next(found) if text.strip() else None for text in texts])
        if at % SHOWN == 0 or at + 1 == len(questions):
            part = path.with_suffix(".part")
            part.write_text(json.dumps(known), encoding="utf-8")
            part.rename(path)
            ctx.report("judge", at + 1, len(questions), "The reward model reads the answers")
    return squashed(known)


def squashed(rows: Sequence[Sequence[float | None]]) -> NDArray[np.float64]:
    """Rewards from 0 to 1: the logistic function of standardised ones, 0 for what has none."""
    raw = np.array([[np.nan if r is None else r for r in row] for row in rows], dtype=np.float64)
    if np.isnan(raw).all():
        return np.zeros_like(raw)
    scale = float(np.nanstd(raw)) or 1.0
    made = 1 / (1 + np.exp(-(raw - np.nanmean(raw)) / scale))
    return np.nan_to_num(made, nan=0.0)
