"""Which of the names that stand in a text are hidden."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from functools import lru_cache

from evals.human.masking import phrases
from evals.human.masking.cues import WINDOW, Asked, Sentence, meant, sentence_ends
from evals.human.masking.find import Match
from evals.human.masking.fold import PLACE, Folded

_ROUNDS = 8
"""Names that become evident by names hidden before: so many steps are looked ahead."""
_JOINERS = frozenset("-_/@")


def accepted(found: Sequence[Match], text: Folded, asked: Asked) -> list[Match]:
    """Return the sure names and those ambiguous ones that are meant."""
    scene = Scene(text)
    waiting = [match for match in found if not scene.take_if(match, match.name.sure)]
    for _ in range(_ROUNDS):
        before = len(scene.taken)
        now = [m for m in waiting if scene.joined(m) or meant(m, text, scene.around(m), asked)]
        for match in now:
            scene.take_if(match, True)
        if len(scene.taken) == before:
            break
        chosen = set(now)
        waiting = [match for match in waiting if match not in chosen]
    return scene.taken


class Scene:
    """A text with the names taken so far."""

    def __init__(self, text: Folded) -> None:
        self.text = text
        self.taken: list[Match] = []
        self._ends = sentence_ends(text)
        self._named = [PLACE in text.text[a:b] for a, b in self._sentences()]
        self._covered = bytearray(len(text.text))
        self._starts: set[int] = set()
        self._stops: set[int] = set()
        self._about_models = lru_cache(maxsize=None)(self._speaks_of_models)

    def take_if(self, match: Match, condition: bool) -> bool:
        """Take a match if ``condition`` holds; returns ``condition``."""
        if condition:
            self.taken.append(match)
            self._starts.add(match.start)
            self._stops.add(match.end)
            self._covered[match.start : match.end] = b"\1" * (match.end - match.start)
            for index in range(self._index(match.start), self._index(match.end - 1) + 1):
                self._named[index] = True
        return condition

    def joined(self, match: Match) -> bool:
        """Whether the name is part of a taken one, or joined to it as in "lab/model-7b"."""
        text = self.text.text
        if self._covered[match.start] and self._covered[match.end - 1]:
            return True
        if text[match.end : match.end + 1] in _JOINERS and match.end + 1 in self._starts:
            return True
        return text[match.start - 1 : match.start] in _JOINERS and match.start - 1 in self._stops

    def around(self, match: Match) -> Sentence:
        """The sentence that a match stands in."""
        index = self._index(match.start)
        first = self._first(index)
        last = self._ends[bisect_left(self._ends, match.end)]
        about, capitals = self._about_models(first, last)
        return Sentence(
            before=self.text.text[max(first, match.start - WINDOW) : match.start],
            after=self.text.text[match.end : min(last, match.end + WINDOW)],
            evidence=any(self._named[index : self._index(last - 1) + 1]),
            about_models=about,
            capitals=capitals,
        )

    def _sentences(self) -> list[tuple[int, int]]:
        return list(zip([0, *self._ends], self._ends, strict=False))

    def _index(self, position: int) -> int:
        return bisect_right(self._ends, position)

    def _first(self, index: int) -> int:
        return self._ends[index - 1] if index else 0

    def _speaks_of_models(self, first: int, last: int) -> tuple[bool, bool]:
        """Whether a sentence is about language models, and whether it has capitals."""
        raw = self.text.original[self.text.start[first] : self.text.end[last - 1]]
        canonical = self.text.text[first:last]
        # A placeholder may stand for a capital; else masking again would find more than before.
        capitals = raw != raw.lower() or PLACE in canonical
        return bool(phrases.AI.search(canonical)), capitals
