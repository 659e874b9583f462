from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.judges.margin import calibrate_tau, margin_verdict
from evals.judges.resolve import resolve
from evals.judges.reward_model import RewardJudge
from protocols.core.errors import ContributorError, EngineError
from protocols.core.models import ModelSpec
from protocols.training.reward_scorer import load_scorer
from tests.evals.judges.helpers import judge_all, make_pairs

MODEL = ModelSpec(id="test-reward", source="artificial/reward")
FINITE = st.floats(-50, 50)


def length_scorer(question: str, answers: list[str]) -> list[float]:
    return [float(len(answer)) for answer in answers]


def test_rewards_closer_than_tau_tie() -> None:
    """T-J5."""
    assert margin_verdict(1.0, 1.4, 0.5) == "tie"
    assert margin_verdict(1.0, 1.5, 0.5) == "system"
    assert margin_verdict(1.5, 1.0, 0.5) == "contributor"
    assert margin_verdict(2.0, 2.0, 0.0) == "tie"


@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf])
def test_a_broken_reward_is_unparsed(broken: float) -> None:
    """T-J5."""
    assert margin_verdict(broken, 1.0, 10.0) == "unparsed"
    assert margin_verdict(1.0, broken, 10.0) == "unparsed"
    judge = RewardJudge("rm", MODEL, tau=10.0, scorer=lambda _q, _a: [broken, 1.0])
    verdicts = judge_all(make_pairs(3), judge)
    assert {one.parsed for one in verdicts} == {"unparsed"}
    assert {one.outcome for one in resolve(verdicts)} == {"unparsed"}


@given(FINITE, FINITE, st.floats(0, 20))
def test_swapping_the_arms_swaps_the_verdict(a: float, b: float, tau: float) -> None:
    other = {"contributor": "system", "system": "contributor", "tie": "tie"}
    assert margin_verdict(b, a, tau) == other[margin_verdict(a, b, tau)]


@given(FINITE, FINITE, st.floats(0, 20), st.floats(0, 20))
def test_a_wider_margin_only_makes_ties(a: float, b: float, tau: float, more: float) -> None:
    before, after = margin_verdict(a, b, tau), margin_verdict(a, b, tau + more)
    assert after in (before, "tie")


@given(st.lists(FINITE, min_size=1, max_size=40, unique_by=abs), st.floats(0, 1))
def test_tau_gives_the_wanted_share_of_ties(deltas: list[float], rate: float) -> None:
    tau = calibrate_tau(deltas, rate)
    ties = sum(margin_verdict(0.0, delta, tau) == "tie" for delta in deltas)
    always = sum(delta == 0 for delta in deltas)
    assert abs(ties - rate * len(deltas)) <= max(0.5, always - rate * len(deltas)) + 1e-6


def test_tau_on_known_margins() -> None:
    margins = [0.1, -0.2, 0.3, -0.4, 0.5, 0.6, -0.7, 0.8, 0.9, -1.0]
    assert calibrate_tau(margins, 0.0) == 0.0
    assert calibrate_tau(margins, 0.3) == pytest.approx(0.35)
    assert calibrate_tau(margins, 1.0) > 1.0
    assert calibrate_tau([math.nan, *margins], 0.3) == pytest.approx(0.35)
    assert calibrate_tau([], 0.3) == 0.0 == calibrate_tau([math.nan], 0.3)
    assert calibrate_tau([1.0, 1.0, 1.0], 0.4) == 0.0


def test_a_pair_is_scored_once_and_by_its_texts_alone() -> None:
    pairs = [replace(pair, system="a longer answer", stratum="zqx") for pair in make_pairs(2)]
    asked: list[tuple[str, list[str]]] = []

    def scorer(question: str, answers: list[str]) -> list[float]:
        asked.append((question, list(answers)))
        return length_scorer(question, answers)

    verdicts = judge_all(pairs, RewardJudge("rm", MODEL, scorer=scorer))
    assert len(verdicts) == 2 and {one.parsed for one in verdicts} == {"system"}
    assert all(one.score_system == 15.0 for one in verdicts)
    wanted = [(pair.prompt, [pair.contributor, pair.system]) for pair in pairs]
    assert sorted(asked) == sorted(wanted)


def test_another_margin_is_another_judge() -> None:
    one, other = RewardJudge("rm", MODEL, tau=0.1), RewardJudge("rm", MODEL, tau=0.2)
    assert one.prompt_hash != other.prompt_hash and one.model_hash == other.model_hash


def test_a_hub_model_without_a_gpu_is_refused_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(EngineError, match=r"artificial/reward.* needs a CUDA GPU"):
        load_scorer(MODEL)


@pytest.fixture(scope="module")
def classifier(base_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random classifier of two outputs, with the base's tokenizer."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForSequenceClassification

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=49152,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_labels=2,
        pad_token_id=2,
    )
    folder = tmp_path_factory.mktemp("classifier")
    LlamaForSequenceClassification(config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(base_model).save_pretrained(folder)
    return folder


def test_a_classifier_of_several_outputs_is_no_reward_model(classifier: Path) -> None:
    with pytest.raises(ContributorError, match="has 2 outputs"):
        load_scorer(MODEL.model_copy(update={"source": str(classifier)}))


def test_a_folder_without_a_model_is_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ContributorError, match="no model in the folder"):
        load_scorer(MODEL.model_copy(update={"source": str(tmp_path)}))


def test_an_adapter_is_checked_before_it_is_loaded(classifier: Path, tmp_path: Path) -> None:
    broken = {"source": str(classifier), "adapter": str(tmp_path)}
    with pytest.raises(ContributorError, match=r"adapter_config.json is missing"):
        load_scorer(MODEL.model_copy(update=broken))
    (tmp_path / "adapter_config.json").write_text("{}")
    (tmp_path / "adapter_model.bin").write_bytes(b"code")
    with pytest.raises(ContributorError, match="no safetensors"):
        load_scorer(MODEL.model_copy(update=broken))
    (tmp_path / "adapter_model.safetensors").write_bytes(b"torn")
    with pytest.raises(ContributorError, match="damaged"):
        load_scorer(MODEL.model_copy(update=broken))
