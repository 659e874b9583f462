"""Texts and names in one canonical spelling, with the way back to the original characters.

Canonical means: compatibility forms resolved (full-width, mathematical, circled letters), accents
and invisible characters gone, case folded, letters of other scripts that look like Latin ones
turned into these, markdown emphasis and inline HTML dropped, HTML entities read.
"""

from __future__ import annotations

import html
import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

from confusable_homoglyphs.confusables import confusables_data

PLACEHOLDER = "[model]"
PLACE = "ꟷ"
"""What a placeholder in a text becomes in its canonical form: a letter that no language uses, so
that it joins and separates words as the name did that it stands for."""

_UNIT = re.compile(
    r"&(?:#\d{1,7}|#x[0-9a-f]{1,6}|[a-z]{2,8}\d{0,2});"
    r"|</?(?:b|i|u|s|em|strong|del|ins|mark|sub|sup|span|font|code|small|big|wbr|tt|kbd|a)\b"
    r"[^<>\n]{0,80}>"
    r"|\\[_*`~.\-\[\]()#+!]"
    r"|" + re.escape(PLACEHOLDER) + r"|.",
    re.IGNORECASE | re.DOTALL,
)
_EMPHASIS = frozenset("*~`")
_UNSEEN = frozenset("ـ⠀ㅤᅟᅠ")
"""Arabic tatweel and characters that print as nothing without being format characters."""
_ACCENT = re.compile(
    "[\u0300-\u036f\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06ed\u1ab0-\u1aff"
    "\u1dc0-\u1dff\u20d0-\u20ff\u3099\u309a\ufe00-\ufe0f\ufe20-\ufe2f\U000e0100-\U000e01ef]"
)
"""Marks over and under letters; the vowel signs of Indic scripts are letters of a kind and stay."""
_ALIKE_SCRIPTS = (
    "LATIN", "CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE", "COPTIC", "LISU", "GEORGIAN",
    "MATHEMATICAL", "REGIONAL", "NEGATIVE", "SQUARED", "SCRIPT", "TAG",
)  # fmt: skip
_NAMED_LETTER = re.compile(r"\b(?:LETTER|CAPITAL|SMALL) ([A-Z])\b")
_MORE_ALIKE = {"ε": "e", "ω": "w", "ш": "w", "п": "n", "η": "n", "ǫ": "q"}
"""Likenesses that Unicode's table leaves out because serifs tell them apart."""
_QUOTES = dict.fromkeys("’‘ʼ＇´′", "'") | dict.fromkeys("“”„«»「」『』《》＂", '"')
_LOOKS = str.maketrans({"i": "l", "1": "l", "0": "o", "3": "e", "4": "a", "5": "s", "7": "t"})


@dataclass(frozen=True, slots=True)
class Folded:
    """A canonical text. ``start[k]``, ``end[k]``: where canonical character ``k`` came from."""

    original: str
    text: str
    start: tuple[int, ...]
    end: tuple[int, ...]

    def touching(self, left: int) -> bool:
        """Whether canonical characters ``left`` and ``left + 1`` touch in the original."""
        return self.end[left] >= self.start[left + 1]

    def capital(self, index: int) -> bool:
        """Whether canonical character ``index`` was written as a capital."""
        raw = self.original[self.start[index] : self.end[index]]
        return any(c.isupper() for c in unicodedata.normalize("NFKC", html.unescape(raw)))


def fold(text: str) -> Folded:
    """Return ``text`` in canonical form."""
    chars: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    for unit in _UNIT.finditer(text):
        for char in _fold_unit(unit.group()):
            chars.append(char)
            starts.append(unit.start())
            ends.append(unit.end())
    return Folded(text, "".join(chars), tuple(starts), tuple(ends))


def fold_text(text: str) -> str:
    """Return the canonical form alone."""
    return fold(text).text


def skeleton(canonical: str) -> str:
    """Return what canonical letters and digits look like: 1, i and l are one, as are 0 and o."""
    return canonical.translate(_LOOKS)


def _fold_unit(unit: str) -> str:
    if len(unit) == 1:
        return fold_char(unit)
    if unit == PLACEHOLDER:
        return PLACE
    if unit[0] == "\\":
        return fold_char(unit[1])
    if unit[0] == "<":
        return ""
    meant = html.unescape(unit)
    return "".join(map(fold_char, meant))


@lru_cache(maxsize=1 << 16)
def fold_char(char: str) -> str:
    """Return the canonical form of one character: usually one, sometimes none or more."""
    if char in _EMPHASIS or char in _UNSEEN or char == PLACE:
        return ""
    if char.isspace():
        return "\n" if char in "\n\r\u2028\u2029" else " "
    if unicodedata.category(char) in ("Cf", "Me", "Cc", "Cs", "Co") or _ACCENT.match(char):
        return ""
    if char in _MORE_ALIKE or char in _QUOTES:
        return _MORE_ALIKE.get(char) or _QUOTES[char]
    parts = unicodedata.normalize("NFKD", char)
    bare = _ACCENT.sub("", parts)
    joined = unicodedata.normalize("NFC", bare)
    return "".join(c.lower() if c.isascii() else _latin(c) for c in joined)


def _latin(char: str) -> str:
    """The Latin letter that a letter of an alphabet looks like, else the letter in lower case."""
    small = char.casefold()
    name = unicodedata.name(char, "")
    if not name.startswith(_ALIKE_SCRIPTS):
        return small
    # A capital is looked up first: Greek capital nu looks like N, the small one like v.
    found = _confusable(char) or _MORE_ALIKE.get(small) or _confusable(small)
    found = found or _confusable(char.upper())
    named = None if name.startswith(("CYRILLIC", "GREEK")) else _NAMED_LETTER.search(name)
    return found or (named.group(1).lower() if named else small)


def _confusable(char: str) -> str:
    for twin in confusables_data.get(char, ()):
        if len(twin["c"]) == 1 and twin["c"].isascii() and twin["c"].isalpha():
            return str(twin["c"]).lower()
    return ""
