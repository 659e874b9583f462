"""What decisions say for people is true and tells the story."""

from __future__ import annotations

import asyncio

import pytest

from protocols.core.events import Decision, Event
from protocols.engines.scripted import ScriptedEngine
from protocols.lib.calibration import Level
from protocols.lib.routes import Route, Trust
from tests.helpers import make_spec, play


def decisions(protocol: str, count: int, engine: ScriptedEngine, what: str) -> list[Decision]:
    events: list[Event] = asyncio.run(play(make_spec(protocol, count), engine))
    return [one for one in events if isinstance(one, Decision) and one.what == what]


@pytest.mark.parametrize(("last", "tied"), [("5", True), ("4", False)])
def test_a_vote_says_when_a_lot_decided_it(last: str, tied: bool) -> None:
    engine = ScriptedEngine({"alpha": "4", "beta": "3" if tied else "4", "gamma": last})
    (vote,) = decisions("majority_vote", 3, engine, "vote")
    assert ("decided by lot" in vote.why) is tied


@pytest.mark.parametrize(("lead", "says"), [(3.0, "against"), (0.0, "neither is better")])
def test_a_duel_names_both_contestants(lead: float, says: str) -> None:
    """A judge that looks at the texts alone, or one that cannot tell them apart."""
    texts = {"alpha": "one", "beta": "two words", "gamma": "three whole words", "delta": "five"}

    def judge(request: object) -> dict[str, float]:
        prompt = request.messages[-1]["content"]  # type: ignore[attr-defined]
        first, second = prompt.split("Answer A:")[1].split("Answer B:")
        longer = len(first) > len(second.split("Which answer")[0])
        return {"A": lead * longer - 5.0, "B": lead * (not longer) - 5.0}

    found = decisions("sparta", 4, ScriptedEngine(texts, judge), "duel")
    assert found
    for duel in found:
        other = next(name for name in duel.options if name != duel.chosen)
        assert says in duel.why and other in duel.why and duel.chosen not in duel.why


def test_a_router_does_not_boast_of_two_questions() -> None:
    def why(answers: int, bound: float) -> str:
        level = Level(threshold=0.5, confidences=(0.5,), chances=(1.0,), answers=answers)
        return Route({"a": 0.6, "b": 0.4}, "a", Trust(level=level), "how").why(bound)

    assert "is not known from 2 questions" in why(2, 0.0) and "100%" not in why(2, 0.0)
    assert "100% of such cases (calibrated on 40)" in why(40, 0.0)
    assert "always followed" in why(40, 0.0) and "enough is 30%" in why(40, 0.3)
