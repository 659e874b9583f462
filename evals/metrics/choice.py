"""Multiple choice: which option a text settles on, in both versions."""

from __future__ import annotations

import re
import string
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from evals.metrics.grade import Grade
from evals.metrics.thinking import without_thinking
from protocols.lib.parsing import CUE, sentences

LETTERS = string.ascii_uppercase
OPENING = r"[\s*_(\[\"'`$]{0,6}(?:\\text\{|\\mathrm\{)?"
CLOSING = r"[)\]}*_\"'`$]{0,6}"
CHOSEN = re.compile(
    r"\b(?:choose|select|pick|go with|opt for|choice|option)\b(?:\s(?:is|would be))?[:\s]{0,3}",
    re.IGNORECASE,
)
BOXED = re.compile(r"\\box(?:ed)?\s{0,3}\{")
# "A because ..." is a choice, "A dog ..." is an article.
AFTER_LETTER = re.compile(r"\s+(?!because|since|as |and |for |which|is |\()[a-z]")
ARTICLES = "AI"
NEGATED = re.compile(r"\b(?:not|never|isn['’]t|neither|incorrect|wrong|except)\b", re.IGNORECASE)


class Mark(NamedTuple):
    """An explicit choice in a text."""

    key: str
    start: int
    end: int
    rule: str


def compatible_choice(text: str, choices: Mapping[str, str], gold: str) -> Grade:
    """Score as the reference library does, defects included.

    Three scans over the options in order: the text is or begins with the letter; the option's text
    occurs anywhere; a letter with a bracket or full stop occurs anywhere. The first hit wins, so a
    text that begins with the article "A" is option A, and so is one that discusses A first. Options
    are lettered by place: digits as keys can never be right.
    """
    said = text.lower().strip()
    options = list(zip(LETTERS.lower(), choices.values(), strict=False))
    for rule, hit in (("start", _starts), ("option text", _occurs), ("letter", _lettered)):
        for letter, option in options:
            if hit(said, letter, option.lower().strip()):
                return Grade(float(letter.upper() == gold), letter.upper(), None, rule)
    return Grade(0.0, None, None, "none")


def _starts(said: str, letter: str, option: str) -> bool:
    return said == letter or said.startswith((f"{letter})", f"{letter}.", f"{letter} "))


def _occurs(said: str, letter: str, option: str) -> bool:
    return option in said


def _lettered(said: str, letter: str, option: str) -> bool:
    return any(
        form in said for form in (f"{letter})", f"({letter})", f"answer is {letter}", f"{letter}.")
    )


def corrected_choice(text: str, choices: Mapping[str, str], gold: str) -> Grade:
    """Score the option that a text settles on; None if it settles on none.

    The last explicit mark decides (a box, "the answer is", a choice in bold, a line of its own),
    then the only option that the last sentence names in words. A bare article is never a letter,
    and a list of the options is no choice.
    """
    shown = without_thinking(text)
    marks = sorted(_marks(shown, choices), key=lambda mark: mark.start)
    mark = marks[-1] if marks else _named(shown, choices)
    if mark is None:
        return Grade(None, None, None, "none" if not _listed(shown, choices) else "ambiguous")
    return Grade(float(mark.key == gold), mark.key, (mark.start, mark.end), mark.rule)


def _marks(text: str, choices: Mapping[str, str]) -> Iterator[Mark]:
    key = _key_pattern(choices)
    for box in BOXED.finditer(text):
        yield from _at(text, box.end(), key, choices, "boxed")
    for cue in (*CUE.finditer(text), *CHOSEN.finditer(text)):
        yield from _at(text, cue.end(), key, choices, "cue")
    yield from _bold(text, key)
    yield from _own_line(text, key, choices)


def _key_pattern(choices: Mapping[str, str]) -> str:
    return "|".join(re.escape(key) for key in sorted(choices, key=len, reverse=True))


def _at(text: str, place: int, key: str, choices: Mapping[str, str], rule: str) -> Iterator[Mark]:
    """The key or the option's words at a place, if one stands there."""
    found = re.compile(rf"{OPENING}({key})(?![\w'’])").match(text, place)
    if found and not _article(text, found):
        yield Mark(found.group(1), *found.span(1), rule)
        return
    lower = re.compile(rf"{OPENING}({key.lower()}){CLOSING}\s{{0,3}}(?:[.,;]|$|\n)").match(
        text, place
    )
    if lower:
        same = next(key for key in choices if key.lower() == lower.group(1))
        yield Mark(same, *lower.span(1), rule)
        return
    begins = re.compile(OPENING + r"(?:the\s|an?\s)?", re.IGNORECASE).match(text, place)
    at = begins.end() if begins else place
    named = [k for k, words in choices.items() if _words_at(text, at, words)]
    if named:
        best = max(named, key=lambda k: len(choices[k]))
        yield Mark(best, at, at + len(choices[best]), rule)


def _article(text: str, found: re.Match[str]) -> bool:
    return found.group(1) in ARTICLES and bool(AFTER_LETTER.match(text, found.end(1)))


def _words_at(text: str, place: int, words: str) -> bool:
    bare = words.strip().rstrip(".").casefold()
    here = text[place : place + len(bare)].casefold()
    after = text[place + len(bare) : place + len(bare) + 1]
    return bool(bare) and here == bare and not after.isalnum()


def _bold(text: str, key: str) -> Iterator[Mark]:
    """Choices in bold, unless several different ones are: then it is a list."""
    found = list(re.finditer(rf"\*\*\s?[(\[]?({key})(?:[)\].:]|\s?\*\*)", text))
    if len({one.group(1) for one in found}) == 1:
        last = found[-1]
        yield Mark(last.group(1), *last.span(1), "bold")


def _own_line(text: str, key: str, choices: Mapping[str, str]) -> Iterator[Mark]:
    """A line that is or begins with a key, unless lines with other keys make a list of them."""
    line = re.compile(rf"^[\s*_]*[(\[]?({key})(?:[)\].:][^\n]*|[)\]*_\s]*)$", re.MULTILINE)
    found = list(line.finditer(text))
    if len({one.group(1) for one in found}) == 1:
        last = found[-1]
        yield Mark(last.group(1), *last.span(1), "line")


def _named(text: str, choices: Mapping[str, str]) -> Mark | None:
    """The only option that the last sentence names in words; longer options hide parts of them.

    A line of a list of options is no sentence, and one with a negation may say anything.
    """
    item = re.compile(rf"[\s*_]*[(\[]?(?:{_key_pattern(choices)})[)\].:]")
    for start, end in reversed(list(sentences(text))):
        if item.match(text, start) or NEGATED.search(text, start, end):
            return None
        hits = _hits(text[start:end], choices)
        keys = {mark.key for mark in hits}
        if len(keys) == 1:
            return hits[0]._replace(start=hits[0].start + start, end=hits[0].end + start)
        return None
    return None


def _hits(sentence: str, choices: Mapping[str, str]) -> list[Mark]:
    """Where options are named, without what lies inside a longer option's name."""
    found = []
    for key, words in choices.items():
        bare = words.strip().rstrip(".")
        if bare:
            pattern = rf"(?<![\w.]){re.escape(bare)}(?!\w|[.,]\d)"
            found += [
                Mark(key, *one.span(), "option text")
                for one in re.finditer(pattern, sentence, re.IGNORECASE)
            ]
    return [one for one in found if not any(_inside(one, other) for other in found)]


def _inside(one: Mark, other: Mark) -> bool:
    longer = other.end - other.start > one.end - one.start
    return longer and other.start <= one.start and one.end <= other.end


def _listed(text: str, choices: Mapping[str, str]) -> bool:
    return len({mark.key for mark in _hits(text, choices)}) > 1
