"""The paper's relatives and the yardsticks: cascade, comments, lots, the oracle."""

from __future__ import annotations

import asyncio
import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.core.artifacts import ArtifactStore
from protocols.core.engine import GenerateRequest, ScoreRequest
from protocols.core.events import Answer, Decision, Ended, Event, Progress
from protocols.core.models import RunSpec
from protocols.engines.scripted import ScriptedEngine
from protocols.lib.calibration import calibrated, read_levels, write_levels
from protocols.training.cascade_calibration import curve_point
from tests.helpers import NAMES, make_spec, play, played
from tests.protocols.fits import announced, fit_spec, made_data, play_fit

RATED = st.lists(
    st.tuples(st.floats(0, 1, width=32), st.sampled_from((0.0, 1.0))), min_size=1, max_size=40
)


def sure(chances: Mapping[str, float], liking: float = 0.0) -> Any:
    """Scores of a check: the author's chance of being right, and a liking for the letter A."""

    def scores(request: ScoreRequest) -> dict[str, float]:
        odds = math.log(chances[request.model.id] / (1 - chances[request.model.id]))
        yes = "A" if "A. Yes" in request.messages[-1]["content"] else "B"
        half = odds / 2 if yes == "A" else -odds / 2
        return {"A": half + liking - 9.0, "B": -half - 9.0}  # log-probabilities are below 0

    return scores


def final(events: Sequence[Event]) -> Answer:
    return next(e for e in reversed(events) if isinstance(e, Answer) and not e.partial)


def asked(engine: ScriptedEngine, role: str) -> list[str]:
    """Which models were asked to write in a role, in order."""
    generated = (r for r in engine.requests if isinstance(r, GenerateRequest))
    return [r.model.id for r in generated if r.id.partition("/")[2].startswith(role)]


# --- cascade -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("chances", "speaks", "answers"),
    [
        ((0.9, 0.9, 0.9), "alpha", 1),
        ((0.3, 0.9, 0.9), "beta", 2),
        ((0.3, 0.3, 0.1), "gamma", 3),
    ],
)
def test_the_question_goes_on_until_somebody_is_sure(
    chances: tuple[float, ...], speaks: str, answers: int
) -> None:
    engine = ScriptedEngine("4", sure(dict(zip(NAMES, chances, strict=False))))
    events = played(make_spec("cascade"), engine)
    assert final(events).contributors == {speaks: 1.0}
    assert asked(engine, "level") == list(NAMES[:answers])


@pytest.mark.parametrize("liking", [-4.0, 4.0])
def test_a_liking_for_a_letter_makes_nobody_sure(liking: float) -> None:
    chances = dict.fromkeys(NAMES, 0.4)
    events = played(make_spec("cascade"), ScriptedEngine("4", sure(chances, liking)))
    decisions = [e for e in events if isinstance(e, Decision)]
    assert [d.chosen for d in decisions] == ["beta", "gamma"]
    assert [d.scores[d.by] for d in decisions] == pytest.approx([0.4, 0.4])


def test_a_level_that_fails_is_passed_over_and_said() -> None:
    engine = ScriptedEngine("4", sure(dict.fromkeys(NAMES, 0.9)), fail=("alpha",))
    events = played(make_spec("cascade"), engine)
    assert final(events).contributors == {"beta": 1.0}
    assert any(isinstance(e, Progress) and "'alpha' failed" in e.note for e in events)


def test_if_the_last_level_fails_the_surest_before_it_speaks() -> None:
    chances = {"alpha": 0.2, "beta": 0.4, "gamma": 0.9, "delta": 0.9}
    engine = ScriptedEngine(dict(zip(NAMES, "1234", strict=False)), sure(chances), fail=("delta",))
    config = {"threshold": 0.95}
    events = played(make_spec("cascade", 4, config=config), engine)
    assert final(events).text == "3"


def test_the_order_can_be_given_and_names_are_checked() -> None:
    engine = ScriptedEngine("4", sure(dict.fromkeys(NAMES, 0.3)))
    played(make_spec("cascade", config={"order": "gamma > 1"}), engine)
    assert asked(engine, "level") == ["gamma", "alpha"]
    end = played(make_spec("cascade", config={"order": "nobody"}))[-1]
    assert isinstance(end, Ended) and end.owner == "user" and "nobody" in end.message


def confidence_of(request: ScoreRequest) -> float:
    """How sure a model is of the n-th dev question: the models' confidences lie apart."""
    number = int(request.messages[-1]["content"].partition("Question dev ")[2].partition("?")[0])
    base = {"alpha": 0.1, "beta": 0.5, "gamma": 0.8}[request.model.id]
    return base + 0.01 * number


def cascade_engine() -> ScriptedEngine:
    def scores(request: ScoreRequest) -> Mapping[str, float]:
        return sure({request.model.id: confidence_of(request)})(request)  # type: ignore[no-any-return]

    def script(request: GenerateRequest) -> str:
        number = int(request.messages[-1]["content"].partition("dev ")[2].partition("?")[0])
        return f"right {number}" if number % 2 else "wrong"

    return ScriptedEngine(script, scores)


def fitted_cascade(folder: Path, keep: float) -> tuple[list[Event], Path]:
    spec = fit_spec("cascade", config={"keep": keep})
    events = asyncio.run(play_fit(spec, cascade_engine(), folder))
    return events, next(folder.rglob("calibration.json")).parent


@pytest.mark.parametrize("keep", [0.25, 0.5])
def test_each_level_s_threshold_is_the_quantile_of_its_own_confidences(
    tmp_path: Path, keep: float
) -> None:
    events, folder = fitted_cascade(tmp_path, keep)
    levels = read_levels(folder)
    for name, base in {"alpha": 0.1, "beta": 0.5, "gamma": 0.8}.items():
        own = [base + 0.01 * number for number in range(12)]
        assert levels[name].threshold == pytest.approx(np.quantile(own, 1 - keep), abs=1e-6)
    assert announced(events)["metrics"]["accuracy.alpha"] == 0.5


def test_a_killed_calibration_rates_no_level_twice(tmp_path: Path) -> None:
    whole, parts = cascade_engine(), [cascade_engine(), cascade_engine()]
    spec = fit_spec("cascade", config={"keep": 0.5})
    events = asyncio.run(play_fit(spec, whole, tmp_path / "whole"))
    rated = [at for at, e in enumerate(events) if isinstance(e, Progress) and e.unit == "search"]
    asyncio.run(play_fit(spec, parts[0], tmp_path / "parts", leave_at=rated[0]))
    asyncio.run(play_fit(spec, parts[1], tmp_path / "parts"))
    assert 0 < len(parts[1].requests) < len(whole.requests)
    assert sum(len(part.requests) for part in parts) == len(whole.requests)
    made = [next((tmp_path / n).rglob("calibration.json")) for n in ("whole", "parts")]
    assert made[0].read_bytes() == made[1].read_bytes()


def test_a_live_run_goes_by_the_fitted_thresholds(tmp_path: Path) -> None:
    """0.3 is far below the common threshold, but much for this model."""
    fitted_cascade(tmp_path, 0.5)
    engine = ScriptedEngine("4", sure({"alpha": 0.3, "beta": 0.3, "gamma": 0.3}))
    key = next(tmp_path.rglob("calibration.json")).parent.name
    spec = make_spec("cascade", artifact=key)
    events = asyncio.run(play(spec, engine, artifacts=ArtifactStore(tmp_path)))
    assert final(events).contributors == {"alpha": 1.0}


@given(RATED, st.floats(0, 1, width=32), st.floats(0, 1, width=32))
def test_a_surer_answer_is_never_less_likely_right(
    rated: list[tuple[float, float]], one: float, other: float
) -> None:
    level = calibrated(rated, 0.5)
    low, high = sorted((one, other))
    assert 0.0 <= level.chance(low) <= level.chance(high) + 1e-9 <= 1.0 + 2e-9
    scores = {score for _, score in rated}
    if len(scores) == 2:
        assert level.chance(low) > 0.0 and level.chance(high) < 1.0


@given(RATED)
def test_levels_come_back_as_they_were_written(rated: list[tuple[float, float]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        levels = {"alpha": calibrated(rated, 0.5)}
        write_levels(levels, Path(folder))
        assert read_levels(Path(folder)) == levels


def test_the_curve_of_cost_by_hand() -> None:
    """Two levels, four items: the first keeps its surest half and is right on one of these."""
    first = [(0.9, 1.0), (0.8, 0.0), (0.2, 0.0), (0.1, 1.0)]
    second = [(0.5, 0.0), (0.5, 0.0), (0.5, 1.0), None]
    assert curve_point([first, second], 0.5) == {"keep": 0.5, "accuracy": 0.5, "calls": 1.5}
    assert curve_point([first, second], 0.0)["calls"] == 1.75  # the surest of all is kept
    assert curve_point([first, second], 1.0) == {"keep": 1.0, "accuracy": 0.5, "calls": 1.0}


def test_a_model_that_answers_nothing_cannot_be_calibrated(tmp_path: Path) -> None:
    engine = ScriptedEngine({"alpha": "", "beta": "right 1", "gamma": "right 2"})
    end = asyncio.run(play_fit(fit_spec("cascade"), engine, tmp_path, made_data(4)))[-1]
    assert isinstance(end, Ended) and end.status == "failed" and "'alpha'" in end.message


# --- multi-agent feedback ------------------------------------------------------------------------


def prompts(engine: ScriptedEngine, role: str) -> dict[str, str]:
    """The prompts of a role, by call id."""
    generated = (r for r in engine.requests if isinstance(r, GenerateRequest))
    named = {r.id.partition("/")[2] or r.id: r.messages[-1]["content"] for r in generated}
    return {name: text for name, text in named.items() if name.startswith(role)}


def commented(count: int = 4, **changes: Any) -> tuple[ScriptedEngine, list[Event]]:
    """A run in which each first answer names its author in a word of its own."""

    def script(request: GenerateRequest) -> str:
        name = request.id.partition("/")[2] or request.id
        return f"{name.split('.')[0]} says {request.model.id.upper()}"

    engine = ScriptedEngine(script)
    return engine, played(make_spec("multiagent_feedback", count, **changes), engine)


def test_nobody_comments_on_the_own_answer_and_each_answer_gets_its_number() -> None:
    engine, _ = commented(config={"comments": 2})
    comments = prompts(engine, "comment.1.")
    authors = [name.split(".")[2] for name in comments]
    critics = [name.split(".")[3] for name in comments]
    assert all(author != critic for author, critic in zip(authors, critics, strict=True))
    assert {author: authors.count(author) for author in authors} == dict.fromkeys(NAMES[:4], 2)


def test_a_critic_sees_one_answer_and_not_whose_it_is() -> None:
    engine, _ = commented()
    for name, text in prompts(engine, "comment.1.").items():
        author = name.split(".")[2]
        others = [other for other in NAMES[:4] if other != author]
        assert f"says {author.upper()}" in text
        assert not any(f"says {other.upper()}" in text for other in others)
        assert author not in text


def test_who_revises_reads_comments_and_no_other_answer() -> None:
    engine, _ = commented(config={"comments": 3})
    for name, text in prompts(engine, "r1.").items():
        author = name.split(".")[1]
        others = [other for other in NAMES[:4] if other != author]
        assert f"r0 says {author.upper()}" in text
        assert not any(f"r0 says {other.upper()}" in text for other in others)
        assert text.count("comment says") == 3


def test_an_answer_without_any_comment_stays_as_it_is() -> None:
    def fault(request: Any) -> bool:
        return "comment.1.alpha" in request.id

    engine = ScriptedEngine(
        lambda request: f"{request.model.id} {len(request.messages)}", fail=fault
    )
    played(make_spec("multiagent_feedback", 3), engine)
    assert "r1.alpha" not in prompts(engine, "r1.")
    assert set(prompts(engine, "r1.")) == {"r1.beta", "r1.gamma"}


# --- yardsticks ----------------------------------------------------------------------------------


def lots(count: int, pool: Sequence[str]) -> list[str]:
    """Whom the random router draws, by seed."""
    fields = {"protocol": "random_router", "pool": pool, "question": "Who?"}
    runs = (played(RunSpec.model_validate({**fields, "seed": n})) for n in range(count))
    return [next(e for e in run if isinstance(e, Decision)).chosen for run in runs]


def test_the_lot_is_fair_and_does_not_mind_the_order() -> None:
    """60 draws among 3: the chance that one has fewer than 8 or more than 32 is below 0.1 %."""
    drawn = lots(60, NAMES[:3])
    counts = [drawn.count(name) for name in NAMES[:3]]
    assert sum(counts) == 60 and all(8 <= count <= 32 for count in counts)
    assert lots(10, tuple(reversed(NAMES[:3]))) == drawn[:10]


def test_the_oracle_takes_the_best_answer_and_is_refused_without_a_score() -> None:
    texts = {"alpha": "one", "beta": "one two three", "gamma": "one two"}
    events = played(make_spec("oracle_router"), ScriptedEngine(texts))
    assert final(events).contributors == {"beta": 1.0}


def test_the_oracle_names_the_first_of_equals_and_shares_among_them() -> None:
    texts = {"alpha": "one", "beta": "one two", "gamma": "two one"}
    events = played(make_spec("oracle_router"), ScriptedEngine(texts))
    decision = next(e for e in events if isinstance(e, Decision))
    assert decision.chosen == "beta"
    assert decision.scores == {"alpha": 0.0, "beta": 0.5, "gamma": 0.5}
