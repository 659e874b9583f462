"""Numbers as words: percentages, p-values that never round across their bound, plurals."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from evals.human.reporting.basics import Estimate, Range

NOTHING = "–"


def percent(value: float | None) -> str:
    """Return a share as a percentage with one digit.

    >>> percent(0.63)
    '63.0%'
    """
    return NOTHING if value is None else f"{100 * value:.1f}%"


def p_value(p: float | None, alpha: float = 0.05) -> str:
    """Return "p = 0.012": three digits, or as many as show on which side of ``alpha`` it is.

    >>> p_value(0.012033), p_value(0.04999), p_value(3e-9)
    ('p = 0.012', 'p = 0.04999', 'p < 0.0001')
    """
    if p is None:
        return "not tested"
    if p < 0.0001 and alpha > 0.0001:
        return "p < 0.0001"
    return f"p = {digits(p, alpha)}"


def brief(p: float, alpha: float = 0.05) -> str:
    """Return a p-value for a cell of a table, which a longer number would burst.

    >>> brief(0.012033), brief(3e-19), brief(3e-9, 1e-6)
    ('0.012', '<0.0001', '0.000000003')
    """
    return p_value(p, alpha).removeprefix("p = ").replace("p < ", "<")


def digits(p: float, alpha: float = 0.05) -> str:
    """Return a probability with three digits, more if it would else be on ``alpha``'s other side.

    >>> digits(0.125), digits(0.25), digits(1.0)
    ('0.125', '0.25', '1')
    """
    shown = (f"{p:.{places}g}" for places in range(3, 17))
    found = next((text for text in shown if _faithful(float(text), p, alpha)), repr(p))
    plain = format(Decimal(found), "f")
    return plain.rstrip("0").rstrip(".") if "." in plain else plain


def _faithful(shown: float, p: float, alpha: float) -> bool:
    return (shown < alpha) == (p < alpha) and (shown < 1) == (p < 1)


def number(value: float | None, places: int = 2) -> str:
    """Return a number with so many decimals and a true minus sign."""
    if value is None:
        return NOTHING
    return f"{value:.{places}f}".replace("-", "\u2212")


def count(n: int, one: str, many: str = "") -> str:
    """Return "1 vote" or "3 votes", thousands set apart."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def spread(found: Range | None, *, share: bool = True) -> str:
    """Return "52.0% to 71.8%" or "-0.09 to 0.12"."""
    if found is None:
        return "no interval"
    show = percent if share else number
    return f"{show(found.low)} to {show(found.high)}"


def level(found: Range) -> str:
    """Return the nominal coverage: "95%"."""
    return f"{100 * found.level:g}%"


def estimate(found: Estimate, *, share: bool = True) -> str:
    """Return a number with its interval and n, or why there is none."""
    if found.value is None:
        return found.note or "not determined"
    shown = percent(found.value) if share else number(found.value)
    interval = f"{level(found.interval)} interval " if found.interval else ""
    return f"{shown} ({interval}{spread(found.interval, share=share)}, n = {found.n})"


def listed(names: Sequence[str]) -> str:
    """Return "a, b and c"."""
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"
