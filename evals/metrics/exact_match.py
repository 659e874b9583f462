"""Exact match: the answer in the box against the gold text, in both versions."""

from __future__ import annotations

import re
import string

from evals.metrics.grade import Grade

BOXED = re.compile(r"\\box(?:ed)?\{(.*?)\}", re.DOTALL)
BARE_BOX = re.compile(r"\\box(?:ed)?\s+([^\n]+)")
CUED = re.compile(r"(?:final answer|the answer is|answer)\s*(?::|is)?\s*([^\n]+)", re.IGNORECASE)
PUNCTUATION = str.maketrans("", "", string.punctuation)


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
