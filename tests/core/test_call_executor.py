"""Scores that cannot travel as JSON: infinities become a floor, no-numbers a failed call."""

from __future__ import annotations

import math

from protocols.core.events import Answer, CallEnded, CallFailed, dump, parse
from protocols.engines.scripted import ScriptedEngine
from tests.helpers import make_spec, played


def test_impossible_labels_keep_a_finite_score() -> None:
    engine = ScriptedEngine(scores=lambda r: dict.fromkeys(r.labels, -math.inf) | {"A": -0.1})
    events = played(make_spec("prompt_routing", 3), engine)
    scored = [e for e in events if isinstance(e, CallEnded) and e.scores]
    assert scored and all(math.isfinite(v) for e in scored for v in e.scores.values())
    assert [parse(dump(e)) for e in events] == events
    assert events[-1].status == "ok"


def test_scores_that_are_no_numbers_fail_the_call_only() -> None:
    engine = ScriptedEngine(scores=lambda r: dict.fromkeys(r.labels, math.nan))
    events = played(make_spec("prompt_routing", 3), engine)
    failed = [e for e in events if isinstance(e, CallFailed)]
    assert failed and "not numbers" in failed[0].message
    assert any(isinstance(e, Answer) for e in events) and events[-1].status == "ok"
