"""Making both arms' answers: equal terms, stopping, resuming, and what counts as no answer."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from evals.human.generate import (
    GIVE_UP,
    Job,
    Runner,
    answers_for,
    generate,
    item_seed,
    plan_jobs,
)
from evals.human.questions import Question
from evals.human.responses import FILE, Response, response_file
from evals.human.study import ContributorArm, StudySpec, SystemArm
from protocols.core.engine import GenerateRequest
from protocols.core.errors import EngineError, UserError
from protocols.core.events import Progress
from protocols.core.models import ModelSpec
from protocols.core.registry import protocols
from protocols.core.trace import read_trace
from protocols.engines.scripted import ScriptedEngine
from tests.fitted import artifacts_for
from tests.helpers import HANGS_S, make_pool, make_spec

POOL = make_pool(3)


def study(protocol: str = "majority_vote", **changes: Any) -> StudySpec:
    fields: dict[str, Any] = {
        "slug": "artificial",
        "title": "Artificial",
        "contributors": (
            ContributorArm(model="alpha", questions="import:a", limit=4),
            ContributorArm(model="beta", questions="import:b", limit=4),
        ),
        "system": SystemArm(protocol=protocol),
        "max_tokens": 24,
        "seed": 5,
    }
    return StudySpec(**{**fields, **changes})


def questions(count: int = 4) -> dict[str, tuple[Question, ...]]:
    return {
        model: tuple(Question(f"{model}{i}", f"What is {i} + {i}?") for i in range(count))
        for model in ("alpha", "beta")
    }


def jobs(spec: StudySpec | None = None, count: int = 4) -> list[Job]:
    return plan_jobs(spec or study(), POOL, questions(count))


async def collect(
    work: Sequence[Job], folder: Path, engine: ScriptedEngine, stop_after: int = -1, **more: Any
) -> list[Response | Progress]:
    """Run to the end, or close the stream after so many answers, as a killed page would."""
    seen: list[Response | Progress] = []
    stream = generate(work, Runner(POOL, engine, **more), folder)
    async for event in stream:
        seen.append(event)
        if sum(isinstance(e, Response) for e in seen) == stop_after:
            break
    await stream.aclose()
    return seen


def made(work: Sequence[Job], folder: Path, engine: ScriptedEngine, **more: Any) -> list[Response]:
    events = asyncio.run(asyncio.wait_for(collect(work, folder, engine, **more), HANGS_S))
    return [event for event in events if isinstance(event, Response)]


def test_both_arms_work_under_the_same_terms() -> None:
    work = jobs()
    assert len(work) == 2 * 2 * 4
    for own, joint in zip(work[::2], work[1::2], strict=True):
        assert (own.arm, joint.arm) == ("contributor", "system")
        assert own.spec.protocol == "single_model" and own.spec.pool == (own.stratum,)
        assert joint.spec.protocol == "majority_vote" and joint.spec.pool == (
            "alpha",
            "beta",
            "gamma",
        )
        assert own.spec.question == joint.spec.question == own.question.prompt
        assert own.spec.seed == joint.spec.seed == item_seed(5, own.stratum, own.question.prompt)
        assert own.spec.sampling == joint.spec.sampling and own.spec.sampling.max_tokens == 24
    assert len({job.spec.seed for job in work}) == 8
    assert len({job.key for job in work}) == len(work)


def test_a_plan_depends_on_what_it_says_and_on_the_weights_only() -> None:
    keys = [job.key for job in jobs()]
    assert keys == [job.key for job in jobs()]
    assert not set(keys) & {job.key for job in jobs(study(seed=6))}
    retrained = (POOL[0], POOL[1].model_copy(update={"revision": "2"}), POOL[2])
    other = [job.key for job in plan_jobs(study(), retrained, questions())]
    same = [a == b for a, b in zip(keys, other, strict=True)]
    assert same == [True, False] * 4 + [False, False] * 4


def test_plans_that_cannot_be_carried_out() -> None:
    with pytest.raises(UserError, match="no model 'gone'"):
        jobs(study(system=SystemArm(protocol="majority_vote", models=("alpha", "gone"))))
    with pytest.raises(UserError, match="no model 'alpah'"):
        jobs(study(contributors=(ContributorArm(model="alpah", questions="import:x"),)))
    with pytest.raises(UserError, match="at least 2 models"):
        jobs(study(system=SystemArm(protocol="majority_vote", models=("alpha",))))
    with pytest.raises(UserError, match="Did you mean 'majority_vote'"):
        jobs(study("majority_vota"))
    with pytest.raises(UserError, match="no majority_vote setting"):
        jobs(study(system=SystemArm(protocol="majority_vote", config={"loud": True})))


def test_every_answer_is_on_disk_when_it_is_told_of(tmp_path: Path) -> None:
    async def check() -> None:
        stream = generate(jobs(), Runner(POOL, ScriptedEngine()), tmp_path)
        async for event in stream:
            if isinstance(event, Response):
                assert event in response_file(tmp_path).read()
        await stream.aclose()

    asyncio.run(check())


def test_progress_counts_to_the_end(tmp_path: Path) -> None:
    events = asyncio.run(collect(jobs(), tmp_path, ScriptedEngine()))
    steps = [event for event in events if isinstance(event, Progress)]
    assert [step.done for step in steps] == list(range(17))
    assert {step.total for step in steps} == {16}


def asked(engine: ScriptedEngine) -> Counter[tuple[str, str]]:
    """How often each model was asked each question."""
    return Counter(
        (request.model.id, request.messages[-1]["content"]) for request in engine.requests
    )


@pytest.mark.parametrize("stop_after", [0, 1, 5, 11])
def test_what_is_finished_is_not_made_again(stop_after: int, tmp_path: Path) -> None:
    whole = made(jobs(), tmp_path / "whole", ScriptedEngine())
    first = ScriptedEngine()
    before = made(jobs(), tmp_path / "cut", first, stop_after=stop_after)
    assert first.open_streams == 0
    second = ScriptedEngine()
    after = made(jobs(), tmp_path / "cut", second)
    assert len(before) == stop_after and len(before) + len(after) == 16
    assert not {r.key for r in before} & {r.key for r in after}
    assert answers_for(jobs(), tmp_path / "cut") == answers_for(jobs(), tmp_path / "whole")
    assert sorted(before + after, key=str) == sorted(whole, key=str)
    assert not made(jobs(), tmp_path / "cut", ScriptedEngine(fail={"alpha": "start"}))


def test_a_line_cut_off_by_a_kill_is_made_again(tmp_path: Path) -> None:
    made(jobs(), tmp_path, ScriptedEngine())
    whole = answers_for(jobs(), tmp_path)
    file = tmp_path / FILE
    data = file.read_bytes()
    for cut in (len(data) - 1, len(data) - 40, len(data) - 400):
        file.write_bytes(data[:cut])
        assert made(jobs(), tmp_path, ScriptedEngine())
        assert answers_for(jobs(), tmp_path) == whole
        assert all(json.loads(line) for line in file.read_bytes().splitlines())


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    made(jobs(), tmp_path, ScriptedEngine(), stop_after=2)
    file = tmp_path / FILE
    file.write_bytes(b"{}\n" + file.read_bytes())
    with pytest.raises(UserError, match="damaged at line 1"):
        made(jobs(), tmp_path, ScriptedEngine())


def test_one_process_at_a_time(tmp_path: Path) -> None:
    with (
        response_file(tmp_path),
        pytest.raises(UserError, match="Another process"),
        response_file(tmp_path),
    ):
        pass
    with response_file(tmp_path):
        pass


def test_a_file_in_the_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("")
    with pytest.raises(EngineError, match="cannot be saved in 'x'"):
        made(jobs(), tmp_path / "x", ScriptedEngine())


def outcomes(responses: Sequence[Response]) -> dict[tuple[str, str], set[str]]:
    found: dict[tuple[str, str], set[str]] = {}
    for response in responses:
        found.setdefault((response.stratum, response.arm), set()).add(response.outcome)
    return found


def test_failures_and_empty_answers_are_recorded_as_such(tmp_path: Path) -> None:
    engine = ScriptedEngine(fail={"alpha": "empty"})
    found = outcomes(made(jobs(), tmp_path, engine))
    assert found[("alpha", "contributor")] == {"empty"}
    assert found[("beta", "contributor")] == {"ok"} == found[("alpha", "system")]


def test_a_model_that_is_to_blame_is_not_asked_again(tmp_path: Path) -> None:
    made(jobs(), tmp_path, ScriptedEngine(fail={"alpha": "empty"}))
    assert not made(jobs(), tmp_path, ScriptedEngine())


def test_failures_of_the_machine_are_tried_again(tmp_path: Path) -> None:
    work = [job for job in jobs() if job.arm == "contributor"]
    first = made(work, tmp_path, ScriptedEngine(fail={"alpha": "middle"}))
    lost = [response for response in first if response.outcome == "failed"]
    assert {response.stratum for response in lost} == {"alpha"} and len(lost) == 4
    assert all(response.owner == "engine" and response.error for response in lost)
    again = made(work, tmp_path, ScriptedEngine())
    assert {response.key for response in again} == {response.key for response in lost}
    assert {response.outcome for response in answers_for(work, tmp_path)} == {"ok"}


def test_a_broken_machine_ends_it_with_a_warning(tmp_path: Path) -> None:
    engine = ScriptedEngine(fail=["alpha", "beta", "gamma"])
    events = asyncio.run(collect(jobs(count=8), tmp_path, engine, parallel=1))
    assert sum(isinstance(event, Response) for event in events) == GIVE_UP
    last = events[-1]
    assert isinstance(last, Progress) and last.level == "warning" and "in a row" in last.note


def by_length(request: GenerateRequest) -> str:
    return " ".join(["word"] * (40 if request.model.id == "alpha" else 5))


def test_answers_cut_by_the_limit_are_marked(tmp_path: Path) -> None:
    responses = made(jobs(), tmp_path, ScriptedEngine(by_length))
    own = {r.stratum: (r.cut, r.finish) for r in responses if r.arm == "contributor"}
    assert own == {"alpha": (True, "length"), "beta": (False, "stop")}


@pytest.mark.parametrize(("words", "cut"), [(60, True), (10, False)])
def test_a_text_written_in_turns_is_cut_by_the_whole_limit(
    words: int, cut: bool, tmp_path: Path
) -> None:
    """Each turn ends at its own short limit; only the limit of the whole text cuts it."""

    def script(request: GenerateRequest) -> str:
        all_words = [f" w{i}" for i in range(words)]
        return "".join(all_words[len(request.prefix.split()) :]).lstrip()

    system = SystemArm(protocol="switch_generation", config={"patch": 8})
    work = [job for job in jobs(study(system=system)) if job.arm == "system"]
    responses = made(work, tmp_path, ScriptedEngine(script))
    assert {response.cut for response in responses} == {cut}
    assert {response.outcome for response in responses} == {"ok"}


def test_runs_are_kept_as_traces_under_their_id(tmp_path: Path) -> None:
    responses = made(jobs(), tmp_path / "a", ScriptedEngine(), traces=tmp_path / "runs")
    for response in responses:
        trace = read_trace(tmp_path / "runs" / f"{response.run}.jsonl")
        assert trace.answer == response.text and trace.status == "ok"


def test_models_hear_nothing_but_the_question(tmp_path: Path) -> None:
    gold = {"alpha": (Question("x", "What is 2 + 2?", "en", "GOLD-4"),)}
    engine = ScriptedEngine()
    made(plan_jobs(study(), POOL, gold), tmp_path, engine)
    heard = json.dumps([list(request.messages) for request in engine.requests])
    assert "What is 2 + 2?" in heard
    assert "GOLD" not in heard and "artificial" not in heard.lower()


def test_spare_questions_are_marked() -> None:
    marks = [job.spare for job in jobs(count=6) if job.stratum == "alpha" and job.arm == "system"]
    assert marks == [False] * 4 + [True] * 2


FITTED = [p.id for p in protocols().values() if p.needs_artifact and p.level == "weight"]


@pytest.mark.parametrize("protocol", FITTED[:1])
def test_a_fitted_protocol_is_held_to_one_artifact(protocol: str) -> None:
    """Fitting again must not mix two systems in one study."""
    spec = study(protocol)
    with pytest.raises(UserError, match="has to be fitted"):
        plan_jobs(spec, POOL, questions())
    store = artifacts_for(make_spec(protocol), POOL)
    work = plan_jobs(spec, POOL, questions(), store)
    pinned = {job.spec.artifact for job in work if job.arm == "system"}
    assert len(pinned) == 1 and pinned != {""}
    assert {job.spec.artifact for job in work if job.arm == "contributor"} == {""}


def test_answers_know_nothing_of_the_pool_files(tmp_path: Path) -> None:
    pool: tuple[ModelSpec, ...] = POOL
    work = plan_jobs(study(), pool, questions())
    made(work, tmp_path, ScriptedEngine(), stop_after=3)
    assert "artificial-base" not in (tmp_path / FILE).read_text()
