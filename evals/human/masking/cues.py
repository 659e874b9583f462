"""Whether an ambiguous name is meant as a model or its maker, judged by the sentence around it.

"The mistral blows" stays, "I am Mistral", "Mistral 7B" and "a language model by Mistral" do not.
All patterns work on canonical text: lower case, no accents, straight quotes.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from evals.human.masking import phrases
from evals.human.masking.find import Match
from evals.human.masking.fold import PLACE, Folded, fold_text

_END = re.compile(r"[.!?؟।]+(?=[\s\"')\]]|\Z)|[。！？]+|\n+")
_SIZE = re.compile(r"\d[.\d]*b\d?(?![^\W_])|\d+x\d+b")
_DECIMAL = re.compile(r"[-_ ]?v?\d+\.\d")
_WHOLE_NUMBER = re.compile(r"[-_ ]?[vkr]?\d{1,2}(?!\d)")
_FLAVOUR = re.compile(r"[-_./: ][a-z]")
_JOINED = re.compile(r"[-_/@]")
WINDOW = 300
"""So many characters of a long sentence are looked at on each side of a name."""


@dataclass(frozen=True, slots=True)
class Sentence:
    """The sentence of a match: canonical text before and after it, and what is known about it.

    ``evidence``: it has another hidden name. ``about_models``: it speaks of language models.
    ``capitals``: it has capital letters at all.
    """

    before: str
    after: str
    evidence: bool
    about_models: bool
    capitals: bool


@dataclass(frozen=True, slots=True)
class Asked:
    """The question that a text answers, in canonical form; empty if it is none or not known."""

    text: str = ""
    who: bool = False

    @classmethod
    def of(cls, question: str, text: Folded) -> Asked:
        """Read the question; a text without one is looked at as a question itself."""
        canonical = fold_text(question)
        return cls(canonical, bool(phrases.ASKS_WHO.search(canonical or text.text)))


def sentence_ends(text: Folded) -> list[int]:
    """Return the canonical positions where sentences end, the end of the text included."""
    return [*(found.end() for found in _END.finditer(text.text)), len(text.text)]


def meant(match: Match, text: Folded, sentence: Sentence, asked: Asked) -> bool:
    """Whether the name is meant, given the sentence and the question that the text answers."""
    marked = _marked(match, text, sentence)
    if _cased(match, text) or _touches_place(match, text) or _spelt_as_id(match, text):
        return True
    if match.name.kind in ("own", "title") and _capital_within(match, text, sentence):
        return True
    if match.name.kind == "title":
        return False
    if marked and (asked.who or sentence.evidence or sentence.about_models):
        return True
    if match.name.kind == "lab":
        return _maker(sentence, marked)
    return (
        _version(match, text, marked)
        or _says_me(sentence, marked)
        or _beside_model_word(sentence, marked)
        or _maker(sentence, marked)
        or (marked and _label(match, text, asked))
    )


def _marked(match: Match, text: Folded, sentence: Sentence) -> bool:
    """Whether the spelling is that of a name: a capital, a script without them, or none at all."""
    raw = text.original[text.start[match.start] : text.end[match.start]]
    uncased = raw.lower() == raw.upper()
    return uncased or text.capital(match.start) or not sentence.capitals


def _cased(match: Match, text: Folded) -> bool:
    raw = text.original[text.start[match.start] : text.end[match.core - 1]]
    letters = "".join(c for c in unicodedata.normalize("NFKC", raw) if c.isalnum())
    plain = {casing.replace(" ", "") for casing in match.name.casings}
    return letters in plain or letters.removesuffix("s") in plain


def _touches_place(match: Match, text: Folded) -> bool:
    """Whether only a joiner stands between the name and a name hidden before."""
    before, after = text.text[: match.start][-2:], text.text[match.end :][:2]
    return bool(
        (before[:1] == PLACE and _JOINED.match(before[1:]))
        or (after[1:] == PLACE and _JOINED.match(after))
    )


def _spelt_as_id(match: Match, text: Folded) -> bool:
    """Whether a study's own name of several words is spelt with '-' or '_', as its id is."""
    core = text.text[match.start : match.core]
    several = match.name.kind in ("own", "title") and len(match.name.words) > 1
    return several and bool(re.fullmatch(r"\w+(?:[-_]\w+)+|\w+_\w+", core))


def _capital_within(match: Match, text: Folded, sentence: Sentence) -> bool:
    """Whether an ordinary word has a capital for which the start of a sentence is no reason."""
    return text.capital(match.start) and bool(re.search(r"\w", sentence.before))


def _label(match: Match, text: Folded, asked: Asked) -> bool:
    """Whether an answer starts with a name as with its speaker's, and was not asked about it."""
    first = not re.search(r"\w", text.text[: match.start])
    labelled = first and phrases.LABEL.match(text.text[match.end :])
    return bool(labelled and asked.text and match.name.letters not in asked.text)


def _version(match: Match, text: Folded, marked: bool) -> bool:
    """Whether a version, size or flavour follows, as in "Llama 3.1", "gemma-2b", "Gemini Pro"."""
    tail = match.tail(text)
    if not tail or tail.isspace():
        return False
    if _SIZE.search(tail):
        return True
    joined = marked or not tail.startswith(" ")
    if match.name.numbered and _WHOLE_NUMBER.match(tail):
        return joined
    return joined and bool(_DECIMAL.match(tail) or _FLAVOUR.search(tail))


def _says_me(sentence: Sentence, marked: bool) -> bool:
    """Whether the writer says that this is who it is."""
    found = phrases.ME.search(sentence.before)
    if found:
        direct = not found.group("filler")
        closed = bool(phrases.CLOSED.match(sentence.after))
        return marked or (direct and closed) or bool(phrases.AI_WORD.search(found.group("filler")))
    here = phrases.HELLO.fullmatch(sentence.before) and phrases.HERE.match(sentence.after)
    as_name = phrases.AS.search(sentence.before) and phrases.COMMA_I.match(sentence.after)
    this = phrases.THIS_IS.search(sentence.before) and phrases.HELP.match(sentence.after)
    return marked and bool(here or as_name or this)


def _beside_model_word(sentence: Sentence, marked: bool) -> bool:
    if phrases.SETTING.search(sentence.before) or phrases.SITE.match(sentence.after):
        return True
    if phrases.SURE_AFTER.match(sentence.after) or phrases.NAMED.search(sentence.before):
        return True
    return marked and bool(
        phrases.MODEL_AFTER.match(sentence.after)
        or phrases.APPOSED.match(sentence.after)
        or phrases.MODEL_BEFORE.search(sentence.before)
    )


def _maker(sentence: Sentence, marked: bool) -> bool:
    """Whether the name is given as who made the writer."""
    if phrases.MADE_ME.match(sentence.after) or phrases.MY_MAKER.search(sentence.before):
        return True
    if phrases.SITE.match(sentence.after) or phrases.SURE_AFTER.match(sentence.after):
        return marked
    by = phrases.MADE_BY.search(sentence.before)
    if not by and not phrases.MADE_AFTER.match(sentence.after):
        return False
    made = sentence.before[: by.start()] if by else sentence.before
    return bool(
        sentence.about_models
        or phrases.AI_WORD.search(made)
        or phrases.I_WAS.search(made)
        or phrases.SO_I.search(sentence.after)
    )
