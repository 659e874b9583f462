from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from evals.metrics import accuracy, score
from evals.tasks import load_task
from protocols.core.errors import EngineError
from protocols.lib.prompts import question_messages
from protocols.training import sft
from protocols.training.greedy_decoding import greedy_answers, prompt_text
from protocols.training.trainers import fresh_lora
from tests.training.tiny_base import tiny_base

ROWS = [(f"What is {a} + {b}?", str(a + b)) for a in range(8) for b in range(8)]
VOCABULARY = 49152
TINY = sft.SftConfig(steps=6, batch=4, warmup=1)


@pytest.fixture(scope="module")
def tiny(base_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model of the base's kind with the base's tokenizer: seconds instead of minutes."""
    return tiny_base(base_model, tmp_path_factory.mktemp("tiny"))


def made_trainer(tiny: Path, out: Path) -> Any:
    model, tokenizer = sft.load_base(tiny, "cpu")
    return sft._trainer(fresh_lora(model, TINY, fp32=False), tokenizer, ROWS, TINY, out, None)


def test_a_training_row_starts_with_the_tokens_asked_at_inference(
    tiny: Path, tmp_path: Path
) -> None:
    trainer = made_trainer(tiny, tmp_path)
    tokenizer = trainer.processing_class
    asked = {
        tuple(tokenizer(prompt_text(tokenizer, question))["input_ids"]) for question, _ in ROWS
    }
    templated = {
        tuple(
            tokenizer.apply_chat_template(
                [dict(turn) for turn in question_messages(question)],
                add_generation_prompt=True,
                return_dict=True,
            )["input_ids"]
        )
        for question, _ in ROWS
    }
    assert asked == templated
    for row in trainer.train_dataset:
        labels = trainer.data_collator([row])["labels"][0].tolist()
        start = next(place for place, label in enumerate(labels) if label != sft.IGNORED)
        assert tuple(row["input_ids"][:start]) in asked
        assert tokenizer.eos_token_id in row["input_ids"][start:]


def test_the_loss_is_the_one_of_trl(tiny: Path, tmp_path: Path) -> None:
    import torch
    from trl import SFTTrainer

    trainer = made_trainer(tiny, tmp_path)
    batch = trainer.data_collator([trainer.train_dataset[place] for place in range(4)])
    with torch.no_grad():
        ours = trainer.compute_loss(trainer.model, dict(batch))
        theirs = SFTTrainer.compute_loss(trainer, trainer.model, dict(batch))
    assert float(ours) == pytest.approx(float(theirs), rel=1e-3)


def test_what_a_batch_begins_with_is_read_once_and_learned_from_alike(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loss and every gradient, of the shared turn's keys and values too, are those of a plain pass.

    In fp32, so that only rounding may differ.
    """
    import torch

    trainer = made_trainer(tiny, tmp_path)
    model = trainer.model.float()
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.2)
    batch = trainer.data_collator([trainer.train_dataset[place] for place in range(4)])
    read: list[int] = []
    plain_read = sft._read_once
    monkeypatch.setattr(
        sft,
        "_read_once",
        lambda m, ids, rows: read.append(ids.shape[1]) or plain_read(m, ids, rows),
    )
    once = learned(trainer, batch)
    assert read and read[0] > 10
    monkeypatch.setattr(sft, "shared_length", lambda ids, first: 0)
    apart = learned(trainer, batch)
    assert len(read) == 1 and once[0] == pytest.approx(apart[0], rel=1e-5)
    for name, gradient in apart[1].items():
        torch.testing.assert_close(once[1][name], gradient, rtol=1e-3, atol=1e-6)
        assert float(gradient.abs().sum()) > 0 or "lora_A" in name


def learned(trainer: Any, batch: dict[str, Any]) -> tuple[float, dict[str, Any]]:
    """The loss of a batch and the gradient of each trained weight."""
    trainer.model.zero_grad()
    loss = trainer.compute_loss(trainer.model, dict(batch))
    loss.backward()
    trained = {n: p.grad.clone() for n, p in trainer.model.named_parameters() if p.requires_grad}
    return loss.item(), trained


def test_no_row_multiplies_with_a_copy_of_the_vocabulary(tiny: Path, tmp_path: Path) -> None:
    """A product per row copies the vocabulary's matrix for it: seconds for a batch of real size."""
    import torch

    from protocols.training.labels import label_loss

    trainer = made_trainer(tiny, tmp_path)
    batch = trainer.data_collator([trainer.train_dataset[place] for place in range(4)])
    model, tokenizer = sft.load_base(tiny, "cpu")
    model.requires_grad_(False)  # as under an adapter; torch does better by trainable weights
    questions = [question for question, _ in ROWS[:4]]
    asked = tokenizer([prompt_text(tokenizer, q) for q in questions], return_tensors="pt")
    labelled = {
        **asked,
        "position_ids": asked["attention_mask"].cumsum(dim=1) - 1,
        "label_ids": asked["input_ids"][:, :2],
        "target": asked["attention_mask"][:, :2] / 2,
    }
    assert not copies(lambda: trainer.compute_loss(trainer.model, dict(batch)).backward())
    assert not copies(lambda: greedy_answers(model, tokenizer, questions, max_tokens=2))
    assert not copies(lambda: label_loss(trainer.model, labelled).backward())
    with torch.inference_mode():  # where this fails, torch needs no help any more
        assert copies(lambda: model(labelled["input_ids"], logits_to_keep=2))


def copies(work: Any) -> int:
    """How many batched products with the vocabulary's matrix the work has."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as seen:
        work()
    products = [one for one in seen.events() if one.name == "aten::bmm"]
    return sum(any(VOCABULARY in shape for shape in one.input_shapes) for one in products)


@pytest.mark.parametrize(
    ("rows", "first", "shared"),
    [
        ([[1, 2, 3, 4], [1, 2, 5, 4]], 3, 2),
        ([[1, 2, 3, 4], [1, 2, 3, 4]], 3, 2),
        ([[1, 2, 3, 4]], 3, 0),
        ([[1, 2], [3, 2]], 1, 0),
        ([[1, 2], [1, 2]], 1, 0),
    ],
)
def test_rows_share_their_beginning_but_the_last_token_asked(
    rows: list[list[int]], first: int, shared: int
) -> None:
    import torch

    assert sft.shared_length(torch.tensor(rows), first) == shared


@pytest.fixture(scope="module")
def trained(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[int]]:
    out, steps = tmp_path_factory.mktemp("trained") / "adapter", []
    sft.train_sft(
        tiny, ROWS, out, base_id="tiny", config=TINY, on_step=lambda step, _loss: steps.append(step)
    )
    return out, steps


def test_training_reports_its_steps(trained: tuple[Path, list[int]]) -> None:
    assert trained[1] == [5]


def test_an_adapter_is_two_files_without_machine_names(trained: tuple[Path, list[int]]) -> None:
    import torch
    from safetensors.torch import load_file

    folder = trained[0]
    assert sorted(path.name for path in folder.iterdir()) == [sft.CONFIG, sft.WEIGHTS]
    assert {one.dtype for one in load_file(folder / sft.WEIGHTS).values()} == {torch.bfloat16}
    text = (folder / sft.CONFIG).read_text(encoding="utf-8")
    config = json.loads(text)
    assert config["base_model_name_or_path"] == "tiny"
    assert config["target_modules"] == sorted(sft.ATTENTION_AND_MLP)
    assert str(folder.parent) not in text


def test_a_saved_adapter_loads_and_changes_the_model(
    tiny: Path, trained: tuple[Path, list[int]]
) -> None:
    import torch
    from peft import PeftModel

    model, tokenizer = sft.load_base(tiny, "cpu")
    tokens = torch.tensor([tokenizer(PROMPT)["input_ids"]])
    with torch.inference_mode():
        before = model(tokens).logits
        tuned = PeftModel.from_pretrained(model, trained[0])
        after = tuned(tokens).logits
        with tuned.disable_adapter():
            without = tuned(tokens).logits
    assert not torch.equal(before, after)
    assert torch.equal(before, without)


PROMPT = "What is 3 + 4?"


def test_answers_come_back_in_the_order_asked(tiny: Path) -> None:
    model, tokenizer = sft.load_base(tiny, "cpu")
    questions = ["What is 3 + 4?", "Why?", "What is the sum of 12, 13, 14 and 15?"]
    together = greedy_answers(model, tokenizer, questions, max_tokens=3, batch=1)
    alone = [greedy_answers(model, tokenizer, [one], max_tokens=3)[0] for one in questions]
    assert together == alone


def test_no_rows_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="nothing to train on"):
        sft.train_sft(tmp_path, [], tmp_path, base_id="x")


def test_the_fingerprint_follows_rows_and_settings() -> None:
    first = sft.fingerprint(ROWS, TINY)
    assert first == sft.fingerprint(list(ROWS), TINY)
    assert first != sft.fingerprint(ROWS[1:], TINY)
    assert first != sft.fingerprint(ROWS, sft.SftConfig(steps=7, batch=4, warmup=1))


@pytest.mark.slow
@pytest.mark.models
def test_sixty_real_steps_make_a_better_speller(base_model: Path, tmp_path: Path) -> None:
    from peft import PeftModel

    task = load_task("spelling")
    rows = [(item.question, item.answer) for item in task.splits["train"]]
    items = task.splits["dev"][:30]
    questions = [item.question for item in items]
    model, tokenizer = sft.load_base(base_model, "cpu")
    before = greedy_answers(model, tokenizer, questions, max_tokens=24)
    sft.train_sft(base_model, rows, tmp_path, base_id="x", config=sft.SftConfig(steps=60))
    tuned = PeftModel.from_pretrained(model, tmp_path).eval()
    after = greedy_answers(tuned, tokenizer, questions, max_tokens=24)
    old, new = (
        accuracy(score(item, text) for item, text in zip(items, texts, strict=True))
        for texts in (before, after)
    )
    assert new.value >= old.value + 0.2
