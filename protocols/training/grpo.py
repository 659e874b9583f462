"""Reinforcement learning of an adapter with rewards that can be verified.

A thin wrapper over trl's GRPOTrainer (Shao et al. 2024, DeepSeekMath, arXiv 2402.03300), small
enough for a CPU: a few answers are drawn to one prompt, and those better than their mean become
likelier.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from protocols.core.errors import EngineError
from protocols.lib.prompts import Message
from protocols.training.checkpoints import Watch, checkpoint_arguments, progress_callback
from protocols.training.dpo import with_adapter
from protocols.training.sft import ATTENTION_AND_MLP, Trained, train_and_save
from protocols.training.students import Student, load_student
from protocols.training.trainers import (
    batch_arguments,
    common_arguments,
    device,
    is_thrifty,
    make_trainer,
    quiet_dataset,
)

Reward = Callable[[str, str], float]
"""How good a text is as the answer to the exercise with this key, 0 to 1."""


@dataclass(frozen=True, slots=True)
class Exercise:
    """A prompt to practise on; ``key`` is what the reward knows it by."""

    key: str
    messages: tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class GrpoSettings:
    """How rewards are learnt from.

    Each of ``steps`` takes one exercise and draws ``draws`` answers of ``max_tokens`` tokens at
    most at ``temperature``; 0 steps = every exercise once. ``beta`` is the pull to the model that
    training started from. ``save_every`` so many steps a checkpoint.
    """

    steps: int = 24
    draws: int = 4
    learning_rate: float = 1e-4
    warmup: float = 0.1
    weight_decay: float = 1e-5
    beta: float = 0.0
    temperature: float = 1.0
    max_tokens: int = 48
    rank: int = 4
    alpha: int = 8
    seed: int = 7
    save_every: int = 4
    target_modules: tuple[str, ...] = ATTENTION_AND_MLP


def grpo_row(exercise: Exercise) -> dict[str, Any]:
    """One row for trl; its prompt is the very messages asked at inference."""
    prompt = [{"role": turn["role"], "content": turn["content"]} for turn in exercise.messages]
    return {"prompt": prompt, "key": exercise.key}


def train_grpo(
    who: Student,
    exercises: Sequence[Exercise],
    reward: Reward,
    out: Path,
    *,
    state: Path,
    config: GrpoSettings | None = None,
    watch: Watch | None = None,
) -> Trained:
    """Train ``who`` on ``exercises`` and save the adapter in ``out``; go on from ``state``.

    Raises:
        EngineError: there are no exercises.
    """
    if not exercises:
        raise EngineError("There is nothing to train on: the list of exercises is empty.")
    settings = config or GrpoSettings()
    trainer = grpo_trainer(who, exercises, reward, state, settings, watch, device(), is_thrifty())
    return train_and_save(trainer, out, who.base_id, state)


def grpo_trainer(
    who: Student,
    exercises: Sequence[Exercise],
    reward: Reward,
    state: Path,
    settings: GrpoSettings,
    watch: Watch | None,
    where: str,
    thrifty: bool = False,
) -> Any:
    """trl's trainer, ready to train."""

    # Only about generating through vLLM, which is not asked for here.
    warnings.filterwarnings("ignore", message="TRL currently supports vLLM")
    from trl import GRPOTrainer

    def rewards(completions: list[Any], key: list[str], **_: Any) -> list[float]:
        if watch:  # drawing answers is the long part of a step: a stopped fit leaves here
            watch(int(trainer.state.global_step), {})
        texts = [completion[0]["content"] for completion in completions]
        return [reward(one, text) for one, text in zip(key, texts, strict=True)]

    model, tokenizer = load_student(who, where)
    trainer = make_trainer(
        GRPOTrainer,
        progress_callback(watch),
        model=with_adapter(model, who, settings),
        reward_funcs=rewards,
        args=_arguments(settings, state, thrifty),
        train_dataset=quiet_dataset([grpo_row(exercise) for exercise in exercises]),
        processing_class=tokenizer,
    )
    return trainer


def _arguments(settings: GrpoSettings, state: Path, thrifty: bool) -> Any:
    """trl's arguments: all of a step's answers are drawn to one exercise."""
    from trl import GRPOConfig

    return GRPOConfig(
        **common_arguments(settings),
        **checkpoint_arguments(state, settings.save_every),
        **batch_arguments(settings.draws, thrifty),
        max_steps=settings.steps or -1,
        num_train_epochs=1,
        num_generations=settings.draws,
        max_completion_length=settings.max_tokens,
        temperature=settings.temperature,
        weight_decay=settings.weight_decay,
        beta=settings.beta,
    )
