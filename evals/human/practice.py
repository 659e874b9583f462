"""The two warm-up pairs that a rater sees first, in the rater's language."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import yaml

from evals.human.assign import coin, other
from evals.human.study import Language, Side

ROUNDS = 2
_FILE = Path(__file__).with_suffix(".yaml")


@dataclass(frozen=True, slots=True)
class Warmup:
    """One practice pair as shown; ``expected`` is the side of the obviously better answer."""

    prompt: str
    left: str
    right: str
    expected: Side


@lru_cache(maxsize=1)
def _items() -> dict[str, list[dict[str, str]]]:
    loaded: dict[str, list[dict[str, str]]] = yaml.safe_load(_FILE.read_text(encoding="utf-8"))
    return loaded


def warmup(language: Language, number: int, key: bytes, rater: str) -> Warmup:
    """Return practice pair ``number`` (0 or 1). The better answer is once left and once right."""
    item = _items()[language][number]
    first = coin(key, "practice", rater)
    expected = first if number == 0 else other(first)
    texts = (item["good"], item["bad"])
    left, right = texts if expected == "left" else reversed(texts)
    return Warmup(item["prompt"], left, right, expected)
