"""The table of every protocol beside what it has to beat, from stored records.

A protocol's score at a pool size is a mean over items with a 95 % interval; its differences are
paired over the items. The best single model is chosen for each task on held-out items. It answers
once, or as often as the protocol asks its models (rounded up), with a vote among its own answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from evals.analyses.core import (
    Estimate,
    beginnings,
    by_item,
    difference,
    level_of,
    ordinary,
)
from evals.analyses.singles import Singles
from evals.bench_plan import CONSISTENCY, SOLO, samplings
from evals.frames import counted, slim
from evals.names import YARDSTICK, level_title, protocol_title

BEST = "best single model"
AGAIN = "self-consistency"
ROUTERS = ("random_router", "oracle_router")


@dataclass(frozen=True, slots=True)
class Line:
    """A system at one pool size. ``single`` and ``again`` are differences to the yardsticks."""

    system: str
    n: int
    score: Estimate
    compatible: float
    unparsed: int
    failed: int
    calls: float
    score_calls: float
    tokens: float
    seconds: float
    fitted: bool = False
    single: Estimate | None = None
    again: Estimate | None = None


@dataclass(frozen=True, slots=True)
class System:
    """A system over all pool sizes: its lines by size."""

    name: str
    lines: Mapping[int, Line]

    @property
    def title(self) -> str:
        """What people read."""
        return protocol_title(self.name)

    @property
    def level(self) -> str:
        """API, Text, Logit, Weight or Yardstick."""
        return YARDSTICK if self.name in (BEST, AGAIN) else level_title(self.name)

    @property
    def largest(self) -> Line:
        """The line of the largest pool."""
        return self.lines[max(self.lines)]

    @property
    def verdict(self) -> str:
        """In words how the largest pool compares with the best single model; nothing for that."""
        return compared(self.largest)


def compared(line: Line) -> str:
    """In words how a system compares with the best single model, alone and at equal calls."""
    if line.single is None or not line.single.n:
        return ""
    alone = _word(line.single)
    if line.again is None or not line.again.n:
        return f"{alone} the best single model"
    equal = _word(line.again)
    if alone == equal:
        return f"{alone} both"
    return f"{alone} the best single model, {equal} its votes at equal calls"


def _word(found: Estimate) -> str:
    if found.above or found.below:
        return "better than" if found.above else "worse than"
    if found.low is not None:
        return "not told apart from"
    return "equal to" if found.value == 0 else "on too few items to compare with"


def systems(found: Sequence[Line]) -> list[System]:
    """Lines by system: protocols by level and, best first, by their score with the most models."""
    named: dict[str, dict[int, Line]] = {}
    for line in found:
        named.setdefault(line.system, {})[line.n] = line
    made = [System(name, mine) for name, mine in named.items()]
    levels = {name: place for place, name in enumerate(("API", "Text", "Logit", "Weight"))}
    return sorted(
        made,
        key=lambda one: (
            _place(one.name),
            levels.get(one.level, len(levels)),
            -one.largest.n,
            -one.largest.score.value,
        ),
    )


def tally(found: Sequence[System]) -> str:
    """A sentence that counts how the protocols compare with the largest pool."""
    asked = [one for one in found if one.level != YARDSTICK]
    most = max((one.largest.n for one in asked), default=0)
    shown = [one.largest for one in asked if one.largest.n == most]
    alone = [line.single for line in shown if line.single and line.single.n]
    equal = [line.again for line in shown if line.again and line.again.n]
    protocols = counted_as(len(alone), "protocol")
    return (
        f"With {most} models, of {protocols} {_better(alone)} the best single model; of "
        f"{len(equal)} at equal calls {_better(equal)} it."
    )


def counted_as(count: int, thing: str) -> str:
    """A count with its noun: 1 item, 2 items."""
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"


def _better(found: Sequence[Estimate]) -> str:
    better, worse = sum(one.above for one in found), sum(one.below for one in found)
    rest = len(found) - better - worse
    return f"{better} beat, {worse} fall behind and {rest} are not told apart from"


def lines(frame: pd.DataFrame) -> list[Line]:
    """Return the table of a frame of records, systems by name and then by size, yardsticks last.

    The pool's own order is shown, and pools that are its beginnings: none that was composed, or
    lacks a member. Held-out items rank models and are not scored.
    """
    asked = counted(ordinary(slim(frame[frame["order"] == 0])))
    found: list[Line] = []
    singles = Singles(asked[asked["protocol"] == SOLO])
    for pool in _pools(asked):
        found += _of_pool(singles, asked[asked["pool"] == pool], pool)
    return sorted(found, key=lambda line: (_place(line.system), line.system, line.n))


def _place(system: str) -> int:
    yardsticks = (BEST, AGAIN, *ROUTERS)
    return yardsticks.index(system) + 1 if system in yardsticks else 0


def _pools(frame: pd.DataFrame) -> list[str]:
    return beginnings(frame[frame["role"] == "system"]["pool"])


def _of_pool(singles: Singles, whole: pd.DataFrame, pool: str) -> list[Line]:
    shown = whole[whole["split"] != "heldout"]
    alone = _Yardstick(singles, whole, pool)
    systems = shown[shown["role"] == "system"]
    found = [
        _line(str(name), part, alone.once, alone.again(part))
        for name, part in systems.groupby("protocol", sort=True)
    ]
    size = pool.count(",") + 1
    found.append(_line(BEST, alone.rows.assign(n=size)))
    if len(most := alone.most()):
        found.append(_line(AGAIN, most, alone.once))
    for name in ROUTERS:
        part = shown[shown["protocol"] == name]
        found += [_line(name, part, alone.once)] if len(part) else []
    return found


def _line(
    system: str,
    part: pd.DataFrame,
    single: pd.Series | None = None,
    again: pd.Series | None = None,
) -> Line:
    items = by_item(part)
    return Line(
        system=system,
        n=int(part["n"].iloc[0]),
        score=level_of(items),
        compatible=float(part["compatible"].fillna(0.0).mean()),
        unparsed=int((part["outcome"] == "unparsed").sum()),
        failed=int((part["outcome"] == "failed").sum()),
        calls=float(part["calls"].mean()),
        score_calls=float(part["score_calls"].mean()),
        tokens=float(part["tokens"].mean()),
        seconds=float(part["busy_seconds"].mean()),
        fitted=bool((part["fitted_to"] != "").any()),
        single=None if single is None else difference(items, single),
        again=None if again is None else difference(items, again),
    )


class _Yardstick:
    """The best single model of a pool for each task, the best by held-out items, and its votes."""

    def __init__(self, singles: Singles, whole: pd.DataFrame, pool: str) -> None:
        self.rows = singles.rows(pool.split(","))
        self.once = singles.items(pool.split(","))
        votes = whole[whole["protocol"] == CONSISTENCY]
        self._once = dict(iter(self.rows.groupby("task")))
        self._votes = {task: votes[votes["task"] == task] for task in self._once}
        self._again: dict[tuple[tuple[int, ...], ...], pd.Series] = {}

    def most(self) -> pd.DataFrame:
        """Its votes at the most calls there are."""
        parts = [mine[mine["calls"] == mine["calls"].max()] for mine in self._votes.values()]
        return pd.concat(parts) if parts else self.rows.iloc[:0]

    def again(self, system: pd.DataFrame) -> pd.Series:
        """Each item's mean over its votes at the calls of a system.

        One call needs no vote: then it is the single model's own answer.
        """
        calls = system.groupby("task")["calls"].mean()
        asked = tuple(
            tuple(samplings([float(calls[task])] if task in calls else [])) for task in self._once
        )
        if asked not in self._again:
            parts = [
                mine[mine["setting"].str.endswith(f"samples={wanted[0]}")] if wanted else once
                for mine, once, wanted in zip(
                    self._votes.values(), self._once.values(), asked, strict=True
                )
            ]
            self._again[asked] = by_item(pd.concat(parts) if parts else self.rows)
        return self._again[asked]
