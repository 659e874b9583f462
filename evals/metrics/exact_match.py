"""Exact match: the answer in the box against the gold text, in both versions."""

from __future__ import annotations

import re
import string
from collections.abc import Collection
from typing import Literal

from evals.metrics.choice import corrected_choice
from evals.metrics.grade import Grade
from evals.metrics.latex import same_maths
from evals.metrics.short_answer import normal
from evals.metrics.thinking import without_thinking
from protocols.lib.parsing import BOX, canonical, read_answer, sentences

GoldKind = Literal["letter", "number", "brackets", "label", "maths", "text"]
BOXED = re.compile(r"\\box(?:ed)?\{(.*?)\}", re.DOTALL)
BARE_BOX = re.compile(r"\\box(?:ed)?\s+([^\n]+)")
CUED = re.compile(r"(?:final answer|the answer is|answer)\s*(?::|is)?\s*([^\n]+)", re.IGNORECASE)
PUNCTUATION = str.maketrans("", "", string.punctuation)
BRACKETS = re.compile(r"[\[\](){}<>\s]+")
MATHS = re.compile(r"[\\^_{}]|\d[a-z]|[a-z]\d|[(\[].*,.*[)\]]|[a-z]\s*[-+*/=]|[-+*/=]\s*[a-z]")


def compatible_exact(text: str, gold: str) -> Grade:
    """Score as the reference library does, defects included.

    The last box up to its *first* closing brace, else the first cue, else the whole text; then
    lower case without punctuation and articles. So "-5" equals "5", "A" equals nothing at all, and
    nested braces are cut. Nothing is ever unparsed: an empty answer is compared like any other.
    """
    found, span, rule = extracted(text)
    form = normalised(found)
    return Grade(float(form == normalised(gold)), form, span, rule)


def extracted(text: str) -> tuple[str, tuple[int, int], str]:
    """Return what the reference library takes for the answer, with its span and the rule."""
    boxes = list(BOXED.finditer(text)) or list(BARE_BOX.finditer(text))
    if boxes:
        return boxes[-1].group(1), boxes[-1].span(1), "box"
    cued = CUED.search(text)
    if cued:
        return cued.group(1), cued.span(1), "first cue"
    return text, (0, len(text)), "whole"


def normalised(text: str) -> str:
    """Return lower-case words without ASCII punctuation and the articles a, an and the."""
    plain = text.lower().translate(PUNCTUATION)
    return " ".join(re.sub(r"\b(?:a|an|the)\b", " ", plain).split())


def corrected_exact(text: str, gold: str, labels: Collection[str] = ()) -> Grade:
    """Score what the text settles on in the gold's own kind; None if it settles on nothing.

    Letters and labels are read like choices, numbers and maths compare by value, brackets
    character by character, anything else as words. ``labels`` are all answers that the item's kind
    of question can have, where these are few.
    """
    shown, kind = without_thinking(text), gold_kind(gold, labels)
    if kind == "letter":
        options = dict.fromkeys(LETTERS if gold.strip("() ") not in labels else labels, "")
        return corrected_choice(shown, options, gold.strip("() "))
    if kind == "label":
        options = {label: label for label in labels}
        return corrected_choice(shown, options, gold)
    if kind == "brackets":
        return _brackets(shown, gold)
    start, end, rule = answer_span(shown)
    said = shown[start:end].strip()
    if not said:
        return Grade(None, None, None, rule)
    same = same_maths(said, gold) if kind in ("number", "maths") else _same_words(said, gold)
    return Grade(float(same), said[:SHOWN], (start, end), rule)


LETTERS = tuple("ABCDEFGHIJKLMNOPQR")
SHOWN = 200
"""Characters of a parsed answer that are kept."""


def gold_kind(gold: str, labels: Collection[str] = ()) -> GoldKind:
    """What a gold answer is, by its looks."""
    bare = gold.strip()
    if re.fullmatch(r"\(?[A-R]\)?", bare):
        return "letter"
    if bare and BRACKETS.fullmatch(bare):
        return "brackets"
    if canonical(bare)[1] == "number":
        return "number"
    if bare in labels:
        return "label"
    return "maths" if MATHS.search(bare) else "text"


def answer_span(text: str) -> tuple[int, int, str]:
    """Where a text's answer stands: the last box with balanced braces, else by the other rules."""
    boxes = list(BOX.finditer(text))
    if boxes:
        begin = boxes[-1].end()
        return begin, balanced(text, begin), "boxed"
    bare = list(BARE_BOX.finditer(text))
    if bare:
        begin, end = bare[-1].span(1)
        return begin, begin + len(text[begin:end].rstrip(" .$")), "boxed"
    found = read_answer(text)
    if found.parsed:
        return *found.span, found.rule
    return 0, 0, found.rule


def balanced(text: str, begin: int) -> int:
    """Return where the brace that was opened before ``begin`` closes, else the end of the line."""
    depth = 1
    for at in range(begin, len(text)):
        depth += (text[at] == "{") - (text[at] == "}")
        if depth == 0:
            return at
    line = text.find("\n", begin)
    return len(text) if line < 0 else line


def _brackets(text: str, gold: str) -> Grade:
    """The last run of brackets in the box, after the last cue or in the last sentence."""
    boxes = list(BOX.finditer(text))
    # The box's own closing brace is no bracket of the answer.
    start, end = (boxes[-1].end(), _box_end(text, boxes[-1].end())) if boxes else _tail(text)
    runs = [one for one in BRACKETS.finditer(text, start, end) if one.group().strip()]
    if not runs:
        return Grade(None, None, None, "none")
    last = runs[-1]
    said = "".join(last.group().split())
    rule = "boxed" if boxes else "last"
    return Grade(float(said == "".join(gold.split())), said[:SHOWN], last.span(), rule)


def _box_end(text: str, begin: int) -> int:
    """The last brace of the box's line, as brackets inside need not be balanced."""
    line = text.find("\n", begin)
    stop = len(text) if line < 0 else line
    last = text.rfind("}", begin, stop)
    return last if last >= 0 else stop


def _tail(text: str) -> tuple[int, int]:
    found = list(sentences(text))
    return found[-1] if found else (0, 0)


def _same_words(said: str, gold: str) -> bool:
    left, right = canonical(said)[0], canonical(gold)[0]
    if left is None or right is None:
        return bool(normal(said)) and normal(said) == normal(gold)
    return left == right
