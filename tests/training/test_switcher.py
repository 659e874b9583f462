"""The trained switcher: fair rollouts, soft labels, rows as asked live, and its place in a run."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.core.artifacts import ArtifactStore
from protocols.core.engine import GenerateRequest, ScoreRequest
from protocols.core.events import (
    Answer,
    CallStarted,
    Decision,
    Ended,
    Event,
    Progress,
    RunStarted,
)
from protocols.core.fit import FitContext
from protocols.core.models import ModelSpec, RunSpec
from protocols.core.registry import Context, get_protocol
from protocols.engines.scripted import ScriptedEngine
from protocols.lib.choice import LABELS
from protocols.lib.shared_text import Draft, Part
from protocols.training.switch_rollouts import Rollout, random_author, same_author
from protocols.training.switcher import State, label_rows, learning_items, target
from tests.helpers import make_pool, play
from tests.protocols.fits import GREEDY, announced, content, fit_spec, made_data, play_fit
from tests.training.tiny_base import tiny_base

SWITCH = "switch_generation"
DATA = made_data(dev=6, train=8)
CONFIG = {"states": 15, "rollouts": 6, "rollout_patch": 4, "epochs": 1}
TALK = [f"word{number}" for number in range(40)]
NUMBER = re.compile(r"Question \w+ (\d+)\?")


@pytest.fixture(scope="module")
def pool(base_model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[ModelSpec, ...]:
    """Three models on a tiny base; only the switcher's training reads its files."""
    folder = tiny_base(base_model, tmp_path_factory.mktemp("base") / "tiny-base")
    return tuple(model.model_copy(update={"source": str(folder)}) for model in make_pool(3))


def expert(number: int) -> str:
    """Who knows the answer: beta the even ones, gamma the odd ones; alpha only talks."""
    return "gamma" if number % 2 else "beta"


def says(request: GenerateRequest) -> str:
    number = int(NUMBER.findall(request.messages[-1]["content"])[-1])
    space = "" if not request.prefix or request.prefix[-1].isspace() else " "
    if request.model.id == "alpha":
        return space + " ".join(TALK[len(request.prefix.split()) :])
    return space + (f"right {number}" if request.model.id == expert(number) else "wrong")


def scores(request: ScoreRequest) -> dict[str, float]:
    """What a perfect training would make: the expert's letter; the untrained one likes alpha."""
    asked = request.messages[-1]["content"]
    found = NUMBER.findall(asked)
    wanted = "alpha"
    if request.model.id == "derived.switcher" and found:
        wanted = expert(int(found[-1]))
    line = next(at for at in asked.splitlines() if at.endswith(f"{wanted}."))
    return {label: 0.0 if label == line[0] else -5.0 for label in LABELS}


def engine(**changes: Any) -> ScriptedEngine:
    return ScriptedEngine(says, scores, **changes)


def fitted(pool: Sequence[ModelSpec], root: Path, leave_at: int | None = None) -> list[Event]:
    spec = fit_spec(SWITCH, config=CONFIG)
    return asyncio.run(play_fit(spec, engine(), root, DATA, leave_at, pool))


@pytest.fixture(scope="module")
def made(
    pool: Sequence[ModelSpec], tmp_path_factory: pytest.TempPathFactory
) -> tuple[list[Event], ArtifactStore]:
    root = tmp_path_factory.mktemp("store")
    return fitted(pool, root), ArtifactStore(root)


Made = tuple[list[Event], ArtifactStore]


def asked(pool: Sequence[ModelSpec], store: ArtifactStore | None, **changes: Any) -> list[Event]:
    spec = RunSpec(
        protocol=SWITCH,
        pool=tuple(model.id for model in pool),
        question="Question dev 3?",
        sampling=GREEDY,
        **changes,
    )
    return asyncio.run(play(spec, engine(), pool=pool, artifacts=store))


def notes(events: Sequence[Event]) -> list[str]:
    return [e.note for e in events if isinstance(e, Progress)]


# The artifact and what a run makes of it


def test_a_trained_switcher_decides_and_an_untrained_one_is_said(
    made: Made, pool: Sequence[ModelSpec]
) -> None:
    with_it, without = asked(pool, made[1]), asked(pool, None)
    deciders = [{e.by for e in run if isinstance(e, Decision)} for run in (with_it, without)]
    assert deciders == [{"derived.switcher"}, {"alpha"}]
    said = [e.text for e in with_it if isinstance(e, Answer)][-1]
    assert said == "right 3"
    opening = with_it[0]
    assert isinstance(opening, RunStarted) and opening.artifact == announced(made[0])["key"]
    assert not any("Nobody was trained" in note for note in notes(with_it))
    assert any("Nobody was trained as switcher" in note for note in notes(without))
    calibrating = [
        [e.call for e in run if isinstance(e, CallStarted) and e.call.startswith("neutral")]
        for run in (with_it, without)
    ]
    assert not calibrating[0] and calibrating[1]


def test_whoever_is_named_decides_before_the_trained_one(
    made: Made, pool: Sequence[ModelSpec]
) -> None:
    events = asked(pool, made[1], config={"switcher": "beta"})
    assert {e.by for e in events if isinstance(e, Decision)} == {"beta"}


def test_the_fit_reports_what_training_was_worth(made: Made) -> None:
    """Trained it always finds the expert; untrained it lets alpha talk; alone each knows half."""
    found = announced(made[0])["metrics"]
    assert found["dev"] == 1.0 and found["untrained"] == 0.0
    assert found["best_single"] == 0.5 and 0 <= found["chance"] <= 1
    assert found["n"] == 6 and found["low"] < 1.0
    losses = [e.values["loss"] for e in made[0] if isinstance(e, Progress) and "loss" in e.values]
    assert losses and all(loss > 0 for loss in losses)
    assert announced(made[0])["derived"] == ["derived.switcher"]


# Rollouts


def log(store: ArtifactStore) -> list[dict[str, Any]]:
    text = (next(store.list(SWITCH)).folder / "rollouts.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def test_every_model_goes_on_equally_often_from_every_text(made: Made) -> None:
    rows = log(made[1])
    assert {len(found) for row in rows for found in row["scores"].values()} == {2}
    assert all(set(row["scores"]) == {"alpha", "beta", "gamma"} for row in rows)


def test_texts_are_of_every_length_and_none_has_ended(made: Made) -> None:
    """24 tokens in patches of 4 leave five places for a decision, of which these reach some."""
    rows = log(made[1])
    places = Counter(row["place"] for row in rows)
    assert set(places) == set(range(max(places) + 1)) and max(places) >= 2
    assert announced(made[0])["recipe"]["texts_by_place"] == [
        places[place] for place in range(max(places) + 1)
    ]
    for row in rows:
        assert row["text"] == " ".join(TALK[: 4 * row["place"]]), "an ended text is no state"
    assert {row["item"].partition("-")[0] for row in rows} == {"train"}


def test_the_expert_is_worth_most(made: Made) -> None:
    for row in log(made[1]):
        worth = {name: sum(found) for name, found in row["scores"].items()}
        best = expert(int(row["item"].partition("-")[2]))
        assert worth[best] == 2.0 and worth["beta" if best == "gamma" else "gamma"] == 0.0


@given(seed=st.integers(0, 99), turn=st.integers(0, 9), number=st.integers(0, 9))
def test_chance_is_the_same_whoever_wrote_before(seed: int, turn: int, number: int) -> None:
    ctx = fit_context(make_pool(4), seed)
    made = []
    for author in ("alpha", "beta"):
        line = Rollout(ctx.context, DATA.items["dev"][0], Draft(24), number, turn)
        line.draft.author = author
        made.append(random_author(ctx, "tail", 1)(line))
        assert same_author(line) == author
    assert made[0] == made[1]


# Labels and rows

worths = st.dictionaries(
    st.sampled_from("abcdef"), st.floats(0, 1).map(lambda x: round(x, 3)), min_size=1
)


@given(worth=worths, softness=st.floats(0.05, 2))
def test_soft_labels_are_ordered_as_the_worths_are(
    worth: dict[str, float], softness: float
) -> None:
    soft = target(worth, softness)
    assert sum(soft.values()) == pytest.approx(1.0)
    for a in worth:
        for b in worth:
            if worth[a] == worth[b]:
                assert soft[a] == soft[b], "a tie is a tie"
            elif worth[a] > worth[b]:
                assert soft[a] > soft[b] or soft[b] < 1e-6


def test_soft_labels_by_hand() -> None:
    assert target({"a": 1.0, "b": 0.9}, 0.1)["a"] == pytest.approx(2.718281828 / 3.718281828)


def fit_context(models: Sequence[ModelSpec], seed: int = 0) -> FitContext:
    protocol = get_protocol(SWITCH)
    context = Context("", tuple(models), protocol.configure(dict(CONFIG)), GREEDY, seed)
    nothing: Any = lambda *_: None  # noqa: E731
    return FitContext(
        task="made",
        items=DATA.items,
        score=DATA.score,
        folder=Path(),
        state=Path(),
        shared=Path(),
        serve=nothing,
        release=nothing,
        load=nothing,
        workers=nothing,
        context=context,
    )


def test_a_training_row_is_what_is_asked_live(pool: Sequence[ModelSpec]) -> None:
    """At every text of a run in which alpha talks on, the switcher's prompts are training rows."""
    served, ids = engine(), tuple(model.id for model in pool)
    config = {"patch": 4, "margin": 1.0}
    spec = RunSpec(
        protocol=SWITCH, pool=ids, question="Question dev 3?", sampling=GREEDY, config=config
    )
    asyncio.run(play(spec, served, pool=pool))
    ctx, item = fit_context(pool), DATA.items["dev"][3]
    for turn in range(6):
        line = Rollout(ctx.asking(item.question), item, Draft(24), turn)
        line.draft.parts.append(Part("patch", "alpha", " ".join(TALK[: 4 * turn])))
        state = State(line, turn, {name: [float(name == "gamma")] for name in ids})
        rows = {json.dumps(row.messages): row for row in label_rows(ctx, [state], "alpha")}
        live = [
            one
            for one in served.requests
            if isinstance(one, ScoreRequest) and f"switch.{turn}." in one.id
        ]
        assert len(live) == 2
        for request in live:
            row = rows[json.dumps(request.messages)]
            best = row.labels[row.target.index(max(row.target))]
            assert row.labels == request.labels
            assert f"{best}. gamma." in row.messages[-1]["content"].splitlines()


# What goes wrong


@pytest.mark.parametrize("unit", ["search", "train"])
def test_leaving_and_going_on_makes_the_same(
    unit: str, made: Made, pool: Sequence[ModelSpec], tmp_path: Path
) -> None:
    """Left before the training and in the middle of it."""
    units = [e.unit if isinstance(e, Progress) else "" for e in made[0]]
    fitted(pool, tmp_path, units.index(unit))
    assert not list(ArtifactStore(tmp_path).list(SWITCH))
    fitted(pool, tmp_path)
    assert content(tmp_path) == content(made[1].root) != {}


def test_a_task_that_teaches_nothing_is_said(pool: Sequence[ModelSpec], tmp_path: Path) -> None:
    spec = fit_spec(SWITCH, config=CONFIG)
    last = asyncio.run(play_fit(spec, ScriptedEngine("no idea"), tmp_path, DATA, None, pool))[-1]
    assert isinstance(last, Ended) and last.status == "failed"
    assert "nothing to learn" in last.message


def test_a_broken_machine_teaches_nothing(pool: Sequence[ModelSpec], tmp_path: Path) -> None:
    spec, served = fit_spec(SWITCH, config=CONFIG), engine(fail={"beta": "start"})
    last = asyncio.run(play_fit(spec, served, tmp_path, DATA, None, pool))[-1]
    assert isinstance(last, Ended) and last.status == "failed" and "scripted" in last.message


def test_without_train_items_dev_is_halved() -> None:
    ctx = fit_context(make_pool(3))
    assert learning_items(ctx) == (DATA.items["train"], DATA.items["dev"])
    learn, rest = learning_items(replace(ctx, items={"dev": DATA.items["dev"]}))
    assert not {i.id for i in learn} & {i.id for i in rest} and len(learn) == len(rest) == 3
