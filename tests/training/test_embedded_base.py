from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from protocols.core.errors import EngineError
from protocols.engines import embedded_base as base

HEADS, KV_HEADS, WIDTH = 9, 3, 64
PROMPT = "The capital of France is"


@pytest.fixture(scope="module")
def gguf_file(workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    wheel = Path(os.environ.get(base.WHEEL_ENV, workspace / "downloads" / base.WHEEL_NAME))
    if not wheel.is_file():
        pytest.skip("the wheel of the embedded base is not kept in the workspace: run make setup")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(base.WHEEL_ENV, str(wheel))
        return base.ensure_gguf(tmp_path_factory.mktemp("gguf"))


@pytest.fixture(scope="module")
def tensors(gguf_file: Path) -> dict[str, np.ndarray[Any, Any]]:
    from gguf import GGUFReader
    from gguf.quants import dequantize

    reader = GGUFReader(gguf_file)
    return {one.name: dequantize(one.data, one.tensor_type) for one in reader.tensors}


def paired_to_halves(matrix: np.ndarray[Any, Any], heads: int) -> np.ndarray[Any, Any]:
    """Row 2i+s of a head in the file (a rotary pair) is row i+32s of that head in transformers."""
    order = [h * WIDTH + 2 * i + s for h in range(heads) for s in (0, 1) for i in range(WIDTH // 2)]
    return matrix[order]


@pytest.mark.models
def test_the_converted_weights_are_those_of_the_file(
    base_model: Path, tensors: dict[str, np.ndarray[Any, Any]]
) -> None:
    import torch
    from safetensors.torch import load_file

    made = load_file(base_model / "model.safetensors")
    assert "lm_head.weight" not in made and "output.weight" not in tensors
    expected = {
        "model.embed_tokens.weight": tensors["token_embd.weight"],
        "model.norm.weight": tensors["output_norm.weight"],
        "model.layers.0.mlp.down_proj.weight": tensors["blk.0.ffn_down.weight"],
        "model.layers.29.self_attn.v_proj.weight": tensors["blk.29.attn_v.weight"],
    }
    for layer in (0, 14, 29):
        for name, heads in (("q", HEADS), ("k", KV_HEADS)):
            rows = paired_to_halves(tensors[f"blk.{layer}.attn_{name}.weight"], heads)
            expected[f"model.layers.{layer}.self_attn.{name}_proj.weight"] = rows
    for name, values in expected.items():
        assert torch.equal(made[name], torch.from_numpy(values.copy()).to(torch.bfloat16)), name
    assert len(made) == len(tensors)


def plain_forward(
    tensors: dict[str, np.ndarray[Any, Any]], tokens: list[int]
) -> np.ndarray[Any, Any]:
    """Next-token logits, from the file's own tensors and layout, without any model library."""
    x = tensors["token_embd.weight"][tokens]
    angles = np.arange(len(tokens))[:, None] * 100_000.0 ** (-np.arange(0, WIDTH, 2) / WIDTH)
    turn = np.exp(1j * angles)[:, None, :]
    past = np.triu(np.full((len(tokens), len(tokens)), -np.inf), 1)

    def norm(value: np.ndarray[Any, Any], weight: str) -> np.ndarray[Any, Any]:
        scaled: np.ndarray[Any, Any] = value / np.sqrt((value**2).mean(-1, keepdims=True) + 1e-5)
        return scaled * tensors[weight]

    def heads(value: np.ndarray[Any, Any], count: int) -> np.ndarray[Any, Any]:
        pairs = value.reshape(len(tokens), count, WIDTH // 2, 2)
        turned = (pairs[..., 0] + 1j * pairs[..., 1]) * turn
        both = np.stack([turned.real, turned.imag], -1).reshape(len(tokens), count, WIDTH)
        return np.repeat(both, HEADS // count, axis=1)

    for layer in range(30):
        part = {name: tensors[f"blk.{layer}.{name}.weight"].T for name in PARTS}
        seen = norm(x, f"blk.{layer}.attn_norm.weight")
        q, k = heads(seen @ part["attn_q"], HEADS), heads(seen @ part["attn_k"], KV_HEADS)
        v = (seen @ part["attn_v"]).reshape(len(tokens), KV_HEADS, WIDTH)
        weights = np.einsum("qhd,khd->hqk", q, k) / np.sqrt(WIDTH) + past
        weights = np.exp(weights - weights.max(-1, keepdims=True))
        weights /= weights.sum(-1, keepdims=True)
        mixed = np.einsum("hqk,khd->qhd", weights, np.repeat(v, HEADS // KV_HEADS, axis=1))
        x = x + mixed.reshape(len(tokens), -1) @ part["attn_output"]
        seen = norm(x, f"blk.{layer}.ffn_norm.weight")
        gate = seen @ part["ffn_gate"]
        x = x + (gate / (1 + np.exp(-gate)) * (seen @ part["ffn_up"])) @ part["ffn_down"]
    logits: np.ndarray[Any, Any] = norm(x, "output_norm.weight")[-1]
    return logits @ tensors["token_embd.weight"].T


PARTS = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")


def log_probs(logits: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    shifted = logits - logits.max()
    result: np.ndarray[Any, Any] = shifted - np.log(np.exp(shifted).sum())
    return result


@pytest.mark.models
def test_the_converted_model_thinks_like_the_file(
    base_model: Path, tensors: dict[str, np.ndarray[Any, Any]]
) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokens = AutoTokenizer.from_pretrained(base_model)(PROMPT)["input_ids"]
    model = AutoModelForCausalLM.from_pretrained(base_model, dtype=torch.float32)
    with torch.inference_mode():
        ours = log_probs(model(torch.tensor([tokens])).logits[0, -1].numpy())
    theirs = log_probs(plain_forward(tensors, tokens))
    likely = np.argsort(theirs)[-20:]
    assert int(ours.argmax()) == int(theirs.argmax())
    assert np.abs(ours[likely] - theirs[likely]).max() < 0.15


@pytest.mark.models
def test_the_converted_model_agrees_with_llama_cpp(base_model: Path, gguf_file: Path) -> None:
    """Opt-in: runs where the xllamacpp package is installed."""
    xllamacpp = pytest.importorskip("xllamacpp", reason="opt-in: needs xllamacpp")
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    params = xllamacpp.CommonParams()
    params.model.path, params.n_ctx, params.cpuparams.n_threads = str(gguf_file), 256, 2
    request = {"prompt": PROMPT, "max_tokens": 1, "logprobs": 10, "temperature": 0.0}
    answer = xllamacpp.Server(params).handle_completions(request)
    found = answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
    tokens = AutoTokenizer.from_pretrained(base_model)(PROMPT)["input_ids"]
    model = AutoModelForCausalLM.from_pretrained(base_model, dtype=torch.float32)
    with torch.inference_mode():
        ours = log_probs(model(torch.tensor([tokens])).logits[0, -1].numpy())
    assert int(ours.argmax()) == found[0]["id"]
    assert max(abs(float(ours[one["id"]]) - one["logprob"]) for one in found) < 0.6


@pytest.mark.models
def test_the_configs_name_no_machine(base_model: Path) -> None:
    config = json.loads((base_model / "config.json").read_text(encoding="utf-8"))
    generation = json.loads((base_model / "generation_config.json").read_text(encoding="utf-8"))
    assert config["tie_word_embeddings"] and "quantization_config" not in config
    assert generation["pad_token_id"] == generation["eos_token_id"] == config["eos_token_id"]
    for path in base_model.glob("*config.json"):
        assert str(base_model.parent) not in path.read_text(encoding="utf-8")


def test_a_base_that_is_there_is_not_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = base.base_dir(tmp_path)
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    monkeypatch.setattr(base, "_build", lambda *_: pytest.fail("built again"))
    assert base.ensure_base(tmp_path) == folder


def test_a_wheel_with_other_bytes_is_refused_and_removed(tmp_path: Path) -> None:
    wheel = tmp_path / "downloads" / base.WHEEL_NAME
    wheel.parent.mkdir()
    wheel.write_bytes(b"something else")
    with pytest.raises(EngineError, match="not the expected file"):
        base.ensure_base(tmp_path)
    assert not wheel.exists()


def test_a_wheel_given_by_hand_is_never_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = tmp_path / "mine.whl"
    wheel.write_bytes(b"something else")
    monkeypatch.setenv(base.WHEEL_ENV, str(wheel))
    with pytest.raises(EngineError, match="not the expected file"):
        base.ensure_base(tmp_path)
    assert wheel.exists()
    monkeypatch.setenv(base.WHEEL_ENV, str(tmp_path / "missing.whl"))
    with pytest.raises(EngineError, match="not a file"):
        base.ensure_base(tmp_path)


def test_without_network_the_error_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = subprocess.CompletedProcess([], 1, "", "WARNING: retrying\nERROR: no index reached\n")
    monkeypatch.setattr(base.subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(EngineError, match=rf"no index reached.*{base.WHEEL_ENV}"):
        base.ensure_base(tmp_path)
    assert not base.base_dir(tmp_path).exists()


def test_a_failed_conversion_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_gguf: Path, folder: Path) -> None:
        folder.mkdir()
        raise ValueError("unknown tensor type")

    monkeypatch.setattr(base, "ensure_gguf", lambda *_: tmp_path / "some.gguf")
    monkeypatch.setattr(base, "_convert", broken)
    with pytest.raises(EngineError, match="unknown tensor type"):
        base.ensure_base(tmp_path)
    assert [path.suffix for path in (tmp_path / "models").iterdir()] == [".lock"]
