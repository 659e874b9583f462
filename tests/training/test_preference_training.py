"""DPO and GRPO: rows as asked at inference, trainings that go on where they were killed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from protocols.core.errors import EngineError, UserError
from protocols.core.models import ModelSpec
from protocols.lib.prompts import question_messages
from protocols.training import dpo, grpo, sft
from protocols.training.checkpoints import WHOLE, newest_checkpoint
from protocols.training.preferences import Preference
from protocols.training.students import Student, student, student_for_role, training_row
from tests.training.tiny_base import tiny_base

PAIRS = [Preference(f"What is {a} + {a}?", str(2 * a), f"Perhaps {a}.") for a in range(12)]
EXERCISES = [
    grpo.Exercise(f"x{a}", tuple(question_messages(f"What is {a} + {a}?"))) for a in range(6)
]
ROWS = [(pair.question, pair.chosen) for pair in PAIRS]
DPO = dpo.DpoSettings(steps=4, batch=2, save_every=2, learning_rate=1e-2)
GRPO = grpo.GrpoSettings(steps=4, draws=2, save_every=2, max_tokens=4, learning_rate=1e-2)
SFT = sft.SftConfig(steps=4, batch=2, warmup=1)


@pytest.fixture(scope="module")
def tiny(base_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_base(base_model, tmp_path_factory.mktemp("base") / "tiny-base")


def spec(tiny: Path, adapter: Path | str = "") -> ModelSpec:
    return ModelSpec(id="member", source=str(tiny), adapter=str(adapter))


def reward(_key: str, text: str) -> float:
    return min(1.0, len(text) / 40)


class Killed(Exception):
    """What a watch raises to stop a training."""


def train(kind: str, tiny: Path, root: Path, watch: Any = None, adapter: Path | str = "") -> bytes:
    out, state, who = root / "out", root / "state", student(spec(tiny, adapter))
    if kind == "dpo":
        dpo.train_dpo(who, PAIRS, out, state=state, config=DPO, watch=watch)
    elif kind == "grpo":
        grpo.train_grpo(who, EXERCISES, reward, out, state=state, config=GRPO, watch=watch)
    else:
        sft.train_sft(tiny, ROWS, out, base_id="t", config=SFT, state=state, watch=watch)
    return (out / sft.WEIGHTS).read_bytes()


@pytest.mark.parametrize("kind", ["dpo", "sft", pytest.param("grpo", marks=pytest.mark.slow)])
def test_a_killed_training_goes_on_to_the_same_weights(
    kind: str, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sft, "SAVE_EVERY", 2)
    seen: list[int] = []

    def stop_at_three(step: int, numbers: Mapping[str, float]) -> None:
        seen.append(step)
        if step == 3:
            raise Killed

    whole = train(kind, tiny, tmp_path / "a")
    with pytest.raises(Killed):
        train(kind, tiny, tmp_path / "b", stop_at_three)
    assert newest_checkpoint(tmp_path / "b" / "state") == str(
        tmp_path / "b" / "state" / "checkpoint-2"
    )
    seen.clear()
    resumed = train(kind, tiny, tmp_path / "b", lambda step, _: seen.append(step))
    assert min(seen) == 2, "it began again"
    assert resumed == whole
    # Killed after the last checkpoint and before the adapter was saved: no step more, the same.
    (tmp_path / "b" / "out" / sft.WEIGHTS).unlink()
    seen.clear()
    assert train(kind, tiny, tmp_path / "b", lambda step, _: seen.append(step)) == whole
    assert not seen


@pytest.mark.parametrize("kind", ["dpo", "grpo"])
def test_nothing_to_train_on_is_said_at_once(kind: str, tmp_path: Path) -> None:
    who = Student(spec(tmp_path), tmp_path)
    with pytest.raises(EngineError, match="nothing to train on"):
        if kind == "dpo":
            dpo.train_dpo(who, [], tmp_path, state=tmp_path)
        else:
            grpo.train_grpo(who, [], reward, tmp_path, state=tmp_path)


def test_who_is_trained(tmp_path: Path) -> None:
    adapted = ModelSpec(id="adapted", source=str(tmp_path), adapter="a")
    plain = ModelSpec(id="plain", source=str(tmp_path))
    absent = ModelSpec(id="absent", source=str(tmp_path / "nowhere"))
    assert student_for_role([adapted, plain]).model.id == "plain"
    # A role is learnt on the base, a contestant goes on from its own adapter.
    assert student_for_role([adapted, plain], "adapted").adapter is None
    assert student(adapted).adapter == Path("a")
    with pytest.raises(UserError, match="'absent' cannot be trained"):
        student(absent)


def test_a_row_is_what_is_asked() -> None:
    assert training_row(question_messages("Why?"), "Because.") == ("Why?", "Because.")
    with pytest.raises(ValueError, match="not one question"):
        training_row(question_messages("Why?", "Another system prompt."), "Because.")


def test_a_half_written_checkpoint_does_not_count(tmp_path: Path) -> None:
    assert newest_checkpoint(tmp_path) is None
    for step in (2, 10, 12):
        (tmp_path / f"checkpoint-{step}").mkdir()
    (tmp_path / "checkpoint-2" / WHOLE).touch()
    (tmp_path / "checkpoint-10" / WHOLE).touch()
    assert newest_checkpoint(tmp_path) == str(tmp_path / "checkpoint-10")
