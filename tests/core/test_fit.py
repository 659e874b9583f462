"""The laws of fitting: nothing is lost, nothing is done twice, nothing unseen is seen."""

from __future__ import annotations

import asyncio
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.tasks import load_task, task_names
from evals.tasks.fitting import fit_data
from protocols.core.artifacts import ArtifactStore
from protocols.core.call import Call, Step
from protocols.core.control import Control
from protocols.core.errors import EngineError, UserError
from protocols.core.events import (
    Answer,
    Artifact,
    CallStarted,
    Ended,
    Event,
    Progress,
    RunStarted,
    dump,
    parse,
)
from protocols.core.fit import FITTED, FitContext, FitSpec, FitStopped, fit, plan
from protocols.core.models import Budget, ModelSpec, Sampling
from protocols.engines.scripted import ScriptedEngine
from protocols.lib.prompts import question_messages
from tests.conftest import ROOT
from tests.core.toy import PROTOCOL, registered, toy_data, toy_spec
from tests.helpers import HANGS_S, make_pool, make_spec, play

SAYS = {"alpha": "red", "beta": "red green", "gamma": "blue"}


@pytest.fixture(autouse=True)
def toy() -> Iterator[None]:
    with registered():
        yield


def engine() -> ScriptedEngine:
    return ScriptedEngine(SAYS)


async def fitted(
    store: ArtifactStore,
    spec: FitSpec | None = None,
    served: ScriptedEngine | None = None,
    leave_at: int | None = None,
) -> list[Event]:
    """The events of a fit; with ``leave_at`` the stream is dropped after so many."""
    made = []
    stream = fit(spec or toy_spec(), make_pool(3), served or engine(), toy_data(), store)
    async for event in stream:
        made.append(event)
        if leave_at is not None and len(made) > leave_at:
            break
    await stream.aclose()
    return made


def content(store: ArtifactStore) -> dict[str, bytes]:
    """Every file of every artifact but the one that says when it was made."""
    files = (p for p in sorted(store.root.rglob("*")) if p.is_file() and p.suffix != ".lock")
    return {str(p.relative_to(store.root)): p.read_bytes() for p in files if p.name != "made.json"}


def announced(events: list[Event]) -> dict[str, object]:
    last = events[-2]
    assert isinstance(last, Artifact) and last.name == FITTED
    return dict(last.data)


def test_a_fit_is_a_run_that_ends_in_an_artifact(tmp_path: Path) -> None:
    events = asyncio.run(fitted(ArtifactStore(tmp_path)))
    assert [e.seq for e in events] == list(range(len(events)))
    assert isinstance(events[0], RunStarted) and events[0].purpose == "fit"
    assert isinstance(events[-1], Ended) and events[-1].status == "ok"
    assert [parse(dump(e)) for e in events] == events
    about = announced(events)
    assert about["recipe"]["best"] == "beta" and about["metrics"] == {"total": 8.0}  # type: ignore[index]
    assert about["derived"] == ["derived.toy"] and about["cached"] is False
    losses = [e.values["loss"] for e in events if isinstance(e, Progress) and e.unit == "train"]
    assert losses == [1.0, 0.5, 1 / 3]


def test_quiet_calls_are_counted_and_not_shown(tmp_path: Path) -> None:
    events = asyncio.run(fitted(ArtifactStore(tmp_path)))
    assert not any(isinstance(e, CallStarted) for e in events)
    assert isinstance(events[-1], Ended) and events[-1].calls == 12


def test_equal_specs_make_equal_bytes(tmp_path: Path) -> None:
    stores = ArtifactStore(tmp_path / "a"), ArtifactStore(tmp_path / "b")
    for store in stores:
        asyncio.run(fitted(store))
    assert content(stores[0]) == content(stores[1]) != {}


def test_what_is_there_is_not_made_again(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    asyncio.run(fitted(store))
    before, served = content(store), engine()
    events = asyncio.run(fitted(store, served=served))
    assert announced(events)["cached"] is True and len(events) == 3
    assert not served.requests and content(store) == before


@given(leave_at=st.lists(st.integers(0, 8), min_size=1, max_size=3))
def test_leaving_anywhere_and_going_on_makes_the_same(leave_at: list[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        whole, parts = ArtifactStore(Path(folder, "a")), ArtifactStore(Path(folder, "b"))
        asyncio.run(fitted(whole))
        calls = 0
        for place in leave_at:
            served = engine()
            asyncio.run(fitted(parts, served=served, leave_at=place))
            assert served.open_streams == 0
            calls += len(served.requests)
        served = engine()
        asyncio.run(fitted(parts, served=served))
        assert content(parts) == content(whole)
        assert calls + len(served.requests) <= 12, "a finished part was done again"


def test_a_killed_process_leaves_nothing_half_made(tmp_path: Path) -> None:
    whole, parts = ArtifactStore(tmp_path / "a"), ArtifactStore(tmp_path / "b")
    asyncio.run(fitted(whole))
    command = [sys.executable, "-m", "tests.core.toy", str(parts.root)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout
        seen = [next(child.stdout).strip() for _ in range(2)]
        child.send_signal(signal.SIGKILL)
    assert seen == ["run_started", "progress"]
    assert not list(parts.list("toy"))
    served = engine()
    asyncio.run(fitted(parts, served=served))
    assert content(parts) == content(whole) and len(served.requests) == 8


def test_stopping_keeps_what_was_done(tmp_path: Path) -> None:
    control, store = Control(), ArtifactStore(tmp_path)

    async def stopped() -> list[Event]:
        made = []
        stream = fit(toy_spec(), make_pool(3), engine(), toy_data(), store, control=control)
        async for event in stream:
            made.append(event)
            if isinstance(event, Progress):
                control.stop()
        return made

    last = asyncio.run(stopped())[-1]
    assert isinstance(last, Ended) and last.status == "cancelled" and "go on" in last.message
    assert asyncio.run(fitted(store))[-1].status == "ok"  # type: ignore[union-attr]


def test_a_spent_budget_keeps_what_was_done(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    last = asyncio.run(fitted(store, toy_spec(budget=Budget(calls=5))))[-1]
    assert isinstance(last, Ended) and last.status == "budget" and "go on" in last.message
    served = engine()
    assert announced(asyncio.run(fitted(store, served=served)))["cached"] is False
    assert len(served.requests) == 8, "a budget does not change what is made"


def test_two_at_once_are_refused_with_a_sentence(tmp_path: Path) -> None:
    async def both() -> None:
        store = ArtifactStore(tmp_path)
        first = fit(toy_spec(), make_pool(3), engine(), toy_data(), store)
        await anext(first)
        with pytest.raises(UserError, match="being fitted to this already"):
            await fitted(store)
        await first.aclose()
        assert (await fitted(store))[-1].status == "ok"  # type: ignore[union-attr]

    asyncio.run(both())


def test_a_thread_that_outlives_its_fit_keeps_the_lock_and_then_leaves(tmp_path: Path) -> None:
    began, go_on, ended = threading.Event(), threading.Event(), threading.Event()

    def stubborn(ctx: FitContext) -> None:
        began.set()
        go_on.wait(10)
        try:
            ctx.report("train", 1)
        except FitStopped:
            ended.set()
            raise

    async def slow(ctx: FitContext) -> AsyncIterator[Step]:
        await ctx.work(stubborn, ctx)
        yield ctx.fitted({})

    async def left() -> None:
        store = ArtifactStore(tmp_path)
        control = Control()
        stream = fit(toy_spec(), make_pool(3), engine(), toy_data(), store, control=control)
        assert isinstance(await anext(stream), RunStarted)
        ending = asyncio.ensure_future(anext(stream))
        await asyncio.to_thread(began.wait, HANGS_S)
        control.stop()
        event = await asyncio.wait_for(ending, HANGS_S)
        assert isinstance(event, Ended) and event.status == "cancelled"
        await stream.aclose()
        with pytest.raises(UserError, match="already"):
            await fitted(store)
        go_on.set()
        await asyncio.to_thread(ended.wait, 10)

    with registered(replace(PROTOCOL, fit=slow)):
        asyncio.run(left())
    assert ended.is_set()


def test_a_bug_in_a_fit_ends_it_and_leaves_no_artifact(tmp_path: Path) -> None:
    async def broken(ctx: FitContext) -> AsyncIterator[Step]:
        yield Progress(unit="train")
        raise ZeroDivisionError

    with registered(replace(PROTOCOL, fit=broken)):
        last = asyncio.run(fitted(ArtifactStore(tmp_path)))[-1]
    assert isinstance(last, Ended) and last.status == "failed" and last.owner == "bug"
    assert not list(ArtifactStore(tmp_path).list("toy"))


def test_only_data_gets_into_an_artifact(tmp_path: Path) -> None:
    async def sly(ctx: FitContext) -> AsyncIterator[Step]:
        (ctx.folder / "weights.pkl").write_bytes(b"x")
        yield ctx.fitted({})

    with registered(replace(PROTOCOL, fit=sly)):
        last = asyncio.run(fitted(ArtifactStore(tmp_path)))[-1]
    assert isinstance(last, Ended) and last.owner == "engine" and "weights.pkl" in last.message


def test_the_key_names_everything_that_matters() -> None:
    pool, data = make_pool(3), toy_data()
    base = plan(toy_spec(), pool, data, None).key
    other = [
        plan(toy_spec(seed=1), pool, data, None).key,
        plan(toy_spec(config={"scale": 3}), pool, data, None).key,
        plan(toy_spec(2), pool, data, None).key,
        plan(toy_spec(), pool, toy_data(3), None).key,
        plan(toy_spec(sampling=Sampling(max_tokens=9)), pool, data, None).key,
        plan(toy_spec(), [m.model_copy(update={"revision": "2"}) for m in pool], data, None).key,
        plan(toy_spec(task="another"), pool, data, None).key,
        plan(toy_spec(pool=toy_spec().pool[::-1]), pool, data, None).key,
    ]
    assert len({base, *other}) == 9
    same = toy_spec(config={"note": "changes the answer only"}, budget=Budget(calls=3))
    assert plan(same, pool, data, None).key == base


def test_the_key_follows_the_adapter_and_not_its_place(tmp_path: Path) -> None:
    def keyed(name: str, weights: bytes) -> str:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "adapter_model.safetensors").write_bytes(weights)
        pool = [m.model_copy(update={"adapter": str(folder)}) for m in make_pool(3)]
        return plan(toy_spec(), pool, toy_data(), None).key

    assert keyed("here", b"one") == keyed("there", b"one") != keyed("elsewhere", b"two")


def test_a_fitted_protocol_needs_its_artifact(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="python -m studio fit --protocol toy"):
        asyncio.run(play(make_spec("toy"), artifacts=ArtifactStore(tmp_path)))


def test_a_run_uses_what_fitting_left(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    asyncio.run(fitted(store))
    key = next(store.list("toy")).manifest.key
    events = asyncio.run(play(make_spec("toy"), ScriptedEngine("hello"), artifacts=store))
    opening = events[0]
    assert isinstance(opening, RunStarted) and opening.artifact == key
    assert "derived.toy" in {model.id for model in opening.models}
    said = next(e for e in events if isinstance(e, Answer))
    assert said.text == "hello" and events[-1].status == "ok"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"artifact": "0000"}, "no artifact '0000'"),
        ({"artifact": "../../toy"}, "no artifact"),
        ({"config": {"scale": 5}}, "python -m studio fit"),
        ({"pool": ("alpha", "beta")}, "python -m studio fit"),
    ],
)
def test_an_artifact_of_something_else_is_not_used(
    tmp_path: Path, changes: dict[str, object], sentence: str
) -> None:
    store = ArtifactStore(tmp_path)
    asyncio.run(fitted(store))
    with pytest.raises(UserError, match=sentence):
        asyncio.run(play(make_spec("toy", **changes), artifacts=store))


def test_an_artifact_of_other_models_is_refused_by_name(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    asyncio.run(fitted(store))
    key = next(store.list("toy")).manifest.key
    with pytest.raises(UserError, match="was made from alpha, beta, gamma"):
        asyncio.run(play(make_spec("toy", 2, artifact=key), artifacts=store))


def test_a_damaged_artifact_is_refused(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    asyncio.run(fitted(store))
    found = next(store.list("toy"))
    (found.folder / "adapter" / "choice.json").write_text('"gamma!"')
    with pytest.raises(EngineError, match="damaged"):
        asyncio.run(play(make_spec("toy"), artifacts=store))


def test_shipped_artifacts_are_found(tmp_path: Path) -> None:
    asyncio.run(fitted(ArtifactStore(tmp_path / "made")))
    shutil.move(tmp_path / "made", tmp_path / "shipped")
    store = ArtifactStore(tmp_path / "root", shipped=tmp_path / "shipped")
    served = engine()
    assert announced(asyncio.run(fitted(store, served=served)))["cached"] is True
    assert not served.requests


def test_the_newest_that_fits_is_taken(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    for seed in (0, 1):
        asyncio.run(fitted(store, toy_spec(seed=seed)))
        time.sleep(1.01 if seed == 0 else 0)  # made.json counts whole seconds
    newest = store.find("toy", "", make_pool(3), {})
    assert newest and newest.manifest.seed == 1


def test_what_another_version_of_a_protocol_made_is_not_taken_by_itself(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    asyncio.run(fitted(store))
    with registered(replace(PROTOCOL, fit_version=2)):
        later = ScriptedEngine()
        with pytest.raises(UserError, match="has to be fitted"):
            asyncio.run(play(make_spec("toy"), later, artifacts=store))
    key = next(store.list("toy")).manifest.key
    assert store.find("toy", key, make_pool(3), {}, version=2), "but by name"


def test_protocols_without_fit_say_so(tmp_path: Path) -> None:
    spec = toy_spec(protocol="single_model")
    with pytest.raises(UserError, match="nothing to fit"):
        asyncio.run(fitted(ArtifactStore(tmp_path), spec))


# What evals hands over


def test_test_items_are_nowhere_in_the_data() -> None:
    for name in task_names():
        data, task = fit_data(name), load_task(name)
        hidden = [*task.splits["test"], *task.splits["heldout"]]
        seen = [item for items in data.items.values() for item in items]
        assert set(data.items) == {"train", "dev"} and seen
        assert not {item.question for item in hidden} & {item.question for item in seen}
        with pytest.raises(KeyError):
            data.score(hidden[0], hidden[0].answer)  # type: ignore[arg-type]


@given(limit=st.integers(1, 40), more=st.integers(0, 40), seed=st.integers(0, 5))
def test_a_smaller_limit_takes_a_beginning(limit: int, more: int, seed: int) -> None:
    small, large = fit_data("roman,units", limit, seed), fit_data("roman,units", limit + more, seed)
    for part in ("train", "dev"):
        assert large.items[part][: len(small.items[part])] == small.items[part]
        shares = [sum(i.task == t for i in small.items[part]) for t in ("roman", "units")]
        assert abs(shares[0] - shares[1]) <= 1 and sum(shares) == limit


def test_the_digest_follows_the_items() -> None:
    digests = {fit_data("roman", 10, seed).digest for seed in range(3)}
    assert len(digests) == 3 and fit_data("roman", 10, 0).digest in digests


@pytest.mark.parametrize(("task", "says"), [("", "No task"), ("romann", "Did you mean 'roman'")])
def test_unknown_tasks_are_named(task: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        fit_data(task)


class Yields(ScriptedEngine):
    """An engine whose models share their memory with trainings; ``told`` is what it was asked."""

    def __init__(self) -> None:
        super().__init__(SAYS)
        self.told: list[str] = []

    async def hand_over(self) -> None:
        self.loaded.clear()
        self.told.append("hand over")

    async def load(self, models: Sequence[ModelSpec], progress: object = None) -> None:
        self.told.append(f"load {len(models)}")
        await super().load(models)


@pytest.mark.parametrize("cuda", [True, False])
def test_trainings_have_a_gpu_to_themselves(
    cuda: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pool is let go of before each training, and loaded once before it is asked again."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: cuda)
    engine = Yields()

    async def trains(ctx: FitContext) -> AsyncIterator[Step]:
        for number in (1, 2):
            await ctx.train(engine.told.append, f"train {number} beside {len(engine.loaded)}")
        for number in (1, 2):
            yield [Call(f"ask{number}", ctx.models[0].id, question_messages("Red?"), quiet=True)]
        yield ctx.fitted({})

    with registered(replace(PROTOCOL, fit=trains)):
        events = asyncio.run(fitted(ArtifactStore(tmp_path), served=engine))
    assert isinstance(events[-1], Ended) and events[-1].status == "ok"
    alone = ["hand over", "train 1 beside 0", "hand over", "train 2 beside 0", "load 3"]
    assert engine.told[:5] == (alone if cuda else ["train 1 beside 0", "train 2 beside 0"])
    assert engine.told.count("load 3") == cuda
