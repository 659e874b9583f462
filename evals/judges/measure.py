"""What a judge is worth: its verdicts against known better answers.

Accuracy counts a tie as half right, so a coin, a judge that always says "A" and a judge that always
ties are all at one half.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from evals.human.records import PairText
from evals.judges.preference_data import GoldPair
from evals.judges.resolve import Resolved
from evals.metrics.accuracy import wilson

GOOD = "system"
"""The arm that holds the good answer when gold pairs are judged; judges never see it."""
Row = dict[str, float | int]
CHANCE = 0.5
SOURCES = {
    "base": "real wrong answers of the base model",
    "near": "answers with one digit or letter wrong",
    "other": "other questions' answers",
}
"""What the sources of wrong answers are called; see ``preference_data``."""


def as_pair(pair: GoldPair) -> PairText:
    """Return a gold pair as judges take it."""
    return PairText(pair.item, pair.domain, pair.question, contributor=pair.bad, system=pair.good)


def accuracy_rows(
    resolved: Iterable[Resolved], pairs: Sequence[GoldPair], trained_on: Collection[str] = ()
) -> dict[str, Any]:
    """Return a judge's accuracy over all pairs, by domain and by source of the wrong answer, and
    apart for the domains it was ``trained_on`` and those it never saw.

    Each row has n, right, wrong, ties, unparsed, the accuracy, and the ends of a 95 % Wilson
    interval, which is wider than needed where there are ties.
    """
    outcomes = {one.item: one for one in resolved}
    found = [(pair, outcomes[pair.item]) for pair in pairs if pair.item in outcomes]
    return {
        "all": accuracy_row([one for _, one in found]),
        "by_domain": _grouped(found, lambda pair: pair.domain),
        "by_source": _grouped(found, lambda pair: pair.source),
        "by_training": _grouped(
            found, lambda pair: "trained" if pair.domain in trained_on else "unseen"
        ),
    }


def _grouped(
    found: Sequence[tuple[GoldPair, Resolved]], key: Callable[[GoldPair], str]
) -> Mapping[str, Row]:
    names = sorted({key(pair) for pair, _ in found})
    return {name: accuracy_row([one for pair, one in found if key(pair) == name]) for name in names}


def accuracy_row(found: Sequence[Resolved]) -> Row:
    """Count one group; unparsed verdicts are wrong, as the judge has said nothing."""
    right = sum(one.outcome == GOOD for one in found)
    ties = sum(one.outcome == "tie" for one in found)
    unparsed = sum(one.outcome == "unparsed" for one in found)
    row = _proportion(right + ties / 2, len(found))
    counts = {"right": right, "wrong": len(found) - right - ties - unparsed, "ties": ties}
    return row | counts | {"unparsed": unparsed}


def finding(tested: Mapping[str, Any]) -> str:
    """Say in words what a card's numbers show, groups that are worse than chance included.

    Chance is one half; above and below it mean that the interval leaves it out.
    """
    row = tested["all"]
    told = (
        f"Right on {row['accuracy']:.0%} of {row['n']} test pairs "
        f"({row['low']:.0%} to {row['high']:.0%}): {_against_chance(row)}."
    )
    if 2 * row["ties"] > row["n"]:
        told += f" It called {row['ties']} of them a tie."
    groups = {"domains it was trained on": tested["by_training"].get("trained")}
    groups["domains it never saw"] = tested["by_training"].get("unseen")
    groups |= {SOURCES[name]: row for name, row in tested["by_source"].items()}
    for name, part in groups.items():
        if part and _against_chance(part) != _against_chance(row):
            told += f" On {name}: {part['accuracy']:.0%} of {part['n']}, {_against_chance(part)}."
    return told


def _against_chance(row: Row) -> str:
    if row["low"] > CHANCE:
        return "better than chance"
    return "worse than chance" if row["high"] < CHANCE else "no better than chance"


def margin_row(found: Iterable[Resolved]) -> Row:
    """Accuracy of the sign of the mean margin over both orders, which has no flips.

    It shows what a judge knows beneath a liking for a place. Margins of zero count half.
    """
    margins = [one.margin for one in found if one.margin is not None]
    return _proportion(sum((m > 0) + (m == 0) / 2 for m in margins), len(margins))


def _proportion(right: float, n: int) -> Row:
    low, high = wilson(right, n)
    value = right / n if n else 0.0
    return {"n": n, "accuracy": round(value, 4), "low": round(low, 4), "high": round(high, 4)}
