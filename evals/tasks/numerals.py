"""Other ways to write a number: Roman numerals and number words in several languages.

Number words come from num2words 0.5 (LGPL-2.1, used as a tool; its output is plain language).
Roman numerals are computed here. Regional forms (septante, huitante) are left out.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from evals.tasks.recipe import Recipe, Seed, Variant, asks

TO_ROMAN = (
    "Write {n} as a Roman numeral.",
    "What is {n} in Roman numerals?",
    "Give the Roman numeral for {n}.",
)
FROM_ROMAN = (
    "Which number is the Roman numeral {roman}?",
    "Write the Roman numeral {roman} as an ordinary number.",
)
TO_WORDS = (
    "Write {n} in {language} words.",
    "How do you say {n} in {language}?",
    "What is the {language} word for the number {n}?",
    "Spell out {n} in {language}.",
)
FROM_WORDS = (
    "Which number is the {language} '{words}'?",
    "Write the {language} number '{words}' in digits.",
)
STEPS = (
    (100, "C"),
    (90, "XC"),
    (50, "L"),
    (40, "XL"),
    (10, "X"),
    (9, "IX"),
    (5, "V"),
    (4, "IV"),
    (1, "I"),
)
LANGUAGES = {"french": ("fr", 399), "german": ("de", 399), "spanish": ("es", 399)}


def roman(number: int) -> str:
    """Return ``number`` (1 to 399) as a Roman numeral."""
    text = ""
    for value, letters in STEPS:
        count, number = divmod(number, value)
        text += letters * count
    return text


def number_words(number: int, language: str) -> str:
    """Return ``number`` in the words of ``language`` (one of ``LANGUAGES``)."""
    from num2words import num2words

    words: str = num2words(number, lang=LANGUAGES[language][0])
    return words.replace("\xad", "")


def romans() -> list[Seed]:
    """Numbers from 2 to 399, both ways. 1 is left out: in a sentence ``I`` is a pronoun."""
    seeds = []
    for n in range(2, 400):
        there = asks(TO_ROMAN, "code", roman(n), n=n)
        seeds.append(Seed(str(n), (*there, *asks(FROM_ROMAN, "number", str(n), roman=roman(n)))))
    return seeds


def words(language: str) -> list[Seed]:
    """Numbers from 0 to the language's limit, mostly into words, sometimes back."""
    name = language.title()
    seeds = []
    for n in range(LANGUAGES[language][1] + 1):
        text = number_words(n, language)
        there: list[Variant] = asks(TO_WORDS, "run", text, language, n=n, language=name)
        back = asks(FROM_WORDS, "number", str(n), words=text, language=name)
        seeds.append(Seed(str(n), (*there, *back)))
    return seeds


def _language(language: str) -> Recipe:
    make: Callable[[], list[Seed]] = partial(words, language)
    limit = LANGUAGES[language][1]
    return Recipe(
        language,
        f"{language.title()} number words",
        f"Numbers up to {limit} written in {language.title()} words, and read back; "
        "the numbers tested were never trained on.",
        make,
        sources=("num2words (LGPL-2.1)",),
    )


RECIPES = (
    Recipe(
        "roman",
        "Roman numerals",
        "Numbers up to 399 into Roman numerals and back; the numbers tested were never trained on.",
        romans,
    ),
    *(_language(language) for language in LANGUAGES),
)
