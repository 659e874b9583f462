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
from studio.planner import MOST_DEVICES, hosted, parse_devices
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
    # 2 x 8,030,261,248 B = 14.96 GiB; 8 streams x 4096 x 128 KiB would be 4.00; 4 fit beside it.
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
    assert told["placed"][0]["weights"] == 2 * 8_030_261_248


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
