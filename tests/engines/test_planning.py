"""The planner against sums done by hand, and laws that hold for every pool and machine."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.core.errors import ContributorError
from protocols.core.models import ModelSpec
from protocols.engines.planning import GIB, Base, Demand, Device, Plan, plan
from protocols.engines.shapes import ALIASES, FAMILIES, Shape, guessed, shape_of
from protocols.engines.vllm_arguments import engine_arguments, planned
from studio.planner import parse_devices

LLAMA = FAMILIES["llama-3.1-8b"][0]
PAPER = [Base(f"m{n}", f"Model {n}", LLAMA, 2 * 5_320_000_000) for n in range(32)]
"""The paper's 32 models at their average size (its Section 3: 5.32B), in bf16."""

# One of them by hand, for 8 streams of 4096 tokens:
#   weights      2 x 5.32e9                                          10,640,000,000
#   KV           8 x 4096 x 2 x 32 layers x 8 heads x 128 x 2 B        4,294,967,296
#   activations  4096 x (4 x 4096 + 3 x 14336) x 2 B                    486,539,264
#                and logits 8 x 128256 x 4 B x 2                          8,208,384
#   runtime      1 GiB                                                1,073,741,824
NEED = 16_503_456_768


def states(made: Plan, device: int) -> list[str]:
    return [one.state for one in made.on(device)]


@pytest.mark.parametrize("name", FAMILIES)
def test_published_parameter_counts_follow_from_the_shapes(name: str) -> None:
    shape, published = FAMILIES[name]
    assert abs(shape.parameters / published - 1) < 3e-4
    assert shape.parameters < published  # norms and biases are what is left out


def test_key_and_value_bytes_by_hand() -> None:
    assert LLAMA.kv_bytes == 131_072
    assert FAMILIES["qwen2.5-7b"][0].kv_bytes == 57_344
    assert FAMILIES["llama-2-7b"][0].kv_bytes == 524_288


def test_an_adapter_slot_is_as_large_as_peft_says() -> None:
    """Measured: LoRA of rank 16 on all linear layers of SmolLM2-135M has 4.88 million weights."""
    assert FAMILIES["smollm2-135m"][0].adapter_bytes(16) == 2 * 4_884_480


def test_the_paper_on_one_gpu_of_141_gb() -> None:
    # 141 x 2^30 x 0.92 = 139,285,789,409. 512 GiB of memory hold all weights, so all 32 may sleep
    # and 31 x 0.5 GiB stay behind: 122,642,791,137 are left, 7.43 times the need.
    made = plan(PAPER, parse_devices("141"), 512 * GIB)
    assert {one.need.total for one in made.placed} == {NEED}
    assert states(made, 0) == ["sleeps"] * 32
    assert made.capacity(0) == 122_642_791_137
    assert made.awake(0) == 7
    assert made.round_s == pytest.approx(32 * 2 * 10_640_000_000 / (10 * GIB))


def test_the_paper_on_one_gpu_with_little_memory_beside_it() -> None:
    # 0.7 x 128 GiB = 96,207,267,430 hold 9 of 10.64e9; the other 23 come from disk. Nine sleepers
    # keep 4.5 GiB: 134,453,951,201 are left, 8.15 times the need.
    made = plan(PAPER, parse_devices("141"), 128 * GIB)
    assert states(made, 0) == ["sleeps"] * 9 + ["reloads"] * 23
    assert made.awake(0) == 8
    seconds = 9 * 2 * 10.64e9 / (10 * GIB) + 23 * (45 + 10.64e9 / GIB)
    assert made.round_s == pytest.approx(seconds)


def test_the_paper_on_four_gpus_of_24_gb() -> None:
    # 24 x 2^30 x 0.92 = 23,708,219,473: one at a time on each. A quarter of 0.7 x 256 GiB is
    # 48,103,633,715, four times the weights of one.
    made = plan(PAPER, parse_devices("4x24"), 256 * GIB)
    for device in range(4):
        assert states(made, device) == ["sleeps"] * 4 + ["reloads"] * 4
        assert made.awake(device) == 1
    assert made.capacity(0) == 23_708_219_473 - 4 * GIB // 2
    # Alone in the room, each has all of it: (21,560,735,825 - 12,208,489,472) / 512 MiB a stream.
    assert {one.room for one in made.placed} == {21_560_735_825}
    assert {one.sequences for one in made.placed} == {17}


def test_the_paper_on_eight_gpus_of_80_gb() -> None:
    # 80 x 2^30 x 0.92 = 79,027,398,246 is 4.79 times the need: four on each, 32 in all.
    made = plan(PAPER, parse_devices("8x80"), 256 * GIB)
    assert all(states(made, device) == ["stays"] * 4 for device in range(8))
    assert made.round_s == 0.0
    assert {one.room for one in made.placed} == {79_027_398_246 // 4 - (79_027_398_246 % 4 > 4)}
    assert all(len(one.devices) == 1 for one in made.placed)


def test_half_the_paper_on_eight_gpus_is_there_twice() -> None:
    made = plan(PAPER[:16], parse_devices("8x80"), 256 * GIB)
    assert [len(one.devices) for one in made.placed] == [2] * 16
    assert all(len(made.on(device)) == 4 for device in range(8))


def test_seventeen_models_leave_room_for_fifteen_replicas() -> None:
    made = plan(PAPER[:17], parse_devices("8x80"), 256 * GIB)
    assert [len(one.devices) for one in made.placed] == [2] * 15 + [1] * 2


def test_a_small_gpu_serves_fewer_streams() -> None:
    # Llama 3.1 8B: 16,060,522,496 of weights and 1,568,489,472 of the rest on 22.08 GiB leave
    # 6,079,207,505 for streams of 512 MiB: 11 of 16 asked.
    base = Base("l", "Llama", LLAMA, 16_060_522_496)
    demand = Demand(streams=16)
    made = plan([base], parse_devices("24"), 64 * GIB, demand)
    assert made.placed[0].need.streams == 11
    assert made.placed[0].state == "stays"


def test_what_fits_nowhere_is_left_out_with_the_way_to_serve_it() -> None:
    # 32.2e9 parameters in bf16 are 64.4e9 bytes: two GPUs of 24 GB are too few, four do.
    large = Base("x", "Large", LLAMA, 64_400_000_000)
    made = plan([large, PAPER[0]], parse_devices("4x24"), 64 * GIB)
    assert [one.base.key for one in made.placed] == ["m0"]
    assert "--tensor-parallel-size 4" in made.left_out[0][1]


def test_adapters_share_their_base_and_reserve_slots_at_the_highest_rank() -> None:
    base = Base("s", "Small", FAMILIES["smollm2-135m"][0], 269_030_016, (4, 9, 16))
    need = plan([base], parse_devices("24"), 64 * GIB).placed[0].need
    # Three adapters, two for merged ones, one empty; rank 16 has 4,884,480 weights.
    assert need.adapters == 6 * 2 * 4_884_480


def test_the_plan_is_what_vllm_is_started_with() -> None:
    made = plan(PAPER[:16], parse_devices("8x80"), 256 * GIB)
    arguments = planned(made.placed[0], made)
    assert arguments["data_parallel_size"] == 2
    assert arguments["device_ids"] == list(made.placed[0].devices)
    assert 0 < arguments["gpu_memory_utilization"] <= 0.92 / 4
    assert not arguments["enable_sleep_mode"]
    assert arguments["max_num_seqs"] >= 8
    turns = plan(PAPER, parse_devices("141"), 512 * GIB)
    assert planned(turns.placed[0], turns)["enable_sleep_mode"]
    without = engine_arguments(ModelSpec(id="a", source="m0"), 4096, 0, 8, made)
    assert "enable_lora" not in without and without["max_model_len"] == 4096


def test_vllm_knows_every_argument_of_a_plan() -> None:
    """On a GPU nothing else would tell of a name that a new vLLM has dropped."""
    arg_utils = pytest.importorskip("vllm.engine.arg_utils")
    made = plan(PAPER[:2], parse_devices("2x80"), 256 * GIB)
    arguments = planned(made.placed[0], made)
    assert "data_parallel_size" in arguments
    assert set(arguments) <= set(arg_utils.AsyncEngineArgs.__dataclass_fields__)


def test_sizes_are_found_by_name_and_else_guessed() -> None:
    tool = ModelSpec(id="t", source="someone/ToolRL-Qwen2.5-3B")
    assert shape_of(tool) == FAMILIES["qwen2.5-3b"][0]
    assert (
        shape_of(ModelSpec(id="t", source="someone/tuned"), "google/gemma-2-9b-it").head_dim == 256
    )
    assert shape_of(ModelSpec(id="t", source="a/b", parameters=5_320_000_000)).guessed
    for alias, family in ALIASES.items():
        assert shape_of(ModelSpec(id="t", source=f"x/{alias}-tuned")) == FAMILIES[family][0]
    with pytest.raises(ContributorError, match="parameters"):
        shape_of(ModelSpec(id="t", source="a/b"))


@given(st.integers(10**9, 10**11))
def test_a_guess_is_near(parameters: int) -> None:
    assert 0.6 < guessed(parameters).parameters / parameters < 1.6


SIZES = st.lists(st.integers(1, 40), min_size=1, max_size=12)


@given(
    SIZES, st.lists(st.sampled_from([16, 24, 48, 80]), min_size=1, max_size=4), st.integers(8, 512)
)
def test_no_gpu_is_ever_filled_beyond_what_is_planned_with(
    billions: Sequence[int], cards: Sequence[int], memory: int
) -> None:
    bases = [Base(f"b{i}", f"B{i}", LLAMA, 2 * n * 10**9) for i, n in enumerate(billions)]
    devices = [Device(f"{n}", n * GIB) for n in cards]
    made = plan(bases, devices, memory * GIB)
    assert len(made.placed) + len(made.left_out) == len(bases)
    asleep = sum(one.base.weights for one in made.placed if one.state == "sleeps")
    assert asleep <= 0.7 * memory * GIB
    for number, device in enumerate(devices):
        here = made.on(number)
        staying = sum(one.room for one in here if one.state == "stays")
        turns = [one for one in here if one.state != "stays"]
        assert not (turns and staying)  # a GPU is either shared by turns or not
        assert staying <= device.usable
        assert all(one.room + made.asleep(number) <= device.usable for one in turns)
        assert made.awake(number) >= bool(here)
        assert sum(one.share for one in here if one.state == "stays") <= 0.92
    for one in made.placed:
        assert one.room >= one.need.total and one.need.streams >= 1
        assert len(set(one.devices)) == len(one.devices)
        assert len({devices[d].memory for d in one.devices}) == 1


def test_a_plan_of_one_shape_needs_a_device() -> None:
    with pytest.raises(ValueError, match="device"):
        plan(PAPER, [], GIB)
    assert Shape(1, 128, 1, 1, 128, 128, 16).parameters == 128 * 128 * 7 + 2 * 16 * 128
