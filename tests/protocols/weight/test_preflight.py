"""What cannot be merged is refused before any work, with a sentence that says why."""

from __future__ import annotations

import json
import math
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from safetensors.torch import load_file, save_file

from protocols.core.errors import UserError
from protocols.core.models import ModelSpec
from protocols.lib.lora_algebra import Lora, read_lora, save_lora
from protocols.lib.preflight import Verdict, preflight
from protocols.lib.room import Room, linear_room, ties_room
from tests.protocols.weight.tiny import edit_json, full_pool, model_of, tiny_pool


def look(models: list[ModelSpec], folder: Path, **more: Any) -> Verdict:
    return preflight(models, folder, answers=100, **more)


def numbers_in(file: Path) -> int:
    return sum(tensor.numel() for tensor in load_file(file).values())


def test_adapters_of_one_base_are_fine(tmp_path: Path) -> None:
    verdict = look(tiny_pool(tmp_path, 3, base=True), tmp_path)
    assert verdict.state == "ok" and "100 short answers" in verdict.sentence
    files = list(tmp_path.glob("adapter-*/adapter_model.safetensors"))
    size, numbers = sum(f.stat().st_size for f in files), sum(map(numbers_in, files))
    assert verdict.disk == 2 * size and verdict.memory == 8 * numbers + size
    data = verdict.artifact().data
    assert data["sentence"] == verdict.sentence and json.dumps(data)


def test_a_whole_model_of_adapters_takes_the_bases_room(tmp_path: Path) -> None:
    pool = tiny_pool(tmp_path, 2)
    base = sum(file.stat().st_size for file in Path(pool[0].source).glob("*.safetensors"))
    verdict = look(pool, tmp_path, room=ties_room)
    assert verdict.disk == 2 * base and verdict.memory > base
    shortened = look(pool, tmp_path, room=partial(ties_room, rank=4))
    assert shortened.disk == look(pool, tmp_path).disk


def test_memory_grows_by_one_tensor_of_each_model_and_never_by_a_model(tmp_path: Path) -> None:
    """One 7B model has 15 GB and its largest tensor 1 GB; thirty-two of them must not be loaded."""
    pool = full_pool(tmp_path, 2)
    model, largest = numbers_in(Path(pool[0].source, "model.safetensors")), 64 * 16
    # More models of the same files: only headers are read, and those are the same.
    for room, each in ((linear_room, 1.0), (ties_room, 3.5)):
        few, many = room(pool), room(pool * 16)
        grown = many.memory - few.memory
        assert few.disk == many.disk
        if room is ties_room:
            assert grown == 30 * each * largest * 4
        assert grown < 30 * model * 4


def test_more_memory_than_the_machine_has_is_refused(tmp_path: Path) -> None:
    pool = full_pool(tmp_path, 2)
    machine = psutil.virtual_memory()
    told = look(pool, tmp_path, room=lambda _: Room(1, 2 * machine.total))
    assert told.state == "refused" and "of memory are needed at once" in told.sentence
    assert "Pick fewer models" in told.sentence
    busy = look(pool, tmp_path, room=lambda _: Room(1, machine.total - 2**20))
    assert busy.state == "warning" and "are free now" in busy.sentence
    full = look(pool, tmp_path, room=lambda _: Room(2**60, 1))
    assert full.state == "refused" and "of disk are needed" in full.sentence


def test_other_tensors_under_an_equal_configuration_are_refused(tmp_path: Path) -> None:
    """A contributor's configuration may say what its file does not hold."""
    pool = full_pool(tmp_path, 2)
    file = Path(pool[1].source, "model.safetensors")
    tensors = load_file(file)
    tensors["model.norm.weight"] = torch.ones(3)
    save_file(tensors, file)
    assert "whole0 and whole1 hold tensors of different" in look(pool, tmp_path).sentence


@pytest.mark.parametrize(("number", "told"), [(math.nan, "not finite"), (1e9, "as large as 1e+09")])
def test_numbers_that_cannot_be_added_up_are_refused(
    tmp_path: Path, number: float, told: str
) -> None:
    pool = tiny_pool(tmp_path, 2)
    file = Path(pool[1].adapter, "adapter_model.safetensors")
    tensors = load_file(file)
    next(iter(tensors.values()))[0, 0] = number
    save_file(tensors, file)
    verdict = look(pool, tmp_path)
    assert verdict.state == "refused" and "'member1'" in verdict.sentence
    assert told in verdict.sentence


def test_whole_models_alike_are_fine(tmp_path: Path) -> None:
    verdict = look(full_pool(tmp_path), tmp_path)
    assert verdict.state == "ok"
    assert {f.about for f in verdict.findings} >= {"architecture", "vocabulary", "tokenizer"}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"hidden_size": 32, "num_attention_heads": 4}, "differ in architecture"),
        ({"vocab_size": 128}, "differ in vocabulary size"),
        ({"tie_word_embeddings": False}, "differ in architecture"),
    ],
)
def test_other_shapes_are_refused(tmp_path: Path, changes: dict[str, int], says: str) -> None:
    pool = [*full_pool(tmp_path / "a", 1), *full_pool(tmp_path / "b", 1, **changes)]
    pool[1] = pool[1].model_copy(update={"id": "odd"})
    verdict = look(pool, tmp_path)
    assert verdict.state == "refused"
    with pytest.raises(UserError, match=f"whole0 and odd {says}"):
        verdict.require()


def test_other_tokenizers_are_refused_and_templates_mentioned(tmp_path: Path) -> None:
    pool = full_pool(tmp_path, 2)
    for number, model in enumerate(pool):
        folder = Path(model.source)
        text = json.dumps({"model": {"vocab": {"a": 0}}, "added_tokens": [], "other": number})
        (folder / "tokenizer.json").write_text(text)
        (folder / "chat_template.jinja").write_text(f"template {number}")
    verdict = look(pool, tmp_path)
    assert verdict.state == "warning" and "the first one's is used" in verdict.sentence
    edit_json(Path(pool[1].source) / "tokenizer.json", added_tokens=["<x>"])
    assert "different tokenizers" in look(pool, tmp_path).sentence


def test_other_number_types_are_mentioned(tmp_path: Path) -> None:
    whole = full_pool(tmp_path, 2)
    edit_json(Path(whole[1].source) / "config.json", dtype="float16")
    assert look(whole, tmp_path).state == "warning"
    assert "whole0 and whole1 are stored in different" in look(whole, tmp_path).sentence
    pool = tiny_pool(tmp_path, 2)
    lora = read_lora(Path(pool[1].adapter))
    save_lora(Lora(lora.rank, lora.factors, "bfloat16"), tmp_path / "half", "tiny-base")
    pool[1] = pool[1].model_copy(update={"adapter": str(tmp_path / "half")})
    told = look(pool, tmp_path)
    assert told.state == "warning" and "member0 and member1 are stored in" in told.sentence


def test_adapters_with_other_templates_are_mentioned(tmp_path: Path) -> None:
    pool = tiny_pool(tmp_path, 2)
    pool[1] = pool[1].model_copy(update={"chat_template": "{{ messages }}"})
    told = look(pool, tmp_path)
    assert told.state == "warning" and "member0 and member1 have different chat" in told.sentence


def test_other_bases_are_refused(tmp_path: Path) -> None:
    pool = tiny_pool(tmp_path, 1)
    other = model_of("elsewhere", full_pool(tmp_path, 1)[0].source and tmp_path / "full-0")
    assert "different bases" in look([*pool, other], tmp_path).sentence


def test_missing_weights_are_refused_by_name(tmp_path: Path) -> None:
    far = ModelSpec(id="far", source="someone/somewhere")
    served = ModelSpec(id="served", source="https://example.org/v1")
    for model in (far, served):
        assert f"'{model.id}' are not on this machine" in look([model], tmp_path).sentence


def test_code_instead_of_data_is_refused(tmp_path: Path) -> None:
    pool = tiny_pool(tmp_path, 2)
    Path(pool[1].adapter, "adapter_model.safetensors").rename(Path(pool[1].adapter, "x.bin"))
    assert "may hold code" in look(pool, tmp_path).sentence


def test_high_ranks_are_shortened_with_a_warning(tmp_path: Path) -> None:
    verdict = look(tiny_pool(tmp_path, 3, rank=100), tmp_path)
    assert verdict.state == "warning" and "add up to 300" in verdict.sentence


def test_whole_models_are_no_adapters(tmp_path: Path) -> None:
    verdict = look(full_pool(tmp_path, 2), tmp_path, adapters_only=True)
    assert verdict.state == "refused" and "these are full models" in verdict.sentence
