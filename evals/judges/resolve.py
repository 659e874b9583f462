"""From raw verdicts in both orders to one verdict a pair, and what swapping the answers showed.

Both orders are kept. A judge that names the other arm when the answers change places has said
nothing about the arms: its verdict becomes a tie, marked position-sensitive.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import fmean

from evals.human.records import PairText, Verdict
from evals.human.statistics.position import SwapConsistency, swap_consistency
from evals.judges.core import Parsed

ALPHA = 0.05


@dataclass(frozen=True, slots=True)
class Resolved:
    """A judge's verdict on one pair over all orders and repeats.

    ``consistent`` says whether both orders came to the same, None if only one was asked.
    ``position_sensitive``: the arm named changed with the order; ``favoured`` is then the place
    that won both times. ``margin`` is the mean of the system's score less the contributor's, None
    without scores. ``injected``: the orders disagree and an answer contains what reads like an
    instruction to a judge.
    """

    item: str
    judge: str
    outcome: Parsed
    consistent: bool | None
    position_sensitive: bool
    favoured: str
    margin: float | None
    verdicts: int
    unparsed: int
    injected: bool


@dataclass(frozen=True, slots=True)
class SwapSummary:
    """How a judge took the swapping of answers.

    ``swap`` holds the statistics over pairs parsed in both orders. ``incomplete`` pairs have an
    unparsed order, ``single`` were asked in one order only; ``unparsed`` counts single verdicts of
    ``verdicts``, ``injected`` pairs (see :class:`Resolved`).
    """

    judge: str
    swap: SwapConsistency
    incomplete: int
    single: int
    unparsed: int
    verdicts: int
    injected: int

    @property
    def position_biased(self) -> bool:
        """Whether the judge prefers a place more often than chance explains."""
        return self.swap.p is not None and self.swap.p < ALPHA


def resolve(verdicts: Iterable[Verdict], pairs: Iterable[PairText] = ()) -> list[Resolved]:
    """Return one resolved verdict for each judge and pair, ordered by judge and item.

    ``pairs`` are only needed to look for instructions in the answers.
    """
    texts = {pair.item: pair for pair in pairs}
    ordered = sorted(verdicts, key=lambda v: (v.judge, v.item, v.system_first, v.repeat))
    return [
        _resolved(list(group), texts.get(item))
        for (_, item), group in groupby(ordered, key=lambda v: (v.judge, v.item))
    ]


def _resolved(verdicts: Sequence[Verdict], pair: PairText | None) -> Resolved:
    by_order = {
        first: majority([v.parsed for v in verdicts if v.system_first == first])
        for first in sorted({v.system_first for v in verdicts})
    }
    said = list(by_order.values())
    flipped = set(said) == {"contributor", "system"}
    consistent = len(set(said)) == 1 if len(said) == 2 and "unparsed" not in said else None
    suspicious = pair is not None and bool(
        instruction_in(pair.contributor) or instruction_in(pair.system)
    )
    return Resolved(
        item=verdicts[0].item,
        judge=verdicts[0].judge,
        outcome=_outcome(said),
        consistent=consistent,
        position_sensitive=flipped,
        favoured=_favoured(by_order) if flipped else "",
        margin=_margin(verdicts),
        verdicts=len(verdicts),
        unparsed=sum(v.parsed == "unparsed" for v in verdicts),
        injected=suspicious and consistent is False,
    )


def _outcome(said: Sequence[Parsed]) -> Parsed:
    """One outcome of one or two orders: an arm only if no order says otherwise."""
    if "unparsed" in said:
        return "unparsed"
    return said[0] if len(set(said)) == 1 else "tie"


def _favoured(by_order: Mapping[bool, Parsed]) -> str:
    """The place that was preferred in both orders of a flip."""
    return "first" if by_order[True] == "system" else "second"


def _margin(verdicts: Sequence[Verdict]) -> float | None:
    """The mean score difference; the mean of each order's mean, so orders weigh the same."""
    means = []
    for first in (False, True):
        found = [
            v.score_system - v.score_contributor
            for v in verdicts
            if v.system_first == first
            and v.score_system is not None
            and v.score_contributor is not None
        ]
        if found:
            means.append(fmean(found))
    return fmean(means) if means else None


def majority(said: Sequence[Parsed]) -> Parsed:
    """Return the most frequent parsed outcome of repeats; a draw among them is a tie.

    Unparsed repeats have no vote; without any other the order is unparsed.
    """
    votes = Counter(one for one in said if one != "unparsed")
    if not votes:
        return "unparsed"
    top = max(votes.values())
    best = [one for one, count in votes.items() if count == top]
    return best[0] if len(best) == 1 else "tie"


def summarise(resolved: Iterable[Resolved]) -> list[SwapSummary]:
    """Return what swapping showed about each judge, ordered by judge."""
    ordered = sorted(resolved, key=lambda one: one.judge)
    return [
        _summary(judge, list(group)) for judge, group in groupby(ordered, key=lambda r: r.judge)
    ]


def _summary(judge: str, found: Sequence[Resolved]) -> SwapSummary:
    both = [one for one in found if one.consistent is not None]
    kinds = Counter(_kind(one) for one in both)
    incomplete = sum(one.outcome == "unparsed" for one in found)
    return SwapSummary(
        judge=judge,
        swap=swap_consistency(
            kinds["system"],
            kinds["contributor"],
            kinds["first"],
            kinds["second"],
            kinds["tie"],
            kinds["half tied"],
        ),
        incomplete=incomplete,
        single=len(found) - len(both) - incomplete,
        unparsed=sum(one.unparsed for one in found),
        verdicts=sum(one.verdicts for one in found),
        injected=sum(one.injected for one in found),
    )


def _kind(one: Resolved) -> str:
    """What swapping did to one pair: an outcome twice, a place twice, or half a tie."""
    if one.consistent:
        return one.outcome
    return one.favoured or "half tied"


INSTRUCTION = re.compile(
    r"\b(?:ignore|disregard|forget)\b.{0,60}\b(?:instruction|prompt|above|previous|other answer"
    r"|and (?:say|choose|pick|reply|answer))"
    r"|\b(?:say|choose|pick|prefer|select|vote for|reply(?: with)?|output|rate)\b.{0,24}"
    r"\b(?:answer|response|option)?\s?\"?[AB]\b(?!\s[a-z])"
    r"|\b(?:choose|pick|prefer|select|vote for|rate)\b.{0,12}\b(?:this|my) (?:answer|response)\b"
    r"|\b(?:as|dear) (?:a |the )?judge\b|\b(?:ignore[zr]?|ignora(?:r|d)?)\b.{0,40}\binstruc"
    r"|忽略.{0,12}(?:指令|说明|以上|之前)|(?:请)?选择?(?:答案|回答)?\s?[AB]"
    r"|تجاهل.{0,30}(?:التعليمات|الأوامر)",
    re.IGNORECASE | re.DOTALL,
)


def instruction_in(text: str) -> str:
    """Return the words of an answer that read like an instruction to its judge, empty if none."""
    found = INSTRUCTION.search(text)
    return found.group() if found else ""
