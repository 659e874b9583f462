"""Saved models are ordinary folders: transformers and peft load them without us."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from protocols.core.artifacts import ArtifactStore
from protocols.core.errors import UserError
from protocols.core.models import Contributor, ModelSpec
from protocols.lib.preflight import preflight
from protocols.lib.saving import derived_model, save_model
from studio.cli import main
from studio.pool import load_pool
from studio.settings import Settings
from tests.protocols.weight.test_distillation import fitting
from tests.protocols.weight.tiny import World, full_pool, play_fit, tiny_pool
from tests.training.small import small_base

HOSTILE = "Tester | of *pipes*\n# and <b>headings</b>"


def merged(pool: list[ModelSpec], root: Path, protocol: str = "expo", **config: Any) -> Any:
    store = ArtifactStore(root)
    asyncio.run(play_fit(protocol, pool, World(pool, [1.0, 0.5, 0.2]), store, config=config))
    return next(store.list(protocol))


def logits(model: Any) -> Any:
    import torch

    with torch.inference_mode():
        return model.float()(torch.tensor([[1, 5, 9, 2, 7]])).logits


def test_an_adapter_loads_in_peft_and_a_whole_model_in_transformers(tmp_path: Path) -> None:
    """Both say the same, and what the recipe says: the base and the weighted changes."""
    import torch
    from peft import PeftModel
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    pool = tiny_pool(tmp_path / "pool", 3)
    stored = merged(pool, tmp_path / "store")
    model = derived_model(stored, pool)
    save_model(model, tmp_path / "adapter")
    save_model(model, tmp_path / "whole", whole=True)
    base = pool[0].source
    files = [*(tmp_path / "adapter").iterdir(), *(tmp_path / "whole").iterdir()]
    (tmp_path / "new").touch()
    assert {file.stat().st_mode for file in files} == {(tmp_path / "new").stat().st_mode}
    plain = AutoModelForCausalLM.from_pretrained(base)
    without = logits(plain)
    tuned = logits(PeftModel.from_pretrained(plain, tmp_path / "adapter"))
    whole = logits(AutoModelForCausalLM.from_pretrained(tmp_path / "whole"))
    torch.testing.assert_close(whole, tuned, atol=1e-5, rtol=1e-4)
    assert torch.dist(tuned, without) > 1e-3
    # By hand, from the members' own files and the recipe.
    layer = "model.layers.0.self_attn.q_proj"
    expected = load_file(Path(base, "model.safetensors"))[f"{layer}.weight"]
    for member, weight in zip(pool, stored.manifest.recipe["weights"], strict=True):
        factors = load_file(Path(member.adapter, "adapter_model.safetensors"))
        a, b = (factors[f"base_model.model.{layer}.lora_{side}.weight"] for side in "AB")
        expected = expected + weight * (b @ a)
    found = load_file(tmp_path / "whole" / "model.safetensors")[f"{layer}.weight"]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_a_merge_of_whole_models_is_one(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    pool = full_pool(tmp_path / "pool", 3)
    stored = merged(pool, tmp_path / "store")
    save_model(derived_model(stored, pool), tmp_path / "saved")
    assert logits(AutoModelForCausalLM.from_pretrained(tmp_path / "saved")).shape[:2] == (1, 5)
    card = (tmp_path / "saved" / "README.md").read_text()
    assert yaml.safe_load(card.split("---")[1])["library_name"] == "transformers"


def test_the_card_names_everybody_and_nobody_can_write_into_it(tmp_path: Path) -> None:
    pool = tiny_pool(tmp_path / "pool", 3, base=True)
    told = Contributor(name=HOSTILE, licence="CC0-1.0", institution="a | b")
    pool[1] = pool[1].model_copy(update={"contributor": told})
    stored = merged(pool[:3], tmp_path / "store", "greedy_soup")
    save_model(derived_model(stored, pool[:3]), tmp_path / "whole", whole=True)
    card = (tmp_path / "whole" / "README.md").read_text()
    rows = [line for line in card.splitlines() if line.startswith("|")]
    assert len(rows) == 2 + 3, "one line for each contributor, weight 0 included"
    for model, weight in zip(pool, stored.manifest.recipe["weights"], strict=False):
        assert sum(f" {model.id} | {weight:.6g} |" in row for row in rows) == 1
    assert "\n# and" not in card and "<b>" not in card.replace("\\<b\\>", "")
    about = yaml.safe_load(card.split("---")[1])
    assert about["library_name"] == "transformers" and "merge" in about["tags"]
    assert str(tmp_path) not in card


def test_a_hub_base_keeps_its_whole_name(tmp_path: Path) -> None:
    pool = tiny_pool(tmp_path / "pool", 2)
    far = pool[0].model_copy(update={"id": "m", "source": "someone/tiny-base", "revision": "abc"})
    save_model(far, tmp_path / "saved")
    config = json.loads((tmp_path / "saved" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "someone/tiny-base" and config["revision"] == "abc"
    save_model(pool[0], tmp_path / "local")
    assert str(tmp_path) not in (tmp_path / "local" / "adapter_config.json").read_text()


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    pool = tiny_pool(tmp_path / "pool", 1)
    for taken in ("folder", "file"):
        if taken == "file":
            (tmp_path / taken).write_text("mine")
        else:
            (tmp_path / taken).mkdir()
            (tmp_path / taken / "mine").write_text("mine")
        with pytest.raises(UserError, match="exists already"):
            save_model(pool[0], tmp_path / taken)
    assert (tmp_path / "folder" / "mine").read_text() == (tmp_path / "file").read_text() == "mine"
    (tmp_path / "empty").mkdir()
    save_model(pool[0], tmp_path / "empty")


# The commands


@pytest.fixture(scope="module")
def distilled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A pool file of two architectures beside their distillation; its key."""
    root = tmp_path_factory.mktemp("distilled")
    sources = {"base": small_base(root / "narrow"), "wide": small_base(root / "wide", 32)}
    models = [
        ModelSpec(id=n, source=str(s), contributor=Contributor(name=f"Tester of {n}"))
        for n, s in sources.items()
    ]
    file = root / "mine.yaml"
    file.write_text(yaml.safe_dump({"models": [m.model_dump(mode="json") for m in models]}))
    store = ArtifactStore(root / "artifacts")
    asyncio.run(fitting("distillation", models, store, config={"steps": 1, "prompts": 8}))
    return file, next(store.list("distillation")).manifest.key


@pytest.fixture
def world(distilled: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> tuple[Path, str]:
    monkeypatch.setenv("STUDIO_WORKSPACE", str(distilled[0].parent))
    return distilled


def studio(*words: str) -> Result:
    return CliRunner().invoke(main, ["artifact", *words], catch_exceptions=False)


def test_students_become_a_pool_that_can_be_merged(world: tuple[Path, str], tmp_path: Path) -> None:
    file, key = world
    listed = studio("list", "--json")
    assert [json.loads(line)["key"] for line in listed.stdout.splitlines()] == [key]
    out = tmp_path / "out"
    done = studio("pool", key, "--pool", str(file), "--out", str(out), "--json")
    assert done.exit_code == 0, done.stderr
    made = load_pool(json.loads(done.stdout)["pool"], Settings())
    assert [m.id for m in made.specs] == ["base", "student.wide"]
    assert made.specs[1].contributor.name == "Tester of wide"
    assert preflight(made.specs, tmp_path, 1).state == "ok"


def test_a_model_is_saved_by_its_name(world: tuple[Path, str], tmp_path: Path) -> None:
    file, key = world
    words = ["save", key, "--pool", str(file), "--model", "student.wide"]
    done = studio(*words, "--out", str(tmp_path / "student"))
    assert done.exit_code == 0 and "--enable-lora --max-lora-rank 8" in done.stdout, done.stderr
    assert (tmp_path / "student" / "adapter_model.safetensors").is_file()
    done = studio(*words, "--whole", "--json", "--out", str(tmp_path / "whole"))
    assert json.loads(done.stdout)["kind"] == "model"
    assert (tmp_path / "whole" / "tokenizer.json").is_file()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["save", "nothing", "--out", "x"], "no artifact 'nothing'"),
        (["save", "KEY", "--out", "x"], "no model 'base'"),
        (
            ["save", "KEY", "--pool", "POOL", "--model", "studnet.wide", "--out", "x"],
            "student.wide",
        ),
        (["pool", "KEY", "--pool", "POOL", "--out", "."], "exists already"),
    ],
)
def test_unusable_words_are_one_sentence(
    world: tuple[Path, str], words: list[str], says: str
) -> None:
    real = {"KEY": world[1], "POOL": str(world[0])}
    result = studio(*(real.get(word, word) for word in words))
    assert result.exit_code == 2 and says in result.stderr and not result.stdout


def test_a_fit_can_save_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real engine, an embedded task, an artificial pool: what is fitted is also saved."""
    small_base(tmp_path / "pool" / "tiny-base")
    pool = tiny_pool(tmp_path / "pool", 2)
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump({"models": [m.model_dump(mode="json") for m in pool]}))
    monkeypatch.setenv("STUDIO_WORKSPACE", str(tmp_path))
    fit = ["fit", "--protocol", "expo", "--task", "roman", "--limit", "1", "--max-tokens", "2"]
    words = [*fit, "--engine", "transformers", "--pool", str(file), "--save", str(tmp_path / "out")]
    result = CliRunner().invoke(main, words, catch_exceptions=False)
    assert result.exit_code == 0, result.stderr + result.stdout
    said = [line.strip() for line in result.stdout.splitlines()]
    assert said[1].startswith("At most") and said[1].endswith("what is left will be shown.")
    assert any(line.startswith("Pre-flight: These models can be merged") for line in said)
    assert (tmp_path / "out" / "adapter_config.json").is_file()
    assert "Tester of member1" in (tmp_path / "out" / "README.md").read_text()
    again = CliRunner().invoke(main, words, catch_exceptions=False)
    assert again.exit_code == 2 and "exists already" in again.stderr
    assert "by the fits before" in again.stdout, "the first fit was timed"
