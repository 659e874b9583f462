"""Read which answer a judge's text prefers: "A", "B", "tie" or "unparsed".

Strict on purpose: a refusal, an empty text or two claims that contradict each other are
"unparsed", which is never counted as a tie. English, Chinese, French, Spanish and Arabic wording is
known. A claim in a sentence that negates or questions it does not count.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Literal

Reading = Literal["A", "B", "tie", "unparsed"]

THOUGHT = re.compile(r"<think(?:ing)?>.*?(?:</think(?:ing)?>|\Z)", re.DOTALL | re.IGNORECASE)
MARKUP = str.maketrans(dict.fromkeys("*_`#\"'“”‘’«»「」『』[](){}<>\\", None))
NOUN = (
    r"(?:(?:the|la|le|el|al)\s|l)?(?i:answer|response|option|choice|assistant|r[ée]ponse|respuesta"
    r"|opci[óo]n|答案|回答|回复|选项|الإجابة|الجواب|الرد|الخيار)\s{0,2}"
)
LETTER = rf"(?:{NOUN})?(?<![A-Za-z])([AB])(?![A-Za-z])"
LINK = r"\s{0,2}(?:的(?:回答|答案))?(?:is|was|seems|est|semble|es|parece|هي|هو|是)?\s{0,2}"
DEGREE = (
    r"(?:(?:clearly|much|slightly|far|significantly|overall|definitely|nettement|clairement"
    r"|claramente|mucho|the|la|le|el|一个|明显|略|稍微|更加)\s{0,2}){0,3}"
)
GOOD = (
    r"(?i:better|best|stronger|superior|preferable|preferred|winner|wins\b|meilleure?|pr[ée]f[ée]rable"
    r"|mejor|superieure?|更好|较好|最好|更优|更佳|胜出|أفضل|الأفضل)"
)
CLAIMS = (
    re.compile(LETTER + LINK + DEGREE + GOOD),
    re.compile(LETTER + r"\s{0,2}比\s{0,2}(?:" + NOUN + r")?[AB]\s{0,2}(?:更|要)?好"),
    re.compile(
        GOOD
        + r"(?:\s(?:one|answer|response|choice|r[ée]ponse|respuesta)|的(?:回答|答案)?)?\s{0,2}"
        + r"(?:is|est|es|هي|هو|是|:)\s{0,2}"
        + LETTER
    ),
    re.compile(
        r"(?i:\bI(?:\s?(?:would|will|d))?\s(?:prefer|choose|pick|select|go with|vote for)"
        r"|\bje\s(?:pr[ée]f[èe]re|choisis)|\b(?:prefiero|elijo|escojo)|我(?:选择|选|更喜欢)"
        r"|(?:أختار|أفضّل))\s{0,2}" + LETTER
    ),
    re.compile(
        r"(?i:verdict|judge?ment|answer|choice|winner|conclusion|r[ée]ponse|respuesta|veredicto"
        r"|ganador|gagnant|结论|判断|答案|الحكم|النتيجة)\s{0,2}(?:is|est|es|是|هي|هو|:|=)\s{0,2}:?\s{0,2}"
        + LETTER
        + r"(?=\s?(?:[.,;!。，]|$))"
    ),
    re.compile(r"^([AB])\s?(?:[.,]\s|$)", re.MULTILINE),
)
TIE = re.compile(
    r"(?i:\btied?\b|\ba draw\b|\Adraw\W*\Z|\Aboth\W*\Z|\bneither\b|\bare equal\b(?!\sto)"
    r"|\bequally (?:good|bad|correct|wrong|right|valid|strong|weak|helpful)\b"
    r"|\bboth (?:are|answers are|responses are)\s(?:good|bad|correct|wrong|right|fine)"
    r"|\b[ée]galit[ée]\b|[ée]quivalentes|ex[ -]?aequo|match nul|\baucune\b|les deux se valent"
    r"|\bempat(?:e|an|ados|adas)\b|\bson iguales\b|\bigual de (?:buen|mal)[ao]s\b|\bninguna\b"
    r"|平局|平手|一样好|同样好|不分上下|不相上下|两者相当|打平|تعادل|متساوي|متعادل|متكافئ)"
)
NOT = re.compile(
    r"(?i:\bnot\b|n'?t\b|\bno\b|\bneither\b|\bnor\b|\bnever\b|\bcannot\b|\bcant\b|\bwhether\b|\bif\b"
    r"|\bne\b|\bpas\b|\bni\b|\bsi\b|不是|没有|无法|是否|不能|\bليس|\bلا\b)"
    rf"|比\s{{0,2}}(?:{NOUN})?$"
)
BARE = re.compile(
    rf"(?:(?i:final|my)\s)?(?:(?i:verdict|decision)\s{{0,2}}[:=]\s{{0,2}})?(?:{NOUN})?:?\s{{0,2}}"
    r"([ABTabt])\s{0,2}[.!。:]?"
)
ARABIC = ((re.compile(r"(?<!\w)[أا](?!\w)"), "A"), (re.compile(r"(?<!\w)ب(?!\w)"), "B"))
SPAN = 240
"""Characters in which a negation is looked for; bounded, since texts may be hostile."""
SENTENCE = re.compile(r"[.!?;:：。！？；،\n]")


def read_choice(text: str) -> Reading:
    """Return what a judge's text says; :data:`Reading` 'unparsed' if it says nothing clear."""
    said = plain(text)
    bare = BARE.fullmatch(said)
    if bare:
        letter = bare.group(1).upper()
        return "tie" if letter == "T" else _arm(letter)
    found = {_arm(letter) for letter in _claims(said)} | _ties(said)
    return found.pop() if len(found) == 1 else "unparsed"


def plain(text: str) -> str:
    """Return a text without thinking, mark-up and quotes, on normalised characters."""
    said = unicodedata.normalize("NFKC", THOUGHT.sub(" ", text)).translate(MARKUP)
    for pattern, letter in ARABIC:
        said = pattern.sub(letter, said)
    return re.sub(r"[ \t]+", " ", said).strip()


def _claims(said: str) -> list[str]:
    """The letters of every claim that its sentence does not negate."""
    return [
        match.group(1)
        for pattern in CLAIMS
        for match in pattern.finditer(said)
        if not NOT.search(_before(said, match.start()))
    ]


def _ties(said: str) -> set[Reading]:
    """'tie' if the text says so; "neither" and its like say it by negating."""
    for match in TIE.finditer(said):
        before = _before(said, match.start())
        if not NOT.search(before):
            return {"tie"}
    return set()


def _before(said: str, place: int) -> str:
    """The part of the sentence that comes before ``place``, not more than ``SPAN`` of it."""
    return SENTENCE.split(said[max(0, place - SPAN) : place])[-1]


def _arm(letter: str) -> Reading:
    return "A" if letter == "A" else "B"
