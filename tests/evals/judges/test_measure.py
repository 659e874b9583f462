from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.human.records import Verdict
from evals.judges.baselines import FirstJudge
from evals.judges.llm_judge import LlmJudge
from evals.judges.measure import (
    accuracy_row,
    accuracy_rows,
    as_pair,
    finding,
    margin_row,
)
from evals.judges.preference_data import GoldPair, split_pairs
from evals.judges.resolve import resolve
from protocols.core.engine import ScoreRequest
from protocols.engines.scripted import ScriptedEngine
from tests.evals.judges.helpers import JUDGE, judge_all, shown

PAIRS = [
    GoldPair(f"i{n}", "alpha" if n < 6 else "beta", f"Q{n}?", "right", "wrong", "near")
    for n in range(10)
]


def verdicts(outcomes: list[str]) -> list[Verdict]:
    return [
        Verdict(pair.item, "j", False, 0, outcome)  # type: ignore[arg-type]
        for pair, outcome in zip(PAIRS, outcomes, strict=True)
    ]


def test_counts_accuracy_and_interval_by_hand() -> None:
    """60 of 100 as in Wilson's table, once as rights and once as rights and ties."""
    outcomes = ["system"] * 5 + ["contributor"] * 2 + ["tie"] * 2 + ["unparsed"]
    rows = accuracy_rows(resolve(verdicts(outcomes)), PAIRS, trained_on=["beta"])
    wanted = {"n": 10, "right": 5, "wrong": 2, "ties": 2, "unparsed": 1, "accuracy": 0.6}
    assert {name: rows["all"][name] for name in wanted} == wanted
    assert rows["by_domain"]["alpha"]["n"] == 6 and rows["by_domain"]["beta"]["n"] == 4
    assert rows["by_training"]["trained"] == rows["by_domain"]["beta"]
    assert rows["by_source"]["near"] == rows["all"]
    many = accuracy_row(resolve(verdicts(outcomes)) * 10)
    assert (many["low"], many["high"]) == pytest.approx((0.502, 0.6906), abs=1e-4)


@given(
    st.lists(
        st.sampled_from(["system", "contributor", "tie", "unparsed"]), min_size=10, max_size=10
    )
)
def test_accuracy_lies_in_its_interval(outcomes: list[str]) -> None:
    row = accuracy_row(resolve(verdicts(outcomes)))
    assert 0 <= row["low"] <= row["accuracy"] <= row["high"] <= 1
    assert row["right"] + row["wrong"] + row["ties"] + row["unparsed"] == row["n"] == 10


def test_what_a_card_says_follows_its_numbers() -> None:
    good = {"n": 100, "ties": 10, "accuracy": 0.7, "low": 0.6, "high": 0.8}
    even, bad = good | {"accuracy": 0.5, "low": 0.4}, good | {"accuracy": 0.3, "low": 0.2}
    tested = {"all": even, "by_training": {"trained": good, "unseen": even}, "by_source": {}}
    told = finding(tested)
    assert "50% of 100 test pairs (40% to 80%): no better than chance." in told
    assert "On domains it was trained on: 70% of 100, better than chance." in told
    assert "never saw" not in told and "tie" not in told
    tied = finding(tested | {"all": even | {"ties": 90}})
    assert "90 of them a tie" in tied, tied
    tested["by_source"] = {"base": bad | {"high": 0.4}}
    assert finding(tested).endswith("answers of the base model: 30% of 100, worse than chance.")


def test_knowing_nothing_is_one_half() -> None:
    pairs = split_pairs("train", 4, {}, seed=1)
    found = accuracy_rows(resolve(judge_all([as_pair(p) for p in pairs], FirstJudge())), pairs)
    assert found["all"]["accuracy"] == 0.5 and found["all"]["ties"] == len(pairs)


def test_margins_show_what_a_liking_for_a_place_hides() -> None:
    """A judge that always says A, but less firmly when B is right."""
    pairs = split_pairs("train", 4, {}, seed=1)
    right = {pair.question: pair.good for pair in pairs}

    def scores(request: ScoreRequest) -> dict[str, float]:
        question, _, second = shown(request.messages)
        return {"A": -0.1, "B": -2.0 if second == right[question] else -3.0, "T": -9.0}

    judge = LlmJudge("test-judge", JUDGE, ScriptedEngine(scores=scores))
    resolved = resolve(judge_all([as_pair(pair) for pair in pairs], judge))
    assert accuracy_row(resolved)["accuracy"] == 0.5
    assert margin_row(resolved)["accuracy"] == 1.0
    assert margin_row([])["n"] == 0
