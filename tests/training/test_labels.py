"""Training on label probabilities: asked as at inference, soft targets, going on after a kill."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from protocols.core.engine import ScoreRequest
from protocols.core.errors import EngineError
from protocols.core.models import ModelSpec
from protocols.engines.prompter import Prompter
from protocols.engines.transformers_engine import TransformersEngine
from protocols.lib.prompts import question_messages
from protocols.training import labels
from protocols.training.labels import LabelRow, LabelSettings
from protocols.training.sft import WEIGHTS
from protocols.training.students import student
from tests.training.tiny_base import tiny_base

SMALL = LabelSettings(steps=4, batch=2, save_every=2, learning_rate=1e-2)


@pytest.fixture(scope="module")
def tiny(base_model: Path, tmp_path_factory: pytest.TempPathFactory) -> ModelSpec:
    folder = tiny_base(base_model, tmp_path_factory.mktemp("base") / "tiny-base")
    return ModelSpec(id="member", source=str(folder))


def row(text: str, *target: float) -> LabelRow:
    return LabelRow(tuple(question_messages(text)), tuple("ABCD"[: len(target)]), target)


ROWS = [row("Which letter?" + " now" * k, 0.75, 0.25) for k in range(6)]


def test_a_row_is_what_the_engine_scores(tiny: ModelSpec, tmp_path: Path) -> None:
    """The trained prefix is byte for byte the prompt of the engine, the labels are its tokens."""
    trainer = labels.label_trainer(student(tiny), ROWS, tmp_path, SMALL, None, "cpu")
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny.source)
    prompter = Prompter(tokenizer, 512)
    for made, asked in zip(trainer.train_dataset, ROWS, strict=True):
        assert made["input_ids"] == prompter.ids(tiny, asked.messages)
        assert made["label_ids"] == prompter.label_ids(tiny, asked.labels, "")
        text = tokenizer.apply_chat_template(
            [dict(turn) for turn in asked.messages], tokenize=False, add_generation_prompt=True
        )
        assert tokenizer.decode(made["input_ids"]) == text


def test_the_loss_is_the_cross_entropy_of_what_the_engine_scores(
    tiny: ModelSpec, tmp_path: Path
) -> None:
    """Computed once more from the engine's own label scores, row by row."""
    rows = [row("Which letter?", 0.5, 0.5), row("And which of these four?", 0.1, 0.2, 0.3, 0.4)]
    trainer = labels.label_trainer(student(tiny), rows, tmp_path, SMALL, None, "cpu")
    batch = trainer.data_collator(trainer.train_dataset)
    loss = labels.label_loss(trainer.model, batch).detach().item()

    async def scored() -> float:
        engine = TransformersEngine()
        total = 0.0
        for number, one in enumerate(rows):
            found = await engine.score(
                ScoreRequest(f"s{number}", tiny, list(one.messages), one.labels)
            )
            logs = [found.logprobs[label] for label in one.labels]
            norm = math.log(sum(map(math.exp, logs)))
            total -= sum(t * (x - norm) for t, x in zip(one.target, logs, strict=True))
        await engine.close()
        return total / len(rows)

    assert loss == pytest.approx(asyncio.run(scored()), abs=2e-2)


@pytest.mark.parametrize("target", [(0.5, 0.5), (0.6, 0.4)])
def test_training_reaches_soft_targets(
    target: tuple[float, float], tiny: ModelSpec, tmp_path: Path
) -> None:
    """The loss falls to the entropy of the target, and not below: a tie is learnt as a tie."""
    import torch

    settings = LabelSettings(steps=40, batch=1, learning_rate=1e-2, save_every=100)
    rows = [row("Which letter?", *target)]
    trainer = labels.label_trainer(student(tiny), rows, tmp_path, settings, None, "cpu")
    trainer.train()
    with torch.inference_mode():
        batch = trainer.data_collator(trainer.train_dataset)
        loss = float(labels.label_loss(trainer.model, batch))
    entropy = -sum(p * math.log(p) for p in target)
    assert entropy - 1e-3 <= loss <= entropy + 0.004


class Killed(Exception):
    """What a watch raises to stop a training."""


def test_a_killed_training_goes_on_to_the_same_weights(tiny: ModelSpec, tmp_path: Path) -> None:
    def train(name: str, watch: Any = None) -> bytes:
        out, state = tmp_path / name / "out", tmp_path / name / "state"
        labels.train_labels(student(tiny), ROWS, out, state=state, config=SMALL, watch=watch)
        return (out / WEIGHTS).read_bytes()

    def stop_at_three(step: int, numbers: Mapping[str, float]) -> None:
        if step == 3:
            raise Killed

    whole = train("a")
    with pytest.raises(Killed):
        train("b", stop_at_three)
    seen: list[int] = []
    assert train("b", lambda step, _: seen.append(step)) == whole
    assert min(seen) == 2, "it began again"
    after: list[int] = []  # killed after the last checkpoint: that is what would have been saved
    assert train("b", lambda step, _: after.append(step)) == whole
    assert after == []


def test_no_rows_and_rows_too_long_are_said(tiny: ModelSpec, tmp_path: Path) -> None:
    for rows in ([], [row("long " * 25_000, 0.5, 0.5)]):
        with pytest.raises(EngineError, match="nothing to train on"):
            labels.train_labels(student(tiny), rows, tmp_path / "out", state=tmp_path)


def test_steps_follow_rows_and_epochs() -> None:
    assert LabelSettings(epochs=3, batch=8).count(17) == 9
    assert LabelSettings(steps=5).count(1000) == 5
