"""How a protocol did in the stored results, beside the best single model of the same pool.

It folds over stored records; it runs nothing. The single model is picked with the results at hand,
so it is a hard yardstick: nobody knows beforehand which model will be the best.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from studio.model_standing import Line, frame_of
from studio.pool import Pool
from studio.settings import Settings

if TYPE_CHECKING:
    import pandas as pd

FEW = 30
"""Below this many questions the page says that they are few."""
NOT_YET = "The stored results do not have it yet."
DEV_ONLY = (
    "It was measured on dev questions only, which fits and choices may have seen, so there is no "
    "answer yet."
)


@dataclass(frozen=True)
class Track:
    """Shares of right answers over the same items: the protocol's, and the best single model's.

    ``more`` is the first minus the second, paired by item.
    """

    system: Line
    single: Line
    more: Line
    pool: tuple[str, ...]
    split: str


def track_record(protocol: str, frame: pd.DataFrame) -> Track | None:
    """The protocol with the largest pool that was measured; None where it was not.

    Test items alone count wherever systems answered any (:func:`evals.frames.reported_rows`).
    """
    from evals.analyses.core import of_role, ordinary, paired
    from evals.frames import reported_rows

    shown = ordinary(reported_rows(frame))
    systems = of_role(shown, "system")
    own = systems[systems["protocol"] == protocol]
    if own.empty:
        return None
    own = own[own["pool"] == _largest(own)]
    pool = tuple(str(own["pool"].iloc[0]).split(","))
    best = _best(of_role(shown, "solo"), own, pool)
    if best is None:
        return None
    difference = paired(own, best)
    return Track(
        _line(protocol, own),
        _line(str(best["pool"].iloc[0]), best),
        Line("more", difference.value, difference.low, difference.high, difference.n),
        pool,
        " and ".join(sorted(own["split"].unique())),
    )


def _largest(own: pd.DataFrame) -> str:
    """The pool with most models, of equals the one that answered most items: one pool, no mix."""
    counted = own.groupby("pool").agg(n=("n", "first"), items=("item", "nunique"))
    return str(counted.sort_values(["n", "items"], kind="stable").index[-1])


def _best(solo: pd.DataFrame, own: pd.DataFrame, pool: tuple[str, ...]) -> pd.DataFrame | None:
    """The rows of the member that is best on the very items that the system answered."""
    asked = set(zip(own["task"], own["item"], strict=True))
    alone = solo[solo["pool"].isin(pool)]
    same = [one in asked for one in zip(alone["task"], alone["item"], strict=True)]
    parts = [part for _, part in alone.loc[same].groupby("pool")]
    return max(parts, key=lambda part: float(part["value"].mean()), default=None)


def _line(name: str, part: pd.DataFrame) -> Line:
    from evals.analyses.core import by_item, level_of

    found = level_of(by_item(part))
    return Line(name, found.value, found.low, found.high, found.n)


def record_html(protocol: str, settings: Settings, pools: Mapping[str, Pool]) -> str:
    """What the stored results say of a protocol, in a few sentences; ``pools`` name its models."""
    frame = frame_of(settings)
    track = track_record(protocol, frame) if frame is not None else None
    if track is not None:
        told = _told(track, pools.values())
    else:
        known = frame is not None and bool((frame["protocol"] == protocol).any())
        told = DEV_ONLY if known else NOT_YET
    return (
        f"<p class='studio-record'><b>Better than one model?</b> {told} "
        "<a href='/results'>All results</a></p>"
    )


def _told(track: Track, pools: Iterable[Pool]) -> str:
    holding = [pool for pool in pools if set(track.pool) <= {spec.id for spec in pool.specs}]
    whose = min(holding, key=lambda pool: len(pool.specs), default=None)
    titles = {spec.id: spec.title for spec in whose.specs} if whose else {}
    name = html.escape(titles.get(track.single.name, track.single.name))
    of_pool = f" of the pool {html.escape(whose.title)}" if whose else ""
    few = " That is few questions: a hint, no proof." if track.system.n < FEW else ""
    return (
        f"{_verdict(track.more)} With {len(track.pool)} models{of_pool} it was right on "
        f"{track.system.value:.0%} of {track.system.n} {track.split} questions"
        f"{_between(track.system)}; the best of these models alone, {name}, on "
        f"{track.single.value:.0%}{_between(track.single)}.{few}"
    )


def _verdict(more: Line) -> str:
    """The answer first, as far as the paired difference gives one."""
    points = f"{more.value * 100:+.0f} points"
    if more.low is None or more.high is None:
        return f"Not known here ({points}, no interval)." if more.value else "No: equally often."
    answer = "Yes" if more.low > 0 else "No" if more.high < 0 else "Not told apart"
    return f"{answer}: {points} (95% interval {more.low * 100:+.0f} to {more.high * 100:+.0f})."


def _between(line: Line) -> str:
    if line.low is None or line.high is None:
        return ""
    return f" ({line.low:.0%} to {line.high:.0%})"
