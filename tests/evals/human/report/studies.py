"""Plainly artificial studies, built by hand from counts."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from evals.human.records import Guess, Judgement, PairText, StudyData, Verdict
from evals.human.render import render_html, to_text
from evals.human.report import Report, report_json
from evals.human.reporting.basics import Estimate
from evals.human.reporting.model import Variant
from evals.human.study import ContributorArm, Outcome, Side, StudySpec, SystemArm

FIGURE_8 = (20, 17, 12, 14)
"""Wins of the system among 25 pairs of each of four contributors (human-eval.md, 6.4)."""


def spec(models: Sequence[str] = ("model-a",), **more: Any) -> StudySpec:
    standard: dict[str, Any] = {
        "slug": "test-study",
        "title": "A test study",
        "contributors": tuple(ContributorArm(model=m, questions="import:test") for m in models),
        "system": SystemArm(protocol="majority_vote"),
        "repeat_share": 0.0,
    }
    return StudySpec(**{**standard, **more})


def judged(
    n: int, winner: str, *, rater: str = "rater-0", model: str = "model-a", **more: Any
) -> list[Judgement]:
    """``n`` main judgements that all came out the same; the system stands left and right in turn.

    ``winner``: system, contributor, tie or skip. Sequence numbers are given by :func:`study`.
    """
    made = []
    for i in range(n):
        side: Side = more.get("side") or ("left", "right")[i % 2]
        outcome = _outcome(winner, side)
        facts: dict[str, Any] = {"kind": "main", "position": 0, "first": outcome, **more}
        facts.pop("side", None)
        made.append(
            Judgement(
                seq=0, rater=rater, item="", stratum=model, outcome=outcome, system_side=side,
                **facts,
            )
        )  # fmt: skip
    return made


def _outcome(winner: str, side: Side) -> Outcome:
    other: Side = "right" if side == "left" else "left"
    named: dict[str, Outcome] = {"system": side, "contributor": other, "tie": "tie_good"}
    return named.get(winner, "skip")


def counted(wins: int, losses: int, ties: int = 0, **more: Any) -> list[Judgement]:
    return (
        judged(wins, "system", **more)
        + judged(losses, "contributor", **more)
        + judged(ties, "tie", **more)
    )


def study(judgements: Iterable[Judgement], **more: Any) -> StudyData:
    """Number the judgements; those without an item get one each."""
    numbers = itertools.count(1)
    numbered = [
        replace(j, seq=n, item=j.item or f"item-{n:03}")
        for j, n in zip(judgements, numbers, strict=False)
    ]
    models = list(dict.fromkeys(j.stratum for j in numbered)) or ["model-a"]
    raters = len({j.rater for j in numbered})
    standard: dict[str, Any] = {
        "spec": spec(models),
        "locked_at": "2030-01-02T03:04:05+00:00",
        "raters_invited": raters,
        "raters_consented": raters,
        "chain_head": "ab" * 32,
    }
    return StudyData(judgements=tuple(numbered), **{**standard, **more})


def figure_8(**more: Any) -> StudyData:
    """Four contributors of 25 pairs each, one rater each, without ties."""
    judgements = [
        j
        for k, wins in enumerate(FIGURE_8)
        for j in counted(wins, 25 - wins, rater=f"rater-{k}", model=f"model-{'abcd'[k]}")
    ]
    return study(judgements, **more)


def guesses(right: int, wrong: int, unknown: int = 0, rater: str = "rater-0") -> tuple[Guess, ...]:
    said = [True] * right + [False] * wrong + [None] * unknown
    return tuple(Guess(rater, one) for one in said)


def pair(item: str, model: str = "model-a", **more: Any) -> PairText:
    texts = {"contributor": f"own answer {item}", "system": f"joint answer to {item}"}
    return PairText(item, model, f"Question {item}?", **{**texts, **more})


def verdicts(
    item: str, first: str, second: str, judge: str = "judge", **more: Any
) -> list[Verdict]:
    """What a judge said with the contributor's answer first, and with the system's first."""
    values: dict[str, Any] = {"model_hash": "m0", **more}
    return [
        Verdict(item, judge, shown_first, 0, said, **values)  # type: ignore[arg-type]
        for shown_first, said in ((False, first), (True, second))
    ]


def swapped(data: StudyData) -> StudyData:
    """The same study with the names of the arms exchanged."""
    side = {"left": "right", "right": "left"}
    arm: dict[Any, Any] = {"system": "contributor", "contributor": "system"}
    judgements = tuple(
        replace(
            j, system_side=side[j.system_side], gold=arm.get(j.gold),
            chars_contributor=j.chars_system, chars_system=j.chars_contributor,
        )
        for j in data.judgements
    )  # fmt: skip
    return replace(data, judgements=judgements)


def mirrored(data: StudyData) -> StudyData:
    """The same study with left and right exchanged on every screen."""
    turn: dict[Any, Any] = {"left": "right", "right": "left"}
    judgements = tuple(
        replace(
            j, system_side=turn[j.system_side], outcome=turn.get(j.outcome, j.outcome),
            first=turn.get(j.first, j.first),
        )
        for j in data.judgements
    )  # fmt: skip
    return replace(data, judgements=judgements)


def near(value: float | None, expected: float, within: float = 1e-4) -> bool:
    return value is not None and abs(value - expected) <= within


def spans(found: Estimate, low: float, high: float, within: float = 1e-4) -> bool:
    interval = found.interval
    return (
        interval is not None
        and near(interval.low, low, within)
        and near(interval.high, high, within)
    )


def variant(report: Report, name: str) -> Variant:
    return next(v for v in report.variants if v.name == name)


def codes(report: Report) -> set[str]:
    return {flag.code for flag in report.conclusions.flags}


def everything(report: Report) -> str:
    return f"{report_json(report)} {render_html(report)} {to_text(report)}".lower()
