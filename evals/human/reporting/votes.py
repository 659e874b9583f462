"""Which judgements count where, and the small steps from counts to the report's values."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TypeVar

from evals.human.records import Judgement, PairText, StudyData
from evals.human.reporting.basics import Counts, Estimate, Range, Unit
from evals.human.reporting.names import in_order, rater_names
from evals.human.statistics.proportions import clopper_pearson, sign_test, win_rate
from evals.human.statistics.values import Interval, Tally, TiePolicy
from evals.human.study import StudySpec

LABELS = ("system", "tie", "contributor")
Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Votes:
    """The judgements of a study in ledger order, sorted out by what they are for."""

    data: StudyData

    @property
    def spec(self) -> StudySpec:
        """The plan."""
        return self.data.spec

    @property
    def level(self) -> float:
        """The coverage of intervals that belongs to the planned alpha."""
        return 1 - self.spec.alpha

    @cached_property
    def all(self) -> tuple[Judgement, ...]:
        """Every judgement."""
        return tuple(sorted(self.data.judgements, key=lambda j: j.seq))

    @cached_property
    def main(self) -> tuple[Judgement, ...]:
        """What the headline is computed from, skips included."""
        return self.of("main")

    @cached_property
    def decided(self) -> tuple[Judgement, ...]:
        """Main judgements that name an arm."""
        return tuple(j for j in self.main if j.winner in ("system", "contributor"))

    @cached_property
    def names(self) -> Mapping[str, str]:
        """The raters' labels."""
        return rater_names(self.data)

    @cached_property
    def pairs(self) -> Mapping[str, PairText]:
        """The pairs that could be shown, by item."""
        return {pair.item: pair for pair in self.data.pairs}

    def of(self, kind: str) -> tuple[Judgement, ...]:
        """The judgements of one kind."""
        return tuple(j for j in self.all if j.kind == kind)

    def by_rater(self, judgements: Iterable[Judgement]) -> dict[str, list[Judgement]]:
        """Judgements by the label of their rater, in the labels' order."""
        found = grouped(judgements, lambda j: self.names[j.rater])
        return {label: found[label] for label in in_order(found)}

    def rater_tallies(self, judgements: Iterable[Judgement]) -> list[Tally]:
        """One tally per rater."""
        return [tally(mine) for mine in self.by_rater(judgements).values()]


def grouped(
    judgements: Iterable[Judgement], key: Callable[[Judgement], Key]
) -> dict[Key, list[Judgement]]:
    """Return judgements by a key, the keys in order of first appearance."""
    found: defaultdict[Key, list[Judgement]] = defaultdict(list)
    for judgement in judgements:
        found[key(judgement)].append(judgement)
    return dict(found)


def tally(judgements: Iterable[Judgement]) -> Tally:
    """Return the votes seen from the system; skips are none."""
    return tally_of(j.winner for j in judgements)


def tally_of(winners: Iterable[str | None]) -> Tally:
    """Return the tally of 'system', 'contributor' and 'tie'; anything else does not count."""
    found = Counter(winners)
    return Tally(found["system"], found["contributor"], found["tie"])


def counts(found: Tally) -> Counts:
    """Return a tally as the report holds it."""
    return Counts(wins=found.wins, losses=found.losses, ties=found.ties)


def winner_of(judgement: Judgement, outcome: str | None) -> str | None:
    """Return which label another outcome on the judgement's screen would mean; None for a skip."""
    if outcome in ("left", "right"):
        return "system" if outcome == judgement.system_side else "contributor"
    return "tie" if outcome in ("tie_good", "tie_bad") else None


def score(judgement: Judgement) -> float | None:
    """Return 1 for the system, 0 for the contributor, 0.5 for a tie, None for a skip."""
    return {"system": 1.0, "tie": 0.5, "contributor": 0.0}.get(judgement.winner or "")


def as_range(found: Interval) -> Range:
    """Return an interval as the report holds it."""
    return Range(low=found.low, high=found.high, level=found.level, method=found.method)


def span(found: Interval | None) -> Range | None:
    """Return an interval, if there is one, as the report holds it."""
    return None if found is None else as_range(found)


@lru_cache(maxsize=8192)
def rate(found: Tally, level: float, policy: TiePolicy = "drop", unit: Unit = "votes") -> Estimate:
    """Return the win rate of a tally as an estimate, with its exact sign test.

    Remembered: many raters share few tallies, and an exact interval takes milliseconds.
    """
    made = win_rate(found, policy, level)
    return Estimate(
        value=made.estimate,
        n=made.n,
        unit=unit,
        interval=span(made.interval),
        p=made.p,
        note=made.reason,
    )


@lru_cache(maxsize=8192)
def share(k: int, n: int, level: float, unit: Unit = "votes", note: str = "") -> Estimate:
    """Return ``k`` of ``n`` as an estimate with its exact interval and sign test against one half;
    ``note`` says why there is none where ``n`` is 0."""
    return Estimate(
        value=k / n if n else None,
        n=n,
        unit=unit,
        interval=span(clopper_pearson(k, n, level)),
        p=sign_test(k, n - k),
        note="" if n else note,
    )


def majority(judgements: Sequence[Judgement]) -> str | None:
    """Return what most raters of a pair said, a tie if none leads; None without a counted vote."""
    found = Counter(j.winner for j in judgements if j.winner)
    if not found:
        return None
    (first, most), *others = found.most_common()
    return first if not others or others[0][1] < most else "tie"


def median_seconds(judgements: Iterable[Judgement]) -> float | None:
    """Return the median time that pairs were visible, in seconds; None if it was not measured."""
    seen = [j.visible_ms / 1000 for j in judgements if j.visible_ms]
    return statistics.median(seen) if seen else None
