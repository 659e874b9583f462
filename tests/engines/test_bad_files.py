"""Contributed files that lie about themselves: each is refused with a sentence, nothing is run."""

from __future__ import annotations

import ast
import json
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from protocols.core.errors import ContributorError
from protocols.core.models import ModelSpec
from protocols.engines.checks import MAX_TEMPLATE, check_model
from protocols.engines.model_files import MAX_HEADER, check_finite, check_safetensors
from tests.conftest import ROOT

WEIGHTS = "adapter_model.safetensors"
SHAPES = {"q_proj": (6, 8), "v_proj": (4, 8)}
Spoil = Callable[[Path], None]


def layer(name: str) -> str:
    return f"model.layers.0.self_attn.{name}"


@pytest.fixture
def base(tmp_path: Path) -> Path:
    folder = tmp_path / "the-base"
    folder.mkdir()
    weights = {f"{layer(n)}.weight": np.zeros(s, np.float32) for n, s in SHAPES.items()}
    save_file(weights, folder / "model.safetensors")
    config = {"hidden_size": 8, "vocab_size": 10, "num_hidden_layers": 1}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer_config.json").write_text("{}")
    return folder


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    folder = tmp_path / "adapter"
    folder.mkdir()
    save_file(matrices(2), folder / WEIGHTS)
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["q_proj", "v_proj"]}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


def matrices(rank: int) -> dict[str, Any]:
    made = {}
    for name, (out, into) in SHAPES.items():
        stem = f"base_model.model.{layer(name)}"
        made[f"{stem}.lora_A.weight"] = np.ones((rank, into), np.float32)
        made[f"{stem}.lora_B.weight"] = np.ones((out, rank), np.float32)
    return made


def weights(change: Callable[[dict[str, Any]], object]) -> Spoil:
    def spoil(folder: Path) -> None:
        found = load_file(folder / WEIGHTS)
        change(found)
        save_file(found, folder / WEIGHTS)

    return spoil


def header(change: Callable[[dict[str, Any]], object]) -> Spoil:
    """Rewrite the header alone; the tensors' bytes stay what they were."""

    def spoil(folder: Path) -> None:
        data = (folder / WEIGHTS).read_bytes()
        length = struct.unpack("<Q", data[:8])[0]
        said = json.loads(data[8 : 8 + length])
        change(said)
        text = json.dumps(said).encode()
        (folder / WEIGHTS).write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])

    return spoil


def config(**changes: object) -> Spoil:
    def spoil(folder: Path) -> None:
        path = folder / "adapter_config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return spoil


def overlap(said: dict[str, Any]) -> None:
    first, second = (t for name, t in said.items() if name.endswith("lora_A.weight"))
    second["data_offsets"] = list(first["data_offsets"])


def stretch(said: dict[str, Any]) -> None:
    next(t for n, t in said.items() if n.endswith("lora_A.weight"))["shape"] = [2**31, 2**31]


def linked(folder: Path) -> None:
    elsewhere = folder.parent.parent / "elsewhere"
    shutil.move(folder / WEIGHTS, elsewhere)
    (folder / WEIGHTS).symlink_to(elsewhere)


def piped(folder: Path) -> None:
    os.mkfifo(folder / "notes.txt")


Q = f"base_model.model.{layer('q_proj')}"
REFUSED: dict[str, tuple[Spoil, str]] = {
    "offsets overlap": (header(overlap), "damaged header"),
    "shape and bytes differ": (header(stretch), "damaged header"),
    "unknown type": (header(lambda h: h[f"{Q}.lora_A.weight"].update(dtype="X9")), "damaged"),
    "offsets run backwards": (
        header(lambda h: h[f"{Q}.lora_A.weight"].update(data_offsets=[64, 0])), "damaged"),
    "whole numbers": (
        weights(lambda w: w.update({k: v.astype(np.int8) for k, v in w.items()})), "stored as I8"),
    "another base's shape": (
        weights(lambda w: w.update({f"{Q}.lora_A.weight": np.ones((2, 9), np.float32)})),
        "has 8 to 6 there"),
    "a layer the base lacks": (
        weights(lambda w: [w.update({k.replace("layers.0", "layers.9"): w.pop(k)}) for k in [*w]]),
        "its base lacks"),
    "half a pair": (weights(lambda w: w.pop(f"{Q}.lora_B.weight")), "only one"),
    "a whole layer replaced": (
        weights(lambda w: w.update({f"{layer('q_proj')}.weight": np.ones((6, 8), np.float32)})),
        "no LoRA matrix"),
    "nothing in it": (weights(lambda w: w.clear()), "is empty"),
    "rank not as stated": (weights(lambda w: w.update(matrices(3))), "states rank 2"),
    "rank is true": (config(r=True), "rank"),
    "alpha is infinite": (config(lora_alpha=float("inf")), "lora_alpha"),
    "alpha drowns the base": (config(lora_alpha=1e9), "out of proportion"),
    "modules as a pattern": (config(target_modules="(x+x+)+y"), "is a pattern"),
    "layers as a pattern": (config(layers_pattern="(x+x+)+y"), "is a pattern"),
    "layers copied": (config(layer_replication=[[0, 10**6]]), "layer_replication"),
    "names a library to import": (config(megatron_config={"a": 1}), "megatron_config"),
    "a link to elsewhere": (linked, "is a link"),
    "a pipe": (piped, "no ordinary file"),
}  # fmt: skip


def test_the_honest_adapter_passes(base: Path, adapter: Path) -> None:
    check_model(ModelSpec(id="honest", source=str(base), adapter=str(adapter)))


@pytest.mark.parametrize("kind", REFUSED)
def test_a_lying_adapter_is_refused(kind: str, base: Path, adapter: Path, tmp_path: Path) -> None:
    spoil, reason = REFUSED[kind]
    spoil(adapter)
    with pytest.raises(ContributorError, match=reason) as raised:
        check_model(ModelSpec(id="culprit", source=str(base), adapter=str(adapter)))
    assert "'culprit'" in raised.value.message and str(tmp_path) not in raised.value.message
    assert len(raised.value.message) < 400


def written(name: str, content: object) -> Spoil:
    text = content if isinstance(content, str) else json.dumps(content)
    return lambda folder: (folder / name).write_text(text) and None


BAD_BASES: dict[str, tuple[Spoil, str]] = {
    "tokenizer with code": (
        written("tokenizer_config.json", {"auto_map": {"AutoTokenizer": ["x.T"]}}), "own code"),
    "a giant vocabulary": (written("config.json", {"vocab_size": 10**15}), "vocab_size"),
    "layers without end": (written("config.json", {"num_hidden_layers": 10**9}), "num_hidden"),
    "width is text": (written("config.json", {"hidden_size": "8"}), "hidden_size"),
    "a giant template": (written("chat_template.jinja", "x" * (MAX_TEMPLATE + 1)), "larger than"),
    "a giant template inside": (
        written("tokenizer_config.json", {"chat_template": "x" * (MAX_TEMPLATE + 1)}), "template"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD_BASES)
def test_a_lying_model_is_refused(kind: str, base: Path) -> None:
    check_model(ModelSpec(id="culprit", source=str(base)))
    spoil, reason = BAD_BASES[kind]
    spoil(base)
    with pytest.raises(ContributorError, match=reason):
        check_model(ModelSpec(id="culprit", source=str(base)))


def test_a_pickle_beside_good_weights_is_left_alone(base: Path, adapter: Path) -> None:
    (adapter / "training_args.bin").write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    check_model(ModelSpec(id="m", source=str(base), adapter=str(adapter)))


def test_a_hub_cache_may_link_to_its_own_blobs(tmp_path: Path, base: Path) -> None:
    snapshot, blobs = tmp_path / "cache" / "snapshots" / "abc", tmp_path / "cache" / "blobs"
    snapshot.mkdir(parents=True)
    shutil.copytree(base, blobs)
    for path in blobs.iterdir():
        (snapshot / path.name).symlink_to(path)
    check_model(ModelSpec(id="m", source=str(snapshot)))


@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_get_a_sentence_or_load(data: bytes, framed: bool) -> None:
    """What is let through is what the library itself can read."""
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / WEIGHTS
        path.write_bytes(struct.pack("<Q", len(data)) + data if framed else data)
        try:
            check_safetensors(ModelSpec(id="m", source="x"), path)
        except ContributorError:
            return
        try:
            load_file(path)
        except SafetensorError:  # pragma: no cover  the law is that this is never reached
            pytest.fail("a file was let through that cannot be loaded")


def test_a_long_header_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / WEIGHTS
    with path.open("wb") as file:
        file.write(struct.pack("<Q", MAX_HEADER + 1))
        file.truncate(MAX_HEADER + 100)
    with pytest.raises(ContributorError, match="header"):
        check_safetensors(ModelSpec(id="m", source="x"), path)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_weights_that_are_no_numbers_are_found(adapter: Path, bad: float) -> None:
    model = ModelSpec(id="m", source="x")
    check_finite(model, adapter / WEIGHTS)
    weights(lambda w: w[f"{Q}.lora_A.weight"].__setitem__((1, 1), bad))(adapter)
    with pytest.raises(ContributorError, match="not finite"):
        check_finite(model, adapter / WEIGHTS)


def test_nothing_here_ever_runs_a_model_s_own_code() -> None:
    """Each loader of a contributed model says so itself: the library's default is to ask."""
    calls = 0
    for path in [
        p for folder in ("protocols", "evals", "studio") for p in (ROOT / folder).rglob("*.py")
    ]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            if node.func.attr != "from_pretrained" or "Auto" not in ast.unparse(node.func):
                continue
            calls += 1
            given = {k.arg: ast.unparse(k.value) for k in node.keywords}
            assert given.get("trust_remote_code") == "False", f"{path.name}:{node.lineno}"
    assert calls >= 8
