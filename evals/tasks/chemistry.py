"""Chemical elements: symbols, names and atomic numbers.

Facts come from periodictable 2.1 (public domain). Only the first 54 elements are asked about, and
nothing about their properties.
"""

from __future__ import annotations

from evals.tasks.recipe import Recipe, Seed, Variant, asks

SYMBOL = (
    "What is the chemical symbol of {name}?",
    "Give the symbol for the element {name}.",
    "Which symbol stands for {name} in the periodic table?",
    "How is {name} written as a chemical symbol?",
)
SYMBOL_UNSEEN = (
    "Chemists shorten {name} to which symbol?",
    "In a chemical formula, what stands for {name}?",
)
NUMBER = (
    "What is the atomic number of {name}?",
    "How many protons does an atom of {name} have?",
    "Give the atomic number of the element {name}.",
    "Which atomic number does {name} have?",
)
NUMBER_UNSEEN = (
    "At which number does {name} stand in the periodic table?",
    "How many protons are there in the nucleus of {name}?",
)
NAME = (
    "Which element has the symbol {symbol}?",
    "Name the chemical element written {symbol}.",
    "What does the chemical symbol {symbol} stand for?",
)
NAME_UNSEEN = ("In the periodic table, what is the name of {symbol}?",)
COUNT = 54
ENGLISH_WORDS = {"He", "Be", "As", "In", "I"}


def elements() -> list[tuple[int, str, str]]:
    """Return (atomic number, name, symbol) of the first elements."""
    import periodictable

    found = [(one.number, one.name, one.symbol) for one in periodictable.elements]
    return [element for element in found if 1 <= element[0] <= COUNT]


def facts() -> list[Seed]:
    """Three facts an element; a symbol that is also an English word is never the wanted answer."""
    seeds = []
    for number, name, symbol in elements():
        words = {"name": name, "symbol": symbol}
        train = asks(NUMBER, "number", str(number), **words)
        unseen = asks(NUMBER_UNSEEN, "number", str(number), **words)
        train += asks(NAME, "choice", name, "name", **words)
        unseen += asks(NAME_UNSEEN, "choice", name, "name", **words)
        if symbol not in ENGLISH_WORDS:
            train += _symbol(SYMBOL, name, symbol)
            unseen += _symbol(SYMBOL_UNSEEN, name, symbol)
        seeds.append(Seed(name, tuple(train), tuple(unseen)))
    return seeds


def _symbol(wordings: tuple[str, ...], name: str, symbol: str) -> list[Variant]:
    return asks(wordings, "code", symbol, name=name)


RECIPES = (
    Recipe(
        "elements",
        "Chemical elements",
        "Symbols, names and atomic numbers of the first 54 elements. The specialist was taught "
        "these facts and is tested on wordings it never saw, not on other elements.",
        facts,
        facts=True,
        sources=("periodictable (public domain)",),
    ),
)
