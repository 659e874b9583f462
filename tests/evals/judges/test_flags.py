from __future__ import annotations

import json
from pathlib import Path

import pytest

from evals.human.study import SystemArm
from evals.judges.flags import (
    SKYWORK,
    family,
    flags_of,
    judge_used_in_training_of,
    lacks_independent,
    study_flagger,
)
from protocols.core.models import ModelSpec


def model(name: str, source: str, **more: str) -> ModelSpec:
    return ModelSpec(id=name, source=source, **more)  # type: ignore[arg-type]


REWARD = model("skywork-reward", SKYWORK)
OTHER = model("gemma-reward", "Ray2333/Gemma-2B-rewardmodel-baseline")
POOL = {
    "alpha": model("alpha", "Qwen/Qwen2.5-7B-Instruct"),
    "beta": model("beta", "google/gemma-2-9b-it"),
}
MOCO_ROUTER = SystemArm(
    protocol="trained_router",
    config={"router_base_model": "Qwen/Qwen2.5-7B-Instruct", "reward_model_name": SKYWORK},
)


def test_skywork_on_a_trained_router_is_circular() -> None:
    """T-J6."""
    flags = flags_of(REWARD, "alpha", MOCO_ROUTER, POOL)
    assert flags.circular and any("reward_model_name" in reason for reason in flags.reasons)
    assert not flags_of(OTHER, "alpha", MOCO_ROUTER, POOL).circular


@pytest.mark.parametrize("protocol", ["trained_router", "switch_generation"])
def test_the_papers_own_use_counts_without_settings(protocol: str) -> None:
    assert judge_used_in_training_of(REWARD, SystemArm(protocol=protocol), POOL)


def test_skywork_on_a_vote_is_not_circular() -> None:
    assert judge_used_in_training_of(REWARD, SystemArm(protocol="majority_vote"), POOL) == ()


@pytest.mark.parametrize(
    "config",
    [
        {"reward": "gemma-reward"},
        {"train": {"rewards": ["x", {"model": "ray2333/gemma-2b-rewardmodel-baseline"}]}},
    ],
)
def test_a_setting_that_names_the_judge_is_found_at_any_depth(config: dict[str, object]) -> None:
    arm = SystemArm.model_validate({"protocol": "sparta", "config": config})
    assert judge_used_in_training_of(OTHER, arm, POOL)


def test_a_judge_that_is_one_of_the_models_judges_itself() -> None:
    judge = model("qwen", "Qwen/Qwen2.5-7B-Instruct")
    arm = SystemArm(protocol="majority_vote")
    assert judge_used_in_training_of(judge, arm, POOL)
    assert not judge_used_in_training_of(judge, arm.model_copy(update={"models": ("beta",)}), POOL)


def test_an_adapter_is_not_its_base() -> None:
    base = model("base", "artificial-base")
    judge = model("judge", "artificial-base", adapter="judges/one")
    arm = SystemArm(protocol="x", config={"router": "artificial-base"})
    assert judge_used_in_training_of(judge, arm, {"base": base}) == ()


FAMILIES = {
    "Qwen/Qwen2.5-7B-Instruct": "qwen",
    "Qwen/QwQ-32B": "qwen",
    "Skywork/Skywork-Reward-Llama-3.1-8B-v0.2": "llama",
    "meta-llama/Meta-Llama-3-8B": "llama",
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B": "qwen",
    "deepseek-ai/DeepSeek-V3": "deepseek",
    "google/gemma-2-9b-it": "gemma",
    "HuggingFaceTB/SmolLM2-135M-Instruct": "smollm",
    "/anywhere/models/smollm2-135m-instruct": "smollm",
    "mistralai/Mixtral-8x7B-v0.1": "mistral",
    "allenai/OLMo-2-1124-7B": "olmo",
    "microsoft/phi-4": "phi",
    "someone/dolphin-model": "",
    "someone/unnamed": "",
}


@pytest.mark.parametrize(("source", "wanted"), FAMILIES.items())
def test_families_are_read_from_names(source: str, wanted: str) -> None:
    assert family(model("m", source)) == wanted


def test_a_folder_without_a_telling_name_is_read_from_its_config(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "qwen2"}))
    assert family(model("m", str(tmp_path))) == "qwen"


def test_kin_of_either_arm_is_flagged() -> None:
    judge = model("judge", "Qwen/Qwen2.5-72B-Instruct")
    other = SystemArm(protocol="majority_vote", models=("beta",))
    assert flags_of(judge, "alpha", other, POOL).same_family
    assert not flags_of(judge, "beta", other, POOL).same_family
    whole = SystemArm(protocol="majority_vote")
    assert flags_of(judge, "beta", whole, POOL).same_family
    assert any("qwen" in reason for reason in flags_of(judge, "beta", whole, POOL).reasons)


def test_an_unknown_family_is_nobodys_kin() -> None:
    pool = {"alpha": model("alpha", "someone/unnamed")}
    judge = model("judge", "someone/else")
    assert not flags_of(judge, "alpha", SystemArm(protocol="x"), pool).same_family


def test_a_study_knows_the_flags_of_its_judges_only() -> None:
    flags = study_flagger([REWARD], MOCO_ROUTER, POOL.values())
    assert flags("skywork-reward", "alpha").circular
    assert not flags("always-first", "alpha").circular


def test_a_study_needs_one_reward_model_that_had_no_part() -> None:
    assert "Skywork" in lacks_independent(
        [REWARD.model_copy(update={"name": "Skywork"})], MOCO_ROUTER, POOL
    )
    assert lacks_independent([REWARD, OTHER], MOCO_ROUTER, POOL) == ""
    assert lacks_independent([], MOCO_ROUTER, POOL) == ""
