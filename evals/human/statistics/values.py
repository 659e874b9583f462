"""The values that all statistics share: a tally of votes and an interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

TiePolicy = Literal["drop", "half"]

NO_VOTES = "There are no votes."
NO_DECIDED = "There are no decided votes: every vote is a tie or there are none."
NO_RATERS = "No rater has a counted vote."
ONE_RATER = "One rater says nothing about how raters differ."
ALIKE = "All raters have the same rate, so their spread gives no interval."


@dataclass(frozen=True, slots=True)
class Interval:
    """An interval for a quantity; ``level`` is its nominal coverage, ``method`` its name."""

    low: float
    high: float
    level: float
    method: str

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high

    def mirrored(self, total: float = 1.0) -> Interval:
        """The interval of ``total`` less the quantity."""
        return Interval(total - self.high, total - self.low, self.level, self.method)

    def clipped(self, low: float, high: float) -> Interval:
        """The interval cut to the range that its quantity can have."""
        return Interval(
            min(max(self.low, low), high), max(min(self.high, high), low), self.level, self.method
        )


@dataclass(frozen=True, slots=True)
class Tally:
    """Counts of votes seen from one arm (in reports: the system). Raises ValueError below zero."""

    wins: int
    losses: int
    ties: int = 0

    def __post_init__(self) -> None:
        if min(self.wins, self.losses, self.ties) < 0:
            raise ValueError(f"A count of votes cannot be negative: {self}.")

    @property
    def n(self) -> int:
        """All votes, ties included."""
        return self.wins + self.losses + self.ties

    @property
    def decided(self) -> int:
        """Votes that name an arm."""
        return self.wins + self.losses

    def rate(self, policy: TiePolicy = "drop") -> float | None:
        """The win rate in 0..1: among decided votes, or with a tie as half a win. None if empty."""
        if policy == "drop":
            return self.wins / self.decided if self.decided else None
        return (self.wins + self.ties / 2) / self.n if self.n else None

    def swapped(self) -> Tally:
        """The same votes seen from the other arm."""
        return Tally(self.losses, self.wins, self.ties)

    def __add__(self, other: Tally) -> Tally:
        return Tally(self.wins + other.wins, self.losses + other.losses, self.ties + other.ties)


def pooled(tallies: Sequence[Tally]) -> Tally:
    """Return the sum of tallies."""
    return sum(tallies, Tally(0, 0, 0))


def alpha_of(level: float) -> float:
    """Return 1 - ``level`` without the noise of binary fractions. Raises ValueError outside 0..1.

    >>> alpha_of(0.95)
    0.05
    """
    if not 0 < level < 1:
        raise ValueError(f"A confidence level lies between 0 and 1, not {level}.")
    return round(1 - level, 12)


def counted(k: int, n: int) -> None:
    """Raise ValueError unless ``k`` of ``n`` is possible."""
    if not 0 <= k <= n:
        raise ValueError(f"{k} of {n} is not a count out of a total.")
