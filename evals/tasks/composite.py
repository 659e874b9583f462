"""Questions that need two specialists: one finds a value, another says it in its own way.

No model is trained on these. Both names are in the item's domain, joined by ``+``. The skills are
those of the single tasks; nothing here asks for a third.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from evals.tasks.chemistry import elements
from evals.tasks.clock import twelve_hour
from evals.tasks.core import Kind
from evals.tasks.geography import countries, spoken
from evals.tasks.letters import code_words
from evals.tasks.numerals import number_words, roman
from evals.tasks.recipe import Recipe, Seed, Variant, shuffled
from evals.tasks.units import FACTORS

PER_KIND = 16
Made = tuple[str, str, str, Kind, str]


def _sums() -> Iterator[tuple[str, int, str]]:
    """Yield (what to work out, its value, the skill): sums that stay below 400."""
    pairs = [f"{a},{b}" for a in range(11, 100) for b in range(11, 100)]
    for key in shuffled("composite-sums", pairs):
        a, b = (int(part) for part in key.split(","))
        yield f"{a} + {b}", a + b, "addition"


def _products() -> Iterator[tuple[str, int, str]]:
    pairs = [f"{a},{b}" for a in range(12, 100) for b in range(2, 10) if a * b < 400]
    for key in shuffled("composite-products", pairs):
        a, b = (int(part) for part in key.split(","))
        yield f"{a} x {b}", a * b, "multiplication"


def _amounts() -> Iterator[tuple[str, int, str]]:
    keys = [f"{n} {large} {small}" for n in range(2, 30) for large, small, _ in FACTORS]
    factor = {(large, small): many for large, small, many in FACTORS}
    for key in shuffled("composite-units", keys):
        n, large, small = key.split(" ")
        value = int(n) * factor[large, small]
        if value < 400:
            yield f"the number of {small} in {n} {large}", value, "units"


def _protons() -> Iterator[tuple[str, int, str]]:
    by_name = {name: number for number, name, _ in elements()}
    for name in shuffled("composite-elements", by_name):
        yield f"the atomic number of {name}", by_name[name], "elements"


def _calling() -> Iterator[tuple[str, int, str]]:
    by_name = {spoken(row["name"]): int(row["phone"].strip("+")) for row in countries()}
    for name in shuffled("composite-calling", by_name):
        if by_name[name] < 400:
            yield f"the telephone country code of {name}", by_name[name], "calling"


def _in_words(language: str, values: Iterator[tuple[str, int, str]]) -> Iterator[Made]:
    for what, value, skill in values:
        question = f"Write {what} in {language.title()} words."
        yield question, number_words(value, language), f"{skill}+{language}", "run", language


def _in_roman(values: Iterator[tuple[str, int, str]]) -> Iterator[Made]:
    for what, value, skill in values:
        if value > 1:
            question = f"Write {what} as a Roman numeral."
            yield question, roman(value), f"{skill}+roman", "code", ""


def _spelled() -> Iterator[Made]:
    """Yield currency codes and symbols to be spelled with the radio alphabet."""
    by_name = {spoken(row["name"]): row["currencycode"] for row in countries()}
    for name in shuffled("composite-spelling", by_name):
        question = f"Spell the currency code of {name} in the NATO alphabet."
        words = code_words(by_name[name])
        yield question, words, "currencies+spelling", "run", "spelling"


def _later() -> Iterator[Made]:
    """Yield clock times that are reached after a number of minutes given as hours."""
    keys = [f"{hour},{minute},{n}" for hour in range(24) for minute in range(60) for n in (2, 3, 4)]
    for key in shuffled("composite-clock", keys):
        hour, minute, n = (int(part) for part in key.split(","))
        time = f"{hour:02d}:{minute:02d}"
        question = f"It is {time}. What is the 12-hour time, with AM or PM, {n * 60} minutes later?"
        yield question, twelve_hour((hour + n) % 24, minute), "units+clock", "time", ""


def questions() -> list[Seed]:
    """An equal share of every pairing."""
    pairings = (
        _in_words("french", _sums()),
        _in_words("german", _amounts()),
        _in_words("spanish", _protons()),
        _in_words("french", _calling()),
        _in_roman(_amounts()),
        _in_roman(_protons()),
        _in_roman(_products()),
        _spelled(),
        _later(),
    )
    made = [one for pairing in pairings for one in islice(pairing, PER_KIND)]
    return [Seed(made_one[0], (_variant(*made_one),)) for made_one in made]


def _variant(question: str, answer: str, domain: str, kind: Kind, group: str) -> Variant:
    return Variant(question, answer, kind, group, domain=domain)


RECIPES = (
    Recipe(
        "composite",
        "Two skills at once",
        "One skill finds a value, another says it: no specialist was trained on such questions.",
        questions,
        sources=("the sources of the single tasks",),
        sizes=(("test", 100), ("dev", 44), ("train", 0)),
    ),
)
