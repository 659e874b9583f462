"""Unit conversion with whole-number factors, generated from exact definitions.

It knows metric prefixes, time, dozens and a few customary units that are whole multiples of each
other. It does not know inexact conversions (miles to kilometres).
"""

from __future__ import annotations

from evals.tasks.recipe import Recipe, Seed, asks, shuffled

FACTORS = (
    ("metres", "centimetres", 100),
    ("kilometres", "metres", 1000),
    ("centimetres", "millimetres", 10),
    ("kilograms", "grams", 1000),
    ("litres", "millilitres", 1000),
    ("hours", "minutes", 60),
    ("minutes", "seconds", 60),
    ("weeks", "days", 7),
    ("days", "hours", 24),
    ("years", "months", 12),
    ("feet", "inches", 12),
    ("yards", "feet", 3),
    ("dozens", "pieces", 12),
    ("euros", "cents", 100),
    ("decades", "years", 10),
    ("pounds", "ounces", 16),
)
DOWN = (
    "How many {small} are {n} {large}?",
    "Convert {n} {large} to {small}.",
    "{n} {large} in {small}: how many?",
)
UP = (
    "How many {large} are {n} {small}?",
    "Convert {n} {small} to {large}.",
    "{n} {small} in {large}: how many?",
)
LIMIT = 49


def convert() -> list[Seed]:
    """Amounts from 2 to 49 of the larger unit, both ways."""
    units = {f"{large}/{small}": factor for large, small, factor in FACTORS}
    keys = [f"{n} {pair}" for n in range(2, LIMIT + 1) for pair in units]
    seeds = []
    for key in shuffled("units", keys):
        amount, pair = key.split(" ")
        (large, small), n = pair.split("/"), int(amount)
        many = n * units[pair]
        names = {"large": large, "small": small}
        ways = asks(DOWN, "number", str(many), n=n, **names)
        seeds.append(Seed(key, (*ways, *asks(UP, "number", str(n), n=many, **names))))
    return seeds


RECIPES = (
    Recipe(
        "units",
        "Unit conversion",
        "Lengths, weights, volumes, times and counts between units with whole factors; "
        "the amounts tested were never trained on.",
        convert,
    ),
)
