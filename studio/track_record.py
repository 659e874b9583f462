"""How a protocol did in the stored results, beside the best single model of the same pool.

It folds over stored records; it runs nothing. The single model is picked with the results at hand,
so it is a hard yardstick: nobody knows beforehand which model will be the best.
"""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from studio.model_standing import Line, frame_of

if TYPE_CHECKING:
    import pandas as pd

FEW = 30
"""Below this many questions the page says that they are few."""


@dataclass(frozen=True)
class Track:
    """Shares of right answers over the same items: the protocol's, and the best single model's."""

    system: Line
    single: Line
    models: int


def track_record(protocol: str, frame: pd.DataFrame) -> Track | None:
    """The protocol with the largest pool that was measured; None where it was not."""
    from evals.analyses.core import by_item, mean_of, of_role, ordinary

    systems = of_role(ordinary(frame), "system")
    own = systems[systems["protocol"] == protocol]
    if own.empty:
        return None
    largest = own[own["n"] == own["n"].max()]
    members = {model for pool in largest["pool"] for model in pool.split(",")}
    alone = of_role(frame, "solo")
    alone = alone[alone["pool"].isin(members) & alone["item"].isin(set(largest["item"]))]
    if alone.empty:
        return None
    best = max((part for _, part in alone.groupby("pool")), key=lambda part: part["value"].mean())
    lines = [
        Line(name, found.value, found.low, found.high, found.n)
        for name, part in ((protocol, largest), (str(best["pool"].iloc[0]), best))
        for found in [mean_of(by_item(part).to_numpy())]
    ]
    return Track(lines[0], lines[1], int(largest["n"].iloc[0]))


def record_html(protocol: str, assets: Path, names: Mapping[str, str]) -> str:
    """What the stored results say of a protocol, in two sentences, with the ``names`` of models."""
    frame = frame_of(assets)
    track = track_record(protocol, frame) if frame is not None else None
    if track is None:
        told = "The stored results do not have it yet."
    else:
        name = html.escape(names.get(track.single.name, track.single.name))
        told = (
            f"With {track.models} models it was right on {track.system.value:.0%} of "
            f"{track.system.n} questions{_between(track.system)}; the best of these models alone, "
            f"{name}, on {track.single.value:.0%}{_between(track.single)}."
            + (" That is few questions: a hint, no proof." if track.system.n < FEW else "")
        )
    return (
        f"<p class='studio-record'><b>Better than one model?</b> {told} "
        "<a href='/results'>All results</a></p>"
    )


def _between(line: Line) -> str:
    if line.low is None or line.high is None:
        return ""
    return f" (95% interval {line.low:.0%} to {line.high:.0%})"
