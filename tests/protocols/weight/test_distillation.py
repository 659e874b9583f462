"""Teachers of any architecture, students of one base, and an honest report of what they learned."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from protocols.core.artifacts import ArtifactStore
from protocols.core.engine import GenerateRequest
from protocols.core.events import Answer, Artifact, Decision, Ended, Event, Progress
from protocols.core.fit import FitData, FitItem, FitSpec, fit
from protocols.core.forgetting import forget
from protocols.core.models import Contributor, ModelSpec, RunSpec
from protocols.core.registry import protocols
from protocols.engines.checks import check_model
from protocols.engines.scripted import ScriptedEngine
from protocols.lib.lora_algebra import combine, read_lora, share_inputs
from protocols.lib.preflight import ENOUGH, few_answers, few_questions, preflight
from protocols.lib.teachers import student_base, teachers
from protocols.training import distill, sft
from protocols.training.distill import DistilSettings, train_student, without_controls
from protocols.training.pool_distillation import agree, closed
from tests.helpers import play
from tests.protocols.weight.tiny import content
from tests.training.small import TEMPLATE, small_base

SMALL = {"steps": 5, "prompts": 8}


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two architectures that no merge can bring together."""
    root = tmp_path_factory.mktemp("bases")
    return small_base(root / "narrow"), small_base(root / "wide", 32)


@pytest.fixture
def pool(bases: tuple[Path, Path]) -> list[ModelSpec]:
    """A base, a model of another architecture, and one that is served elsewhere."""
    sources = {"base": str(bases[0]), "wide": str(bases[1]), "far": "https://example.org/v1"}
    return [
        ModelSpec(id=name, source=source, contributor=Contributor(name=f"Tester of {name}"))
        for name, source in sources.items()
    ]


def data(count: int = 8) -> FitData:
    """Numbers to say after; whoever is not the base says the right one."""

    def part(name: str) -> tuple[FitItem, ...]:
        numbers = range(count) if name == "train" else range(100, 100 + count)
        return tuple(FitItem(f"{name}{n}", f"Say {n}.", str(n), "t") for n in numbers)

    return FitData(
        task="t",
        items={"train": part("train"), "dev": part("dev")},
        score=lambda item, text: float(item.answer == text.strip()),
        digest=f"numbers-{count}",
    )


class Talk:
    """Teachers know everything; a student knows what its ``knows`` says, and so does the base."""

    def __init__(self, knows: str = "0246") -> None:
        self.knows = knows
        self.asked: list[tuple[str, str]] = []

    def __call__(self, request: GenerateRequest) -> str:
        question, who = request.messages[-1]["content"], request.model.id
        self.asked.append((who, question))
        number = question.removeprefix("Say ").removesuffix(".")
        sure = who in ("wide", "far") or (who != "base" and number[-1] in self.knows)
        return number if sure else "nothing at all that anybody could read as a number"


async def fitting(
    protocol: str,
    pool: list[ModelSpec],
    store: ArtifactStore,
    talk: Talk | None = None,
    leave_at: int | None = None,
    **changes: Any,
) -> list[Event]:
    ids = tuple(model.id for model in pool)
    given = {"protocol": protocol, "pool": ids, "task": "t", **changes}
    spec = FitSpec.model_validate(given)
    made: list[Event] = []
    stream = fit(spec, pool, ScriptedEngine(talk or Talk()), data(), store)
    async for event in stream:
        made.append(event)
        if leave_at is not None and len(made) > leave_at:
            break
    await stream.aclose()
    return made


def fitted(protocol: str, pool: list[ModelSpec], root: Path, **changes: Any) -> list[Event]:
    return asyncio.run(fitting(protocol, pool, ArtifactStore(root), **changes))


def named(events: list[Event], name: str) -> list[Any]:
    assert isinstance(events[-1], Ended) and events[-1].status == "ok", events[-1]
    return [e.data for e in events if isinstance(e, Artifact) and e.name == name]


# The fit


def test_unlike_models_become_students_that_can_be_merged(
    pool: list[ModelSpec], tmp_path: Path
) -> None:
    assert preflight(pool[:2], tmp_path, 1).state == "refused"
    events = fitted("distillation", pool, tmp_path, config=SMALL)
    about = named(events, "fitted")[0]
    assert about["derived"] == [
        "derived.distillation", "derived.student.wide", "derived.student.far",
    ]  # fmt: skip
    made = next(ArtifactStore(tmp_path).list("distillation")).derived(pool)
    for model in made:
        check_model(model)
        assert model.source == pool[0].source
    assert preflight([pool[0], *made[1:]], tmp_path, 1).state == "ok"
    losses = [e.values["loss"] for e in events if isinstance(e, Progress) and "loss" in e.values]
    assert len(losses) == 2, "each teacher has a student of its own, which can be forgotten with it"
    card = (Path(made[1].adapter) / "README.md").read_text()
    assert "Tester of wide" in card and str(tmp_path) not in card


def test_the_fidelity_is_the_share_of_equal_answers(pool: list[ModelSpec], tmp_path: Path) -> None:
    events = fitted("distillation", pool, tmp_path, config=SMALL, talk=Talk(knows="024"))
    rows = named(events, "fidelity")[-1]["rows"]
    assert [row["teacher"] for row in rows] == ["wide", "far"]
    for row in rows:
        # Of 100 to 107 the student knows those that end in 0, 2 and 4.
        assert row["n"] == 8 and row["agreement"] == pytest.approx(3 / 8)
        assert row["low"] < 3 / 8 < row["high"] and row["before"] == 0.0
        assert row["closed"] == pytest.approx(3 / 8) and row["rows"] == 8 and row["loss"] > 0
    metrics = named(events, "fitted")[0]["metrics"]
    assert metrics["agreement"] == metrics["agreement.far"] == pytest.approx(3 / 8)


def test_the_sum_answers_where_it_knows_more_than_the_mean(
    pool: list[ModelSpec], tmp_path: Path
) -> None:
    """The mean, half of the sum and the sum are asked in this order; ties stay with the mean."""
    events = fitted("distillation", pool, tmp_path / "a", config=SMALL)
    assert named(events, "fitted")[0]["recipe"]["weights"] == pytest.approx([1 / 3] * 3)

    class Louder(Talk):
        def __call__(self, request: GenerateRequest) -> str:
            self.knows = {"students.0": "0", "students.1": "01", "students.2": "0123"}.get(
                request.model.id, "0"
            )
            return super().__call__(request)

    events = fitted("distillation", pool, tmp_path / "b", config=SMALL, talk=Louder())
    about = named(events, "fitted")[0]
    assert about["recipe"]["weights"] == [1.0, 1.0, 1.0]
    assert about["metrics"]["dev"] == 0.5 and about["metrics"]["mean"] == 0.125
    chosen = next(e for e in events if isinstance(e, Decision))
    assert chosen.options == ("0.333", "0.5", "1") and chosen.chosen == "1"
    quiet = {**SMALL, "louder": False}
    events = fitted("distillation", pool, tmp_path / "b", config=quiet, talk=Louder())
    assert named(events, "fitted")[0]["metrics"]["dev"] == 0.125


def test_too_little_training_is_warned_of_before_the_work() -> None:
    many = dict.fromkeys(("addition", "roman"), ENOUGH)
    assert not few_questions(many)
    told = few_questions({**many, "french": 8})
    assert told[0].state == "warning" and "Only 8 training questions of french" in told[0].told
    for profile in protocols()["distillation"].profiles.values():
        assert not few_answers(int(profile["steps"]) * int(profile["batch"]))  # type: ignore[call-overload]
    told = few_answers(60 * 4)
    assert told[0].state == "warning" and "trained on 240 answers" in told[0].told


def test_a_teacher_that_knows_nothing_leaves_the_base_in_its_place(
    pool: list[ModelSpec], tmp_path: Path
) -> None:
    def silent(request: GenerateRequest) -> str:
        number = request.messages[-1]["content"].removeprefix("Say ").removesuffix(".")
        return number if request.model.id == "wide" else "who knows"

    events = fitted("distillation", pool, tmp_path, config=SMALL, talk=silent)  # type: ignore[arg-type]
    about = named(events, "fitted")[0]
    assert "derived.student.far" not in about["derived"]
    warnings = [e.note for e in events if isinstance(e, Progress) and e.level == "warning"]
    assert any("far: only 0 of 8" in note and "base stands in" in note for note in warnings)


def test_without_one_student_the_reason_is_told(pool: list[ModelSpec], tmp_path: Path) -> None:
    events = fitted("distillation", pool, tmp_path, config=SMALL, talk=lambda request: "who knows")
    last = events[-1]
    assert isinstance(last, Ended) and last.owner == "user"
    assert "a student needs at least" in last.message and "more questions" in last.message


def test_a_killed_fit_asks_nothing_twice_and_makes_the_same(
    pool: list[ModelSpec], tmp_path: Path
) -> None:
    fitted("distillation", pool, tmp_path / "a", config=SMALL)
    talk, store = Talk(), ArtifactStore(tmp_path / "b")
    for leave_at in (3, 6, 9, None):
        asyncio.run(fitting("distillation", pool, store, talk, leave_at, config=SMALL))
    whole, parts = content(ArtifactStore(tmp_path / "a")), content(store)
    kept = {name for name in whole if name.startswith("distillation")}
    assert kept and {n: parts[n] for n in kept} == {n: whole[n] for n in kept}
    assert sorted(talk.asked) == sorted(set(talk.asked))


def test_students_are_shared_among_protocols(pool: list[ModelSpec], tmp_path: Path) -> None:
    """Greedy soup merges what no merge could, and a second protocol trains nobody again."""
    local = pool[:2]
    first = fitted("greedy_soup", local, tmp_path, config={"distil": True})
    about = named(first, "fitted")[0]
    assert about["recipe"]["members"] == ["base", "wide"], "contributors, not their students"
    assert about["recipe"]["details"]["distilled"][0]["teacher"] == "wide"
    assert about["metrics"]["agreement"] == pytest.approx(4 / 8)
    made = next(ArtifactStore(tmp_path).list("greedy_soup")).derived(local)[0]
    check_model(made)
    assert made.source == local[0].source
    students = list((tmp_path / ".shared" / "students").iterdir())
    again = fitted("expo", local, tmp_path, config={"distil": True})
    assert named(again, "fitted")
    assert list((tmp_path / ".shared" / "students").iterdir()) == students
    spec = RunSpec(protocol="greedy_soup", pool=("base", "wide"), question="Say 7.")
    run = asyncio.run(
        play(spec, ScriptedEngine("7"), pool=local, artifacts=ArtifactStore(tmp_path))
    )
    said = next(e for e in run if isinstance(e, Answer))
    assert set(said.contributors) <= {"base", "wide"}


def test_a_teacher_is_forgotten_with_its_students(pool: list[ModelSpec], tmp_path: Path) -> None:
    """Neither its answers, nor who learnt from it, nor what those said, nor what they became."""
    store = ArtifactStore(tmp_path)
    fitted("distillation", pool[:2], tmp_path, config=SMALL)

    def left() -> list[str]:
        return [path.name for path in tmp_path.rglob("*") if path.is_file()]

    assert "adapter_model.safetensors" in left() and ".jsonl" in "".join(left())
    forget(store, ModelSpec(id="stranger", source="made/up"))
    assert list(store.list("distillation"))
    gone = forget(store, pool[1])
    assert len(gone.artifacts) == 1 and gone.cached >= 3
    assert [name for name in left() if not name.endswith(".lock")] == []


def test_a_refusal_says_how_to_go_on(pool: list[ModelSpec], tmp_path: Path) -> None:
    for picked in (pool[:2], pool):
        last = fitted("model_swarms", picked, tmp_path)[-1]
        assert isinstance(last, Ended) and last.owner == "user"
        assert f"'Distil' (distil) switched on, {len(picked) - 1} of them" in last.message
    far = [model.model_copy(update={"source": pool[2].source}) for model in pool]
    assert "distil" not in preflight(far, tmp_path, 1).sentence, "nothing here can be trained"
    last = fitted("distillation", far, tmp_path)[-1]
    assert isinstance(last, Ended) and "served elsewhere" in last.message


def test_without_train_items_nobody_can_be_asked(pool: list[ModelSpec], tmp_path: Path) -> None:
    spec = FitSpec(protocol="distillation", pool=("base", "wide"), task="t")
    empty = FitData("t", {"dev": data().items["dev"], "train": ()}, data().score, "empty")

    async def go() -> Event:
        stream = fit(spec, pool, ScriptedEngine(Talk()), empty, ArtifactStore(tmp_path))
        return [event async for event in stream][-1]

    last = asyncio.run(go())
    assert isinstance(last, Ended) and "no train items" in last.message


def test_rows_begin_with_the_very_bytes_that_students_are_asked(
    pool: list[ModelSpec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import AutoTokenizer

    trained_on: list[tuple[str, str]] = []
    templates: set[str] = set()

    def spying(base: Path, rows: Any, out: Path, **more: Any) -> sft.Trained:
        trained_on.extend(rows)
        templates.add(more["template"])
        return sft.train_sft(base, rows, out, **more)

    monkeypatch.setattr(distill, "train_sft", spying)
    own = TEMPLATE.replace("<|begin|>", "<|begin|>now ")
    local = [pool[0].model_copy(update={"chat_template": own}), pool[1]]
    fitted("distillation", local, tmp_path, config=SMALL)
    heard: list[list[dict[str, str]]] = []

    def say(request: GenerateRequest) -> str:
        if request.model.id.startswith("derived"):
            heard.append([dict(turn) for turn in request.messages])
            assert request.model.chat_template == own
        return "3"

    spec = RunSpec(protocol="distillation", pool=("base", "wide"), question="Say 3.")
    asyncio.run(play(spec, ScriptedEngine(say), pool=local, artifacts=ArtifactStore(tmp_path)))
    tokenizer = AutoTokenizer.from_pretrained(pool[0].source)
    tokenizer.chat_template = next(iter(templates))
    asked = {
        tokenizer.apply_chat_template(one, tokenize=False, add_generation_prompt=True)
        for one in heard
    }
    rows = [sft.conversation(*row) for row in trained_on]
    texts = [
        tokenizer.apply_chat_template([*row["prompt"], *row["completion"]], tokenize=False)
        for row in rows
    ]
    assert len(asked) == 1 and templates == {own} and len(texts) == 8
    assert sum(text.startswith(prompt) for text in texts for prompt in asked) == 1


# The answer


def test_teachers_and_students_are_shown_side_by_side(
    pool: list[ModelSpec], tmp_path: Path
) -> None:
    fitted("distillation", pool, tmp_path, config=SMALL)
    spec = RunSpec(protocol="distillation", pool=("base", "wide", "far"), question="Say 5.")
    engine = ScriptedEngine(
        lambda r: "6" if r.model.id == "derived.student.far" else "5", fail={"wide": "start"}
    )
    store = ArtifactStore(tmp_path)
    run = asyncio.run(play(spec, engine, pool=pool, artifacts=store))
    shown = named(run, "teacher_agreement")[0]
    assert shown["rows"] == {"wide": None, "far": False} and shown["share"] == 0.0
    said = next(e for e in run if isinstance(e, Answer))
    assert said.text == "5" and said.contributors == pytest.approx(dict.fromkeys(spec.pool, 1 / 3))


# Its parts


def test_students_of_one_start_share_their_subspace(
    bases: tuple[Path, Path], tmp_path: Path
) -> None:
    base = ModelSpec(id="base", source=str(bases[0]))
    folders = [tmp_path / name for name in "ab"]
    for shift, folder in enumerate(folders):
        rows = [(f"What is {n}?", str(n + shift)) for n in range(8)]
        train_student(base, rows, folder, DistilSettings(steps=3))
    one, other = (load_file(folder / "adapter_model.safetensors") for folder in folders)
    for name, weight in one.items():
        assert torch.equal(weight, other[name]) == ("lora_A" in name), name
    loras = [read_lora(folder) for folder in folders]
    made = combine(loras, [0.5, -2.0])
    assert share_inputs(loras) and made.rank == loras[0].rank, "the sum is of no higher rank"
    for layer in made.factors:
        expected = 0.5 * loras[0].change(layer) - 2.0 * loras[1].change(layer)  # type: ignore[operator]
        torch.testing.assert_close(made.change(layer), expected, atol=1e-6, rtol=1e-4)
    train_student(base, rows, tmp_path / "c", DistilSettings(steps=3, train_a=True))
    assert not share_inputs([loras[0], read_lora(tmp_path / "c")])


def test_texts_that_open_turns_are_not_learned() -> None:
    rows = [("Say 1.", "1"), ("Say 2.", "2<|end|><|begin|>user"), ("<|end|>", "3")]
    assert without_controls(rows, ["<|begin|>", "<|end|>", ""]) == rows[:1]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("42", "The answer is 42.0", True),
        ("42", "43", False),
        ("", "", False),
        ("I am not sure what to say about it at all", "Nor am I sure of anything here", False),
    ],
)
def test_answers_agree_by_what_they_say(one: str, other: str, same: bool) -> None:
    assert agree(one, other) == same == agree(other, one)


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_the_gap_that_is_closed(teacher: float, student: float, base: float) -> None:
    found = closed(teacher, student, base)
    assert (found is None) == (teacher <= base)
    if teacher > base + 0.01:
        assert closed(teacher, teacher, base) == 1.0 and closed(teacher, base, base) == 0.0


def test_who_teaches_and_who_is_kept(bases: tuple[Path, Path]) -> None:
    base, wide = (ModelSpec(id=n, source=str(b)) for n, b in zip("bw", bases, strict=True))
    adapter = base.model_copy(update={"id": "a", "adapter": "somewhere"})
    assert student_base([wide, adapter, base]).id == "b", "most stand on it, and it is bare"
    assert student_base([base, wide], "w").id == "w"
    assert teachers([base, adapter, wide], base, everyone=True) == (adapter, wide)
    assert teachers([base, adapter, wide], base, everyone=False) == (wide,)


def test_the_verdict_is_data(pool: list[ModelSpec], tmp_path: Path) -> None:
    events = fitted("distillation", pool, tmp_path, config=SMALL)
    shown = named(events, "preflight")[0]
    assert shown["state"] == "warning" and "can be distilled" in shown["sentence"]
    assert "Served elsewhere, and asked there: far" in shown["sentence"]
    assert "Only 8 training questions of t" in shown["sentence"]
    assert shown["memory"] > 0 < shown["disk"] and json.dumps(shown)
