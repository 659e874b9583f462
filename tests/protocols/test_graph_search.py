"""The swarm over graphs: what it stores is what it scored, and it scores nothing twice."""

from __future__ import annotations

import asyncio
import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.core.artifacts import ArtifactStore
from protocols.core.engine import GenerateRequest
from protocols.core.errors import EngineError
from protocols.core.events import Answer, Artifact, Ended, Event, Progress
from protocols.core.models import RunSpec
from protocols.core.registry import FitSize, get_protocol
from protocols.engines.scripted import ScriptedEngine
from protocols.lib.graphs import decode
from protocols.lib.networks import read_graph
from protocols.lib.particle_swarm import SwarmSettings, start
from tests.helpers import NAMES, make_pool, play
from tests.protocols.fits import GREEDY, announced, content, fit_spec, made_data, play_fit

SWARMS = "heterogeneous_swarms"


def says(request: GenerateRequest) -> str:
    """alpha has a clue, beta can use one, the others spoil whatever they read."""
    asked = request.messages[-1]["content"]
    number = re.findall(r"Question \w+ (\d+)\?", asked)[-1]
    if request.model.id == "alpha":
        return f"clue {number}"
    if request.model.id == "beta":
        return f"right {number}" if f"clue {number}" in asked else "unknown"
    return "wrong" if int(number) % 3 else f"right {number}"


def engine() -> ScriptedEngine:
    return ScriptedEngine(says)


def searched(root: Path, count: int = 4, **changes: Any) -> list[Event]:
    return asyncio.run(play_fit(fit_spec(SWARMS, count, **changes), engine(), root))


def rerun(root: Path, question: str, pool: list[str]) -> list[Event]:
    spec = RunSpec(protocol=SWARMS, pool=tuple(pool), question=question, sampling=GREEDY, seed=5)
    known = {model.id: model for model in make_pool(len(pool))}
    models = [known[name] for name in pool]
    return asyncio.run(play(spec, engine(), pool=models, artifacts=ArtifactStore(root)))


def test_the_stored_graph_scores_again_what_was_reported(tmp_path: Path) -> None:
    """Whatever the order of the pool and the seed of the run."""
    about, data = announced(searched(tmp_path)), made_data()
    pool = list(reversed(NAMES[:4]))
    scores = []
    for item in data.items["dev"]:
        events = rerun(tmp_path, item.question, pool)
        text = next(e.text for e in events if isinstance(e, Answer) and not e.partial)
        scores.append(data.score(item, text) or 0.0)
        drawn = next(e.data for e in events if isinstance(e, Artifact) and e.name == "graph")
        edges = [[a.removeprefix("node."), b.removeprefix("node.")] for a, b in drawn["edges"]]
        assert sorted(edges) == sorted(about["recipe"]["graph"]["edges"])
        assert any("A search found" in e.note for e in events if isinstance(e, Progress))
    assert sum(scores) / len(scores) == pytest.approx(about["metrics"]["dev"], abs=1e-6)
    assert about["metrics"]["n"] == len(scores) == 12


def test_the_search_finds_who_must_read_whom(tmp_path: Path) -> None:
    about = announced(searched(tmp_path, config={"particles": 6, "iterations": 6}))
    found = about["metrics"]
    assert found["dev"] == 1.0 and about["recipe"]["graph"]["sink"] == "beta"
    assert ["alpha", "beta"] in about["recipe"]["graph"]["edges"]
    assert found["best_single"] == pytest.approx(1 / 3, abs=1e-6)
    assert found["random_graph"] < found["dev"] >= found["random_search"]
    assert found["low"] < 1.0 <= found["high"]
    assert found["star"] == pytest.approx(1 / 3), "gamma, best alone, reads clues it cannot use"
    assert found["chain"] == pytest.approx(1 / 3)


def test_every_round_is_shown(tmp_path: Path) -> None:
    events = searched(tmp_path, config={"iterations": 3, "particles": 4})
    steps = [e for e in events if isinstance(e, Progress) and e.unit == "search"]
    assert [(e.done, e.total) for e in steps] == [(1, 3), (2, 3), (3, 3)]
    assert all(e.values["worst"] <= e.values["mean"] <= e.values["best"] for e in steps)
    drawings = [e.data for e in events if isinstance(e, Artifact) and e.name == "swarm"]
    assert [len(d["iterations"]) for d in drawings] == [1, 2, 3]
    last = drawings[-1]["iterations"][-1]
    assert len(last["graphs"]) == len(last["points"]) == len(last["scores"]) == 4
    for graph in last["graphs"]:
        assert sorted(graph["order"]) == sorted(NAMES[:4]) and graph["sink"] == graph["order"][-1]
    assert announced(events)["recipe"]["history"] == drawings[-1]["iterations"]


def test_the_stored_matrix_decodes_to_the_stored_graph(tmp_path: Path) -> None:
    searched(tmp_path)
    found = read_graph(next(ArtifactStore(tmp_path).list(SWARMS)).folder)
    assert found
    pool = make_pool(4)
    assert decode(found.matrix, found.threshold, found.max_inputs) == found.graph(pool)
    assert found.models == NAMES[:4] and not np.diag(found.matrix).any()


def test_nobody_is_asked_the_same_twice(tmp_path: Path) -> None:
    served = engine()
    about = announced(asyncio.run(play_fit(fit_spec(SWARMS, 4), served, tmp_path)))
    asked = [(r.model.id, str(r.messages)) for r in served.requests]
    assert len(asked) == len(set(asked)) == about["metrics"]["asked"] < about["metrics"]["spoken"]
    assert all(r.sampling.temperature == 0.0 for r in served.requests)
    protocol = get_protocol(SWARMS)
    assert protocol.fit_estimate
    most = protocol.fit_estimate(protocol.configure({}), FitSize(4, 0, 12, 24))
    assert about["metrics"]["spoken"] <= most.calls


@settings(max_examples=8)
@given(leave_at=st.lists(st.integers(0, 12), min_size=1, max_size=3))
def test_leaving_anywhere_and_going_on_finds_the_same(leave_at: list[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        whole, parts = Path(folder, "a"), Path(folder, "b")
        spec, once = fit_spec(SWARMS, 3), engine()
        asyncio.run(play_fit(spec, once, whole))
        calls = 0
        for place in (*leave_at, None):
            served = engine()
            asyncio.run(play_fit(spec, served, parts, leave_at=place))
            calls += len(served.requests)
        assert content(root=parts) == content(root=whole) != {}
        assert calls <= len(once.requests) + 64 * len(leave_at), "what was said was asked again"


def test_a_broken_machine_is_no_bad_graph(tmp_path: Path) -> None:
    served = ScriptedEngine(says, fail={"beta": "start"})
    last = asyncio.run(play_fit(fit_spec(SWARMS), served, tmp_path))[-1]
    assert isinstance(last, Ended) and last.status == "failed" and "search" in last.message
    assert next(ArtifactStore(tmp_path).list(SWARMS), None) is None


def test_a_model_that_says_nothing_is_passed_over(tmp_path: Path) -> None:
    served = ScriptedEngine(lambda r: "" if r.model.id == "gamma" else says(r))
    about = announced(asyncio.run(play_fit(fit_spec(SWARMS), served, tmp_path)))
    assert about["metrics"]["dev"] == 1.0


def test_without_a_search_it_says_so(tmp_path: Path) -> None:
    events = rerun(tmp_path, "Question dev 1?", list(NAMES[:3]))
    assert events[-1].status == "ok"  # type: ignore[union-attr]
    assert any("No search has been run" in e.note for e in events if isinstance(e, Progress))


def test_your_own_graph_goes_before_a_stored_one(tmp_path: Path) -> None:
    searched(tmp_path, count=3)
    spec = RunSpec(
        protocol=SWARMS, pool=NAMES[:3], question="Question dev 1?", config={"edges": "2 > 3 > 1"}
    )
    events = asyncio.run(play(spec, engine(), artifacts=ArtifactStore(tmp_path)))
    assert next(e for e in events if isinstance(e, Answer)).sources == ("node.alpha",)


def test_a_graph_that_cannot_be_read_is_said_and_not_guessed(tmp_path: Path) -> None:
    (tmp_path / "graph.json").write_text('{"order": ["alpha"]}', encoding="utf-8")
    with pytest.raises(EngineError, match="Fit the search again"):
        read_graph(tmp_path)


@given(seed=st.integers(0, 50), count=st.integers(2, 5))
def test_a_best_that_no_longer_is_one_is_replaced(seed: int, count: int) -> None:
    places = np.random.Generator(np.random.PCG64(seed)).uniform(size=(count, 3))
    swarm = start(places, SwarmSettings(seed=seed))
    swarm.observe([float(i) for i in range(count)])
    swarm.rescore([1.0] + [0.5] * (count - 1), 0.5, 0.0)
    assert swarm.top_score == 1.0 and (swarm.top == places[0]).all() and swarm.stale == 0
    swarm.observe([0.4] * count)
    assert swarm.top_score == 1.0, "what is worse on the new items does not replace"
