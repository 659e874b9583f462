"""What a study found, in plain words. Every such sentence of a report is written here.

A sentence says "significant" only where the test that the plan declared, at the alpha that the plan
declared, says so. Nothing is decided by whether an interval leaves out one half.
"""

from __future__ import annotations

from collections.abc import Iterator

from evals.human.reporting import words
from evals.human.reporting.flags import flags
from evals.human.reporting.model import Conclusions, Evidence, Power, Report, Result, Scope

WHO = {
    "pairs": "these pairs",
    "raters": "raters in general",
    "contributors": "contributors in general",
}
ARM = {"system": "the participatory system", "contributor": "the contributors' own models"}
TEST = {"sign test": "exact sign test", "evidence": "anytime-valid evidence"}
POLICY = {"drop": "leaves ties out", "half": "counts a tie as half a win"}
NO_VOTES = "There are no votes, so nothing can be said."
SIDE_OPEN = "That raters preferred a side is not established"
NO_PROOF = "That is no proof of equality."


def conclude(report: Report) -> Conclusions:
    """Return the findings of a report in words, with its flags."""
    return Conclusions(
        headline=headline(report.result, report.scopes),
        sentences=tuple(_sentences(report)),
        flags=flags(report),
    )


def headline(result: Result, scopes: tuple[Scope, ...]) -> str:
    """Return the one line that sums a study up, with every scope."""
    if not result.counts.n:
        return NO_VOTES
    if not result.counts.decided:
        return f"All {words.count(result.counts.n, 'vote')} are ties: neither side was preferred."
    return f"{preference(result)}: {', '.join(_claim(scope, result) for scope in scopes)}."


def preference(result: Result) -> str:
    """Return how often the arm that more votes name was preferred, with the plan's interval."""
    found, won, arm = result.dropped, result.counts.wins, "The participatory system was"
    value, interval = found.value, found.interval
    if result.direction == "contributor" and value is not None:
        won, arm, value = result.counts.losses, "The contributors' own models were", 1 - value
        if interval is not None:
            ends = {"low": 1 - interval.high, "high": 1 - interval.low}
            interval = interval.model_copy(update=ends)
    shown = words.percent(value)
    if interval is not None:
        shown += f"; {words.level(interval)} interval {words.spread(interval)}"
    votes = words.count(result.counts.decided, "decided vote")
    return f"{arm} preferred in {won} of {votes} ({shown})"


def _claim(scope: Scope, result: Result) -> str:
    p = words.p_value(scope.p, result.alpha)
    verdict = "significant" if scope.established else "not established"
    if scope.name == "pairs":
        return f"{verdict} for these {words.count(result.pairs, 'pair')} ({p})"
    if not scope.established:
        p += f", smallest attainable {words.digits(scope.attainable, result.alpha)}"
    return f"{verdict} for {WHO[scope.name]} ({_units(scope)}, {p})"


def _units(scope: Scope) -> str:
    return words.count(scope.estimate.n, scope.estimate.unit.removesuffix("s"))


def _sentences(report: Report) -> Iterator[str]:
    result = report.result
    if not result.counts.n:
        yield NO_VOTES
        return
    yield _ties(result)
    yield for_these_pairs(result, report.evidence)
    yield from (in_general(scope, result, report.evidence) for scope in report.scopes[1:])
    yield _sides(report)
    yield _blinding(report)
    if report.power.n:
        yield _size(report.power)


def _ties(result: Result) -> str:
    counts = result.counts
    equal = words.count(result.automatic, "pair")
    automatic = f" and {equal} of equal answers" if result.automatic else ""
    return (
        f"{words.count(counts.wins, 'vote')} for the system, {counts.losses} for the contributors' "
        f"models, {words.count(counts.ties, 'tie')}{automatic}. Without ties the system's win rate "
        f"is {words.percent(result.dropped.value)}, with a tie as half a win "
        f"{words.percent(result.halved.value)}; the plan {POLICY[result.policy]}."
    )


def for_these_pairs(result: Result, evidence: Evidence | None) -> str:
    """Return what holds of the votes that were cast."""
    if not result.counts.decided:
        return "For these pairs: every vote is a tie, so there is no preference to test."
    test, p = TEST[result.decided_by], words.p_value(result.p, result.alpha)
    if result.direction == "none" or not result.established:
        return (
            f"For these pairs: no preference is established ({test}, {p}; below {result.alpha:g} "
            f"was needed). {NO_PROOF}{_crossing(evidence)}"
        )
    return (
        f"For these pairs: the preference for {ARM[result.direction]} is statistically significant "
        f"({test}, {p}, planned alpha {result.alpha:g}).{_crossing(evidence)}"
    )


def _crossing(evidence: Evidence | None) -> str:
    if evidence is None:
        return ""
    odds = f"{evidence.bound:g} to 1"
    if evidence.crossed_at is None:
        return f" The evidence never reached {odds}."
    return f" The evidence reached {odds} after {evidence.crossed_at} decided votes."


def in_general(scope: Scope, result: Result, evidence: Evidence | None) -> str:
    """Return what holds beyond the people who took part."""
    whom, p = WHO[scope.name], words.p_value(scope.p, result.alpha)
    if not scope.estimate.n:
        return f"For {whom}: nobody has a vote that counts."
    tested = f"({_units(scope)}, sign flips, {p})"
    if scope.established:
        mean = words.estimate(scope.estimate)
        return f"For {whom}: statistically significant {tested}. The mean is {mean}."
    return f"For {whom}: not established {tested}. {_why_not(scope, result, evidence)}"


def _why_not(scope: Scope, result: Result, evidence: Evidence | None) -> str:
    if scope.attainable >= result.alpha:
        least = words.digits(scope.attainable, result.alpha)
        return (
            f"It could not have been: with {_units(scope)} no outcome has a p below {least}. "
            f"It takes {scope.needed} or more, however clear the votes are."
        )
    if evidence is not None:
        return "Collecting could stop on what was found, which this test does not allow for."
    if scope.p is not None and scope.p < result.alpha:
        return "It is tested only where the narrower claim before it is established."
    return NO_PROOF


def _sides(report: Report) -> str:
    adjusted, effect = report.position.adjusted, report.position.effect
    if adjusted.value is None:
        return f"Sides cannot be compared. {adjusted.note}"
    shown = "Raters preferred a side" if _below(effect.p, report) else SIDE_OPEN
    return (
        f"{shown} ({words.p_value(effect.p, report.result.alpha)}); with both sides weighing the "
        f"same the win rate is {words.percent(adjusted.value)}."
    )


def _blinding(report: Report) -> str:
    found = report.blinding
    if not found.right + found.wrong + found.unknown:
        return "Nobody was asked which answer was the system's, so blinding was not checked."
    failed = _below(found.guesses.p, report) and found.right > found.wrong
    held = "Blinding failed" if failed else "That blinding failed is not established"
    p = words.p_value(found.guesses.p, report.result.alpha)
    return (
        f"{held}: asked which answer was the system's, raters were right {_times(found.right)}, "
        f"wrong {_times(found.wrong)} and did not know {_times(found.unknown)} ({p})."
    )


def _times(n: int) -> str:
    return {1: "once", 2: "twice"}.get(n, f"{n} times")


def _below(p: float | None, report: Report) -> bool:
    return p is not None and p < report.result.alpha


def _size(power: Power) -> str:
    votes = words.count(power.n, "decided vote")
    if power.size is None:
        return f"What a study of up to {votes} can find was not computed: there are too many."
    if power.detectable is None:
        return f"A study of {votes} finds even a certain preference with less than 80% chance."
    upto = "up to " if power.test == "evidence" else ""
    return (
        f"A study of {upto}{votes} finds a true win rate of {words.percent(power.detectable)} with "
        "a chance of 80%; smaller preferences it mostly misses."
    )
