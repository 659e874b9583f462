"""Models that cannot be served: one clear sentence each, and the engine goes on."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from protocols.core.errors import ContributorError, StudioError
from protocols.core.models import ModelSpec
from protocols.engines.checks import check_model
from tests.engines.conftest import Loop
from tests.engines.worlds import World, ask, complete, make_adapter, text_of

Spoil = Callable[[Path], None]


def config(**changes: object) -> Spoil:
    def spoil(folder: Path) -> None:
        path = folder / "adapter_config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return spoil


def cut(folder: Path) -> None:
    path = folder / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])


def boast(folder: Path) -> None:
    """A header that claims to be larger than the file."""
    path = folder / "adapter_model.safetensors"
    path.write_bytes(struct.pack("<Q", 2**60) + path.read_bytes()[8:])


def nonsense(folder: Path) -> None:
    path = folder / "adapter_model.safetensors"
    data = path.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    path.write_bytes(data[:8] + b"[" * length + data[8 + length :])


def pickled(folder: Path) -> None:
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")


BROKEN: dict[str, tuple[Spoil, str]] = {
    "deleted": (shutil.rmtree, "missing"),
    "no config": (lambda f: (f / "adapter_config.json").unlink(), "missing"),
    "config is no JSON": (lambda f: (f / "adapter_config.json").write_text("{"), "valid JSON"),
    "cut short": (cut, "incomplete"),
    "deep config": (lambda f: (f / "adapter_config.json").write_text("[" * 10**5), "valid JSON"),
    "huge header": (boast, "damaged"),
    "nonsense header": (nonsense, "damaged"),
    "pickle only": (pickled, "may hold code"),
    "other method": (config(peft_type="PREFIX_TUNING"), "no LoRA"),
    "other base": (config(base_model_name_or_path="org/llama-99b"), "llama-99b"),
    "absurd rank": (config(r=100_000), "rank"),
    "rank is text": (config(r="8"), "rank"),
    "alpha is text": (config(lora_alpha="big"), "lora_alpha"),
    "dora": (config(use_dora=True), "use_dora"),
    "own layers": (config(modules_to_save=["lm_head"]), "modules_to_save"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_adapter_is_named_with_its_reason(kind: str, tmp_path: Path) -> None:
    spoil, reason = BROKEN[kind]
    folder = make_adapter(tmp_path / "adapter", 0, "the-base")
    model = ModelSpec(id="culprit", source="hub/the-base", adapter=str(folder))
    check_model(model)
    spoil(folder)
    with pytest.raises(ContributorError, match=reason) as raised:
        check_model(model)
    assert "'culprit'" in raised.value.message and str(tmp_path) not in raised.value.message


def test_models_that_bring_code_are_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"auto_map": {"AutoModel": "evil.Model"}}')
    with pytest.raises(ContributorError, match="own code"):
        check_model(ModelSpec(id="m", source=str(tmp_path)))


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(ContributorError, match="no safetensors"):
        check_model(ModelSpec(id="m", source=str(tmp_path)))


@pytest.mark.models
@pytest.mark.parametrize("kind", ["deleted", "cut short", "does not fit"])
def test_the_engine_survives_a_broken_adapter(
    kind: str, real_world: World, loop: Loop, tmp_path: Path
) -> None:
    if real_world.name == "openai":
        pytest.skip("adapters belong to the server")
    folder = make_adapter(tmp_path / kind.replace(" ", "-"), 2, Path(real_world.base.source).name)
    if kind == "does not fit":
        config(r=2)(folder)
    else:
        BROKEN[kind][0](folder)
    broken = real_world.base.model_copy(update={"id": "culprit", "adapter": str(folder)})

    async def go() -> None:
        with pytest.raises(StudioError, match=r"culprit|adapter"):
            await complete(real_world, ask(broken))
        with pytest.raises(StudioError):
            await real_world.engine.load([broken, real_world.base])
        chunks = await complete(real_world, ask(real_world.base, prefix="1, 2, 3,"))
        assert "4" in text_of(chunks)
        assert real_world.engine.open_streams == 0

    loop.run(go())


@pytest.mark.models
def test_an_adapter_can_be_unloaded_and_comes_back(real_world: World, loop: Loop) -> None:
    if real_world.name == "openai":
        pytest.skip("adapters belong to the server")
    model = real_world.adapters[-1]

    async def go() -> None:
        await real_world.engine.unload(model)
        chunks = await complete(real_world, ask(model, "Tell a story.", max_tokens=4))
        assert chunks[-1].finish

    loop.run(go())
