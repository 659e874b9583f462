"""Whom a protocol trains: a local model, its files, its template, and where its adapter goes."""

from __future__ import annotations

import gc
import json
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import JsonValue

from protocols.core.artifacts import Derived
from protocols.core.errors import StudioError, UserError
from protocols.core.events import Decision
from protocols.core.fit_types import FitContext
from protocols.core.models import ModelSpec
from protocols.lib.choice import generalist
from protocols.lib.local_files import local_folder
from protocols.lib.prompts import Message, question_messages
from protocols.training.checkpoints import Watch

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Student:
    """A model that can be trained here; ``adapter`` is where a further training starts from."""

    model: ModelSpec
    base: Path
    adapter: Path | None = None

    @property
    def base_id(self) -> str:
        """What an adapter calls its base, the same on every machine."""
        return Path(self.model.source).name

    def trained(self, name: str, adapter: Path) -> ModelSpec:
        """The model with another adapter, ready to be called as ``name``."""
        changes = {"id": name, "name": "", "adapter": str(adapter)}
        return self.model.model_copy(update=changes)


def student(model: ModelSpec) -> Student:
    """The model as a student. Raises :class:`UserError` if its files are not on this machine."""
    try:
        base = local_folder(model)
    except StudioError:
        raise UserError(
            f"'{model.id}' cannot be trained: its weights are not on this machine. Download them "
            "first, or leave it out."
        ) from None
    return Student(model, base, Path(model.adapter) if model.adapter else None)


def student_for_role(models: Sequence[ModelSpec], named: str = "") -> Student:
    """Who is trained for a role: the base of the model named, else of the first generalist.

    Raises :class:`UserError` if none of the models has its files on this machine.
    """
    local = [model for model in models if not model.is_endpoint] or list(models)
    wanted = named or generalist(local)
    found = student(next(model for model in models if model.id == wanted))
    return Student(found.model, found.base)


def load_student(who: Student, device: str) -> tuple[Any, PreTrainedTokenizerBase]:
    """The base and a tokenizer that renders prompts as the engines do for this model."""
    from protocols.training.sft import load_base

    model, tokenizer = load_base(who.base, device)
    if who.model.chat_template:
        tokenizer.chat_template = who.model.chat_template
    return model, tokenizer


SHOWN = {
    "loss": "loss",
    "rewards/margins": "margin",
    "rewards/accuracies": "agreement",
    "reward": "reward",
    "frac_reward_zero_std": "undecided",
}
"""The trainers' numbers that are shown, and how they are called."""
Train = Callable[[Path, Path, Watch], object]
"""Trains into the first folder, keeping checkpoints in the second."""


async def train_adapter(ctx: FitContext, name: str, steps: int, train: Train) -> Path:
    """The adapter called ``name``: made in a thread, or found if it was made before a kill."""
    folder = ctx.state / "adapters" / name
    part, checkpoints = folder.with_name(f"{name}.part"), ctx.state / "checkpoints" / name

    def watch(step: int, numbers: Mapping[str, float]) -> None:
        told = {SHOWN[k]: v for k, v in numbers.items() if k in SHOWN and math.isfinite(v)}
        ctx.report("train", step, steps, name, **told)

    if not folder.is_dir():
        shutil.rmtree(part, ignore_errors=True)
        await ctx.train(train, part, checkpoints, watch)
        part.rename(folder)
        shutil.rmtree(checkpoints, ignore_errors=True)
        gc.collect()  # trainers hold their models in circles
    return folder


def adapter_changed(adapter: Path) -> bool:
    """Whether training changed anything: a fresh adapter's second factors are zero."""
    from safetensors.torch import load_file

    tensors = load_file(adapter / "adapter_model.safetensors")
    return any(bool(one.any()) for name, one in tensors.items() if "lora_B" in name)


def store_adapter(ctx: FitContext, who: Student, role: str, adapter: Path, title: str) -> Derived:
    """Put an adapter into the artifact, to be found there as the one trained for ``role``."""
    shutil.copytree(adapter, ctx.folder / role)
    return Derived(name=role, base=who.model.id, folder=role, title=title)


EXAMPLES = 50
"""Training rows that an artifact shows."""


def show_rows(ctx: FitContext, role: str, rows: Sequence[Mapping[str, JsonValue]]) -> None:
    """Put the first rows that a role was trained on into the artifact, for people to look at."""
    text = json.dumps(list(rows[:EXAMPLES]), indent=1, ensure_ascii=False)
    (ctx.folder / f"{role}.rows.json").write_text(text + "\n", encoding="utf-8")


def role_decision(role: str, trained: bool, after: float, before: float) -> Decision:
    """Which one plays a role from now on: who was trained for it, or the model as it was."""
    options = ("trained", "untrained")
    why = f"{after:.1%} on dev items after training, {before:.1%} before"
    return Decision(what=role, options=options, chosen=options[not trained], why=why)


def training_row(messages: Sequence[Message], answer: str) -> tuple[str, str]:
    """A training row out of what would be asked live.

    Raises :class:`ValueError` if the training would ask something else.
    """
    content = messages[-1]["content"]
    if question_messages(content) != list(messages):
        raise ValueError("what is asked is not one question, so it cannot be a training row")
    return content, answer
