"""What a model answered, read out of its text, with the span and the rule that decided.

A reading is one of three: parsed, ambiguous (several answers, none of them marked), or none. It is
never pushed towards an option. The last explicit cue wins, because models restate options and
change their minds; numbers compare by value.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from typing import Literal, NamedTuple

Kind = Literal["number", "letter", "text", "none"]
SHORT_WORDS = 6
"""A whole text of so few words is taken as the answer itself."""
SAID_WORDS = 4
"""What a sentence says something is, is an answer if it has so few words."""

CUE = re.compile(
    r"(?:\banswer|\bsolution|\bresult|\b(?:correct|right|best) (?:option|choice|one))"
    r"\s*(?:\(final\))?\s*(?:is|are|would be|:|=)\s*:?\s*",
    re.IGNORECASE,
)
COPULA = re.compile(r"(?:\b(?:is|are|equals|makes|gives)\b|=)\s+(?!.*(?:\bis\b|\bare\b|=))", re.I)
BOX = re.compile(r"\\boxed\s*\{")
BOLD = re.compile(r"\*\*([^*\n]{1,80})\*\*")
SENTENCE_END = re.compile(r"[.!?。](?=\s|$)|\n")
NUMBER = re.compile(
    r"[-+−]?\s?[$€£]?\s?(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+\.\d+|\d+/\d+|\.\d+|\d+)\s?%?"
)
LETTER = re.compile(r"\(?([A-Za-z])\)?(?:[.):]\s.*|[.):])?$", re.DOTALL)
FRACTION = re.compile(r"\\[dt]?frac\{(-?\d+)\}\{(\d+)\}")
ARTICLES = re.compile(r"^(?:the|a|an)\s+", re.IGNORECASE)
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
    several = len({canonical(m.group())[0] for m in NUMBER.finditer(text)}) > 1
    return Reading(None, "none", (0, 0), "ambiguous" if several else "none")


def canonical(answer: str) -> tuple[str | None, Kind]:
    """The canonical form of an answer and its kind; (None, "none") if nothing is left of it.

    Numbers become fractions in lowest terms ("42", "42.0" and "$42" are one; "-5" and "5" are two),
    option letters become capitals, other text is casefolded without articles and edge punctuation.
    """
    answer = FRACTION.sub(r"\1/\2", answer)
    tail = answer.rpartition("=")[2] if "=" in answer else answer
    stripped = tail.strip()
    whole = NUMBER.fullmatch(stripped.strip(EDGES.replace("$", "").replace(".", "")).rstrip("."))
    if whole:
        return number(whole.group()), "number"
    letter = LETTER.match(stripped.strip("*_`\"' "))
    if letter and (letter.group(1).isupper() or len(stripped.strip(EDGES)) == 1):
        return letter.group(1).upper(), "letter"
    words = ARTICLES.sub("", " ".join(stripped.strip(EDGES).split()))
    return (words.casefold(), "text") if words.strip(EDGES) else (None, "none")


def number(text: str) -> str:
    """A number in canonical form: an integer or a fraction in lowest terms, '%' kept."""
    bare = re.sub(r"[\s,$€£%+]", "", text).replace("−", "-")
    try:
        value = Fraction(bare)
    except ZeroDivisionError:
        return bare
    return f"{value}%" if text.rstrip().endswith("%") else str(value)


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
    """What follows the last cue, to the end of its sentence."""
    for cue in reversed(list(CUE.finditer(text))):
        end = _sentence_end(text, cue.end())
        if text[cue.end() : end].strip(EDGES):
            return cue.end(), end
    return 0, 0


def _bold(text: str) -> tuple[int, int]:
    found = [m.span(1) for m in BOLD.finditer(text)]
    return found[-1] if found else (0, 0)


def _whole(text: str) -> tuple[int, int]:
    short = len(text.split()) <= SHORT_WORDS and "\n" not in text.strip()
    return (0, len(text)) if short and not COPULA.search(text) else (0, 0)


def _copula(text: str) -> tuple[int, int]:
    """What the last sentence that says "x is y" says, if that is short."""
    for start, end in reversed(list(_sentences(text))):
        said = COPULA.search(text[start:end])
        if said:
            begin = start + said.end()
            brief = len(text[begin:end].split()) <= SAID_WORDS
            return (begin, end) if brief else (0, 0)
    return 0, 0


def _only_number(text: str) -> tuple[int, int]:
    found = list(NUMBER.finditer(text))
    return found[0].span() if len({canonical(m.group())[0] for m in found}) == 1 else (0, 0)


def _sentences(text: str) -> Iterator[tuple[int, int]]:
    start = 0
    while start < len(text):
        end = _sentence_end(text, start)
        if text[start:end].strip():
            yield start, end
        start = end + 1


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
