"""What a fit is said to cost beforehand is the most that it costs, and not far from it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from protocols.core.engine import GenerateRequest, ScoreRequest
from protocols.core.events import Ended, Progress
from protocols.core.fit import FitData, FitItem
from protocols.core.models import ModelSpec
from protocols.core.registry import FitEstimate, FitSize, get_protocol, protocols
from protocols.engines.scripted import ScriptedEngine
from tests.protocols.fits import GREEDY, fit_spec, play_fit
from tests.protocols.weight.tiny import tiny_pool
from tests.training.tiny_base import tiny_adapters

NAMES = ("plain", "right", "wrong")
TRAIN, DEV = 8, 6
LOOSE = {"switch_generation": 5.0, "heterogeneous_swarms": 12.0}
"""A bound may be 4 times what a fit asks for, or so many: texts end early, and graphs that hold the
same answers are not asked again.
"""
SMALL: dict[str, dict[str, Any]] = {
    "trained_router": {"encoder": "words"},
    "graph_routing": {"encoder": "words", "steps": 20, "networks": 1},
    "switch_generation": {"states": 12, "rollouts": 6, "rollout_patch": 4, "epochs": 1},
    "multiagent_finetuning": {"iterations": 1, "epochs": 0.5, "rank": 2},
    "llm_blender": {"steps": 1, "batch": 2, "lora": 2},
    "agglm": {"steps": 2, "draws": 2, "lora": 2},
    "sparta": {"iterations": 1, "instructions": 6, "steps": 1, "batch": 2, "lora": 2},
    "distillation": {"steps": 2, "rank": 2},
    "dare_ties": {"search": 2, "rank": 2},
    "lorahub": {"budget": 6},
    "heterogeneous_swarms": {"compare": False},
}
TRAINED = (
    "switch_generation", "multiagent_finetuning", "llm_blender", "agglm", "sparta", "distillation"
)  # fmt: skip
"""Those that train language models; they get one that can be trained."""
MORE: dict[str, dict[str, Any]] = {
    "trained_router": {"kind": "lora", "epochs": 1, "rank": 2},
    "expo": {"distil": True},
}
"""Settings with which a fit costs other things as well."""
FITTED = [name for name, spec in protocols().items() if spec.fit]


def cases() -> list[Any]:
    quick = [pytest.param(n, SMALL.get(n, {}), id=n) for n in FITTED if n not in TRAINED]
    more = [*((n, SMALL[n]) for n in TRAINED), *MORE.items()]
    return [
        *quick,
        *(pytest.param(n, c, id=f"{n}-{len(c)}", marks=pytest.mark.slow) for n, c in more),
    ]


def data() -> FitData:
    def part(name: str, first: int, count: int) -> tuple[FitItem, ...]:
        numbers = range(first, first + count)
        return tuple(FitItem(f"{name}{n}", f"Double {n}?", str(2 * n), "t") for n in numbers)

    return FitData(
        task="made",
        items={"train": part("train", 10, TRAIN), "dev": part("dev", 50, DEV)},
        score=lambda item, text: float(text.strip(" .").endswith(item.answer)),
        digest="doubles",
    )


def say(request: GenerateRequest) -> str:
    """'right' knows, 'wrong' does not, 'plain' knows half; everybody takes a sentence for it."""
    number = int(re.findall(r"Double (\d+)\?", request.messages[-1]["content"])[-1])
    knows = request.model.id == "right" or (request.model.id != "wrong" and number % 2)
    whole = f"Let us look at what is asked here and think about it: {2 * number + (not knows)}."
    return whole[len(request.prefix) :] if whole.startswith(request.prefix) else " And so on."


def judge(request: ScoreRequest) -> dict[str, float]:
    """The first of all options is a little likelier, whatever they are."""
    return {label: -1.0 - 0.3 * at for at, label in enumerate(request.labels)}


@pytest.fixture(scope="module")
def trainable(base_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Sequence[ModelSpec]:
    """A tiny base with a tokenizer, and two adapters of it."""
    return tiny_adapters(base_model, tmp_path_factory.mktemp("pool"), NAMES)


@pytest.mark.parametrize(("protocol", "config"), cases())
def test_a_fit_costs_what_was_said_before(
    protocol: str, config: dict[str, Any], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if request.node.get_closest_marker("slow"):
        pool = request.getfixturevalue("trainable")
    else:
        models = zip(tiny_pool(tmp_path, 2, base=True), NAMES, strict=True)
        pool = [model.model_copy(update={"id": name}) for model, name in models]
    served = ScriptedEngine(say, judge)
    spec = fit_spec(protocol, config=config).model_copy(update={"pool": NAMES})
    events = asyncio.run(play_fit(spec, served, tmp_path, data(), pool=pool))
    assert isinstance(events[-1], Ended) and events[-1].status == "ok", events[-1]
    told = get_protocol(protocol)
    assert told.fit_estimate
    size = FitSize(len(pool), TRAIN, DEV, GREEDY.max_tokens)
    most = told.fit_estimate(told.configure(config), size)
    answers = sum(isinstance(one, GenerateRequest) for one in served.requests)
    scores = sum(isinstance(one, ScoreRequest) for one in served.requests)
    loose = LOOSE.get(protocol, 4.0)
    assert answers <= most.calls <= loose * answers
    assert scores <= most.scores <= loose * scores
    steps = [e.done for e in events if isinstance(e, Progress) and e.unit == "train"]
    if protocol == "graph_routing":  # a small network, and no language model
        steps = []
    assert max(steps, default=0) <= most.steps and (most.drawn > 0) == (protocol == "agglm")


@pytest.mark.parametrize("protocol", FITTED)
def test_more_of_anything_never_costs_less(protocol: str) -> None:
    spec = get_protocol(protocol)
    assert spec.fit_estimate
    config, size = spec.configure({}), FitSize(4, 16, 16, 48)
    least = spec.fit_estimate(config, size)
    assert least > FitEstimate(0)
    for name, value in size._asdict().items():
        more = spec.fit_estimate(config, size._replace(**{name: 2 * value}))
        assert all(a <= b for a, b in zip(least, more, strict=True)), name
