"""The trained routers, fitted and asked through the real runner, on topics that one model knows."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
from collections.abc import Mapping, Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from protocols.api.graph_routing import ARRAYS as GRAPH
from protocols.api.trained_router import ARRAYS as LINEAR
from protocols.core.artifacts import ArtifactStore, Stored
from protocols.core.control import Control
from protocols.core.engine import ScoreRequest
from protocols.core.events import (
    Answer,
    Artifact,
    CallStarted,
    Decision,
    Ended,
    Event,
    Progress,
    RunStarted,
    dump,
    parse,
)
from protocols.core.models import ModelSpec, RunSpec
from protocols.engines.scripted import ScriptedEngine
from protocols.lib import encoders
from protocols.lib.routes import CARD, Route, Trust, prices
from tests.fitted import TOPICS, experts, fit_topics, question_about, topic_data
from tests.helpers import make_pool, play

BOTH = pytest.mark.parametrize("protocol", ["trained_router", "graph_routing"])
QUICK: dict[str, dict[str, Any]] = {"graph_routing": {"steps": 40, "networks": 1}}


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Mapping[tuple[str, int], ArtifactStore]:
    """Both routers, fitted to two and to four models."""
    made = {}
    for protocol in ("trained_router", "graph_routing"):
        for count in (2, 4):
            store = ArtifactStore(tmp_path_factory.mktemp(protocol))
            asyncio.run(fit_topics(protocol, make_pool(count), store, **QUICK.get(protocol, {})))
            made[protocol, count] = store
    return made


def asked(
    protocol: str, store: ArtifactStore, question: str, count: int = 4,
    engine: ScriptedEngine | None = None, sizes: Sequence[int] = (0, 0, 0, 0), **config: Any,
) -> list[Event]:  # fmt: skip
    sized = zip(make_pool(count), sizes, strict=False)
    pool = [model.model_copy(update={"parameters": size}) for model, size in sized]
    spec = RunSpec.model_validate(
        {
            "protocol": protocol,
            "pool": [model.id for model in pool],
            "question": question,
            "config": config,
        }
    )
    return asyncio.run(play(spec, engine or experts(pool), pool=pool, artifacts=store))


def one(events: list[Event], what: str) -> Decision:
    return next(e for e in events if isinstance(e, Decision) and e.what == what)


def answer(events: list[Event]) -> Answer:
    assert isinstance(events[-1], Ended) and events[-1].status == "ok", events[-1]
    return next(e for e in reversed(events) if isinstance(e, Answer))


def only(store: ArtifactStore, protocol: str) -> Stored:
    return next(store.list(protocol))


def copied(store: ArtifactStore, to: Path) -> ArtifactStore:
    shutil.copytree(store.root, to)
    return ArtifactStore(to)


def tampered(store: ArtifactStore, protocol: str, name: str, content: bytes) -> None:
    """Change a file of an artifact and the print that guards it."""
    from protocols.core.artifacts import MANIFEST, file_print

    folder = only(store, protocol).folder
    (folder / name).write_bytes(content)
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["files"][name] = file_print(folder / name)
    (folder / MANIFEST).write_text(json.dumps(manifest))


# Fitting


@BOTH
@pytest.mark.parametrize("count", [2, 4])
def test_new_questions_go_to_who_knows_the_topic(
    protocol: str, count: int, stores: Mapping[tuple[str, int], ArtifactStore]
) -> None:
    for model, topic in zip(make_pool(count), TOPICS, strict=False):
        events = asked(protocol, stores[protocol, count], question_about(topic, 777), count)
        route = one(events, "route")
        assert route.chosen == model.id and answer(events).text == topic
        assert set(route.scores) == {m.id for m in make_pool(count)}
        assert "sure" in route.why and "as good as the best model" in route.why
        assert isinstance(events[0], RunStarted) and events[0].artifact


@BOTH
def test_the_artifact_says_what_the_router_is_worth(
    protocol: str, stores: Mapping[tuple[str, int], ArtifactStore]
) -> None:
    metrics: Any = only(stores[protocol, 4], protocol).manifest.metrics
    found = metrics["held_out"]
    parts = [found] if protocol == "trained_router" else [found["graph"], found["knn"]]
    assert (metrics["train"], metrics["tune"], metrics["held"]) == (24, 8, 8)
    for part in parts:
        assert part["n"] == 8 and "bootstrap" in part["interval"] and part["seed"] == 0
        assert part["oracle"]["mean"] == 1.0 and part["best_single"]["mean"] == 0.25
        gap = part["oracle"]["mean"] - part["router"]["mean"]
        assert part["regret_to_oracle"]["mean"] == pytest.approx(gap, abs=1e-3)
        assert part["gain_over_best_single"]["low"] > 0
    if protocol == "graph_routing":
        assert metrics["used"] in ("graph", "knn") and "low" in metrics["graph_minus_knn"]


@BOTH
def test_equal_fits_make_equal_bytes_wherever_they_were_stopped(
    protocol: str, tmp_path: Path
) -> None:
    from protocols.core.fit import FitSpec, fit

    whole, parts = ArtifactStore(tmp_path / "a"), ArtifactStore(tmp_path / "b")
    pool, config = make_pool(2), {"encoder": "words", **QUICK.get(protocol, {})}
    asyncio.run(fit_topics(protocol, pool, whole, **config))
    data = topic_data(TOPICS[:2])
    spec = FitSpec(protocol=protocol, pool=("alpha", "beta"), task="topics", config=config)

    async def left(stop_at: int) -> int:
        engine, control = experts(pool), Control()
        async for event in fit(spec, pool, engine, data, parts, control=control):
            if event.seq == stop_at:
                control.stop()
        return len(engine.requests)

    calls = [asyncio.run(left(at)) for at in (5, 99_999)]
    assert sum(calls) == 2 * sum(map(len, data.items.values())), "nothing is asked twice"
    files = [
        {
            p.name: p.read_bytes()
            for p in only(s, protocol).folder.iterdir()
            if p.name != "made.json"
        }
        for s in (whole, parts)
    ]
    assert files[0] == files[1] and len(files[0]) >= 3


def test_what_is_shown_while_fitting(tmp_path: Path) -> None:
    events = asyncio.run(
        fit_topics("graph_routing", make_pool(3), ArtifactStore(tmp_path), steps=40, networks=1)
    )
    assert [parse(dump(e)) for e in events] == events
    things = {e.name: e.data for e in events if isinstance(e, Artifact)}
    table = {row["task"]: row for row in things["answers"]["rows"]}
    assert table["rivers"] == {"task": "rivers", "answered": 10, "alpha": 1, "beta": 0, "gamma": 0}
    names = [row["name"] for row in things["regret"]["rows"]]
    assert names == ["graph", "knn", "best single", "random", "oracle"]
    assert things["calibration"]["bins"]
    losses = [e.values for e in events if isinstance(e, Progress) and e.unit == "train"]
    assert losses and all("loss" in values for values in losses)
    notes = [e.note for e in events if isinstance(e, Progress) and e.unit == "route"]
    assert "plain nearest neighbours" in notes[-1] and "will decide" in notes[-1]
    assert not any(isinstance(e, CallStarted) for e in events), "a search is quiet"


@pytest.mark.parametrize(
    ("data", "says"),
    [(topic_data(("rivers",), 2, 8), "at least 4 train items"),
     (topic_data(("rivers",), 8, 2), "at least 4 dev items")],
)  # fmt: skip
def test_too_few_items_are_refused_with_numbers(data: Any, says: str, tmp_path: Path) -> None:
    events = asyncio.run(
        fit_topics("trained_router", make_pool(2), ArtifactStore(tmp_path), data=data)
    )
    last = events[-1]
    assert isinstance(last, Ended) and last.owner == "user" and says in last.message


def test_a_broken_machine_does_not_look_like_a_bad_model(tmp_path: Path) -> None:
    engine = ScriptedEngine("rivers", fail={"beta": "middle"})
    events = asyncio.run(
        fit_topics("trained_router", make_pool(2), ArtifactStore(tmp_path), engine)
    )
    assert isinstance(events[-1], Ended) and events[-1].owner == "engine"


@BOTH
def test_a_pool_whose_models_never_differ_falls_back_to_nobody_in_particular(
    protocol: str, tmp_path: Path
) -> None:
    """No question tells the models apart: there is nothing to learn, and nothing breaks."""
    store, engine = ArtifactStore(tmp_path), ScriptedEngine("nothing right")
    asyncio.run(fit_topics(protocol, make_pool(2), store, engine, **QUICK.get(protocol, {})))
    events = asked(protocol, store, "What is this?", 2)
    assert answer(events).text in TOPICS
    assert one(events, "route").scores["alpha"] == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize(
    ("config", "says"),
    [({"judge": "reward"}, "none is named"),
     ({"judge": "reward", "reward_model": "/nowhere"}, "no reward model in 'nowhere'"),
     ({"encoder": "artificial/encoder"}, "not on this machine")],
)  # fmt: skip
def test_what_is_not_here_is_said_before_anything_is_asked(
    config: dict[str, Any], says: str, tmp_path: Path
) -> None:
    engine, store = experts(make_pool(2)), ArtifactStore(tmp_path)
    events = asyncio.run(fit_topics("trained_router", make_pool(2), store, engine, **config))
    last = events[-1]
    assert isinstance(last, Ended) and says in last.message and last.owner == "user"
    assert not engine.requests


# Answering


@BOTH
def test_below_the_confidence_the_best_single_model_answers_and_it_is_said(
    protocol: str, stores: Mapping[tuple[str, int], ArtifactStore]
) -> None:
    store = stores[protocol, 4]
    question = question_about(TOPICS[2], 777)
    events = asked(protocol, store, question, min_confidence=1.0)
    best = json.loads((only(store, protocol).folder / CARD).read_text())["best"]
    fallen = one(events, "fallback")
    assert fallen.chosen == f"best single: {best}" and "less than 100%" in fallen.why
    assert answer(events).contributors == {best: 1.0}
    assert one(events, "route").chosen == "gamma", "its own choice stays visible"


def test_a_thrifty_router_takes_a_smaller_model_that_is_nearly_as_likely() -> None:
    scores, sizes = {"large": 0.6, "small": 0.4}, {"large": 70, "small": 7}
    models = [ModelSpec(id=name, source=name, parameters=size) for name, size in sizes.items()]
    chosen = {
        thrift: Route(scores, "large", Trust(), "", price=prices(models, thrift)).ranked[0]
        for thrift in (0.0, 0.2, 0.25, 1.0)
    }
    # Smaller by nine tenths: worth 0.2 of probability from thrift 0.2 / 0.9 on.
    assert chosen == {0.0: "large", 0.2: "large", 0.25: "small", 1.0: "small"}
    unknown = [model.model_copy(update={"parameters": 0}) for model in models]
    assert set(prices(unknown, 0.5).values()) == {0.5}


@BOTH
def test_what_thrift_chose_is_said_and_is_no_doubt(
    protocol: str, stores: Mapping[tuple[str, int], ArtifactStore]
) -> None:
    question, sizes = question_about(TOPICS[2], 777), (9, 9, 900, 9)
    events = asked(protocol, stores[protocol, 4], question, sizes=sizes, thrift=1.0)
    route = one(events, "route")
    assert max(route.scores, key=lambda name: route.scores[name]) == "gamma" != route.chosen
    assert f"{route.chosen}, smaller, is" in route.why
    assert answer(events).contributors == {route.chosen: 1.0}
    assert (
        one(asked(protocol, stores[protocol, 4], question, sizes=sizes), "route").chosen == "gamma"
    )


def test_the_fallback_may_be_a_majority(
    stores: Mapping[tuple[str, int], ArtifactStore],
) -> None:
    config = {"min_confidence": 1.0, "fallback": "majority"}
    engine = ScriptedEngine({"alpha": "7", "beta": "8", "gamma": "8", "delta": "8"})
    store = stores["trained_router", 4]
    events = asked("trained_router", store, "How many?", 4, engine, **config)
    assert one(events, "fallback").chosen == "majority"
    assert one(events, "vote").chosen == "8"
    assert set(answer(events).contributors) == {"beta", "gamma", "delta"}


@BOTH
def test_if_the_chosen_model_fails_the_next_likeliest_is_asked(
    protocol: str, stores: Mapping[tuple[str, int], ArtifactStore]
) -> None:
    pool = make_pool(4)
    script = {m.id: t for m, t in zip(pool, TOPICS, strict=False)}
    engine = ScriptedEngine(script, fail={"beta": "start"})
    events = asked(protocol, stores[protocol, 4], question_about(TOPICS[1], 777), 4, engine)
    ranked = sorted(one(events, "route").scores.items(), key=lambda row: (-row[1], row[0]))
    assert ranked[0][0] == "beta"
    assert answer(events).contributors == {ranked[1][0]: 1.0}
    warnings = [e.note for e in events if isinstance(e, Progress) and e.level == "warning"]
    assert any("next likeliest" in note for note in warnings)


def test_without_a_fit_there_is_a_sentence_that_says_how(tmp_path: Path) -> None:
    from protocols.core.errors import UserError

    with pytest.raises(UserError, match="studio fit --protocol trained_router"):
        asked("trained_router", ArtifactStore(tmp_path), "What?", 2)


@BOTH
@pytest.mark.parametrize("damage", ["shape", "nan", "pickle", "text"])
def test_a_damaged_router_steps_aside(
    protocol: str, damage: str, tmp_path: Path, stores: Mapping[tuple[str, int], ArtifactStore]
) -> None:
    """An artifact is data from somewhere: whatever it holds, the fallback answers."""
    store = copied(stores[protocol, 2], tmp_path / "store")
    name = LINEAR if protocol == "trained_router" else GRAPH
    path = only(store, protocol).folder / name
    with np.load(path) as found:
        arrays = dict(found)
    bad = "coef" if protocol == "trained_router" else "scores"
    arrays[bad] = {
        "shape": arrays[bad][:1],
        "nan": np.full_like(arrays[bad], np.nan),
        "pickle": np.array([{"a": 1}], dtype=object),
        "text": arrays[bad],
    }[damage]
    np.savez(path, **arrays, allow_pickle=True)
    content = b"not an archive" if damage == "text" else path.read_bytes()
    tampered(store, protocol, name, content)
    events = asked(protocol, store, "What?", 2)
    assert answer(events).contributors == {"alpha": 1.0}
    assert any(isinstance(e, Progress) and e.level == "warning" for e in events)
    assert "failed" in one(events, "route").why


@BOTH
@pytest.mark.parametrize("card", [b"{}", b"[", b'{"models": ["alpha", "nobody"]}'])
def test_a_card_that_cannot_be_read_is_said(
    protocol: str, card: bytes, tmp_path: Path, stores: Mapping[tuple[str, int], ArtifactStore]
) -> None:
    store = copied(stores[protocol, 2], tmp_path / "store")
    tampered(store, protocol, CARD, card)
    last = asked(protocol, store, "What?", 2)[-1]
    assert isinstance(last, Ended) and last.owner == "engine" and "Fit it again" in last.message


def test_the_pool_may_come_in_another_order(
    stores: Mapping[tuple[str, int], ArtifactStore],
) -> None:
    pool = make_pool(4)[::-1]
    spec = RunSpec(
        protocol="trained_router",
        pool=tuple(model.id for model in pool),
        question=question_about(TOPICS[0], 500),
    )
    store = stores["trained_router", 4]
    events = asyncio.run(play(spec, experts(make_pool(4)), pool=pool, artifacts=store))
    assert answer(events).text == TOPICS[0]


def test_the_graph_that_is_drawn(stores: Mapping[tuple[str, int], ArtifactStore]) -> None:
    question = question_about(TOPICS[1], 777)
    events = asked("graph_routing", stores["graph_routing", 4], question)
    graph = next(e for e in events if isinstance(e, Artifact) and e.name == "graph").data
    nodes = {node["id"]: node for node in graph["nodes"]}
    kinds = {kind: [n for n in nodes.values() if n["kind"] == kind] for kind in
             ("question", "query", "task", "model")}  # fmt: skip
    assert kinds["question"][0]["label"] == question and len(kinds["query"]) >= 1
    assert {n["label"] for n in kinds["task"]} == {TOPICS[1]}
    assert {n["model"] for n in kinds["model"]} == {m.id for m in make_pool(4)}
    assert len(graph["links"]) == len(graph["edges"])
    assert all(a in nodes and b in nodes for a, b in graph["edges"])
    assert all(0 <= link["weight"] <= 1 for link in graph["links"])
    assert graph["chosen"] == "beta" and graph["sink"] == "answer.beta"
    chosen = [e for e, link in zip(graph["edges"], graph["links"], strict=True) if link["chosen"]]
    assert chosen and all(b == "answer.beta" for _, b in chosen)
    started = [e.call for e in events if isinstance(e, CallStarted)]
    assert started == [graph["sink"]], "the node lights up with its call"


def test_both_ways_can_be_asked_for(stores: Mapping[tuple[str, int], ArtifactStore]) -> None:
    store = stores["graph_routing", 4]
    told = {}
    for method, name in (("graph", "the graph network"), ("knn", "plain nearest neighbours")):
        events = asked("graph_routing", store, question_about(TOPICS[3], 700), method=method)
        told[method] = one(events, "route").scores
        assert one(events, "route").why.startswith(name)
    assert told["graph"] != told["knn"]


# The router that reads


def test_a_row_is_what_is_asked_live() -> None:
    """Training rows and live calls: the same turns and letters, and targets go with the models."""
    from protocols.lib.label_routes import label_calls
    from protocols.training.label_router import training_rows
    from tests.training.test_graph_router import part_of

    pool = make_pool(3)
    part = part_of(np.zeros((2, 1)), np.array([[0.0, 1.0, 1.0], [1.0, 1.0, 1.0]]), ["t", "t"])
    rows = training_rows(part, pool, 30, random.Random(0))
    assert len(rows) == 30, "a question that tells nothing apart is left out"
    orders = [list(order) for order in permutations(pool)]
    live = {call.messages[-1]["content"]: (order, call) for order in orders
            for call in label_calls("r", "q0", [order], "n")}  # type: ignore[index]  # fmt: skip
    met = set()
    for row in rows:
        order, call = live[row.messages[-1]["content"]]
        assert list(row.messages) == list(call.messages) and row.labels == call.labels  # type: ignore[arg-type]
        target = {model.id: share for model, share in zip(order, row.target, strict=True)}
        assert target["beta"] == target["gamma"] == pytest.approx(0.5, abs=1e-4)
        met.add(tuple(model.id for model in order))
    assert len(met) == 6, "every order is met: no place in the list is preferred"


def scores_topics(request: ScoreRequest) -> dict[str, float]:
    """A reader that knows whose topic is asked about, in whatever order it is shown the models."""
    shown = request.messages[-1]["content"]
    topic = next((at for at, topic in enumerate(TOPICS) if topic in shown.split("Question:")[1]), 0)
    name = make_pool(8)[topic].contributor.description
    lines = [line for line in shown.splitlines() if line[1:3] == ". "]
    return {line[0]: -0.1 if line[3:] == name else -3.0 for line in lines}


def test_a_reading_router_is_asked_in_every_order(
    tmp_path: Path, stores: Mapping[tuple[str, int], ArtifactStore]
) -> None:
    from protocols.core.artifacts import MANIFEST

    store = copied(stores["trained_router", 4], tmp_path / "store")
    folder = only(store, "trained_router").folder
    card = json.loads((folder / CARD).read_text())
    card |= {"used": "lora", "encoder": None, "trust": {"lora": card["trust"]["embedding"]}}
    tampered(store, "trained_router", CARD, json.dumps(card).encode())
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["derived"] = [{"name": "router", "base": "alpha", "folder": "router"}]
    (folder / MANIFEST).write_text(json.dumps(manifest))
    pool = make_pool(4)
    script = {m.id: t for m, t in zip(pool, TOPICS, strict=False)}
    engine = ScriptedEngine(script, scores=scores_topics)
    question = question_about(TOPICS[2], 1)
    events = asked("trained_router", store, question, 4, engine, orders=3)
    route = one(events, "route")
    assert route.chosen == "gamma" and route.by == "derived.router" and len(route.sources) == 3
    broken = ScriptedEngine(script, scores=scores_topics, fail={"derived.router": "start"})
    events = asked("trained_router", store, question, 4, broken)
    assert answer(events).contributors == {card["best"]: 1.0}


# Encoders


def test_an_encoder_that_is_not_here_is_named() -> None:
    from protocols.core.errors import UserError

    for name in ("artificial/encoder", "hidden", "/nowhere/at/all"):
        with pytest.raises(UserError, match="not on this machine"):
            encoders.choose(name, make_pool(2))


def test_words_are_told_apart_by_their_parts() -> None:
    encode = encoders.encoder(encoders.EncoderSpec(kind="words"), ())
    found = encode(["rivers and lakes", "river and lake", "sum of 4 and 5", ""])
    likeness = found @ found.T
    assert likeness[0, 1] > 0.5 > likeness[0, 2] and found.dtype == np.float32
    np.testing.assert_allclose(np.diag(likeness)[:3], 1.0, rtol=1e-5)
