"""Sums, products and number rows: skills with exact answers, generated without any source.

It asks for the bare number; it does not ask for the way there.
"""

from __future__ import annotations

from evals.tasks.recipe import Recipe, Seed, asks, shuffled

SUM = (
    "What is {a} + {b}?",
    "Add {a} and {b}.",
    "Work out {a} plus {b}.",
    "What is the sum of {a} and {b}?",
)
DIFFERENCE = (
    "What is {a} - {b}?",
    "Subtract {b} from {a}.",
    "Work out {a} minus {b}.",
    "What is left when {b} is taken from {a}?",
)
PRODUCT = (
    "What is {a} x {b}?",
    "Multiply {a} by {b}.",
    "What is {a} times {b}?",
    "Work out the product of {a} and {b}.",
)
NEXT = (
    "Which number comes next: {row}, ...?",
    "Continue the row by one number: {row}, ...",
    "What is the next number in the sequence {row}?",
    "Give the number that follows in {row}.",
)
PAIRS = 1400


def add() -> list[Seed]:
    """Sums and differences of numbers from 10 to 99; a sum and its turned form are one seed."""
    pairs = [f"{a},{b}" for a in range(10, 100) for b in range(10, a + 1)]
    seeds = []
    for key in shuffled("addition", pairs)[:PAIRS]:
        a, b = (int(part) for part in key.split(","))
        sums = asks(SUM[:2], "number", str(a + b), a=a, b=b)
        turned = asks(SUM[2:], "number", str(a + b), a=b, b=a)
        seeds.append(Seed(key, (*sums, *turned, *asks(DIFFERENCE, "number", str(a - b), a=a, b=b))))
    return seeds


def multiply() -> list[Seed]:
    """Products of a one-digit number and a number from 11 to 99."""
    pairs = [f"{a},{b}" for a in range(11, 100) for b in range(2, 10)]
    seeds = []
    for key in shuffled("multiplication", pairs):
        a, b = (int(part) for part in key.split(","))
        ways = (*asks(PRODUCT[:2], "number", str(a * b), a=a, b=b),)
        seeds.append(Seed(key, (*ways, *asks(PRODUCT[2:], "number", str(a * b), a=b, b=a))))
    return seeds


def continue_row() -> list[Seed]:
    """The next term of rows with a fixed step, up or down."""
    rows = [f"{start},{step}" for start in range(1, 41) for step in range(2, 16)]
    rows += [f"{start},{-step}" for start in range(60, 100) for step in range(2, 13)]
    seeds = []
    for key in shuffled("sequences", rows):
        start, step = (int(part) for part in key.split(","))
        terms = [start + step * place for place in range(5)]
        row = ", ".join(str(term) for term in terms[:4])
        seeds.append(Seed(key, (*asks(NEXT, "number", str(terms[4]), row=row),)))
    return seeds


RECIPES = (
    Recipe(
        "addition",
        "Addition and subtraction",
        "Sums and differences of two-digit numbers; the operands tested were never trained on.",
        add,
    ),
    Recipe(
        "multiplication",
        "Multiplication",
        "One-digit times two-digit products; the pairs tested were never trained on.",
        multiply,
    ),
    Recipe(
        "sequences",
        "Number sequences",
        "The next number of a row with a fixed step; the rows tested were never trained on.",
        continue_row,
    ),
)
