"""Where names stand in a text, in whatever spelling.

Names are looked up among the letters and digits of the canonical text alone, so that "Q**wen**",
"q-w-e-n" and "Q w e n" are the same word; what stands between the letters then decides whether it
is one.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

from evals.human.masking.fold import PLACE, Folded, skeleton
from evals.human.masking.names import Name, wordy

JOINT_GAP = re.compile(r"(?:\s{0,2}[-_/·:–—@'’]?\s{0,2}|\.)\Z")
SPLIT_GAP = re.compile(r"[-_.·•|]?\Z")
SPELT_GAP = re.compile(r"\s*[-_.·•|,]?\s*\Z")
LONGEST_TAIL = 60

_SIZES = (
    r"(?:instruct|instant|chat|base|it|turbo|mini|nano|pro|flash|ultra|coder|code|math|vl|vision"
    r"|omni|audio|preview|sonnet|opus|haiku|max|plus|large|small|medium|tiny|next|thinking|lite"
    r"|distill(?:ed)?|hf|gguf|awq|gptq|sft|dpo|ppo|rlhf|rlvr|lora|latest|exp|moe|bf16|mlx|alpha"
    r"|beta)"
)
_NUMBER = r"[vkrae]?\d+(?:[._]\d+)*(?:o|b\d?|m|k|t|x\d+b)?"
_STOP = r"(?![^\W_])"
TAIL = re.compile(rf"(?:[-_./:@]?{_NUMBER}{_STOP}| {_NUMBER}(?![\w%°])|[-_./:@]{_SIZES}{_STOP})*")
SPOKEN_TAIL = re.compile(rf" (?:{_SIZES}){_STOP}")


@dataclass(frozen=True, slots=True)
class Match:
    """A name at canonical characters ``start`` to ``end``, of which ``core`` is the name alone."""

    name: Name
    start: int
    end: int
    core: int

    def tail(self, text: Folded) -> str:
        """What belongs to the name after it: version, size, flavour."""
        return text.text[self.core : self.end]


class Finder:
    """Finds a fixed set of names."""

    def __init__(self, names: Iterable[Name]) -> None:
        best: dict[tuple[str, ...], Name] = {}
        for name in names:
            best[name.words] = _merged(name, best.get(name.words))
        self._table: dict[str, list[tuple[str, Name]]] = defaultdict(list)
        # The longest name counts; of equal ones the sure one, if it is spelt as that one is.
        for name in sorted(best.values(), key=lambda n: (-len(n.letters), not n.sure)):
            key = skeleton(name.letters)
            if len(key) >= 2:
                self._table[key[:2]].append((key, name))

    def find(self, text: Folded) -> Iterator[Match]:
        """Yield matches, possibly overlapping, in order of their start."""
        places = [k for k, char in enumerate(text.text) if wordy(char)]
        letters = skeleton("".join(text.text[k] for k in places))
        for first in range(len(places) - 1):
            for key, name in self._table.get(letters[first : first + 2], ()):
                if not letters.startswith(key, first):
                    continue
                at = places[first : first + len(key)]
                if spelt(name, text, at) and (found := _bounded(name, text, at)):
                    yield found
                    break


def _merged(name: Name, other: Name | None) -> Name:
    """One name for both: the surer one with everything that either knows."""
    if other is None:
        return name
    kept = name if name.sure or not other.sure else other
    return replace(
        kept,
        casings=tuple(dict.fromkeys((*name.casings, *other.casings))),
        numbered=name.numbered or other.numbered,
        inside=name.inside or other.inside,
    )


def spelt(name: Name, text: Folded, at: list[int]) -> bool:
    """Whether the letters at canonical places ``at`` stand together like one name."""
    if not _looks_meant(name, text, at):
        return False
    gaps = [text.text[a + 1 : b] for a, b in pairwise(at)]
    joints = _joints(name)
    inner = [gap for k, gap in enumerate(gaps, start=1) if k not in joints]
    if len(at) >= 3 and inner and all(inner) and all(SPELT_GAP.match(gap) for gap in gaps):
        return True
    split = SPLIT_GAP if len(at) >= 4 else re.compile(r"\Z")
    joined = [gap for k, gap in enumerate(gaps, start=1) if k in joints]
    return all(JOINT_GAP.match(g) for g in joined) and all(split.match(g) for g in inner)


def _looks_meant(name: Name, text: Folded, at: list[int]) -> bool:
    """Whether characters that only look like the name's stand where they may: few, and alike.

    A capital I passes for a small l, and a small l for a capital I; a digit for a letter in names
    of four letters and more.
    """
    digits = 0
    for place, letter in zip(at, name.letters, strict=True):
        char = text.text[place]
        if char.isdigit() != letter.isdigit():
            digits += 1
        elif char != letter:
            others = [k for k in at if k != place and text.text[k].isalpha()]
            if text.capital(place) != (char == "i"):
                return False
            if char == "l" and not all(map(text.capital, others)):
                return False
    return digits <= (len(at) // 3 if len(at) >= 4 else 0)


def _joints(name: Name) -> set[int]:
    """After how many letters a separator may stand."""
    joints, total = set(), 0
    for word in name.words[:-1]:
        total += len(word)
        joints.add(total)
    return joints


def _bounded(name: Name, text: Folded, at: list[int]) -> Match | None:
    """The match if it is no part of another word, grown by its ending and its version."""
    start, end = at[0], _ending(name, text, at[-1] + 1)
    free = _free_before(name, text, start) and _free_after(name, text, end)
    if not free:
        if not name.inside:
            return None
        start, end = _whole_word(text, start, end)
    tail = TAIL.match(text.text, end, end + LONGEST_TAIL)
    close = tail.end() if tail else end
    spoken = SPOKEN_TAIL.match(text.text, close, close + LONGEST_TAIL)
    if spoken and text.capital(close + 1):
        close = spoken.end()
    return Match(name, start, close, end)


def _ending(name: Name, text: Folded, end: int) -> int:
    """The end of the name with a plural s, or with a short Cyrillic case ending."""
    rest = text.text[end : end + 4]
    if _script(name) == "CYRILLIC":
        size = next((k for k, c in enumerate(rest) if not c.isalpha()), len(rest))
        return end + size if size <= 3 else end
    plural = re.match(r"s(?![^\W\d_])", rest) if _script(name) == "LATIN" else None
    return end + 1 if plural and text.touching(end - 1) else end


def _free_before(name: Name, text: Folded, start: int) -> bool:
    script = _script(name)
    if start and text.text[start - 1 : start + 1].isdigit() and text.touching(start - 1):
        return False
    if script == "ARABIC":
        return not _letter_at(text, start - 1, script, start) or _particle(text, start)
    return not _letter_at(text, start - 1, script, start)


def _free_after(name: Name, text: Folded, end: int) -> bool:
    return not _letter_at(text, end, _script(name), end)


def _letter_at(text: Folded, index: int, script: str, edge: int) -> bool:
    """Whether a letter that would make one word with the name touches it."""
    if script == "OTHER" or not 0 <= index < len(text.text) or not text.touching(edge - 1):
        return False
    char = text.text[index]
    if char == PLACE:
        return True
    return char.isalpha() and (script != "LATIN" or char.isascii())


def _particle(text: Folded, start: int) -> bool:
    """Whether only Arabic particles (and, with, for, the) are written onto the name."""
    before = re.search(r"\w*\Z", text.text[max(0, start - 8) : start])
    return bool(before and re.fullmatch(r"[وف]?[بلك]?(?:ال|ل)?", before.group()))


def _whole_word(text: Folded, start: int, end: int) -> tuple[int, int]:
    def wordlike(index: int) -> bool:
        return text.text[index].isascii() and text.text[index].isalnum()

    while start > 0 and wordlike(start - 1):
        start -= 1
    while end < len(text.text) and wordlike(end):
        end += 1
    return start, end


def _script(name: Name) -> str:
    """LATIN, CYRILLIC or ARABIC, where words have edges; OTHER for scripts without spaces."""
    scripts = {unicodedata.name(c, "OTHER").split()[0] for c in name.letters if c.isalpha()}
    for script in ("CYRILLIC", "ARABIC"):
        if script in scripts:
            return script
    return "LATIN" if scripts <= {"LATIN"} else "OTHER"
