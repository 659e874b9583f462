"""Sequence-level distillation: a student learns to say what its teacher says.

A thin wrapper over supervised fine-tuning. The teacher's texts are the training answers (Kim and
Rush 2016, "Sequence-Level Knowledge Distillation", arXiv 1606.07947), so a teacher may be of any
architecture, or be served elsewhere. All students start from one A matrix and, unless told
otherwise, keep it: then their changes lie in one subspace and sum up without growing in rank.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from protocols.core.models import ModelSpec, content_hash
from protocols.lib.local_files import local_folder
from protocols.training.sft import OnStep, SftConfig, fingerprint, train_sft

ROWS = Sequence[tuple[str, str]]
LORA_A = "lora_A"
TRAINING = "training.json"
"""Beside a student's weights: what its training looked like."""


@dataclass(frozen=True, slots=True)
class DistilSettings:
    """How students are made.

    ``prompts`` training questions go to each teacher at most; ``only_right`` keeps the answers that
    are right where the right one is known; fewer than ``least`` of them are too few to learn from.
    """

    prompts: int = 160
    only_right: bool = True
    least: int = 4
    steps: int = 60
    batch: int = 4
    learning_rate: float = 4e-3
    rank: int = 4
    train_a: bool = False
    seed: int = 0

    @property
    def sft(self) -> SftConfig:
        """The same for supervised fine-tuning. One seed for all students: one A for all."""
        return SftConfig(
            steps=self.steps,
            batch=self.batch,
            learning_rate=self.learning_rate,
            warmup=min(10, max(1, self.steps // 10)),
            rank=self.rank,
            alpha=4 * self.rank,
            seed=self.seed,
            max_length=512,
        )


def without_controls(rows: ROWS, controls: Collection[str]) -> list[tuple[str, str]]:
    """The rows that hold none of the tokenizer's own marks: a text must not open or close turns."""
    marks = [mark for mark in controls if mark]
    return [row for row in rows if not any(mark in text for text in row for mark in marks)]


def controls_of(base: ModelSpec) -> list[str]:
    """The marks of a base's tokenizer that end texts and turns."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(local_folder(base), trust_remote_code=False)
    return [str(mark) for mark in tokenizer.all_special_tokens]


def student_key(base_print: object, rows: ROWS, settings: DistilSettings) -> str:
    """Names a student by everything that decides its weights."""
    return content_hash(base_print, fingerprint(rows, settings.sft), settings.train_a)


def train_student(
    base: ModelSpec, rows: ROWS, out: Path, settings: DistilSettings, on_step: OnStep | None = None
) -> float:
    """Train a student of ``base`` on a teacher's rows into ``out``; returns the mean loss.

    ``out`` appears whole or not at all, with the losses beside the weights. ``on_step`` may raise
    to stop.
    """
    losses: list[list[float]] = []

    def heard(step: int, loss: float) -> None:
        losses.append([step, round(loss, 6)])
        if on_step:
            on_step(step, loss)

    part = out.with_name(f".{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    trained = train_sft(
        local_folder(base),
        rows,
        part,
        base_id=Path(base.source).name,
        config=settings.sft,
        on_step=heard,
        frozen="" if settings.train_a else LORA_A,
        template=base.chat_template,
    )
    told = {"loss": round(trained.loss, 6), "losses": losses, "rows": len(rows)}
    (part / TRAINING).write_text(json.dumps(told) + "\n", encoding="utf-8")
    shutil.rmtree(out, ignore_errors=True)
    part.rename(out)
    return loss_of(out)


def loss_of(folder: Path) -> float:
    """The mean loss with which the student in a folder was trained."""
    return float(json.loads((folder / TRAINING).read_text(encoding="utf-8"))["loss"])
