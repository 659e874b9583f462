"""What a line of Python gives: small expressions whose value Python itself computes here.

It knows lists of small whole numbers and a few built-in functions. It does not know loops, files or
errors.
"""

from __future__ import annotations

from evals.tasks.recipe import Recipe, Seed, asks, order, shuffled

ASK = (
    "What does Python print for print({code})?",
    "In Python, what is the value of {code}?",
    "Evaluate this Python expression: {code}",
)
SHAPES = (
    "max({row})",
    "min({row})",
    "sum({row})",
    "sorted({row})[1]",
    "{row}[0] + {row}[-1]",
    "max({row}) - min({row})",
    "{row}.index({some})",
    "len({row}) + {some}",
    "{some} * 3",
    "{some} % 4",
)
KNOWN = {"max": max, "min": min, "len": len, "sum": sum, "sorted": sorted}
ROWS = 1500


def trace() -> list[Seed]:
    """Expressions over lists of three to five numbers; a list belongs to one split only."""
    seeds = []
    for key in shuffled("python", [str(number) for number in range(ROWS)]):
        digest = order("python-row", key)
        length = 3 + int(digest[0], 16) % 2
        row = [int(digest[2 * place + 2 : 2 * place + 4], 16) % 10 for place in range(length)]
        shape = SHAPES[int(digest[-4:], 16) % len(SHAPES)]
        code = shape.format(row=row, some=row[int(digest[-6:-4], 16) % length])
        value = str(eval(code, {"__builtins__": {}}, KNOWN))  # our own text, three lines above
        seeds.append(Seed(code, (*asks(ASK, "number", value, code=code),)))
    return list({seed.key: seed for seed in seeds}.values())


RECIPES = (
    Recipe(
        "python",
        "Python list expressions",
        "The value of one-line Python expressions over short lists; "
        "the expressions tested were never trained on.",
        trace,
    ),
)
