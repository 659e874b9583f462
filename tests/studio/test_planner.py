"""Planning from the command line: devices as they are written, the plan as it is shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from protocols.core.errors import StudioError, UserError
from protocols.engines.planning import GIB
from studio.cli import main
from studio.planner import MOST_DEVICES, hosted, parse_devices, with_preset
from studio.settings import Settings

POOL = """
title: Artificial pool
description: Sizes only.
models:
- {id: large, source: example/large-llama-3.1-8b, parameters: 8030261248}
- {id: small, source: example/small-qwen2.5-1.5b}
- {id: far, source: "http://127.0.0.1:9/v1"}
- {id: strange, source: example/strange}
"""


def planned(*args: str) -> tuple[int, str]:
    done = CliRunner().invoke(main, ["doctor", "--plan", *args])
    return done.exit_code, done.output


@pytest.mark.parametrize(
    ("text", "sizes"),
    [("141", [141]), ("4x24", [24] * 4), ("8x80GB", [80] * 8), ("2x24, 1x80", [24, 24, 80])],
)
def test_devices_as_people_write_them(text: str, sizes: list[int]) -> None:
    assert [device.memory // GIB for device in parse_devices(text)] == sizes


@given(st.text(max_size=12))
def test_any_other_text_is_one_sentence(text: str) -> None:
    try:
        assert 0 < len(parse_devices(text)) <= MOST_DEVICES
    except UserError as error:
        assert "GPU" in error.message


def test_the_plan_shows_its_arithmetic(tmp_path: Path) -> None:
    (tmp_path / "some.yaml").write_text(POOL)
    code, shown = planned("--pool", str(tmp_path / "some.yaml"), "--devices", "24")
    assert code == 0
    # 2 x 8,029,995,008 B (norms left out) = 14.96 GiB; 8 streams x 4096 x 128 KiB = 4.00 GiB.
    assert "14.96 + 0.00 + 4.00 + 0.46 + 1.00 = 20.42" in shown
    assert "8 streams x 4096 tokens x 2 x 32 layers x 8 KV heads x 128 x 2 B" in shown
    assert "24.00 x 0.92 = 22.08 GiB to plan with" in shown
    assert "served elsewhere, no memory here: far" in shown
    assert "The size of 'strange' is not known" in shown


def test_the_plan_as_json_is_the_same(tmp_path: Path) -> None:
    (tmp_path / "some.yaml").write_text(POOL)
    args = ("--pool", str(tmp_path / "some.yaml"), "--devices", "2x80", "--streams", "4", "--json")
    code, shown = planned(*args)
    told = json.loads(shown)
    assert code == 0 and told["demand"] == {"streams": 4, "context": 4096}
    assert [one["on"] for one in told["placed"]] == [[0, 1], [0, 1]]
    assert told["placed"][0]["weights"] == pytest.approx(2 * 8_030_261_248, rel=1e-4)


def test_the_papers_registry_is_planned_as_far_as_sizes_are_known() -> None:
    code, shown = planned("--pool", "paper-32", "--devices", "141", "--memory", "512", "--json")
    told = json.loads(shown)
    unknown = {"conditional-probability-regression", "PUGC-Mistral-DPO", "brief-pro"}
    assert code == 0 and len(told["placed"]) == 32 - len(unknown)
    assert all(any(name in note for note in told["notes"]) for name in unknown)
    by_name = {one["title"]: one for one in told["placed"]}
    # Published: Qwen2.5-7B has 7,615,616,512 weights; its name says 7B.
    assert by_name["Qwen2.5-7B-CLIPPER"]["weights"] == pytest.approx(2 * 7_615_616_512, rel=1e-3)
    assert {one["state"] for one in told["placed"]} == {"sleeps"}
    code, shown = planned("--pool", "paper-32", "--devices", "8x80", "--memory", "512", "--json")
    assert {one["state"] for one in json.loads(shown)["placed"]} == {"stays"}


# By hand from the publishers' config.json: matrices of a layer (query and output, key and value,
# three of the feed-forward part), times layers, and the embeddings, once where they are tied. Then
# 2 x layers x KV heads x head width x 2 bytes for the keys and values of a token.
BY_HAND = {
    "qwen2.5-7b": (
        28 * (2 * 3584 * 3584 + 2 * 3584 * 512 + 3 * 3584 * 18944) + 2 * 152064 * 3584, 57_344),
    "qwen2.5-3b": (
        36 * (2 * 2048 * 2048 + 2 * 2048 * 256 + 3 * 2048 * 11008) + 151936 * 2048, 36_864),
    "qwen2.5-1.5b": (
        28 * (2 * 1536 * 1536 + 2 * 1536 * 256 + 3 * 1536 * 8960) + 151936 * 1536, 28_672),
    "llama-3.1-8b": (
        32 * (2 * 4096 * 4096 + 2 * 4096 * 1024 + 3 * 4096 * 14336) + 2 * 128256 * 4096, 131_072),
    "gemma-2-9b": (
        42 * (2 * 3584 * 4096 + 2 * 3584 * 2048 + 3 * 3584 * 14336) + 256000 * 3584, 344_064),
    "qwen3-4b": (
        36 * (2 * 2560 * 4096 + 2 * 2560 * 1024 + 3 * 2560 * 9728) + 151936 * 2560, 147_456),
    "qwen3-8b": (
        36 * (2 * 4096 * 4096 + 2 * 4096 * 1024 + 3 * 4096 * 12288) + 2 * 151936 * 4096, 147_456),
    "qwen3-14b": (
        40 * (2 * 5120 * 5120 + 2 * 5120 * 1024 + 3 * 5120 * 17408) + 2 * 151936 * 5120, 163_840),
    "llama-2-7b": (
        32 * (4 * 4096 * 4096 + 3 * 4096 * 11008) + 2 * 32000 * 4096, 524_288),
}  # fmt: skip
KNOWN = {
    "Qwen2.5-7B-CLIPPER": "qwen2.5-7b", "qwen2.5_rlcf": "qwen2.5-7b",
    "MDCure-Qwen2-7B-Instruct": "qwen2.5-7b", "ToolRL-Qwen2.5-3B": "qwen2.5-3b",
    "MDCure-Qwen2-1.5B-Instruct": "qwen2.5-1.5b", "Qwen2.5-Math-1.5B-OREO": "qwen2.5-1.5b",
    "care-chinese-gemma2-9b": "gemma-2-9b", "Spiral-Qwen3-4B": "qwen3-4b",
    "UniReason-Qwen3-14B-RL": "qwen3-14b",
}  # fmt: skip
STATED = {"GritLM-7B": 7e9, "DynamicRAG-8B": 8e9, "PolicyGuard-4B": 4e9, "DeepSearch-1.5B": 1.5e9}


def of_the_paper(devices: str) -> dict[str, Any]:
    code, shown = planned("--pool", "paper-32", "--devices", devices, "--memory", "512", "--json")
    assert code == 0
    told: dict[str, Any] = json.loads(shown)
    return told


@pytest.mark.parametrize("devices", ["141", "4x24", "8x80"])
def test_the_papers_pool_by_hand(devices: str) -> None:
    told = of_the_paper(devices)
    placed = {one["title"]: one for one in told["placed"]}
    for name, family in KNOWN.items():
        parameters, cached = BY_HAND[family]
        if devices == "4x24" and family == "qwen3-14b":
            # 29.5e9 bytes are more than the 23.7e9 of a GPU: a sentence, not a place.
            assert any("tensor-parallel-size 2" in one["why"] for one in told["left_out"])
            continue
        one = placed[name]
        assert one["weights"] == 2 * parameters
        assert one["kv"] == one["streams"] * 4096 * cached
    assert {name: placed[name]["weights"] for name in STATED} == {
        name: 2 * size for name, size in STATED.items()
    }
    usable = int(float(devices.split("x")[-1]) * 0.92 * GIB)
    for number in range(len(told["devices"])):
        here = [one for one in told["placed"] if number in one["on"]]
        staying = sum(one["room"] for one in here if one["state"] == "stays")
        assert staying <= usable and all(one["need"] <= one["room"] <= usable for one in here)


def test_few_streams_where_a_gpu_is_small_by_hand() -> None:
    """Gemma 2 9B on 24 GB: 22.08 GiB less 18.48e9 of weights, 1 GiB, and what a pass computes."""
    one = next(o for o in of_the_paper("4x24")["placed"] if o["title"] == "care-chinese-gemma2-9b")
    passing = 4096 * (4 * 3584 + 3 * 14336) * 2 + 8 * 256000 * 8
    left = int(24 * GIB * 0.92) - 2 * BY_HAND["gemma-2-9b"][0] - passing - GIB
    assert one["streams"] == left // (4096 * 344_064) == 2


def test_what_a_plan_leaves_out_is_said_first() -> None:
    notes = of_the_paper("8x80")["notes"]
    assert notes[0].startswith("3 of 32 bases have no place in this plan: they are not served")
    assert "hf download" in notes[1]


def test_the_embedded_pool_is_planned_with_all_its_adapters() -> None:
    code, shown = planned("--devices", "24", "--pool", "embedded")
    assert code == 0 and "adapter slots of rank 8" in shown


def test_what_cannot_be_planned_is_one_sentence() -> None:
    for args, word in (
        (["--plan", "--devices", "many"], "GPU memory"),
        (["--plan", "--preset", "none", "--devices", "24"], "no hosting preset"),
        (["--devices", "24"], "add it"),
    ):
        done = CliRunner().invoke(main, ["doctor", *args])
        assert done.exit_code == 2 and word in done.output


def test_a_launch_by_preset_needs_a_gpu() -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(StudioError, match="No CUDA GPU"):
        hosted(Settings(preset="single-gpu"))
    assert hosted(Settings()) is None


def test_a_preset_decides_what_was_not_set() -> None:
    assert with_preset(Settings()).parallel_runs == 4
    assert with_preset(Settings(preset="single-gpu")).parallel_runs == 8
    assert with_preset(Settings(preset="single-gpu", parallel_runs=3)).parallel_runs == 3
    with pytest.raises(UserError, match="no hosting preset"):
        with_preset(Settings(preset="huge"))
