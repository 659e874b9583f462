"""Hiding who wrote an answer before anybody sees it.

A :class:`Masker` knows the names of one study: its models, hub ids, contributors and protocol, the
lab's extra names, and the families and labs that language models commonly belong to. Whatever the
spelling, a name becomes the same ``[model]`` in the answers of both arms and in the prompt.

What it cannot know is caught at the review: a lab looks at every pair before the study opens.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from evals.human.masking.choose import accepted
from evals.human.masking.cues import Asked
from evals.human.masking.find import Finder, Match
from evals.human.masking.fold import PLACEHOLDER, Folded, fold
from evals.human.masking.names import known_names, study_names
from evals.human.masking.plain import plain, untemplated
from evals.human.study import StudySpec
from protocols.core.models import ModelSpec

__all__ = ["PLACEHOLDER", "Masked", "Masker", "Span", "plain"]

_URL = re.compile(
    r"(?:https?://|www\.)[^\s<>\"'）」]+"
    r"|(?<![\w.-])[\w-]+(?:\.[\w-]+)*\.(?:com|ai|org|co|io|net|cn|dev)/[^\s<>\"'）」]*",
    re.IGNORECASE,
)
_URL_END = ".,;:!?)]}*_`"
_BETWEEN = re.compile(r"[-_/:@ ]?|['’]s ")
_MARKS = re.compile(r"(?:[*~`_]|</?[a-z]{1,6}\b[^<>\n]{0,80}>)+", re.IGNORECASE)
_MARKS_BEFORE = re.compile(rf"{_MARKS.pattern}\Z", re.IGNORECASE)
_LONGEST_MARK = 100


@dataclass(frozen=True, slots=True)
class Span:
    """A hidden name: characters ``start`` to ``end`` before, ``at`` to ``until`` after masking."""

    start: int
    end: int
    at: int
    until: int
    text: str


@dataclass(frozen=True, slots=True)
class Masked:
    """A text as raters see it, and what was hidden in it."""

    text: str
    before: str
    spans: tuple[Span, ...] = ()

    @property
    def hits(self) -> int:
        """How many names were hidden."""
        return len(self.spans)


class Masker:
    """Hides the names of one study.

    ``models`` are those of the study's pool, so that an answer which names another contributor's
    model gives nothing away either. Raises :class:`UserError` for an extra mask that is too short
    and for an unknown protocol.
    """

    def __init__(self, spec: StudySpec, models: Iterable[ModelSpec]) -> None:
        self._plain = spec.plain
        self._finder = Finder((*known_names(), *study_names(spec, models)))

    def shown(self, text: str, asked: str = "") -> Masked:
        """Return an answer as raters see it: plain if the study says so, then masked.

        Tokens of chat templates go in either case: they name a family as surely as its name.
        """
        return self.mask(plain(text) if self._plain else untemplated(text), asked)

    def mask(self, text: str, asked: str = "") -> Masked:
        """Hide names in ``text``. ``asked`` is the masked question that it answers, if any.

        Masking a masked text changes nothing.
        """
        folded = fold(text)
        chosen = accepted(list(self._finder.find(folded)), folded, Asked.of(asked, folded))
        ranges = _merged(_ranges(chosen, folded), text)
        return _replaced(text, ranges)


def _ranges(chosen: Iterable[Match], text: Folded) -> Iterator[tuple[int, int]]:
    """Where the accepted names stand in the original; within a link, the whole link."""
    links = [
        (link.start(), link.start() + len(link.group().rstrip(_URL_END)))
        for link in _URL.finditer(text.original)
    ]
    for match in chosen:
        start, end = _with_marks(text.original, text.start[match.start], text.end[match.end - 1])
        # Links do not overlap: only the last one that starts before the name's end can hold it.
        index = bisect_left(links, (end, 0)) - 1
        if index >= 0 and links[index][1] > start:
            start, end = min(start, links[index][0]), max(end, links[index][1])
        yield start, end


def _with_marks(text: str, start: int, end: int) -> tuple[int, int]:
    """A name that markup splits, with the marks at its edges: "**Q**wen", "Q<b>wen</b>"."""
    if not _MARKS.search(text, start, end):
        return start, end
    before = _MARKS_BEFORE.search(text[max(0, start - _LONGEST_MARK) : start])
    after = _MARKS.match(text, end)
    start -= len(before.group()) if before else 0
    return start, after.end() if after else end


def _merged(ranges: Iterable[tuple[int, int]], text: str) -> list[tuple[int, int]]:
    """The ranges without overlap; those with only a joiner between them are one name."""
    merged: list[tuple[int, int]] = []
    for start, end in sorted(ranges):
        if merged and (start <= merged[-1][1] or _BETWEEN.fullmatch(text, merged[-1][1], start)):
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _replaced(text: str, ranges: Sequence[tuple[int, int]]) -> Masked:
    spans: list[Span] = []
    pieces: list[str] = []
    kept = length = 0
    for start, end in ranges:
        pieces += [text[kept:start], PLACEHOLDER]
        at = length + start - kept
        length = at + len(PLACEHOLDER)
        spans.append(Span(start, end, at, length, text[start:end]))
        kept = end
    return Masked("".join([*pieces, text[kept:]]), text, tuple(spans))
