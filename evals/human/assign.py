"""Who sees which pair, in which order and on which side: pure functions, keyed by a secret.

Sides are permuted blocks of two: among the pairs of one stratum, in the order shown, each two
neighbours have the system once on the left and once on the right, and a coin keyed with the
study's secret (HMAC-SHA256 over rater, stratum and block) says which comes first. A stratum with an
odd number leaves one over; the left-overs of the strata even each other out in the same way. So
left and right differ by at most one per rater, overall and within each stratum.

A block of two has a price: who knows the side of its first pair knows that of its second. Raters
know neither, and nothing about the coin of the next block follows from earlier ones.
"""

from __future__ import annotations

import hashlib
import hmac
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from evals.human.study import Side

APART = 10
_OTHER: dict[Side, Side] = {"left": "right", "right": "left"}


@dataclass(frozen=True, slots=True)
class Candidate:
    """A pair that may be assigned: its key in the store, its stratum, how many have it already."""

    pair: int
    stratum: str
    taken: int = 0


@dataclass(frozen=True, slots=True)
class Slot:
    """One place in a rater's plan. ``main`` is the index of the slot that a repeat repeats."""

    pair: int
    stratum: str
    kind: Literal["main", "gold", "repeat"]
    side: Side
    main: int | None = None


def other(side: Side) -> Side:
    """Return the opposite side."""
    return _OTHER[side]


def keyed(key: bytes, *parts: object) -> bytes:
    """Return HMAC-SHA256 over ``parts``, which cannot run into each other."""
    message = "\x1f".join(str(part) for part in parts)
    return hmac.new(key, message.encode(), hashlib.sha256).digest()


def dice(key: bytes, *parts: object) -> random.Random:
    """Return a random source that only depends on the key and the parts."""
    return random.Random(keyed(key, *parts))


def coin(key: bytes, *parts: object) -> Side:
    """Return a side, fair over keys and parts."""
    return "left" if keyed(key, "coin", *parts)[0] & 1 else "right"


def share(of: int, part: float) -> int:
    """Return how many ``part`` of ``of`` are, halves rounded up."""
    return int(of * part + 0.5)


def choose(candidates: Sequence[Candidate], count: int, rng: random.Random) -> list[Candidate]:
    """Pick ``count`` pairs: fewest raters first, then evenly over strata, then random."""
    shuffled = rng.sample(list(candidates), len(candidates))
    ranks: defaultdict[tuple[int, str], int] = defaultdict(int)
    keyed_candidates = []
    for tie, candidate in enumerate(shuffled):
        place = (candidate.taken, candidate.stratum)
        keyed_candidates.append((candidate.taken, ranks[place], tie, candidate))
        ranks[place] += 1
    return [entry[3] for entry in sorted(keyed_candidates, key=lambda e: e[:3])[:count]]


def sides(
    strata: Sequence[str], key: bytes, *parts: object, fixed: Mapping[int, Side] | None = None
) -> list[Side]:
    """Return the system's side for each place of a sequence, given each place's stratum.

    Places in ``fixed`` keep their side; the others first even out what the fixed ones lean in
    their stratum and then go on in blocks of two.
    """
    chosen: dict[int, Side] = dict(fixed or {})
    places: defaultdict[str, list[int]] = defaultdict(list)
    for place, stratum in enumerate(strata):
        places[stratum].append(place)
    odd = []
    for stratum, mine in places.items():
        odd += _pair_up(mine, chosen, key, *parts, stratum)
    for place in odd:  # the left-overs even each other out, whichever strata they are of
        leaning = lean(list(chosen.values()))
        even = coin(key, *parts, "left-over", place)
        chosen[place] = even if not leaning else "right" if leaning > 0 else "left"
    return [chosen[place] for place in range(len(strata))]


def _pair_up(
    places: Sequence[int], chosen: dict[int, Side], key: bytes, *parts: object
) -> list[int]:
    """Fill one stratum's open places but a last odd one, which is returned."""
    leaning = lean([chosen[place] for place in places if place in chosen])
    rest = [place for place in places if place not in chosen]
    for place in rest[: abs(leaning)]:
        chosen[place] = "right" if leaning > 0 else "left"
    rest = rest[abs(leaning) :]
    for block in range(len(rest) // 2):
        first = coin(key, *parts, "block", block)
        chosen[rest[2 * block]], chosen[rest[2 * block + 1]] = first, other(first)
    return rest[len(rest) // 2 * 2 :]


def lean(chosen: Sequence[Side]) -> int:
    """Return how many more are on the left than on the right."""
    return sum(1 if side == "left" else -1 for side in chosen)


def plan(
    mains: Sequence[Candidate], golds: Sequence[Candidate], repeats: int, key: bytes, rater: str
) -> list[Slot]:
    """Order a rater's pairs at random, give them sides and put the repeats in.

    Main pairs are balanced among themselves (see :func:`sides`); gold pairs and repeats are
    chosen so that everything shown leans by at most one as well, where the numbers allow (in
    plans under twenty pairs it can be two). A repeat has the opposite side of its main pair and
    stands at least ten places later, or as far as a short plan allows.
    """
    rng = dice(key, "order", rater)
    shown = [(c, "main") for c in mains] + [(c, "gold") for c in golds]
    rng.shuffle(shown)
    ours = sides([c.stratum for c, kind in shown if kind == "main"], key, rater)
    theirs = iter(_gold_sides(len(golds), lean(ours), key, rater))
    turns = iter(ours)
    slots = [
        Slot(c.pair, c.stratum, "main", next(turns))
        if kind == "main"
        else Slot(c.pair, c.stratum, "gold", next(theirs))
        for c, kind in shown
    ]
    return _with_repeats(slots, repeats, rng)


def _gold_sides(count: int, leaning: int, key: bytes, rater: str) -> list[Side]:
    """Blocks of two; an odd one is turned against the way the main pairs lean."""
    chosen = sides([""] * count, key, rater, "gold")
    if lean(chosen) * leaning > 0:
        chosen[-1] = other(chosen[-1])
    return chosen


def _with_repeats(slots: list[Slot], repeats: int, rng: random.Random) -> list[Slot]:
    """Put in repeats of early main pairs, each far enough behind its own."""
    apart, eligible = _repeatable(slots, repeats)
    order = [(index, False) for index in range(len(slots))]
    for index in _balanced(slots, eligible, repeats, rng):
        first = order.index((index, False)) + apart
        order.insert(rng.randint(first, len(order)), (index, True))
    place = {index: at for at, (index, again) in enumerate(order) if not again}
    return [
        replace(slots[i], kind="repeat", side=other(slots[i].side), main=place[i])
        if again
        else slots[i]
        for i, again in order
    ]


def _repeatable(slots: Sequence[Slot], repeats: int) -> tuple[int, list[int]]:
    """The widest distance up to ten that enough main pairs can keep, and these pairs."""
    mains = [index for index, slot in enumerate(slots) if slot.kind == "main"]
    for apart in range(APART, 0, -1):
        eligible = [index for index in mains if len(slots) - index >= apart]
        if len(eligible) >= min(repeats, len(mains)):
            return apart, eligible
    return 1, mains


def _balanced(
    slots: Sequence[Slot], eligible: Sequence[int], repeats: int, rng: random.Random
) -> list[int]:
    """Pick the main pairs to repeat so that everything shown leans as little as possible."""
    rest = rng.sample(list(eligible), len(eligible))
    leaning = lean([slot.side for slot in slots])
    picked: list[int] = []
    while rest and len(picked) < repeats:
        heavy: Side = "left" if leaning > 0 else "right"
        index = next((i for i in rest if leaning and slots[i].side == heavy), rest[0])
        rest.remove(index)
        picked.append(index)
        leaning += lean([other(slots[index].side)])
    return picked
