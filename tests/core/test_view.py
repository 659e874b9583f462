"""The laws of the fold."""

from __future__ import annotations

import json

import pytest
from hypothesis import given

from protocols.core.events import CallEnded, CallFailed, CallStarted, Delta, Event, ModelCard
from protocols.core.view import View, fold, fold_all, marks
from studio.bus import coalesce
from tests.golden import read
from tests.streams import streams


def as_json(events: list[Event]) -> dict[str, object]:
    return json.loads(json.dumps(fold_all(events).to_json(), allow_nan=False))


@given(streams())
def test_a_finished_run_folds_the_same_without_deltas(events: list[Event]) -> None:
    assert as_json([e for e in events if not isinstance(e, Delta)]) == as_json(events)


@given(streams())
def test_merging_deltas_changes_nothing_at_any_point(events: list[Event]) -> None:
    for cut in range(0, len(events) + 1, 3):
        assert as_json(coalesce(events[:cut])) == as_json(events[:cut])


@given(streams())
def test_the_totals_are_the_sum_of_the_models_while_it_runs(events: list[Event]) -> None:
    view = View()
    for event in events[:-1]:
        fold(view, event)
        strangers = sum(c.tokens for c in view.calls.values() if c.model not in view.models)
        assert view.totals.tokens == sum(m.tokens for m in view.models.values()) + strangers
        assert min([m.tokens for m in view.models.values()], default=0) >= 0


@pytest.mark.parametrize("name", read.NAMES)
def test_json_is_json(name: str) -> None:
    view = fold_all(read.events(name))
    assert view.ended
    assert json.loads(json.dumps(view.to_json())) == view.to_json()


def test_a_failed_call_leaves_no_text_and_no_cost() -> None:
    view = fold_all(
        [
            CallStarted(call="c", model="m", role="answer"),
            Delta(call="c", text="half a tho"),
            CallFailed(call="c", model="m", owner="engine", message="It died."),
            Delta(call="c", text="ught"),
        ]
    )
    call = view.calls["c"]
    assert (call.state, call.text, call.tokens, call.error) == ("failed", "", 0, "It died.")
    assert view.totals.failed == 1 and view.totals.tokens == 0


def test_an_aborted_call_is_stopped_and_keeps_its_text() -> None:
    view = fold_all(
        [
            CallStarted(call="c", model="m", role="answer"),
            CallEnded(call="c", text="so far", finish="abort"),
        ]
    )
    assert (view.calls["c"].state, view.calls["c"].text) == ("stopped", "so far")


def test_a_segment_knows_the_decision_that_gave_it_its_author() -> None:
    view = fold_all(read.events("switch"))
    chosen = [view.decisions[s.decision]["chosen"] for s in view.segments if s.decision is not None]
    assert chosen == [s.model for s in view.segments]
    assert "".join(s.text for s in view.segments) == (view.answer or {})["text"]


def test_node_states_follow_their_calls() -> None:
    view = View()
    seen = set()
    for event in read.events("swarm"):
        fold(view, event)
        seen.add(view.node_state("n3/delta"))
    assert seen == {"waiting", "running", "failed"}
    assert view.node_state("n7/theta") == "ok"


def test_marks_differ() -> None:
    names = ["Alpha Beta", "Alpha Bravo", "alpha", "Al", "東京", "7b-model", "Alp", "Alphabet"]
    made = marks(ModelCard(id=f"m{i}", name=name) for i, name in enumerate(names))
    assert made[0] == "AB" and made[4] == "?" and made[5] == "7M"
    assert len(set(made)) == len(made)
