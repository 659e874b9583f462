"""Generators and critics learn from their own answers, and from the very prompts they are asked."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.core.artifacts import ArtifactStore
from protocols.core.call import Call
from protocols.core.engine import GenerateRequest
from protocols.core.events import Answer, Artifact, CallStarted, Decision, Ended, Event, Progress
from protocols.core.fit import FitData, FitItem, FitSpec, fit
from protocols.core.models import ModelSpec, RunSpec
from protocols.engines.checks import check_model
from protocols.engines.scripted import ScriptedEngine
from protocols.lib.debate_examples import (
    Debate,
    Turn,
    agreed,
    critic_rows,
    diversity,
    generator_rows,
    majority,
    says,
)
from protocols.lib.jsonlines import append_rows, read_rows
from protocols.lib.votes import count
from protocols.training import multiagent_training, sft
from tests.helpers import play
from tests.protocols.weight.tiny import content
from tests.training.small import small_base

SMALL = {"iterations": 2, "questions": 6, "epochs": 1.0}
Say = Callable[[GenerateRequest], str]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_base(tmp_path_factory.mktemp("base") / "small")


@pytest.fixture
def pool(base: Path) -> list[ModelSpec]:
    """Two that can be trained and one that is served elsewhere."""
    far = ModelSpec(id="far", source="https://example.org/v1")
    return [*(ModelSpec(id=name, source=str(base)) for name in ("alpha", "beta")), far]


def data(count: int = 6) -> FitData:
    def part(name: str) -> tuple[FitItem, ...]:
        return tuple(FitItem(f"{name}{n}", f"Say {n}.", str(n), "t") for n in range(count))

    return FitData(
        task="t",
        items={"train": part("train"), "dev": part("dev")},
        score=lambda item, text: float(item.answer in text.split()),
        digest=f"numbers-{count}",
    )


def number(request: GenerateRequest) -> str:
    return request.messages[-1]["content"].rpartition("Say ")[2].rstrip(".")


def is_critic(request: GenerateRequest) -> bool:
    return "You answered a question together" in request.messages[-1]["content"]


def voices(request: GenerateRequest) -> str:
    """Everybody is right in the end; beta is wrong at first, and each has words of its own."""
    who = request.model.id.rpartition(".")[2]
    right = is_critic(request) or who != "beta"
    return f"{who} says: the answer is {number(request) if right else '77'}"


async def fitting(
    pool: list[ModelSpec],
    store: ArtifactStore,
    say: Say = voices,
    leave_at: int | None = None,
    **config: Any,
) -> list[Event]:
    ids = tuple(model.id for model in pool)
    spec = FitSpec(protocol="multiagent_finetuning", pool=ids, task="t", config={**SMALL, **config})
    made: list[Event] = []
    stream = fit(spec, pool, ScriptedEngine(say), data(), store)
    async for event in stream:
        made.append(event)
        if leave_at is not None and len(made) > leave_at:
            break
    await stream.aclose()
    return made


def fitted(pool: list[ModelSpec], root: Path, say: Say = voices, **config: Any) -> list[Event]:
    events = asyncio.run(fitting(pool, ArtifactStore(root), say, **config))
    assert isinstance(events[-1], Ended) and events[-1].status == "ok", events[-1]
    return events


def named(events: list[Event], name: str) -> list[Any]:
    return [e.data for e in events if isinstance(e, Artifact) and e.name == name]


# The fit


@pytest.fixture(scope="module")
def made(base: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Event], Path]:
    root = tmp_path_factory.mktemp("made")
    models = [ModelSpec(id=name, source=str(base)) for name in ("alpha", "beta")]
    far = ModelSpec(id="far", source="https://example.org/v1")

    def spying(where: Path, given: Any, out: Path, **more: Any) -> sft.Trained:
        ROWS[out.name.strip(".").removesuffix(".part")] = list(given)
        return sft.train_sft(where, given, out, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(multiagent_training, "train_sft", spying)
        return fitted([*models, far], root), root


ROWS: dict[str, list[tuple[str, str]]] = {}
"""What the fit of the fixture trained on, by iteration and role."""


def test_everybody_learns_from_own_answers_only(made: tuple[list[Event], Path]) -> None:
    assert set(ROWS) == {
        *("0.generator.alpha", "0.critic.alpha", "0.critic.beta"),
        *("1.generator.alpha", "1.critic.alpha", "1.critic.beta"),
    }, "beta's first answers are wrong, so its generator has nothing to learn"
    for name, rows in ROWS.items():
        who = name.rpartition(".")[2]
        assert len(rows) == 6 and all(answer.startswith(f"{who} says") for _, answer in rows)


def test_rows_are_what_is_asked_live_to_the_byte(
    base: Path, made: tuple[list[Event], Path]
) -> None:
    """A training row begins with the tokens of the prompt that a live run sends."""
    from transformers import AutoTokenizer

    spec = RunSpec(
        protocol="multiagent_finetuning", pool=("alpha", "beta", "far"), question="Say 3.",
        config={"rounds": 2},
    )  # fmt: skip
    heard: dict[str, list[dict[str, str]]] = {}

    def say(request: GenerateRequest) -> str:
        role = "critic" if is_critic(request) else "generator"
        heard[f"{role}.{request.model.id}"] = [dict(turn) for turn in request.messages]
        return voices(request)

    # Untrained, as in the first debate.
    models = [ModelSpec(id=n, source=str(base)) for n in ("alpha", "beta", "far")]
    asyncio.run(play(spec, ScriptedEngine(say), pool=models, artifacts=ArtifactStore(Path("none"))))
    tokenizer = AutoTokenizer.from_pretrained(base)
    for name in ("generator.alpha", "critic.alpha", "critic.beta"):
        asked = tokenizer.apply_chat_template(
            heard[name], tokenize=False, add_generation_prompt=True
        )
        rows = [sft.conversation(*row) for row in ROWS[f"0.{name}"]]
        texts = [
            tokenizer.apply_chat_template([*row["prompt"], *row["completion"]], tokenize=False)
            for row in rows
        ]
        assert sum(text.startswith(asked) for text in texts) == 1, name


def test_a_critic_is_asked_with_the_others_answers_and_never_its_own_new_one(
    made: tuple[list[Event], Path],
) -> None:
    for prompt, answer in ROWS["0.critic.beta"]:
        assert "beta says: the answer is 77" in prompt, "its first answer, which was wrong"
        assert "alpha says: the answer is" in prompt or "far says" in prompt
        assert answer not in prompt, "the answer to learn is not given away"


def test_the_second_iteration_goes_on_from_the_first(
    base: Path, made: tuple[list[Event], Path]
) -> None:
    events, root = made
    log = named(events, "training")[-1]["rows"]
    assert [r["iteration"] for r in log if r["trained"]] == [1] * 3 + [2] * 3
    store = ArtifactStore(root)
    found = next(store.list("multiagent_finetuning"))
    assert [d.id for d in found.manifest.derived] == [
        "derived.generator.alpha", "derived.critic.alpha", "derived.critic.beta",
    ]  # fmt: skip
    for model in found.derived([ModelSpec(id=n, source=str(base)) for n in ("alpha", "beta")]):
        check_model(model)
        assert "iteration 2" in (Path(model.adapter) / "README.md").read_text()
    called = {e.model for e in events if isinstance(e, CallStarted)}
    assert not called, "debates of a fit are quiet"


def test_who_learned_nothing_is_named_with_the_reason(made: tuple[list[Event], Path]) -> None:
    events, _ = made
    notes = [e.note for e in events if isinstance(e, Progress) and e.level == "warning"]
    assert "beta as generator stays as it was: 0 rows are too few to learn from" in notes
    assert any(n.startswith("far as critic stays as it was: The weights of 'far'") for n in notes)


def test_health_is_streamed(made: tuple[list[Event], Path]) -> None:
    events, _ = made
    health = [e.values for e in events if isinstance(e, Progress) and e.unit == "diversity"]
    assert len(health) == 3, "before, and after each iteration"
    assert health[0]["accuracy"] == 1.0 and health[0]["disagreement"] == pytest.approx(2 / 3)
    assert health[0]["distinct"] == pytest.approx(1 / 2) and 0 < health[0]["spread"] < 1
    metrics = named(events, "fitted")[0]["metrics"]
    assert metrics["n"] == 6 and metrics["lessons_right"] == 1.0 and metrics["trained"] == 3
    assert any(isinstance(e, Progress) and e.unit == "train" for e in events)


def test_the_trained_play_their_roles_and_the_rest_is_named(
    base: Path, made: tuple[list[Event], Path]
) -> None:
    _, root = made
    ids = ("alpha", "beta", "far")
    sources = (str(base), str(base), "https://example.org/v1")
    pool = [ModelSpec(id=n, source=s) for n, s in zip(ids, sources, strict=True)]
    spec = RunSpec(protocol="multiagent_finetuning", pool=ids, question="Say 5.")
    run = asyncio.run(play(spec, ScriptedEngine(voices), pool=pool, artifacts=ArtifactStore(root)))
    called = {e.model for e in run if isinstance(e, CallStarted)}
    assert called == {
        "derived.generator.alpha", "derived.critic.alpha", "derived.critic.beta", "beta", "far",
    }  # fmt: skip
    notes = [e.note for e in run if isinstance(e, Progress) and e.unit == "roles"]
    assert notes == ["Untrained: beta as generator, far as generator, far as critic."]
    said = next(e for e in run if isinstance(e, Answer) and not e.partial)
    assert set(said.contributors) <= set(ids)


def test_a_killed_fit_goes_on_where_it_was(pool: list[ModelSpec], tmp_path: Path) -> None:
    asked: list[tuple[str, str, float]] = []

    def say(request: GenerateRequest) -> str:
        heat = request.sampling.temperature
        asked.append((request.model.id, request.messages[-1]["content"], heat))
        return voices(request)

    one = {"iterations": 1}
    fitted(pool, tmp_path / "a", say, **one)
    whole = asked.copy()
    asked.clear()
    for leave_at in (3, 8, 12):
        asyncio.run(fitting(pool, ArtifactStore(tmp_path / "b"), say, leave_at, **one))
    fitted(pool, tmp_path / "b", say, **one)
    assert sorted(asked) == sorted(whole), "nothing is debated twice"
    stores = [ArtifactStore(tmp_path / name) for name in "ab"]
    kept = [
        {n: b for n, b in content(store).items() if n.startswith("multiagent")} for store in stores
    ]
    assert kept[0] and kept[0] == kept[1]


def test_trained_agents_that_do_worse_are_left_out(pool: list[ModelSpec], tmp_path: Path) -> None:
    def spoiled(request: GenerateRequest) -> str:
        return "The answer is 99" if request.model.id.startswith("derived") else voices(request)

    events = fitted(pool[:2], tmp_path, spoiled, iterations=1)
    about = named(events, "fitted")[0]
    assert about["derived"] == [] and about["metrics"]["iteration"] == 0
    assert about["metrics"]["dev"] == about["metrics"]["dev_before"] == 1.0
    decision = next(e for e in events if isinstance(e, Decision))
    assert decision.chosen == "untrained" and "0.0% on dev items after" in decision.why
    spec = RunSpec(protocol="multiagent_finetuning", pool=("alpha", "beta"), question="Say 5.")
    store = ArtifactStore(tmp_path)
    run = asyncio.run(play(spec, ScriptedEngine(voices), pool=pool, artifacts=store))
    assert {e.model for e in run if isinstance(e, CallStarted)} == {"alpha", "beta"}


def test_gold_teaches_what_a_wrong_majority_would_not(
    pool: list[ModelSpec], tmp_path: Path
) -> None:
    def wrong(request: GenerateRequest) -> str:
        who = request.model.id.rpartition(".")[2]
        return f"The answer is {number(request) if who == 'alpha' else '77'}"

    one = {"iterations": 1, "questions": 4}
    crowd = named(fitted(pool, tmp_path / "a", wrong, **one), "training")[-1]["rows"]
    gold = named(fitted(pool, tmp_path / "b", wrong, reference="gold", **one), "training")[-1]
    learned = lambda rows: {(r["role"], r["model"]) for r in rows if r["trained"]}  # noqa: E731
    assert learned(crowd) == {("generator", "beta"), ("critic", "beta")}
    assert learned(gold["rows"]) == {("generator", "alpha"), ("critic", "alpha")}


# What debates teach


texts = st.sampled_from(
    ["The answer is 4", "4", "4.0", "The answer is 5 and that is final", "5", "", "no idea at all"]
)


@given(st.dictionaries(st.sampled_from("abcdef"), texts, min_size=1))
def test_the_majority_is_the_one_that_live_runs_count(said: dict[str, str]) -> None:
    calls = []
    for model, text in said.items():
        call = Call(model, model, [])
        call.state, call._text = "ok", text
        calls.append(call)
    tally = count(calls)
    value, share = majority(said)
    assert value == tally.winner and share == pytest.approx(tally.agreement)


def turns(*pairs: tuple[str, str]) -> Debate:
    return {
        name: Turn(f"The answer is {a}", f"prompt {name}", f"The answer is {b}")
        for name, (a, b) in zip("abcd", pairs, strict=False)
    }


def test_few_that_agree_and_level_answers_teach_nothing() -> None:
    assert agreed(turns(("1", "4"), ("2", "4"), ("3", "5")), 0.6) == "4"
    assert agreed(turns(("1", "4"), ("2", "4"), ("3", "5")), 0.7) is None
    assert agreed(turns(("1", "4"), ("2", "5")), 0.5) is None
    assert agreed({"a": Turn()}, 0.0) is None


@given(
    fixed=st.integers(0, 12), kept=st.integers(0, 12), share=st.floats(0.1, 0.9), seed=st.integers()
)
def test_corrections_make_up_their_share(fixed: int, kept: int, share: float, seed: int) -> None:
    right = says("4")
    lesson = [("q", turns(("1", "4")), right)] * fixed + [("q", turns(("4", "4")), right)] * kept
    lesson = [(str(k), {"a": Turn(t["a"].first, f"p{k}", t["a"].second)}, r)
              for k, (_, t, r) in enumerate(lesson)]  # fmt: skip
    rows = critic_rows(lesson, "a", share, random.Random(seed))
    assert len(set(rows)) == len(rows)
    if not (fixed and kept):
        assert len(rows) == fixed + kept
        return
    ours = sum(int(prompt[1:]) < fixed for prompt, _ in rows)
    assert abs(ours - share * len(rows)) <= 1 and 0 < ours < len(rows)


def test_cut_and_circling_texts_are_not_learned() -> None:
    right = says("4")
    cut = {"a": Turn("The answer is 4", first_whole=False)}
    circling = {"a": Turn("The answer is 4 " * 20)}
    good = {"a": Turn("The answer is 4")}
    lesson = [("x", cut, right), ("y", circling, right), ("z", good, right), ("w", {}, right)]
    assert generator_rows(lesson, "a") == [("z", "The answer is 4")]


def test_diversity_is_nothing_among_copies_and_all_among_strangers() -> None:
    same = [{m: Turn("The answer is 4") for m in "abc"}]
    assert diversity(same) == {"distinct": 0.0, "disagreement": 0.0, "spread": 0.0}
    other = [{"a": Turn("one"), "b": Turn("two"), "c": Turn("three")}]
    assert diversity(other) == {"distinct": 1.0, "disagreement": 1.0, "spread": 1.0}
    assert diversity([]) == diversity([{"a": Turn("alone")}]) == diversity(same)


def test_a_torn_row_is_closed_off(tmp_path: Path) -> None:
    file = tmp_path / "x" / "rows.jsonl"
    append_rows(file, [{"a": 1}])
    file.write_bytes(file.read_bytes() + b'{"b": 2')
    append_rows(file, [{"c": 3}])
    assert list(read_rows(file)) == [{"a": 1}, {"c": 3}]
