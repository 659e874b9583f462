"""The published settings: they are Appendix B's, they can be planned, and they reach every stage.

They are for GPUs and large models. Here models are random and tiny, questions are few and answers
short; everything else is as the profile has it.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from protocols.core.artifacts import ArtifactStore
from protocols.core.engine import GenerateRequest, ScoreRequest
from protocols.core.events import Ended, Event, Phase, Progress
from protocols.core.fit import FitSpec, fit, plan
from protocols.core.models import ModelSpec, Sampling
from protocols.core.registry import FitSize, get_protocol, protocols
from protocols.engines.scripted import ScriptedEngine
from protocols.training import dpo, grpo
from protocols.training.preferences import Preference
from studio.fit_command import fit_spec
from tests.fitted import TOPICS, topic_data
from tests.helpers import make_pool
from tests.training.small import small_base
from tests.training.test_reward import trained  # noqa: F401  a tiny reward model
from tests.training.test_sft import tiny  # noqa: F401  a tiny base

SKYWORK = "Skywork/Skywork-Reward-Llama-3.1-8B-v0.2"
LORA = {"learning_rate": 1e-5, "alpha": 16}
APPENDIX_B: dict[str, dict[str, Any]] = {
    "trained_router": {
        "kind": "lora", "judge": "reward", "reward_model": SKYWORK, "epochs": 5, "batch": 32,
        "rank": 64, **LORA,
    },
    "graph_routing": {"hidden": 8, "learning_rate": 1e-4, "steps": 10, "batch": 32},
    "switch_generation": {
        "states": 500, "rollouts": 16, "judge": "reward", "reward_model": SKYWORK, "patch": 25,
        "rollout_patch": 25, "rank": 64, **LORA,
    },
    "multiagent_finetuning": {"iterations": 2, "epochs": 1.0, "batch": 16, "rank": 64, **LORA},
    "llm_blender": {"top": 3, "lora": 64, "steps": 0, "epochs": 3, "batch": 16, **LORA},
    "agglm": {"learning_rate": 1e-4, "draws": 4, "steps": 0, "lora": 64, "alpha": 16},
    "sparta": {
        "iterations": 3, "instructions": 500, "opponents": 3, "learning_rate": 1e-6, "lora": 64,
        "alpha": 16, "alone": True,
    },
    "heterogeneous_swarms": {
        "particles": 5, "iterations": 5, "inertia": 0.2, "cognitive": 0.3, "social": 0.4,
        "repel": 0.05, "step": 0.5, "sample": 0.25,
    },
    "multiagent_refine": {"rounds": 3, "peers": 31, "stop_early": False},
}  # fmt: skip
"""What the paper says of each protocol's settings, and the reference library where it is silent."""
every = pytest.mark.parametrize("protocol", [n for n in APPENDIX_B if n != "multiagent_refine"])
"""The protocols that are fitted."""


@pytest.mark.parametrize("protocol", list(APPENDIX_B))
def test_the_paper_s_settings_are_those_of_its_appendix(protocol: str) -> None:
    spec = get_protocol(protocol)
    config = spec.configure(dict(spec.profiles["paper"]))
    found = {name: getattr(config, name) for name in APPENDIX_B[protocol]}
    assert found == APPENDIX_B[protocol]
    assert spec.profile_of(spec.profiles["paper"]) == "paper" and not spec.profile_of({})


def test_no_protocol_of_these_levels_has_a_profile_that_is_not_tested() -> None:
    levels = ("api", "text", "baselines")
    assert {n for n, s in protocols().items() if s.profiles and s.level in levels} == {*APPENDIX_B}


@every
@pytest.mark.parametrize("count", [3, 32])
def test_the_paper_s_settings_can_be_planned(protocol: str, count: int) -> None:
    """Answers have the length that the paper's have; what they cost can be counted."""
    told, pool = get_protocol(protocol), make_pool(count)
    ids = [model.id for model in pool]
    spec = fit_spec(protocol, dict(told.profiles["paper"]), ids, "topics", limit=0, seed=0)
    assert spec.sampling.max_tokens == 512
    made = plan(spec, pool, topic_data(TOPICS[:2]), None)
    assert set(APPENDIX_B[protocol]) - {"top", "patch", "alone"} <= set(made.manifest.config)
    cost = told.estimate(made.config, count, 512)
    assert cost.calls >= 1 and cost.tokens >= 512 and cost.scores >= 0
    if told.fit_estimate:
        most = told.fit_estimate(made.config, FitSize(count, 1000, 1000, 512))
        assert most.calls >= count * 1000
    short = fit_spec(protocol, {}, ids, "topics", limit=0, seed=0)
    assert short.sampling.max_tokens == 48


def says(request: GenerateRequest) -> str:
    """Each model knows a topic; who was trained for anything says the first."""
    names = [model.id for model in make_pool(3)]
    who = request.model.id.rpartition(".")[2]
    return f"{TOPICS[names.index(who) if who in names else 0]}, I think"


def scores(request: ScoreRequest) -> dict[str, float]:
    """Judges like long answers; whatever else is asked, the first label is a little likelier."""
    text = request.messages[-1]["content"]
    if "Answer A:" in text:
        first, second = text.split("Answer A:")[1].split("Answer B:")[:2]
        return {"A": -0.1, "B": -2.5} if len(first) > len(second) - 80 else {"A": -2.5, "B": -0.1}
    return {label: -1.0 - 0.1 * at for at, label in enumerate(request.labels)}


STAGES: dict[str, tuple[list[str], list[str]]] = {
    "trained_router": (["answers", "learn"], ["judge", "train", "calibrate"]),
    "graph_routing": (["answers", "learn"], ["train", "route"]),
    "switch_generation": (["states", "rollouts", "train", "measure"], ["judge", "train"]),
    "multiagent_finetuning": (["school"] * 2, ["debate", "schooling", "diversity"]),
    "llm_blender": (["answers", "ranker", "fuser"], ["train"]),
    "agglm": (["solve", "train", "dev"], ["train"]),
    "sparta": (["duels", "align"] * 3, ["duels", "train", "dev"]),
    "heterogeneous_swarms": (["swarm"] * 5 + ["finals"], ["search"]),
}
"""The phases of a fit, in order, and what it has to report of."""
REDUCED: dict[str, dict[str, Any]] = {
    "graph_routing": {"encoder": "words"},
    "switch_generation": {"states": 6, "rollouts": 3, "epochs": 1},
    "sparta": {"margin": 0.0},
}


@pytest.mark.slow
@every
def test_the_paper_s_settings_reach_every_stage(
    protocol: str, tiny: Path, trained: tuple[Path, list[int]], tmp_path: Path  # noqa: F811
) -> None:  # fmt: skip
    changed = {"source": str(tiny), "adapter": ""}
    pool = [m.model_copy(update=changed) for m in make_pool(3)]
    paper = dict(get_protocol(protocol).profiles["paper"])
    changes = REDUCED.get(protocol, {})
    if "reward_model" in paper:
        changes = {**changes, "reward_model": str(trained[0])}
    tokens = 24 if protocol == "agglm" else 512
    spec = FitSpec(
        protocol=protocol, pool=tuple(m.id for m in pool), task="topics",
        config={**paper, **changes},
        sampling=Sampling(max_tokens=tokens, temperature=0.0, top_p=1.0),
    )  # fmt: skip

    async def go() -> list[Event]:
        data, store = topic_data(TOPICS[:3], train=2, dev=2), ArtifactStore(tmp_path)
        served = ScriptedEngine(says, scores)
        return [event async for event in fit(spec, pool, served, data, store)]

    events = asyncio.run(go())
    assert isinstance(events[-1], Ended) and events[-1].status == "ok", events[-1]
    phases, units = STAGES[protocol]
    assert [event.name for event in events if isinstance(event, Phase)] == phases
    assert set(units) <= {event.unit for event in events if isinstance(event, Progress)}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["dpo", "grpo"])
def test_trl_takes_what_a_gpu_is_given(kind: str, tmp_path: Path) -> None:
    """Parts of batches and activations computed again, with an adapter in fp32, for one step."""
    base = small_base(tmp_path / "base")
    who = dpo.Student(ModelSpec(id="x", source=str(base)), base)
    out = tmp_path / "state"
    if kind == "dpo":
        pairs = [Preference(f"What is {n}?", "It is right.", "Wrong.") for n in range(4)]
        one = dpo.DpoSettings(steps=1, batch=4, learning_rate=1e-6)
        trainer = dpo.dpo_trainer(who, pairs, out, one, None, "cpu", thrifty=True)
    else:
        asked = [grpo.Exercise("x", ({"role": "user", "content": "What is 2?"},))]
        few = grpo.GrpoSettings(steps=1, draws=4, max_tokens=8)
        trainer = grpo.grpo_trainer(
            who, asked, lambda _, text: len(text) / 99, out, few, None, "cpu", thrifty=True
        )
    assert trainer.args.gradient_accumulation_steps == 2
    assert trainer.train().global_step == 1
