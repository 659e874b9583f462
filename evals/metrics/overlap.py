"""Token F1 against the best of several gold texts, in both versions, and its neighbours."""

from __future__ import annotations

import json
import unicodedata
from collections import Counter
from collections.abc import Sequence

from evals.metrics.exact_match import SHOWN, answer_span, extracted, normalised
from evals.metrics.grade import Grade
from evals.metrics.short_answer import normal
from evals.metrics.thinking import without_thinking


def compatible_f1(text: str, gold: str) -> Grade:
    """Score as the reference library does, defects included.

    A list of golds loses its brackets and quotes and is cut at every comma, so "Washington, D.C."
    is two golds. Without a box the whole text is compared, which punishes it for its length.
    """
    said, span, rule = extracted(text)
    form = normalised(said)
    best = max(token_f1(form.split(), normalised(one).split()) for one in comma_golds(gold))
    return Grade(best, form[:SHOWN], span, rule)


def comma_golds(gold: str) -> list[str]:
    """Return the golds as the reference library cuts them."""
    if not gold.strip().startswith("["):
        return [gold]
    bare = gold.strip().strip("[]").replace('"', "").replace("'", "")
    return [part.strip() for part in bare.split(",")]


def aliases(gold: str) -> tuple[str, ...]:
    """Return every gold text: a JSON list is one, anything else is a single gold."""
    try:
        found = json.loads(gold)
    except ValueError:
        return (gold,)
    if isinstance(found, list) and found and all(isinstance(one, str) for one in found):
        return tuple(found)
    return (gold,)


def corrected_f1(text: str, golds: Sequence[str]) -> Grade:
    """Score the answer that the text settles on by token F1 with the best gold; None without one.

    A text without any mark of an answer is taken whole if it is one sentence.
    """
    shown = without_thinking(text)
    start, end, rule = answer_span(shown)
    if not shown[start:end].strip():
        body = shown.strip()
        if not body or "\n" in body or rule == "boxed":
            return Grade(None, None, None, rule)
        start, rule = shown.index(body), "sentence"
        end = start + len(body)
    said = normal(shown[start:end])
    if not said:
        return Grade(None, None, None, "none")
    best = max(token_f1(said.split(), normal(gold).split()) for gold in golds)
    return Grade(best, shown[start:end].strip()[:SHOWN], (start, end), rule)


def neighbours(text: str, golds: Sequence[str]) -> dict[str, float]:
    """Return what else is reported of such tasks.

    ``exact``: the answer equals a gold. ``contains``: the text names a gold (the measure of PopQA's
    authors). ``characters``: F1 over characters, which the paper names.
    """
    read = corrected_f1(text, golds)
    said, whole = normal(read.parsed or ""), f" {normal(without_thinking(text))} "
    named = [f" {normal(gold)} " for gold in golds if normal(gold)]
    return {
        "exact": float(bool(said) and said in {gold.strip() for gold in named}),
        "contains": float(any(gold in whole for gold in named)),
        "characters": max(_character_f1(said, normal(gold)) for gold in golds),
    }


def token_f1(said: Sequence[str], gold: Sequence[str]) -> float:
    """Return the harmonic mean of precision and recall over a bag of tokens; 0 if nothing is."""
    shared = sum((Counter(said) & Counter(gold)).values())
    return 2 * shared / (len(said) + len(gold)) if shared else 0.0


def _character_f1(said: str, gold: str) -> float:
    letters = [unicodedata.normalize("NFC", text).replace(" ", "") for text in (said, gold)]
    return token_f1(letters[0], letters[1])
