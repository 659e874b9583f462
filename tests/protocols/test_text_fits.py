"""LLM-Blender, AggLM and SPARTA, fitted through the real runner and the real trainers.

The pool says what a script says; what is trained is a random model of a few thousand numbers, so
the tests are about rows, resuming and artifacts, and not about how good anything gets.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from hypothesis import given
from hypothesis import strategies as st

from protocols.core.artifacts import ArtifactStore
from protocols.core.engine import GenerateRequest, ScoreRequest
from protocols.core.errors import UserError
from protocols.core.events import Answer, Artifact, Decision, Ended, Event, Progress
from protocols.core.fit import FitData, FitItem, FitSpec, fit
from protocols.core.models import ModelSpec, RunSpec
from protocols.core.run import run
from protocols.engines.checks import check_model
from protocols.engines.prompter import Prompter
from protocols.engines.scripted import ScriptedEngine
from protocols.lib.pairwise import Strength
from protocols.lib.prompts import question_messages
from protocols.training import dpo, grpo, sft
from protocols.training.preferences import Preference
from protocols.training.sparta_training import drifted, matches
from protocols.training.students import adapter_changed
from protocols.training.trainers import fresh_lora
from tests.training.tiny_base import tiny_adapters

NAMES = ("plain", "right", "wrong")
SMALL: dict[str, dict[str, Any]] = {
    "llm_blender": {"steps": 1, "batch": 2, "lora": 2},
    "agglm": {"steps": 2, "draws": 2, "lora": 2, "samples": 1},
    "sparta": {"iterations": 1, "instructions": 4, "steps": 1, "batch": 2, "lora": 2},
}
every = pytest.mark.parametrize("protocol", list(SMALL))
again = pytest.mark.parametrize(
    "protocol",
    ["llm_blender", *(pytest.param(p, marks=pytest.mark.slow) for p in ("agglm", "sparta"))],
)
"""For tests that fit once more: of the three, one by default."""


def question(number: int) -> str:
    return f"What is {number} + {number}?"


def gold(text: str) -> int:
    """What the question that a prompt is about has for an answer."""
    return 2 * int(text.rsplit("What is ", 1)[1].split(" +")[0])


def say(request: GenerateRequest) -> str:
    """'right' knows, 'wrong' does not, 'plain' knows half; what was trained says what is right."""
    number = gold(request.messages[-1]["content"])
    knows = request.model.id not in ("plain", "wrong") or (
        request.model.id == "plain" and number % 4 == 0
    )
    return f"The answer is {number if knows else number + 1}."


def judge(request: ScoreRequest) -> dict[str, float]:
    """Prefers the first answer if it is right; trained rankers and all judges do."""
    text = request.messages[-1]["content"]
    first = text.split("Answer A:")[1].split("Answer B:")[0]
    right = f"is {gold(text.split('Answer A:')[0])}." in first
    return {"A": -0.1, "B": -2.0} if right else {"A": -2.0, "B": -0.1}


def engine(**changes: Any) -> ScriptedEngine:
    return ScriptedEngine(say, judge, **changes)


def worth(item: FitItem, text: str) -> float:
    """One if right; other texts differ a little, so that a reward has something to tell apart."""
    return 1.0 if text.strip(" .").endswith(f" {item.answer}") else len(text) % 7 / 100


def data(train: int = 8, dev: int = 4) -> FitData:
    def items(part: str, first: int, count: int) -> tuple[FitItem, ...]:
        return tuple(
            FitItem(f"{part}-{n}", question(n), str(2 * n), "sums")
            for n in range(first, first + count)
        )

    return FitData(
        task="sums",
        items={"train": items("train", 10, train), "dev": items("dev", 50, dev)},
        score=worth,
        digest=f"sums-{train}-{dev}",
    )


@pytest.fixture(scope="module")
def pool(base_model: Path, tmp_path_factory: pytest.TempPathFactory) -> list[ModelSpec]:
    """A random base, and two adapters of it."""
    return tiny_adapters(base_model, tmp_path_factory.mktemp("pool"), NAMES)


def fit_spec(protocol: str, **config: Any) -> FitSpec:
    given_config = {**SMALL[protocol], **config}
    return FitSpec(protocol=protocol, pool=NAMES, task="sums", config=given_config)


async def fitted(
    protocol: str,
    pool: list[ModelSpec],
    root: Path,
    served: ScriptedEngine | None = None,
    leave_at: int | None = None,
    **config: Any,
) -> list[Event]:
    made: list[Event] = []
    store = ArtifactStore(root)
    stream = fit(fit_spec(protocol, **config), pool, served or engine(), data(), store)
    async for event in stream:
        made.append(event)
        if leave_at is not None and len(made) > leave_at:
            break
    await stream.aclose()
    # A training that was left ends at its next step, and until then nobody else may fit the same.
    for lock in root.rglob("*.lock"):
        await asyncio.to_thread(settled, lock)
    return made


def settled(lock: Path) -> None:
    with FileLock(lock, timeout=60):
        pass


def result(events: list[Event]) -> dict[str, Any]:
    last, end = events[-2], events[-1]
    assert isinstance(end, Ended) and end.status == "ok", end
    assert isinstance(last, Artifact) and last.name == "fitted"
    return dict(last.data)


def files(root: Path) -> dict[str, bytes]:
    found = (p for p in sorted(root.rglob("*")) if p.is_file() and p.suffix != ".lock")
    return {str(p.relative_to(root)): p.read_bytes() for p in found if p.name != "made.json"}


def ask(
    protocol: str,
    pool: list[ModelSpec],
    root: Path,
    served: ScriptedEngine,
    number: int = 10,
    **config: Any,
) -> list[Event]:
    spec = RunSpec(protocol=protocol, pool=NAMES, question=question(number), config=config)

    async def play() -> list[Event]:
        return [e async for e in run(spec, pool, served, artifacts=ArtifactStore(root))]

    return asyncio.run(play())


@pytest.fixture(scope="module")
def artifact(
    pool: list[ModelSpec], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[Path, list[Event], ScriptedEngine]]:
    """Every protocol fitted once."""
    made = {}
    for protocol in SMALL:
        root, served = tmp_path_factory.mktemp(protocol), engine()
        made[protocol] = root, asyncio.run(fitted(protocol, pool, root, served)), served
    return made


Artifacts = dict[str, tuple[Path, list[Event], ScriptedEngine]]


@every
def test_a_fit_leaves_adapters_that_can_be_called(
    protocol: str, artifact: Artifacts, pool: list[ModelSpec]
) -> None:
    root, events, served = artifact[protocol]
    about = result(events)
    wanted = {
        "llm_blender": ["derived.ranker", "derived.fuser"],
        "agglm": ["derived.aggregator"],
        "sparta": ["derived.contestant.plain", "derived.contestant.wrong"],
    }
    assert about["derived"] == wanted[protocol]
    stored = next(iter(ArtifactStore(root).list(protocol)))
    for model in stored.derived(pool):
        check_model(model)
    assert {p.suffix for p in stored.folder.rglob("*") if p.is_file()} == {".json", ".safetensors"}
    assert not [name for name in served.loaded if name.startswith("fit.")], "still being served"
    losses = [e for e in events if isinstance(e, Progress) and e.unit == "train" and e.values]
    assert losses and all("loss" in e.values for e in losses)


@every
def test_a_fitted_run_plays_the_trained_ones(
    protocol: str, artifact: Artifacts, pool: list[ModelSpec]
) -> None:
    served = engine()
    events = ask(protocol, pool, artifact[protocol][0], served)
    assert isinstance(events[-1], Ended) and events[-1].status == "ok"
    derived = set(result(artifact[protocol][1])["derived"])
    assert derived <= {request.model.id for request in served.requests}
    answer = next(e for e in reversed(events) if isinstance(e, Answer))
    assert set(answer.contributors) <= set(NAMES) and answer.text == "The answer is 20."


@again
def test_a_killed_fit_asks_and_trains_nothing_twice(
    protocol: str, artifact: Artifacts, pool: list[ModelSpec], tmp_path: Path
) -> None:
    root, events, whole = artifact[protocol]
    asked = 0
    for leave_at in (3, len(events) // 3):
        served = engine()
        asyncio.run(fitted(protocol, pool, tmp_path, served, leave_at))
        asked += len(served.requests)
    served = engine()
    resumed = asyncio.run(fitted(protocol, pool, tmp_path, served))
    assert result(resumed)["cached"] is False
    assert asked + len(served.requests) == len(whole.requests)
    assert files(tmp_path) == files(root)


def prefix(pool: list[ModelSpec], request: GenerateRequest | ScoreRequest) -> list[int]:
    """The tokens that an engine sends for a live request."""
    _, tokenizer = sft.load_base(Path(pool[0].source), "cpu")
    return Prompter(tokenizer, 8192).ids(request.model, request.messages, "")


def shown(root: Path, protocol: str, name: str) -> list[dict[str, Any]]:
    folder = next(iter(ArtifactStore(root).list(protocol))).folder
    rows: list[dict[str, Any]] = json.loads((folder / f"{name}.rows.json").read_text())
    return rows


def number_of(row: dict[str, Any]) -> int:
    return gold(row.get("prompt") or row["question"]) // 2


def live(
    protocol: str, pool: list[ModelSpec], root: Path, number: int, role: str
) -> list[GenerateRequest | ScoreRequest]:
    """What a live run asks of the model that was trained for a role."""
    served = engine()
    ask(protocol, pool, root, served, number)
    return [r for r in served.requests if r.model.id == f"derived.{role}"]


@pytest.mark.parametrize("role", ["ranker", "fuser"])
def test_blender_rows_begin_with_the_live_prompts(
    role: str, artifact: Artifacts, pool: list[ModelSpec], tmp_path: Path
) -> None:
    root = artifact["llm_blender"][0]
    rows = shown(root, "llm_blender", role)
    number = number_of(rows[0]) if role == "fuser" else number_of_pair(rows[0])
    asked = [prefix(pool, r) for r in live("llm_blender", pool, root, number, role)]
    model, tokenizer = sft.load_base(Path(pool[0].source), "cpu")
    config = sft.SftConfig(steps=1, max_length=4096)
    pairs = [(row["prompt"], row["answer"]) for row in rows]
    trainer = sft._trainer(
        fresh_lora(model, config, fp32=False), tokenizer, pairs, config, tmp_path, None
    )
    trained = [row["input_ids"] for row in trainer.train_dataset]
    about = [number_of(row) if role == "fuser" else number_of_pair(row) for row in rows]
    same = sum(any(ids[: len(one)] == one for one in asked) for ids in trained)
    assert same == about.count(number) > 0


def number_of_pair(row: dict[str, Any]) -> int:
    return gold(row["prompt"].split("Answer A:")[0]) // 2


def test_ranker_rows_are_balanced_and_say_which_is_better(artifact: Artifacts) -> None:
    rows = shown(artifact["llm_blender"][0], "llm_blender", "ranker")
    assert sum(row["answer"] == "A" for row in rows) * 2 == len(rows) > 0
    for row in rows:
        text = row["prompt"]
        first = text.split("Answer A:")[1].split("Answer B:")[0]
        assert (f"is {2 * number_of_pair(row)}." in first) == (row["answer"] == "A")


def test_ranker_and_fuser_learn_from_different_items(artifact: Artifacts) -> None:
    root = artifact["llm_blender"][0]
    pairs = {number_of_pair(row) for row in shown(root, "llm_blender", "ranker")}
    texts = {number_of(row) for row in shown(root, "llm_blender", "fuser")}
    assert not pairs & texts and len(texts) == 4
    for row in shown(root, "llm_blender", "fuser"):
        assert row["answer"] == f"The answer is {2 * number_of(row)}."


def test_aggregator_exercises_are_the_live_prompts(
    artifact: Artifacts, pool: list[ModelSpec], tmp_path: Path
) -> None:
    root = artifact["agglm"][0]
    row = shown(root, "agglm", "aggregator")[0]
    number = int(row["key"].split("/")[0].removeprefix("train-"))
    messages = live("agglm", pool, root, number, "aggregator")[0].messages
    # The order is by lot, in training too: the same blocks, however they are shuffled.
    assert sorted(messages[-1]["content"].split("\n")) == sorted(row["prompt"].split("\n"))
    assert list(messages) == question_messages(messages[-1]["content"])
    who = dpo.Student(pool[0], Path(pool[0].source))
    exercise = grpo.Exercise(row["key"], tuple(messages))
    settings = grpo.GrpoSettings(draws=2)
    made = grpo.grpo_trainer(who, [exercise], lambda *_: 0.0, tmp_path, settings, None, "cpu")
    ids = made._tokenize_prompts([made.train_dataset[0]["prompt"]])[0]
    request = live("agglm", pool, root, number, "aggregator")[0]
    assert list(ids[0]) == prefix(pool, request)


def test_all_hard_cases_and_as_many_easy_ones(artifact: Artifacts) -> None:
    rows = shown(artifact["agglm"][0], "agglm", "aggregator")
    hard = [row for row in rows if not row["easy"]]
    # 'plain' is wrong on every other item, and then the majority is.
    assert len(hard) == 4 and len(rows) == 8
    assert all(number_of_case(row) % 2 for row in hard)


def number_of_case(row: dict[str, Any]) -> int:
    return int(row["key"].split("/")[0].removeprefix("train-"))


def test_dpo_rows_begin_with_the_live_prompts(
    artifact: Artifacts, pool: list[ModelSpec], tmp_path: Path
) -> None:
    root = artifact["sparta"][0]
    rows = shown(root, "sparta", "contestants.1")
    asked = live("sparta", pool, root, number_of(rows[0]), "contestant.wrong")[0]
    pairs = [Preference(**row) for row in rows]
    settings = dpo.DpoSettings(batch=2)
    who = dpo.Student(pool[0], Path(pool[0].source))
    trainer = dpo.dpo_trainer(who, pairs, tmp_path, settings, None, "cpu")
    assert trainer.train_dataset[0]["prompt_ids"] == prefix(pool, asked)
    assert all(pair.chosen == f"The answer is {gold(pair.question)}." for pair in pairs)


def test_sparta_keeps_the_base_where_training_gained_nothing(artifact: Artifacts) -> None:
    _, events, _ = artifact["sparta"]
    champions = next(e for e in events if isinstance(e, Artifact) and e.name == "champions").data
    # Version 1 of all says what is right in this world, so no later one is better.
    assert champions["iterations"] == {"plain": 1, "right": 0, "wrong": 1}
    about = result(events)
    assert about["metrics"]["judged_right"] == 1.0 and about["metrics"]["mean.after"] == 1.0
    curves = [e.values for e in events if isinstance(e, Progress) and e.unit == "duels"]
    assert set(curves[0]) == {f"reputation.{name}" for name in NAMES}
    assert [round(v, 1) for v in champions["curves"]["right"][1:]] == [
        round(c["reputation.right"], 1) for c in curves
    ]
    assert curves[1]["reputation.right"] > curves[1]["reputation.wrong"]


@pytest.mark.slow
def test_a_second_iteration_goes_on_from_the_first(pool: list[ModelSpec], tmp_path: Path) -> None:
    served = engine()
    events = asyncio.run(fitted("sparta", pool, tmp_path, served, iterations=2))
    assert result(events)["recipe"]["iterations"] == {"plain": 1, "right": 0, "wrong": 1}
    judges = {r.model.id for r in served.requests if isinstance(r, ScoreRequest)}
    assert {f"fit.1.{name}" for name in NAMES} <= judges, "who was trained judges the next duels"
    trained = {e.note for e in events if isinstance(e, Progress) and e.unit == "train"}
    assert {f"{n}.{name}" for n in (1, 2) for name in NAMES} <= trained


def test_sparta_may_let_the_best_answer_alone(artifact: Artifacts, pool: list[ModelSpec]) -> None:
    served = engine()
    events = ask("sparta", pool, artifact["sparta"][0], served, alone=True)
    answer = next(e for e in reversed(events) if isinstance(e, Answer))
    assert len(served.requests) == 1 and sum(answer.contributors.values()) == 1.0


@again
def test_what_is_worse_after_training_is_not_kept(
    protocol: str, pool: list[ModelSpec], tmp_path: Path
) -> None:
    def say_spoilt(request: GenerateRequest) -> str:
        if request.model.id.startswith("fit."):
            return "The answer is 0."
        return say_all(request) if request.model.id == "plain" else say(request)

    served = ScriptedEngine(say_spoilt, judge_but_trained)
    events = asyncio.run(fitted(protocol, pool, tmp_path, served))
    assert result(events)["derived"] == []
    kinds = {e.chosen for e in events if isinstance(e, Decision)}
    assert protocol == "sparta" or kinds == {"untrained"}


def say_all(request: GenerateRequest) -> str:
    return f"The answer is {gold(request.messages[-1]['content'])}."


def judge_but_trained(request: ScoreRequest) -> dict[str, float]:
    found = judge(request)
    if request.model.id != "fit.ranker":
        return found
    return {"A": found["B"], "B": found["A"]}


def test_an_adapter_that_learnt_nothing_is_told_apart(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    for name, factor in {"fresh": torch.zeros(2, 2), "trained": torch.eye(2)}.items():
        (tmp_path / name).mkdir()
        tensors = {"q.lora_A.weight": torch.ones(2, 2), "q.lora_B.weight": factor}
        save_file(tensors, tmp_path / name / sft.WEIGHTS)
    assert adapter_changed(tmp_path / "trained") and not adapter_changed(tmp_path / "fresh")


@every
def test_without_train_items_it_says_so(
    protocol: str, pool: list[ModelSpec], tmp_path: Path
) -> None:
    async def go() -> list[Event]:
        stream = fit(fit_spec(protocol), pool, engine(), data(train=0), ArtifactStore(tmp_path))
        return [event async for event in stream]

    end = asyncio.run(go())[-1]
    assert isinstance(end, Ended) and end.owner == "user" and "train items" in end.message


def test_two_contestants_are_refused_with_the_reason(pool: list[ModelSpec], tmp_path: Path) -> None:
    spec = fit_spec("sparta").model_copy(update={"pool": NAMES[:2]})

    async def go() -> None:
        await anext(fit(spec, pool, engine(), data(), ArtifactStore(tmp_path)))

    with pytest.raises(UserError, match="nobody to judge"):
        asyncio.run(go())


@given(st.lists(st.floats(-3, 3), min_size=3, max_size=9), st.integers(0, 999), st.integers(1, 3))
def test_opponents_are_near_in_reputation(means: list[float], seed: int, nearest: int) -> None:
    import random

    strengths = [Strength(mean, 1.0) for mean in means]
    drawn = list(matches(strengths, nearest, 0.0, random.Random(seed)))
    assert sorted(one for one, _ in drawn) == list(range(len(means)))
    for one, other in drawn:
        gaps = sorted(abs(means[one] - m) for i, m in enumerate(means) if i != one)
        assert other != one and abs(means[one] - means[other]) <= gaps[min(nearest, len(gaps)) - 1]


def test_each_wave_is_matched_by_what_the_last_one_showed(
    pool: list[ModelSpec], tmp_path: Path
) -> None:
    """Nearest opponents only: once reputations differ, the two at the ends no longer meet."""
    served = engine()
    config = {"instructions": 6, "opponents": 1, "luck": 0.0, "margin": 0.5}
    # The middle one is not the first, who is met by all while everybody is alike.
    spec = fit_spec("sparta", **config).model_copy(update={"pool": ("right", "plain", "wrong")})

    async def go() -> list[Event]:
        return [e async for e in fit(spec, pool, served, data(), ArtifactStore(tmp_path))]

    events = asyncio.run(go())
    assert isinstance(events[-1], Ended) and events[-1].status == "ok"
    ratings = next(e.values for e in events if isinstance(e, Progress) and e.unit == "duels")
    ranked = sorted(NAMES, key=lambda name: ratings[f"reputation.{name}"])
    assert len(set(ratings.values())) == 3
    met: dict[str, set[str]] = {}
    for request in served.requests:
        _, _, call = request.id.partition("/")
        if call.startswith("duel/1.1/"):
            met.setdefault(call.rpartition("/")[2], set()).add(request.model.id)
    assert len(met) == 3 and all(len(pair) == 2 for pair in met.values())
    assert {ranked[0], ranked[2]} not in met.values()


def test_what_is_known_of_a_model_is_less_sure_after_training() -> None:
    (one,) = drifted([Strength(0.7, 0.3)])
    assert one.mean == 0.7 and one.sd == pytest.approx(0.34**0.5)


@every
def test_the_paper_has_its_own_settings(protocol: str) -> None:
    from protocols.core.registry import get_protocol

    spec = get_protocol(protocol)
    config = spec.configure(dict(spec.profiles["paper"]))
    paper = {
        "llm_blender": {"top": 3},
        "agglm": {"learning_rate": 1e-4, "draws": 4, "steps": 0},
        "sparta": {"iterations": 3, "instructions": 500, "opponents": 3, "alone": True},
    }
    assert {name: getattr(config, name) for name in paper[protocol]} == paper[protocol]
