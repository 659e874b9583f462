"""A reward model: a LoRA and a scoring head on a base model, trained on preferences.

A thin wrapper over trl's RewardTrainer, with settings that suit a small model on a CPU as well as
on a GPU. It knows preferences and adapters; it does not know tasks, judges or studies.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from protocols.core.errors import EngineError
from protocols.core.torch_setup import ONE_LOAD_AT_A_TIME
from protocols.training.preferences import Preference, preference_row
from protocols.training.sft import (
    ATTENTION_AND_MLP,
    OnStep,
    Trained,
    report_to,
    train_and_save,
)
from protocols.training.trainers import (
    batch_arguments,
    common_arguments,
    device,
    fresh_lora,
    make_trainer,
    quiet_dataset,
)

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

HEAD = "score"
"""The name that transformers gives the head of a sequence classifier."""


@dataclass(frozen=True, slots=True)
class RewardSettings:
    """How a reward model is trained; the defaults made the embedded one.

    ``steps`` batches of ``batch`` preferences (two texts each); ``learning_rate`` after ``warmup``
    steps falls along a cosine to zero (with four times as much, all rewards became equal).
    ``max_length`` is in tokens, question and answer together; longer preferences are left out.
    ``centre`` keeps rewards near zero (Eisenstein et al. 2023, "Helping or Herding", arXiv
    2312.09244, Eq. 2).
    """

    steps: int = 300
    batch: int = 8
    learning_rate: float = 5e-4
    warmup: int = 15
    rank: int = 4
    alpha: int = 8
    seed: int = 7
    max_length: int = 160
    centre: float = 0.01
    target_modules: tuple[str, ...] = ATTENTION_AND_MLP


def train_reward(
    base: Path,
    preferences: Sequence[Preference],
    out: Path,
    *,
    base_id: str,
    config: RewardSettings | None = None,
    on_step: OnStep | None = None,
) -> Trained:
    """Train a LoRA and a scoring head for the model in ``base``; save both in ``out``.

    ``on_step`` is called with (step, loss) every few steps and may raise to stop the training.

    Raises:
        EngineError: there are no preferences.
    """
    import torch

    if not preferences:
        raise EngineError("There is nothing to train on: the list of preferences is empty.")
    settings = config or RewardSettings()
    # The head starts from random numbers, so the seed is set before the base is loaded.
    torch.manual_seed(settings.seed)
    model, tokenizer = load_scorer(base, device())
    lora = attach_head(model, settings)
    trainer = _trainer(lora, tokenizer, preferences, settings, out, on_step)
    return train_and_save(trainer, out, base_id)


def load_scorer(
    base: Path, where: str, dtype: str = "bfloat16"
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a base model with a fresh head of one output, and its tokenizer."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer
    from trl.trainer.reward_trainer import suppress_seqcls_warning

    tokenizer = AutoTokenizer.from_pretrained(base, trust_remote_code=False)
    # A base has no such head and its own is not needed: neither is news.
    with suppress_seqcls_warning(), ONE_LOAD_AT_A_TIME:
        model = AutoModelForSequenceClassification.from_pretrained(
            base,
            num_labels=1,
            dtype=getattr(torch, dtype),
            use_safetensors=True,
            trust_remote_code=False,
        )
    model.config.pad_token_id = tokenizer.pad_token_id
    return model.to(where), tokenizer


def attach_head(model: PreTrainedModel, config: RewardSettings) -> Any:
    """Return ``model`` with a fresh LoRA; the head is trained whole and saved beside it."""
    return fresh_lora(model, config, fp32=False, task="SEQ_CLS", modules_to_save=[HEAD])


def _trainer(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    preferences: Sequence[Preference],
    config: RewardSettings,
    out: Path,
    on_step: OnStep | None,
) -> Any:
    from trl import RewardTrainer

    mixed = list(preferences)
    random.Random(config.seed).shuffle(mixed)
    return make_trainer(
        RewardTrainer,
        *([report_to(on_step)] if on_step else []),
        model=model,
        args=_arguments(config, out),
        train_dataset=quiet_dataset([preference_row(one) for one in mixed]),
        processing_class=tokenizer,
    )


def _arguments(config: RewardSettings, out: Path) -> Any:
    """Return trl's arguments."""
    from trl import RewardConfig

    return RewardConfig(
        **common_arguments(config),
        output_dir=str(out),
        max_steps=config.steps,
        **batch_arguments(config.batch, thrifty=False),
        max_length=config.max_length,
        center_rewards_coefficient=config.centre,
        save_strategy="no",
        logging_steps=5,
    )
