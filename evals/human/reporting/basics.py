"""The small values every part of the report is made of: counts, estimates, flags.

Rates are in 0..1. A number that the data do not determine is None with a ``note`` that says why.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict

from protocols.core.models import Frozen

Unit = Literal["votes", "raters", "contributors", "pairs", "guesses", "verdicts"]
Level = Literal["bad", "warn", "note"]


def _rounded(value: float) -> float:
    return float(f"{value:.10g}") + 0.0  # no negative zero


Number = Annotated[float, AfterValidator(_rounded)]


class Part(Frozen):
    """A part of the report."""

    model_config = ConfigDict(allow_inf_nan=False)


class Range(Part):
    """An interval with its nominal coverage and the name of its method."""

    low: Number
    high: Number
    level: Number
    method: str


class Estimate(Part):
    """A number with what it takes to read it: how many of what, how sure, against what.

    ``p`` is two-sided, against one half for rates and zero for effects.
    """

    value: Number | None
    n: int
    unit: Unit = "votes"
    interval: Range | None = None
    p: Number | None = None
    note: str = ""


class Counts(Part):
    """Votes seen from the system."""

    wins: int
    losses: int
    ties: int = 0

    @property
    def n(self) -> int:
        """All counted votes."""
        return self.wins + self.losses + self.ties

    @property
    def decided(self) -> int:
        """Votes that name an arm."""
        return self.wins + self.losses


class Flag(Part):
    """Something to know before reading the numbers. ``code`` is for programs."""

    level: Level
    code: str
    text: str


class Kappas(Part):
    """Agreement of two labellings: share, Cohen's kappa, Gwet's AC1 and the table of counts.

    ``table[i][j]`` counts label i by the first and j by the second.
    """

    labels: tuple[str, ...]
    table: tuple[tuple[int, ...], ...]
    observed: Estimate
    kappa: Estimate
    ac1: Estimate
