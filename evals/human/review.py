"""What the lab looks at before a study opens: every pair before and after masking, and counts."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from evals.human.mask import PLACEHOLDER, Masked, Masker, Span
from evals.human.prepare import ARMS
from evals.human.records import Dropped, PairText
from evals.human.study import Arm


@dataclass(frozen=True, slots=True)
class Pane:
    """One answer of a pair: ``before`` masking (made plain) and ``after``, as raters see it.

    ``stale``: the masker would now hide something else; prepare the study again.
    """

    before: str
    after: str
    spans: tuple[Span, ...]
    cut: bool
    stale: bool

    @property
    def hits(self) -> int:
        """How many names were hidden."""
        return len(self.spans)

    def segments(self, which: Literal["before", "after"]) -> Iterator[tuple[str, bool]]:
        """Yield the text in pieces, each with whether it is a hidden name (or stands for one)."""
        text, kept = (self.before if which == "before" else self.after), 0
        for span in self.spans:
            start, end = (span.start, span.end) if which == "before" else (span.at, span.until)
            if text[kept:start]:
                yield text[kept:start], False
            yield text[start:end], True
            kept = end
        if text[kept:]:
            yield text[kept:], False


@dataclass(frozen=True, slots=True)
class ReviewRow:
    """One pair on the review screen. ``prompt_hits`` counts placeholders in the question."""

    item: str
    stratum: str
    prompt: str
    prompt_hits: int
    contributor: Pane
    system: Pane
    gold: Arm | None
    language: str

    def pane(self, arm: Arm) -> Pane:
        """The answer of one arm."""
        return self.contributor if arm == "contributor" else self.system


@dataclass(frozen=True, slots=True)
class ArmCounts:
    """What masking and limits did to one arm, over the main pairs. Lengths are in characters.

    ``dropped`` counts, by reason, the pairs that this arm alone caused to be left out.
    """

    answers: int
    hits: int
    answers_with_hits: int
    cut: int
    dropped: Counter[str]
    shortest: int
    median: float
    mean: float
    longest: int


@dataclass(frozen=True, slots=True)
class Review:
    """Everything for the review screen. ``dropped`` counts all pairs left out, by reason."""

    rows: tuple[ReviewRow, ...]
    contributor: ArmCounts
    system: ArmCounts
    dropped: Counter[str]
    prompt_hits: int
    system_longer: int
    stale: int

    def arm(self, arm: Arm) -> ArmCounts:
        """The counts of one arm."""
        return self.contributor if arm == "contributor" else self.system


def review(pairs: Sequence[PairText], masker: Masker, dropped: Sequence[Dropped] = ()) -> Review:
    """Return what the review screen shows. Gold pairs are rows, but not in the counts."""
    rows = tuple(_row(pair, masker) for pair in pairs)
    mains = [row for row in rows if row.gold is None]
    contributor, system = (_counts(arm, mains, dropped) for arm in ARMS)
    return Review(
        rows=rows,
        contributor=contributor,
        system=system,
        dropped=Counter(entry.why for entry in dropped),
        prompt_hits=sum(row.prompt_hits for row in mains),
        system_longer=sum(len(row.system.after) > len(row.contributor.after) for row in mains),
        stale=sum(row.contributor.stale or row.system.stale for row in mains),
    )


def _row(pair: PairText, masker: Masker) -> ReviewRow:
    return ReviewRow(
        item=pair.item,
        stratum=pair.stratum,
        prompt=pair.prompt,
        prompt_hits=pair.prompt.count(PLACEHOLDER),
        contributor=_pane(
            masker.shown(pair.raw_contributor, pair.prompt), pair.contributor, pair.cut_contributor
        ),
        system=_pane(masker.shown(pair.raw_system, pair.prompt), pair.system, pair.cut_system),
        gold=pair.gold,
        language=pair.language,
    )


def _pane(masked: Masked, stored: str, cut: bool) -> Pane:
    return Pane(masked.before, masked.text, masked.spans, cut, masked.text != stored)


def _counts(arm: Arm, rows: Sequence[ReviewRow], dropped: Iterable[Dropped]) -> ArmCounts:
    panes = [row.pane(arm) for row in rows]
    lengths = [len(pane.after) for pane in panes] or [0]
    return ArmCounts(
        answers=len(panes),
        hits=sum(pane.hits for pane in panes),
        answers_with_hits=sum(pane.hits > 0 for pane in panes),
        cut=sum(pane.cut for pane in panes),
        dropped=Counter(entry.why for entry in dropped if entry.arm == arm),
        shortest=min(lengths),
        median=statistics.median(lengths),
        mean=statistics.fmean(lengths),
        longest=max(lengths),
    )
