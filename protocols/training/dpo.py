"""Direct preference optimisation of an adapter on pairs of a better and a worse answer.

A thin wrapper over trl's DPOTrainer (Rafailov et al. 2023, arXiv 2305.18290), small enough for a
CPU. The model that training starts from is the reference: a contributed adapter is trained further
and stays an adapter of its own base.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from protocols.core.errors import EngineError
from protocols.training.checkpoints import Watch, checkpoint_arguments, progress_callback
from protocols.training.preferences import Preference
from protocols.training.sft import ATTENTION_AND_MLP, Trained, conversation, train_and_save
from protocols.training.students import Student, load_student
from protocols.training.trainers import (
    LONGEST,
    AdapterSettings,
    batch_arguments,
    common_arguments,
    device,
    fresh_lora,
    is_thrifty,
    make_trainer,
    quiet_dataset,
)


@dataclass(frozen=True, slots=True)
class DpoSettings:
    """How preferences are trained on.

    ``steps`` batches of ``batch`` pairs, 0 = every pair once; ``learning_rate`` after ``warmup``
    (a share of the steps) falls along a cosine to zero; ``beta`` holds the model near where it
    started. ``rank`` and ``alpha`` are for a model that has no adapter yet. ``max_length`` is in
    tokens; ``save_every`` so many steps a checkpoint.
    """

    steps: int = 8
    batch: int = 4
    learning_rate: float = 1e-4
    warmup: float = 0.0
    beta: float = 0.1
    rank: int = 4
    alpha: int = 8
    seed: int = 7
    max_length: int = LONGEST
    save_every: int = 4
    target_modules: tuple[str, ...] = ATTENTION_AND_MLP


def dpo_row(pair: Preference) -> dict[str, list[dict[str, str]]]:
    """One row for trl; its prompt is the very messages asked at inference."""
    chosen = conversation(pair.question, pair.chosen)
    rejected = conversation(pair.question, pair.rejected)
    return {
        "prompt": chosen["prompt"],
        "chosen": chosen["completion"],
        "rejected": rejected["completion"],
    }


def train_dpo(
    who: Student,
    pairs: Sequence[Preference],
    out: Path,
    *,
    state: Path,
    config: DpoSettings | None = None,
    watch: Watch | None = None,
) -> Trained:
    """Train ``who`` on ``pairs`` and save the adapter in ``out``; go on from what is in ``state``.

    Raises:
        EngineError: there are no pairs.
    """
    if not pairs:
        raise EngineError("There is nothing to train on: the list of preferences is empty.")
    settings = config or DpoSettings()
    trainer = dpo_trainer(who, pairs, state, settings, watch, device(), is_thrifty())
    return train_and_save(trainer, out, who.base_id, state)


def dpo_trainer(
    who: Student,
    pairs: Sequence[Preference],
    state: Path,
    settings: DpoSettings,
    watch: Watch | None,
    where: str,
    thrifty: bool = False,
) -> Any:
    """trl's trainer, ready to train."""
    from trl import DPOTrainer

    model, tokenizer = load_student(who, where)
    return make_trainer(
        DPOTrainer,
        progress_callback(watch),
        model=with_adapter(model, who, settings),
        args=_arguments(settings, state, thrifty),
        train_dataset=quiet_dataset([dpo_row(pair) for pair in pairs]),
        processing_class=tokenizer,
    )


def with_adapter(model: Any, who: Student, settings: AdapterSettings) -> Any:
    """The model with its own adapter, or a fresh one, to train.

    In fp32 beside a bf16 base: preference and policy gradients take steps too small for bf16.
    ``settings`` say rank, alpha, modules and seed of a fresh one.
    """
    import torch
    from peft import PeftModel

    if who.adapter:
        adapted = PeftModel.from_pretrained(model, who.adapter, is_trainable=True)
        # By the name in its file, peft would look the base up on the hub whenever it saves.
        adapted.peft_config["default"].base_model_name_or_path = str(who.base)
        return adapted
    torch.manual_seed(settings.seed)
    return fresh_lora(model, settings, fp32=True)


def _arguments(settings: DpoSettings, state: Path, thrifty: bool) -> Any:
    """trl's arguments."""
    from trl import DPOConfig

    return DPOConfig(
        **common_arguments(settings),
        **checkpoint_arguments(state, settings.save_every),
        **batch_arguments(settings.batch, thrifty),
        max_steps=settings.steps or -1,
        num_train_epochs=1,
        beta=settings.beta,
        max_length=settings.max_length,
    )
