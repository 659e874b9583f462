"""What all trainings share: nothing is printed, and everything goes to whoever watches."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from protocols.training.checkpoints import checkpoint_arguments, progress_callback
from protocols.training.sft import SftConfig
from protocols.training.trainers import common_arguments, make_trainer


def line() -> Any:
    """The smallest model that a trainer takes: a straight line."""
    import torch

    class Line(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.slope = torch.nn.Parameter(torch.zeros(1))

        def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"loss": ((self.slope * x - labels) ** 2).mean()}

    return Line()


def test_a_training_prints_nothing_and_tells_every_step(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from transformers import Trainer, TrainingArguments

    told: dict[int, Mapping[str, float]] = {}
    trainer = make_trainer(
        Trainer,
        progress_callback(lambda step, numbers: told.update({step: numbers}) if numbers else None),
        model=line(),
        args=TrainingArguments(
            **common_arguments(SftConfig()), **checkpoint_arguments(tmp_path, 9), max_steps=3
        ),
        train_dataset=[{"x": float(n), "labels": 2.0 * n} for n in range(8)],
    )
    trainer.train()
    assert list(told) == [1, 2, 3] and all("loss" in numbers for numbers in told.values())
    assert capsys.readouterr().out == ""
