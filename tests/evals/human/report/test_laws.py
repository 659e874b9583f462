"""What no study changes: invariances (T-S13), finite text (T-S14), honest words (T-S16)."""

from __future__ import annotations

import json
import random
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.human.records import StudyData
from evals.human.render import render_html, to_text
from evals.human.report import Report, build_report, report_json
from tests.evals.human.report.studies import (
    counted,
    everything,
    figure_8,
    guesses,
    judged,
    mirrored,
    near,
    spec,
    study,
    swapped,
)


@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 4), st.sampled_from([0.05, 0.01]))
def test_no_text_says_significant_unless_the_planned_test_does(
    wins: int, losses: int, ties: int, alpha: float
) -> None:
    data = study(counted(wins, losses, ties), spec=spec(alpha=alpha))
    report = build_report(data)
    p = report.result.p
    assert ("significant" in everything(report)) == (p is not None and p < alpha)
    told = report.conclusions.headline + " ".join(report.conclusions.sentences)
    assert wins + losses == 0 or f"{wins + losses} decided vote" in told
    assert not wins + losses or ("1 rater" in told and "these pairs" in told.lower())
    assert not wins + losses + ties or "the plan leaves ties out" in told


# T-S13


@given(st.integers(0, 9), st.integers(0, 9), st.integers(0, 4), st.integers(0, 5))
def test_swapping_the_arms_negates_the_effect(w: int, l: int, t: int, more: int) -> None:  # noqa: E741
    votes = counted(w, l, t) + counted(more, 2, rater="rater-1", model="model-b")
    here, there = (build_report(data) for data in (study(votes), swapped(study(votes))))
    assert here.result.p == there.result.p and here.scopes[1].p == there.scopes[1].p
    value = here.result.dropped.value
    assert near(there.result.dropped.value, 1 - value) if value is not None else True
    assert [row.counts.wins for row in here.raters] == [row.counts.losses for row in there.raters]
    effect = here.position.effect.value
    assert effect is None or near(there.position.effect.value, effect)


@given(st.randoms(use_true_random=False))
def test_the_order_of_rows_changes_nothing(draw: random.Random) -> None:
    data = figure_8(guesses=guesses(3, 1, 2) + guesses(0, 2, 1, "rater-1"))
    mixed = replace(
        data,
        judgements=tuple(draw.sample(data.judgements, len(data.judgements))),
        guesses=tuple(draw.sample(data.guesses, len(data.guesses))),
    )
    assert report_json(build_report(mixed)) == REPORT_OF_MIXED


REPORT_OF_MIXED = report_json(
    build_report(figure_8(guesses=guesses(3, 1, 2) + guesses(0, 2, 1, "rater-1")))
)


def test_a_tie_changes_only_what_knows_ties() -> None:
    without, with_tie = build_report(study(counted(9, 4))), build_report(study(counted(9, 4, 1)))
    assert without.result.dropped == with_tie.result.dropped
    assert without.result.elo == with_tie.result.elo
    assert without.position.adjusted == with_tie.position.adjusted
    assert without.result.halved.value != with_tie.result.halved.value


def test_exchanging_left_and_right_changes_only_the_position_block() -> None:
    data = study(counted(9, 3, 2, side="left") + counted(4, 6, side="right"))
    here, there = (json.loads(report_json(build_report(d))) for d in (data, mirrored(data)))
    for report in (here, there):
        report.pop("position")
        report.pop("conclusions")
        for row in report["raters"] + report["contributors"]:
            row.pop("left")
    assert here == there
    effects = [build_report(d).position.effect.value or 0 for d in (data, mirrored(data))]
    assert near(effects[0], -effects[1])


# T-S14

DEGENERATE: dict[str, StudyData] = {
    "nothing": study([]),
    "all ties": study(judged(7, "tie")),
    "all wins": study(judged(7, "system")),
    "all losses": study(judged(7, "contributor")),
    "one vote": study(judged(1, "system")),
    "only skips": study(judged(3, "skip")),
    "one item": study(
        replace(j, item="same")
        for k in range(4)
        for j in judged(1, "system", rater=f"rater-{k}")
    ),
    "no criteria answered": study(counted(3, 3), spec=spec(dimensions=("clear",))),
    "guesses without votes": study([], guesses=guesses(1, 0, 0)),
    "all unknown": study(counted(2, 2), guesses=guesses(0, 0, 3)),
    "anytime, nothing": study([], spec=spec(stopping={"rule": "anytime", "cap": 5})),
    "one gold": study(judged(1, "tie", kind="gold", gold="system")),
    "half policy, nothing": study([], spec=spec(tie_policy="half")),
    "only repeats": study(judged(2, "system", kind="repeat")),
}  # fmt: skip


@pytest.mark.parametrize("name", DEGENERATE)
def test_degenerate_data_give_a_finite_text(name: str) -> None:
    report = build_report(DEGENERATE[name])
    text = report_json(report)
    json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} in the JSON"))
    for shown in (text, render_html(report), to_text(report)):
        words = set(re.findall(r"\w+", shown.replace("None of this", "").split("</style>")[-1]))
        assert not {"nan", "NaN", "inf", "Infinity", "None"} & words
    assert report.conclusions.headline and report.conclusions.sentences


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["system", "contributor", "tie", "skip"]), st.integers(0, 3),
            st.integers(0, 2), st.sampled_from(["main", "gold", "repeat"]),
        ),
        max_size=12,
    )
)  # fmt: skip
def test_any_study_gives_a_finite_report_that_reads_back(votes: list[Any]) -> None:
    judgements = [
        replace(j, item=f"item-{k % 5}")
        for k, (winner, rater, model, kind) in enumerate(votes)
        for j in judged(
            1, winner, rater=f"rater-{rater}", model=f"model-{model}", kind=kind,
            gold="system" if kind == "gold" else None,
        )
    ]  # fmt: skip
    report = build_report(study(judgements))
    assert Report.model_validate_json(report_json(report)) == report
    assert render_html(report) and to_text(report)


def test_the_same_data_give_the_same_bytes() -> None:
    first, second = build_report(figure_8()), build_report(figure_8())
    assert report_json(first) == report_json(second)
    assert render_html(first) == render_html(second) and to_text(first) == to_text(second)


def test_the_plan_is_shown_without_the_code_that_pays() -> None:
    report = build_report(study(counted(1, 1), spec=spec(completion_code="C0DE-9")))
    assert "C0DE-9" not in everything(report) and "c0de-9" not in everything(report)
    assert report.record.digest == spec(completion_code="C0DE-9").digest


def test_raters_are_numbered_in_an_order_that_says_nothing_about_them() -> None:
    from evals.human.reporting.names import in_order, rater_names

    votes = [j for k in range(12) for j in judged(1, "system", rater=f"rater-{k:02}")]
    data = study(votes)
    names = rater_names(data)
    assert sorted(names.values()) == sorted(f"A{k}" for k in range(1, 13))
    arrived = [names[f"rater-{k:02}"] for k in range(12)]
    assert arrived != in_order(arrived) and arrived[::-1] != in_order(arrived)
    other = rater_names(replace(data, chain_head="cd" * 32))
    assert other != names, "the same rater must not be recognised in another study"
    assert in_order(["A10", "A2", "A1"]) == ["A1", "A2", "A10"]
