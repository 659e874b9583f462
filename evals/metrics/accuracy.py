"""The share of right answers, with its interval.

It counts; it does not know how a single answer was judged.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from evals.metrics.short_answer import Score

Z95 = 1.959963984540054


@dataclass(frozen=True, slots=True)
class Accuracy:
    """``correct`` of ``n``; an ``unparsed`` answer counts as not correct and is also counted here.

    ``low`` and ``high`` are the ends of the 95 % Wilson interval of ``value``, all from 0 to 1.
    """

    n: int
    correct: int
    unparsed: int
    value: float
    low: float
    high: float


def wilson(correct: float, n: int, z: float = Z95) -> tuple[float, float]:
    """Return the Wilson score interval of a proportion, (0, 1) when nothing was counted.

    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference",
    JASA 22 (1927).
    """
    if n == 0:
        return 0.0, 1.0
    share = correct / n
    scale = 1 + z * z / n
    centre = (share + z * z / (2 * n)) / scale
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / scale
    low, high = max(0.0, centre - half), min(1.0, centre + half)
    return (0.0 if correct == 0 else low), (1.0 if correct == n else high)


def accuracy(scores: Iterable[Score]) -> Accuracy:
    """Count right and unparsed answers."""
    seen = list(scores)
    n, correct = len(seen), sum(one.value == 1.0 for one in seen)
    low, high = wilson(correct, n)
    unparsed = sum(one.value is None for one in seen)
    return Accuracy(n, correct, unparsed, correct / n if n else 0.0, low, high)
