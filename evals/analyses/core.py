"""What every analysis gives, and how all of them compare paired items."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from evals.frames import unit_names
from evals.metrics.accuracy import wilson

Floats = NDArray[np.float64]
Verdict = Literal["confirmed", "not confirmed", "not testable at this size"]
RESAMPLES = 9_999
PAPERS_SIZE = 32
"""The largest pool of the paper, about which its headlines speak."""
FEWEST = 8
"""Below so many items an interval by resampling says more than the data can."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over ``n`` items with its interval; no interval where there are too few."""

    value: float
    low: float | None
    high: float | None
    n: int

    @property
    def above(self) -> bool:
        """Whether the whole interval is above zero."""
        return self.low is not None and self.low > 0

    @property
    def below(self) -> bool:
        """Whether the whole interval is below zero."""
        return self.high is not None and self.high < 0

    def told(self, percent: bool = True) -> str:
        """The estimate in words: ``+3.1 points (95 % interval -1.0 to 7.2, n = 60)``."""
        scale, unit = (100, " points") if percent else (1, "")
        if math.isnan(self.value):
            return "no estimate (n = 0)"
        text = f"{self.value * scale:+.1f}{unit}"
        if self.low is None or self.high is None:
            return f"{text} (no interval from n = {self.n})"
        span = f"{self.low * scale:.1f} to {self.high * scale:.1f}"
        return f"{text} (95 % interval {span}, n = {self.n})"


@dataclass(frozen=True)
class Claim:
    """What the paper reports, and whether it holds here."""

    paper: str
    here: str
    verdict: Verdict
    why: str = ""


@dataclass(frozen=True)
class Finding:
    """One analysis: a sentence, its numbers, and the paper's claim beside it.

    ``table`` is what the figure draws; ``more`` holds further tables by name. ``notes`` are what a
    reader must know before believing the sentence: nulls, what is missing, what is confounded.
    """

    id: str
    title: str
    sentence: str
    table: pd.DataFrame
    more: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    claims: Sequence[Claim] = ()
    notes: Sequence[str] = ()


def mean_of(values: Sequence[float] | Floats, seed: int = 0) -> Estimate:
    """The mean with a percentile bootstrap interval over ``values`` (one number per item).

    Source: Efron and Tibshirani 1993, chapter 13; :func:`scipy.stats.bootstrap`. Values that are
    all equal get no interval: resampling them could only repeat them.
    """
    found = np.asarray(values, dtype=float)
    if not found.size:
        return Estimate(math.nan, None, None, 0)
    mean = float(found.mean())
    if found.size < FEWEST or np.ptp(found) == 0:
        return Estimate(mean, None, None, int(found.size))
    low, high = _resampled(found.tobytes(), seed)
    return Estimate(mean, low, high, int(found.size))


@lru_cache(maxsize=4096)
def _resampled(values: bytes, seed: int) -> tuple[float, float]:
    """The interval of a mean. Several analyses and tables ask for the same values."""
    drawn = stats.bootstrap(
        (np.frombuffer(values),), np.mean,
        n_resamples=RESAMPLES, method="percentile", rng=seed, batch=512,
    ).confidence_interval  # fmt: skip
    return float(drawn.low), float(drawn.high)


def level_of(values: Sequence[float] | Floats | pd.Series, seed: int = 0) -> Estimate:
    """The mean of one value per item: Wilson's interval where all are right or wrong.

    Other values are resampled (:func:`mean_of`). Wilson's interval also tells what 0 of n means.
    """
    found = np.asarray(values, dtype=float)
    found = found[~np.isnan(found)]
    if not found.size or not np.isin(found, [0.0, 1.0]).all():
        return mean_of(found, seed)
    low, high = wilson(float(found.sum()), found.size)
    return Estimate(float(found.mean()), low, high, int(found.size))


def by_item(frame: pd.DataFrame) -> pd.Series:
    """The mean value of each item over seeds and orders: an item counts once however often asked.

    Items of one ``group`` are one unit, because they are not independent. A frame of
    :func:`~evals.frames.slim` has numbers for units, others are grouped by task and name; means of
    the one are not to be paired with means of the other.
    """
    by = frame["unit"] if "unit" in frame else [frame["task"], unit_names(frame)]
    means: pd.Series = frame["value"].groupby(by).mean()
    return means


def paired(first: pd.DataFrame, second: pd.DataFrame, seed: int = 0) -> Estimate:
    """Mean difference first - second over the items that both answered."""
    return difference(by_item(first), by_item(second), seed)


def difference(first: pd.Series, second: pd.Series, seed: int = 0) -> Estimate:
    """The same of means that :func:`by_item` gave."""
    both = pd.concat([first, second], axis=1, join="inner").to_numpy()
    return mean_of(both[:, 0] - both[:, 1], seed)


def on_same_items(rows: pd.DataFrame, by: str) -> pd.DataFrame:
    """The rows of those items that were answered at every value of a column.

    Numbers of pools that answered different items would differ by their items, too. All rows where
    no item was answered at every value.
    """
    answered = rows.groupby(["task", "item"])[by].transform("nunique")
    kept = rows[answered == rows[by].nunique()]
    return kept if len(kept) else rows


def of_items(rows: pd.DataFrame, like: pd.DataFrame) -> pd.DataFrame:
    """The rows of the items that stand in ``like``."""
    items = pd.MultiIndex.from_frame(like[["task", "item"]])
    return rows[pd.MultiIndex.from_frame(rows[["task", "item"]]).isin(items)]


def of_role(frame: pd.DataFrame, *roles: str) -> pd.DataFrame:
    """The rows of some roles on the split that is reported (held-out items only rank models)."""
    return frame[frame["role"].isin(roles) & (frame["split"] != "heldout")]


def ordinary(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows without pools that were composed to be more or less diverse.

    Those would mix with the growing pools of the other analyses. A pool of different models in
    their own order is one of these too, so it stays.
    """
    if "design" not in frame:
        return frame
    label = frame["design"].fillna("")
    composed = label[label != ""]
    if composed.empty:
        return frame
    apart = composed[~composed.str.contains(r"distinct/\d+/\d+x1\b", regex=True)]
    return frame.drop(index=apart.index)


def growing(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of pools that grow: single models, and beginnings of one order of the pool.

    Left out are pools that lack a member (they were run to see what it is worth), and orders that
    were not run at every size, because then sizes would differ in their members, too.
    """
    several = frame[frame["n"] > 1]
    own = several[several["order"] == 0]
    kept = set(beginnings(own[own["role"] == "system"]["pool"]))
    sizes = {name.count(",") + 1 for name in kept}
    others = several[several["order"] > 0].groupby("order")["n"].agg(set)
    whole = [order for order, found in others.items() if found >= sizes]
    here = (frame["order"] == 0) & frame["pool"].isin(kept)
    return frame[(frame["n"] == 1) | here | frame["order"].isin(whole)]


def beginnings(pools: pd.Series) -> list[str]:
    """The largest of some pools (of equals the commonest) and its beginnings, smallest first.

    Without a pool that lacks the last member of one that was run without each of its members.
    """
    found = pools.value_counts()
    whole = max(found.index, key=lambda pool: (pool.count(","), found[pool], pool), default="")
    kept = [str(pool) for pool in found.index if f"{whole},".startswith(f"{pool},")]
    sets = {frozenset(pool.split(",")) for pool in map(str, found.index)}
    left_out = {
        pool.rpartition(",")[0]
        for pool in kept
        if all(frozenset(pool.split(",")) - {name} in sets for name in pool.split(","))
    }
    return sorted(set(kept) - left_out, key=lambda pool: pool.count(","))


def pools_of(frame: pd.DataFrame) -> list[tuple[str, ...]]:
    """The distinct pools in a frame, smallest first."""
    found = {tuple(name.split(",")) for name in frame["pool"].unique()}
    return sorted(found, key=lambda pool: (len(pool), pool))


def first_pool(frame: pd.DataFrame, n: int) -> list[str]:
    """The first pool of a size in its own order; one empty name where there is none."""
    chosen = frame[(frame["n"] == n) & (frame["order"] == 0)]
    return str(chosen["pool"].iloc[0] if len(chosen) else "").split(",")


def best_alone(frame: pd.DataFrame, pool: Sequence[str]) -> str:
    """The member with the best mean on the held-out items, or on dev where there are none.

    Never chosen on the items that are reported, unless those are all there are of dev.
    """
    solo = frame[(frame["role"] == "solo") & frame["pool"].isin(list(pool))]
    held = solo[solo["split"] == "heldout"]
    ranked = (held if len(held) else solo[solo["split"] == "dev"]).groupby("pool")["value"].mean()
    known = [name for name in pool if name in ranked.index]
    return max(known or list(pool), key=lambda name: float(ranked.get(name, 0.0)))


def row(estimate: Estimate, **named: Any) -> dict[str, Any]:
    """A line of a table from an estimate."""
    return {
        **named,
        "value": estimate.value,
        "low": estimate.low,
        "high": estimate.high,
        "items": estimate.n,
    }


def estimate(line: pd.Series) -> Estimate:
    """The estimate that :func:`row` wrote into a line of a table."""
    low, high = (None if pd.isna(line[end]) else float(line[end]) for end in ("low", "high"))
    return Estimate(float(line["value"]), low, high, int(line["items"]))


def verdict_on(found: Estimate, size: int) -> tuple[Verdict, str]:
    """Whether a gain is shown with as many contributors as the paper has, and why not.

    Smaller pools neither confirm nor refute what the paper says of 32.
    """
    shown = "above zero" if found.above else "below zero" if found.below else "around zero"
    if size < PAPERS_SIZE:
        why = f"The paper's claim is about {PAPERS_SIZE} contributors, the largest pool here has "
        interval = f"; there the interval is {shown}." if found.low is not None else "."
        return "not testable at this size", f"{why}{size}{interval}"
    if found.low is None:
        return "not testable at this size", f"{found.n} items are too few for an interval."
    if found.above:
        return "confirmed", "Confirmed is that there is a gain, not that it is as large."
    return "not confirmed", f"The interval is {shown}, over {found.n} items."


def nothing(analysis: str, title: str, why: str, *paper: str) -> Finding:
    """A finding for which the runs are missing; says which, beside each of the paper's claims."""
    claims = [Claim(one, "not run here", "not testable at this size", why) for one in paper]
    return Finding(analysis, title, why, pd.DataFrame(), claims=claims)
