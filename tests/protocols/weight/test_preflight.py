"""What cannot be merged is refused before any work, with a sentence that says why."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from protocols.core.errors import UserError
from protocols.core.models import ModelSpec
from protocols.lib.lora_algebra import Lora, read_lora, save_lora
from protocols.lib.preflight import Verdict, preflight
from tests.protocols.weight.tiny import edit_json, full_pool, model_of, tiny_pool


def look(models: list[ModelSpec], folder: Path, **more: bool) -> Verdict:
    return preflight(models, folder, answers=100, **more)


def test_adapters_of_one_base_are_fine(tmp_path: Path) -> None:
    verdict = look(tiny_pool(tmp_path, 3, base=True), tmp_path)
    assert verdict.state == "ok" and "100 short answers" in verdict.sentence
    size = sum(f.stat().st_size for f in tmp_path.glob("adapter-*/adapter_model.safetensors"))
    assert verdict.disk == 2 * size and verdict.memory == 3 * size
    data = verdict.artifact().data
    assert data["sentence"] == verdict.sentence and json.dumps(data)


def test_a_whole_model_of_adapters_takes_the_bases_room(tmp_path: Path) -> None:
    pool = tiny_pool(tmp_path, 2)
    base = sum(file.stat().st_size for file in Path(pool[0].source).glob("*.safetensors"))
    assert look(pool, tmp_path, whole=True).disk == 2 * base


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
