"""The table of every protocol beside what it has to beat, from stored records.

A protocol's score at a pool size is a mean over items with a 95 % interval; its differences are
paired over the items. The best single model is chosen for each task on held-out items. It answers
once, or as often as the protocol asks its models (rounded up), with a vote among its own answers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from evals.analyses.core import Estimate, best_alone, by_item, level_of, paired
from evals.bench_plan import CONSISTENCY, SOLO, samplings
from evals.frames import counted

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


def lines(frame: pd.DataFrame) -> list[Line]:
    """Return the table of a frame of records, systems by name and then by size, yardsticks last.

    The pool's own order is shown. Held-out items rank models and are not scored.
    """
    asked = counted(frame[frame["order"] == 0])
    found: list[Line] = []
    for pool in _pools(asked):
        found += _of_pool(asked, pool)
    return sorted(found, key=lambda line: (_place(line.system), line.system, line.n))


def _place(system: str) -> int:
    yardsticks = (BEST, AGAIN, *ROUTERS)
    return yardsticks.index(system) + 1 if system in yardsticks else 0


def _pools(frame: pd.DataFrame) -> list[str]:
    found = frame[frame["role"] == "system"]["pool"].unique()
    return sorted(found, key=lambda pool: (pool.count(","), pool))


def _of_pool(frame: pd.DataFrame, pool: str) -> list[Line]:
    shown = frame[(frame["pool"] == pool) & (frame["split"] != "heldout")]
    single = best_answers(frame, pool.split(","))
    most = _again(frame, pool, single, math.inf)
    systems = shown[shown["role"] == "system"]
    found = [
        _line(str(name), part, single, _again(frame, pool, single, part))
        for name, part in systems.groupby("protocol", sort=True)
    ]
    size = pool.count(",") + 1
    found.append(_line(BEST, single.assign(n=size)))
    if len(most):
        found.append(_line(AGAIN, most, single))
    for name in ROUTERS:
        part = shown[shown["protocol"] == name]
        found += [_line(name, part, single)] if len(part) else []
    return found


def _line(
    system: str,
    part: pd.DataFrame,
    single: pd.DataFrame | None = None,
    again: pd.DataFrame | None = None,
) -> Line:
    return Line(
        system=system,
        n=int(part["n"].iloc[0]),
        score=level_of(by_item(part)),
        compatible=float(part["compatible"].fillna(0.0).mean()),
        unparsed=int((part["outcome"] == "unparsed").sum()),
        failed=int((part["outcome"] == "failed").sum()),
        calls=float(part["calls"].mean()),
        score_calls=float(part["score_calls"].mean()),
        tokens=float(part["tokens"].mean()),
        seconds=float(part["busy_seconds"].mean()),
        fitted=bool((part["fitted_to"] != "").any()),
        single=None if single is None else paired(part, single),
        again=None if again is None else paired(part, again),
    )


def best_answers(frame: pd.DataFrame, pool: Sequence[str]) -> pd.DataFrame:
    """What each task's best single model said, the best by held-out items."""
    solo = frame[(frame["role"] == "solo") & (frame["protocol"] == SOLO)]
    parts = []
    for _, part in solo.groupby("task", sort=True):
        best = best_alone(part, pool)
        parts.append(part[(part["pool"] == best) & (part["split"] != "heldout")])
    return pd.concat(parts) if parts else solo


def _again(
    frame: pd.DataFrame, pool: str, single: pd.DataFrame, system: pd.DataFrame | float
) -> pd.DataFrame:
    """The best single model's votes with itself, at the calls of a system or the most there are.

    One call needs no vote: then it is the single model's own answer.
    """
    votes = frame[(frame["protocol"] == CONSISTENCY) & (frame["pool"] == pool)]
    parts = []
    for task, alone in single.groupby("task", sort=True):
        mine = votes[votes["task"] == task]
        if isinstance(system, float):
            parts.append(mine[mine["calls"] == mine["calls"].max()])
            continue
        calls = float(system[system["task"] == task]["calls"].mean())
        wanted = samplings([] if math.isnan(calls) else [calls])
        setting = mine["setting"].str.endswith(f"samples={wanted[0]}") if wanted else None
        parts.append(mine[setting] if setting is not None else alone)
    return pd.concat(parts) if parts else votes
