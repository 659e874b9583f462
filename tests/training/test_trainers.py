"""What all trainings share: nothing is printed, and everything goes to whoever watches."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.core.errors import EngineError
from protocols.core.models import ModelSpec
from protocols.lib.prompts import question_messages
from protocols.training import sft
from protocols.training.checkpoints import checkpoint_arguments, progress_callback
from protocols.training.labels import LabelRow, LabelSettings, label_trainer
from protocols.training.sft import SftConfig
from protocols.training.students import Student
from protocols.training.trainers import (
    AT_ONCE,
    batch_arguments,
    common_arguments,
    fresh_lora,
    make_trainer,
)
from tests.training.tiny_base import tiny_base


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


FINE_SFT = SftConfig(steps=2, batch=4, warmup=0, learning_rate=1e-5)
ROWS = [(f"What is {a} + {b}?", f"It is {a + b}{'.' * a}") for a in range(4) for b in range(3)]


def told_by(trainer: Any, told: list[Mapping[str, float]]) -> list[tuple[float, float]]:
    """Loss and length of the gradient of each step."""
    trainer.train()
    steps = [numbers for numbers in told if "grad_norm" in numbers]
    return [(numbers["loss"], numbers["grad_norm"]) for numbers in steps]


def sft_told(base: Path, out: Path, *, thrifty: bool) -> list[tuple[float, float]]:
    import torch

    told: list[Mapping[str, float]] = []
    model, tokenizer = sft.load_base(base, "cpu")
    torch.manual_seed(0)
    adapted = fresh_lora(model.float(), FINE_SFT, fp32=True)
    trainer = sft._trainer(
        adapted, tokenizer, ROWS, FINE_SFT, out, None, out,
        lambda _, numbers: told.append(numbers), thrifty=thrifty,
    )  # fmt: skip
    return told_by(trainer, told)


def labels_told(base: Path, out: Path, *, thrifty: bool) -> list[tuple[float, float]]:
    told: list[Mapping[str, float]] = []
    who = Student(ModelSpec(id="x", source=str(base)), base)
    rows = [
        LabelRow(tuple(question_messages(f"{'Really. ' * n}A or B?")), ("A", "B"), (0.75, 0.25))
        for n in range(8)
    ]
    settings = LabelSettings(epochs=1, batch=4, warmup=0.0, learning_rate=1e-5)
    trainer = label_trainer(
        who, rows, out, settings, lambda _, numbers: told.append(numbers), "cpu", thrifty
    )
    return told_by(trainer, told)


@pytest.mark.parametrize("kind", [sft_told, labels_told])
def test_few_rows_at_once_give_the_whole_batch_s_loss_and_gradient(
    kind: Callable[..., list[tuple[float, float]]], base_model: Path, tmp_path: Path
) -> None:
    """What a GPU does for memory's sake changes nothing: rows of different length on purpose."""
    base = tiny_base(base_model, tmp_path / "base")
    plain = kind(base, tmp_path / "plain", thrifty=False)
    thrifty = kind(base, tmp_path / "thrifty", thrifty=True)
    assert len(plain) == 2
    np.testing.assert_allclose(thrifty, plain, rtol=5e-3)


@given(st.integers(1, 64), st.booleans())
def test_the_parts_of_a_batch_make_up_the_batch(batch: int, thrifty: bool) -> None:
    made = batch_arguments(batch, thrifty)
    at_once = made["per_device_train_batch_size"]
    assert at_once * made["gradient_accumulation_steps"] == batch
    assert at_once <= AT_ONCE if thrifty else at_once == batch
    assert made["gradient_checkpointing"] is thrifty


@pytest.mark.parametrize(("rate", "kind"), [(1e-5, "float32"), (1e-3, "bfloat16")])
def test_small_steps_are_not_rounded_away(
    rate: float, kind: str, base_model: Path, tmp_path: Path
) -> None:
    base = tiny_base(base_model, tmp_path / "base")
    settings = replace(FINE_SFT, learning_rate=rate)
    for attempt in ("fresh", "again"):
        model, _ = sft.load_base(base, "cpu")
        start = tmp_path / "adapter"
        adapted = (
            fresh_lora(model, settings, fp32=False)
            if attempt == "fresh"
            else sft.resume_lora(model, start, sft.is_fine(settings))
        )
        trained = {str(one.dtype) for one in adapted.parameters() if one.requires_grad}
        assert trained == {f"torch.{kind}"}
        sft.save_adapter(adapted, start, "x")


def test_a_row_that_is_too_long_is_left_out_and_not_cut(base_model: Path, tmp_path: Path) -> None:
    base = tiny_base(base_model, tmp_path / "base")
    model, tokenizer = sft.load_base(base, "cpu")
    settings = replace(FINE_SFT, max_length=96)
    rows = [*ROWS[:3], ("Why? " * 80, "The answer that would be cut off.")]
    adapted = fresh_lora(model, settings, fp32=True)
    trainer = sft._trainer(adapted, tokenizer, rows, settings, tmp_path, None)
    assert len(trainer.train_dataset) == 3
    with pytest.raises(EngineError, match="at most 96 tokens"):
        sft._trainer(adapted, tokenizer, rows[3:], settings, tmp_path, None)


def test_a_model_with_other_names_for_its_layers_is_adapted_too() -> None:
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    sizes = {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1}
    model = GPTNeoXForCausalLM(GPTNeoXConfig(vocab_size=32, num_attention_heads=1, **sizes))
    adapted = fresh_lora(model, FINE_SFT, fp32=True)
    trained = {name for name, one in adapted.named_parameters() if one.requires_grad}
    assert any("query_key_value" in name for name in trained)
    assert any("dense_h_to_4h" in name for name in trained)
