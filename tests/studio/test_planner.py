"""Planning from the command line: devices as they are written, the plan as it is shown."""

from __future__ import annotations

import json
from pathlib import Path

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
