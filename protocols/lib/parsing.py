"""What a model answered, read out of its text, with the span and the rule that decided.

A reading is one of three: parsed, ambiguous (several answers, none of them marked), or none. It is
never pushed towards an option. The last explicit cue wins, because models restate options and
change their minds; numbers compare by value.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from fractions import Fraction
from typing import Literal, NamedTuple

Kind = Literal["number", "letter", "text", "none"]
SHORT_WORDS = 6
"""A whole text of so few words is taken as the answer itself."""
SAID_WORDS = 4
"""What a sentence says something is, is an answer if it has so few words."""
LONGEST = 120
"""Characters of the longest answer; more is prose or a flood of digits, and abstains."""

# Model text may be hostile, so no pattern repeats white space without a bound: with one, a long run
# of spaces would take minutes.
CUE = re.compile(
    r"\b(?:answer|solution|result|(?:correct|right|best) (?:option|choice|one))[*_]{0,2}\s{0,3}"
    r"(?:\(final\)\s{0,3}|(?:to|of|for)\s[^.!?\n]{1,60}?)?"
    r"(?:\b(?:is|are|would be)\b|[:=])\s{0,3}:?[*_]{0,2}\s{0,9}",
    re.IGNORECASE,
)
COPULA = re.compile(
    r"(?:\b(?:is|are|equals|makes|gives)\b|\b(?:it|that|this)['’]s\b|=)\s{1,9}", re.IGNORECASE
)
CONNECTIVE = re.compile(
    r"[,;]?\s(?:because|since|which|but)\b|[,;]\s(?:as|so|not)\b", re.IGNORECASE
)
BOX = re.compile(r"\\box(?:ed)?\s{0,3}\{")
BOLD = re.compile(r"\*\*([^*\n]{1,80})\*\*")
# "U.S. dollar" and "Dr. Smith" go on after their full stops.
SENTENCE_END = re.compile(
    r"(?<!\.[A-Z])(?<!\bDr)(?<!\bMr)(?<!\bMs)(?<!\bSt)(?<!\bMrs)[.!?](?=\s|$)|[。\n]"
)
NUMBER = re.compile(
    r"(?<![\w.])(?:[-+−]\s?[$€£]?|[$€£]\s?[-+−]?)?\s?"
    r"(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+\.\d+|\d+/\d+|\.\d+|\d+)\s?%?"
)
LETTER = re.compile(r"\(?([A-Za-z])\)?(?:[.):]\s.*|[.):])?$", re.DOTALL)
LETTERS = re.compile(
    r"(?:(?i:either|both)\s)?\(?[A-Z]\)?(?:(?:\s?[,/]\s?|,?\s(?:or|and)\s)\(?[A-Z]\)?)+"
)
FRACTION = re.compile(r"\\[dt]?frac\{(-?\d+)\}\{(\d+)\}")
MATHS = re.compile(r"(?:\$\$?|\\\()(.+?)(?:\$\$?|\\\))", re.DOTALL)
ARTICLES = re.compile(r"^(?:the|a|an)\s+", re.IGNORECASE)
PASS = re.compile(
    r"\bI(?:['’]m| am) (?:not sure|unsure)\b|\bI (?:do not|don['’]t|can(?:not|['’]t)) |\bsorry\b",
    re.IGNORECASE,
)
DEFINITION = re.compile(r"the\s.{1,80}?\s(?:of|for|in)\s", re.IGNORECASE)
NO_NAME = re.compile(r"(?:the|an?|it|this|that|there|here|what|which|one)\b", re.IGNORECASE)
EDGES = " \t\r\n.,;:!?\"'`*_()[]“”‘’$"


class Reading(NamedTuple):
    """``value`` is canonical: equal answers have equal values. ``span`` is (start, end)."""

    value: str | None
    kind: Kind
    span: tuple[int, int]
    rule: str

    @property
    def parsed(self) -> bool:
        """Whether there is exactly one answer."""
        return self.value is not None


def read_answer(text: str) -> Reading:
    """Read the answer of a text.

    The rules in order: the last ``\\boxed{}``, what follows the last cue ("the answer is"), the
    last bold text, a text of a few words as a whole, what the last sentence says something *is*,
    and the only number of the text.
    """
    for rule, find in RULES:
        start, end = find(text)
        value, kind = canonical(text[start:end])
        if value is not None:
            return Reading(value, kind, (start, end), rule)
    numbers = {canonical(m.group())[0] for m in NUMBER.finditer(text)}
    several = len(numbers) > 1 or LETTERS.search(text)
    return Reading(None, "none", (0, 0), "ambiguous" if several else "none")


def canonical(answer: str) -> tuple[str | None, Kind]:
    """The canonical form of an answer and its kind; (None, "none") if nothing is left of it.

    Numbers become fractions in lowest terms ("42", "42.0" and "$42" are one; "-5" and "5" are two),
    option letters become capitals, other text is casefolded without articles and edge punctuation.
    Several letters ("A or B") and more than :data:`LONGEST` characters are no answer.
    """
    answer = FRACTION.sub(r"\1/\2", answer).strip()
    tail = answer.rpartition("=")[2].strip() if "=" in answer else answer
    maths = MATHS.fullmatch(tail)
    stripped = maths.group(1).strip() if maths else tail
    whole = NUMBER.fullmatch(stripped.strip(EDGES.replace("$", "").replace(".", "")).rstrip("."))
    if whole and len(whole.group()) <= LONGEST:
        return number(whole.group()), "number"
    if LETTERS.fullmatch(stripped.strip(EDGES)):
        return None, "none"
    letter = LETTER.match(stripped.strip("*_`\"' "))
    if letter and (letter.group(1).isupper() or len(stripped.strip(EDGES)) == 1):
        return letter.group(1).upper(), "letter"
    plain = unicodedata.normalize("NFC", stripped.strip(EDGES))
    words = ARTICLES.sub("", " ".join(plain.split()))
    if not words.strip(EDGES) or len(words) > LONGEST:
        return None, "none"
    return words.casefold(), "text"


def number(text: str) -> str:
    """A number in canonical form: an integer or a fraction in lowest terms, '%' kept."""
    bare = re.sub(r"[\s,$€£%+]", "", text).replace("−", "-")
    percent = "%" if text.rstrip().endswith("%") else ""
    try:
        return f"{Fraction(bare)}{percent}"
    except ZeroDivisionError:
        return bare


def _boxed(text: str) -> tuple[int, int]:
    """The inside of the last box, to its matching brace."""
    boxes = list(BOX.finditer(text))
    if not boxes:
        return 0, 0
    last = boxes[-1]
    depth = 1
    for at in range(last.end(), len(text)):
        depth += (text[at] == "{") - (text[at] == "}")
        if depth == 0:
            return last.end(), at
    return 0, 0


def _after_cue(text: str) -> tuple[int, int]:
    """What follows the last cue, to the end of its sentence or the reason given for it.

    Where a whole sentence follows ("Answer: the capital is Paris."), it is what that one says.
    """
    for cue in reversed(list(CUE.finditer(text))):
        end = _clause_end(text, cue.end(), _sentence_end(text, cue.end()))
        if text[cue.end() : end].strip(EDGES):
            start, until = _said(text, cue.end(), end)
            # "the answer is Paris, it is the capital" has its answer before the comma.
            whole = bool(until) and "," not in text[cue.end() : start]
            return (start, until) if whole else (cue.end(), end)
    return 0, 0


def _bold(text: str) -> tuple[int, int]:
    found = [m.span(1) for m in BOLD.finditer(text)]
    return found[-1] if found else (0, 0)


def _whole(text: str) -> tuple[int, int]:
    """All of a short text, unless it is a sentence, passes the question or breaks off in a box."""
    short = len(text.split()) <= SHORT_WORDS and "\n" not in text.strip()
    other = COPULA.search(text) or PASS.search(text) or BOX.search(text)
    return (0, len(text)) if short and not other else (0, 0)


def _copula(text: str) -> tuple[int, int]:
    """What the last sentence that says "x is y" says, if that is short.

    "Nairobi is the capital of Kenya" names x: y is a definition, as questions contain them.
    """
    for start, end in reversed(list(sentences(text))):
        if COPULA.search(text, start, end):
            return _said(text, start, end)
    return 0, 0


def _said(text: str, start: int, end: int) -> tuple[int, int]:
    """What one sentence says something is: x or y of its last "x is y", (0, 0) if it is long."""
    said = list(COPULA.finditer(text, start, end))
    if not said:
        return 0, 0
    before, begin = said[-1].start(), said[-1].end()
    name = text[start:before].strip()
    named = len(name.split()) <= SAID_WORDS and not NO_NAME.match(name)
    if name and named and DEFINITION.match(text, begin, end):
        return start, before
    until = _clause_end(text, begin, end)
    brief = len(text[begin:until].split()) <= SAID_WORDS
    return (begin, until) if brief else (0, 0)


def _only_number(text: str) -> tuple[int, int]:
    found = list(NUMBER.finditer(text))
    return found[0].span() if len({canonical(m.group())[0] for m in found}) == 1 else (0, 0)


def sentences(text: str) -> Iterator[tuple[int, int]]:
    """Yield where each sentence that says something begins and ends."""
    start = 0
    while start < len(text):
        end = _sentence_end(text, start)
        if text[start:end].strip():
            yield start, end
        start = end + 1


def _clause_end(text: str, start: int, end: int) -> int:
    """Where a reason begins ("85, since ..."), if one does before ``end``."""
    found = CONNECTIVE.search(text, start, end)
    return found.start() if found else end


def _sentence_end(text: str, start: int) -> int:
    found = SENTENCE_END.search(text, start)
    return found.start() if found else len(text)


RULES = (
    ("boxed", _boxed),
    ("cue", _after_cue),
    ("bold", _bold),
    ("whole", _whole),
    ("copula", _copula),
    ("only number", _only_number),
)
