"""The records behind a point of a figure: the rows that its number was made of.

A point is named by its analysis and the row of the finding's table that it draws.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from evals.analyses.core import Finding, first_pool, growing, of_best, of_role, ordinary
from evals.analyses.strength import whole_pool
from protocols.core.errors import UserError

BEST = "best single model"
NAMED = re.compile(r"([a-z_]{1,40})/(\d{1,6})(?:/(\d{1,6}))?")
Pick = Callable[[pd.DataFrame, Mapping[str, Any]], pd.DataFrame]


@dataclass(frozen=True, slots=True)
class Point:
    """A row of an analysis' table; ``start`` is the first of its records to show."""

    analysis: str
    row: int
    start: int = 0

    @classmethod
    def read(cls, text: str) -> Point:
        """Read ``analysis/row`` or ``analysis/row/start``. Raises :class:`UserError`."""
        found = NAMED.fullmatch(text)
        if not found:
            raise UserError("The request names no point of a figure. Pick one in its table.")
        return cls(found[1], int(found[2]), int(found[3] or 0))

    def __str__(self) -> str:
        return f"{self.analysis}/{self.row}" + (f"/{self.start}" if self.start else "")


def point_name(finding: Finding, row: int) -> str:
    """How a figure names one of its points."""
    return str(Point(finding.id, row))


def behind(frame: pd.DataFrame, finding: Finding, row: int) -> pd.DataFrame:
    """The rows of ``frame`` that made row ``row`` of a finding's table, the most telling first.

    First come items that the system alone has right, then those it alone has wrong.
    Raises :class:`UserError` for a row that is not there or is not made of records.
    """
    found = chosen(frame, finding, row)
    ranks = [_rank(*one) for one in zip(found["members"], found["value"], strict=True)]
    return found.iloc[np.argsort(ranks, kind="stable")]


def chosen(frame: pd.DataFrame, finding: Finding, row: int) -> pd.DataFrame:
    """The same rows as :func:`behind`, in the order of the records."""
    if finding.id not in PICKS or row not in finding.table.index:
        raise UserError(f"'{finding.title}' has no point {row} that records stand behind.")
    rows = frame if finding.id == "settings" else ordinary(frame)
    return PICKS[finding.id](rows, finding.table.loc[row].to_dict())


def _rank(members: str, value: float) -> int:
    """0: right where no member was right alone. 1: not right where all were. 2: all others."""
    alone = [one.get("score") or 0.0 for one in json.loads(members)]
    if alone and max(alone) < 1 <= value:
        return 0
    return 1 if alone and min(alone) >= 1 > value else 2


def _systems(frame: pd.DataFrame, point: Mapping[str, Any]) -> pd.DataFrame:
    """Systems and yardsticks by protocol and, as far as the point says, size, pool and task.

    Where it names no pool, those of pools that grow.
    """
    rows = of_role(frame if "pool" in point else growing(frame), "system", "baseline")
    for name in ("protocol", "n", "pool", "task"):
        if name in point:
            rows = rows[rows[name] == point[name]]
    return rows


def _scaling(frame: pd.DataFrame, point: Mapping[str, Any]) -> pd.DataFrame:
    if point["protocol"] != BEST:
        return _systems(frame, point)
    return of_best(frame, first_pool(frame, int(point["n"])), of_role(frame, "solo"))


def _strength(frame: pd.DataFrame, point: Mapping[str, Any]) -> pd.DataFrame:
    """The whole pool with and without the model, and the model alone."""
    model = point["model"]
    rows = of_role(frame, "system")
    rows = rows[(rows["protocol"] == point["protocol"]) & (rows["task"] == point["task"])]
    sets = rows["pool"].map(lambda name: frozenset(name.split(",")))
    whole = whole_pool(list(sets))
    solo = of_role(frame, "solo")
    alone = solo[(solo["pool"] == model) & (solo["task"] == point["task"])]
    return pd.concat([rows[sets.isin([whole, whole - {model}])], alone])


def _humans(frame: pd.DataFrame, point: Mapping[str, Any]) -> pd.DataFrame:
    part = frame[frame["task"] == point["task"]]
    return _scaling(part, {name: point[name] for name in ("protocol", "n")})


def _composed(frame: pd.DataFrame, point: Mapping[str, Any]) -> pd.DataFrame:
    rows = of_role(frame, "system")
    return rows[(rows["pool"] == point["pool"]) & (rows["design"] != "")]


PICKS: Mapping[str, Pick] = MappingProxyType(
    {
        "scaling": _scaling,
        "emergence": _systems,
        "cost": _systems,
        "strength": _strength,
        "diversity": _systems,
        "settings": _composed,
        "humans": _humans,
    }
)
"""How each analysis chose the rows of a point; an analysis of other data is not among them."""
