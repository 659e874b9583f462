"""Find the short answer in what a model wrote, and compare it with the gold one.

Lenient on purpose: a chatty model that says "The sum of 3 and 4 is 7." is as right as one that says
"7". Whatever merely repeats the question is set aside first; then an explicit cue ("the answer
is", "=") decides, else the last candidate. It knows shapes (numbers, codes, times, word runs), not
subjects, and it never guesses: with no candidate at all the answer is unscored.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from functools import lru_cache

from evals.tasks.core import Item, Kind


@dataclass(frozen=True, slots=True)
class Score:
    """``value`` is 1.0, 0.0 or None (nothing to score); ``parsed`` the answer as understood.

    ``rule`` says how it was found: ``only``, ``cue``, ``last``, ``longest``, ``listing``,
    ``empty`` or ``no candidate``. ``span`` is where ``parsed`` stands in the answer's text, if it
    stands there in one piece.
    """

    value: float | None
    parsed: str | None
    rule: str
    span: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class _Found:
    """A candidate: its comparable form and where it starts in the text."""

    form: str
    start: int


NUMBER = re.compile(r"(?<![\w.])[-\u2212]?(?:\d{1,3}(?:,\d{3})+(?!,?\d)|\d+)(?:\.\d+)?(?!\d|\.\d)")
CODE = re.compile(r"(?<![\w])[A-Z][A-Za-z]?(?![\w'])|(?<![\w])[A-Z]{2,}(?![\w'])")
TIME = re.compile(r"(?<![\d:])(\d{1,2})[:.h](\d{2})(?::\d{2})?(?!\d)\s*([aApP])?\.?(?:[mM]\b)?")
CUE = re.compile(r"\banswer(?: is)?\b|\bis\b|\bare\b|\bequals\b|=|->|\u2192|:(?=\s)", re.IGNORECASE)
CUE_REACH = 24
LONGEST = 200  # characters of a form that is looked up in the text
RULES = 2  # raise it whenever some answer's score changes: stored results are then measured again
NOT_CODES = frozenset(
    [
        "A",
        "I",
        "In",
        "Is",
        "It",
        "As",
        "At",
        "He",
        "Be",
        "No",
        "So",
        "To",
        "We",
        "On",
        "Of",
        "Or",
        "If",
        "An",
        "By",
        "My",
        "Do",
        "Go",
        "Us",
        "Am",
    ]
)
# Bounded, and never over a line: a flood of line breaks would take minutes.
LIST_MARK = re.compile(r"^[^\S\n]{0,40}\d{1,2}[.)]\s+", re.MULTILINE)
WORD = re.compile(r"[^\W_]+")


def score(item: Item, answer_text: str) -> Score:
    """Score one answer against one item.

    A gold alias counts like the answer itself. ``Score.value`` is None when the text is empty or
    has nothing of the wanted kind in it.
    """
    text = _clean(answer_text)
    if not text:
        return Score(None, None, "empty")
    found = _score(item, text)
    return replace(found, span=_span(answer_text, found.parsed)) if found.parsed else found


def _score(item: Item, text: str) -> Score:
    golds = {_gold(item.kind, gold) for gold in (item.answer, *item.aliases)}
    if item.kind == "choice":
        return _score_choice(item, text)
    found = _fresh(_find(item, text), _find(item, _clean(item.question)), golds)
    if not found:
        return Score(None, None, "no candidate")
    form, rule = _longest(found) if item.kind == "run" else _settle(found, text)
    return Score(float(form in golds), form, rule)


def _span(text: str, parsed: str) -> tuple[int, int] | None:
    """Where the parsed form stands in the text as written, the last time it does.

    Case, accents' encoding, thousands' commas and the space before "pm" may differ from the form.
    """
    if len(parsed) > LONGEST:
        return None
    pieces = [re.escape(part) for part in re.findall(r"[^\W_]|[^\w\s]", parsed)]
    pattern = r"[\s,\-\u2011*_`.]{0,3}".join(pieces)
    whole = rf"(?<![^\W_]){pattern}(?![^\W_])"
    found = list(re.finditer(whole, text, re.IGNORECASE) if pieces else ())
    found = found or list(re.finditer(pattern, text, re.IGNORECASE) if pieces else ())
    return found[-1].span() if found else None


def _clean(text: str) -> str:
    """Return ``text`` in NFC without markup, list numbers and surrounding space."""
    plain = unicodedata.normalize("NFC", text).replace("\u2212", "-")
    plain = re.sub(r"[*`$\u00ad]|\\boxed", "", plain)
    return LIST_MARK.sub("", plain).strip()


def _find(item: Item, text: str) -> list[_Found]:
    """List every candidate of the item's kind in ``text``, in reading order."""
    if item.kind == "run":
        return _runs(text, _vocabulary(item.candidates or (item.answer, *item.aliases)))
    pattern, form = _SHAPES[item.kind]
    found = [_Found(form(match), match.start()) for match in pattern.finditer(text)]
    if item.kind == "code":
        return [one for one in found if one.form == item.answer or one.form not in NOT_CODES]
    return found


def _fresh(found: list[_Found], asked: list[_Found], golds: set[str]) -> list[_Found]:
    """Drop what only repeats the question, unless nothing is left or the gold is among it.

    Where the question holds its own answer ("90 - 45"), naming it is no sign of knowing it, so
    position alone decides.
    """
    known = {one.form for one in asked}
    if known & golds:
        return found
    return [one for one in found if one.form not in known] or found


def _settle(found: list[_Found], text: str) -> tuple[str, str]:
    """Choose among candidates: the only one, the first after the last useful cue, or the last."""
    if len({one.form for one in found}) == 1:
        return found[0].form, "only"
    for cue in reversed(list(CUE.finditer(text))):
        after = [one for one in found if one.start >= cue.end()]
        if after and after[0].start - cue.end() <= CUE_REACH:
            return after[0].form, "cue"
    return found[-1].form, "last"


def _longest(found: list[_Found]) -> tuple[str, str]:
    """Choose the run with most words; stray function words ("et", "y") lose to a real number."""
    best = max(found, key=lambda one: (len(one.form.split()), len(one.form), one.start))
    return best.form, "only" if len(found) == 1 else "longest"


def _score_choice(item: Item, text: str) -> Score:
    """Score a closed choice: right when a gold is named and no rival outside the question is."""
    golds = {normal(gold) for gold in (item.answer, *item.aliases)}
    said, asked = normal(text), normal(item.question)
    rivals = {normal(one) for one in item.candidates} - golds
    named = {one for one in rivals if _has(said, one) and not _has(asked, one)}
    right = {one for one in golds if _has(said, one)}
    named = {one for one in named if not any(_has(gold, one) for gold in right)}
    if right and not named:
        return Score(1.0, min(right), "only")
    if right or len(named) > 1:
        return Score(0.0, None, "listing")
    if named:
        return Score(0.0, named.pop(), "only")
    echoed = sorted(one for one in rivals if _has(said, one))
    return Score(0.0, echoed[0], "last") if echoed else Score(None, None, "no candidate")


def normal(text: str) -> str:
    """Return casefolded NFC words joined by single spaces; accents stay, punctuation goes."""
    return " ".join(WORD.findall(unicodedata.normalize("NFC", text).casefold()))


def _has(text: str, phrase: str) -> bool:
    """Tell whether the normal ``phrase`` stands in the normal ``text`` as whole words."""
    return f" {phrase} " in f" {text} "


@lru_cache(maxsize=256)
def _vocabulary(answers: tuple[str, ...]) -> frozenset[str]:
    return frozenset(word for answer in answers for word in normal(answer).split())


def _runs(text: str, vocabulary: frozenset[str]) -> list[_Found]:
    """Return the longest stretches of neighbouring words that all belong to ``vocabulary``.

    Words are neighbours when only spaces, commas or hyphens stand between them.
    """
    runs: list[_Found] = []
    end = -1
    for match in WORD.finditer(text):
        word = unicodedata.normalize("NFC", match.group().casefold())
        if word in vocabulary:
            joined = runs and end >= 0 and not text[end : match.start()].strip(" ,-\u2011\u2010")
            if joined:
                runs[-1] = _Found(f"{runs[-1].form} {word}", runs[-1].start)
            else:
                runs.append(_Found(word, match.start()))
        end = match.end() if word in vocabulary else -1
    return runs


def _number(match: re.Match[str]) -> str:
    return number_form(match.group())


def number_form(text: str) -> str:
    """Return a number in one spelling: ``1,200.0`` becomes ``1200``, ``-0`` becomes ``0``."""
    try:
        value = Decimal(text.replace(",", "").replace("\u2212", "-"))
    except InvalidOperation:
        return text
    return format(value.normalize() + 0, "f")


def _time(match: re.Match[str]) -> str:
    half = (match.group(3) or "").lower()
    return f"{int(match.group(1))}:{match.group(2)}{half and ' ' + half + 'm'}"


def _gold(kind: Kind, gold: str) -> str:
    """Return a gold answer in the form that candidates are compared in."""
    if kind == "number":
        return number_form(gold)
    if kind == "run" or kind == "choice":
        return normal(gold)
    pattern, form = _SHAPES[kind]
    match = pattern.fullmatch(gold)
    if match is None:
        raise ValueError(f"The gold answer {gold!r} is not a {kind}.")
    return form(match)


_SHAPES: dict[Kind, tuple[re.Pattern[str], Callable[[re.Match[str]], str]]] = {
    "number": (NUMBER, _number),
    "code": (CODE, lambda match: match.group()),
    "time": (TIME, _time),
}
