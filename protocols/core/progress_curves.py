"""The numbers of progress events as curves to draw: a loss, a score on dev items, the best so far.

Part of the view's fold, so its twin is in ``studio/static/fold.js``.
"""

from __future__ import annotations

from typing import Any

from protocols.core.events import Progress

Curve = dict[str, Any]
"""``{"unit", "name", "phase", "points": [[done, value], ...]}``."""
MOST_POINTS = 400
"""A longer curve keeps every second point, its first and its last among them."""
MOST_CURVES = 60


def extend_curves(curves: list[Curve], event: Progress, phase: int) -> None:
    """Add an event's values to ``curves``, each to the newest curve of its unit and name.

    Work that begins again from a smaller ``done`` begins another curve.
    """
    for name, value in event.values.items():
        _extend(curves, event, phase, name, value)


def _extend(curves: list[Curve], event: Progress, phase: int, name: str, value: float) -> None:
    known = [one for one in curves if one["unit"] == event.unit and one["name"] == name]
    curve = known[-1] if known else None
    if curve is None or event.done < curve["points"][-1][0]:
        if len(curves) >= MOST_CURVES:
            return
        curve = {"unit": event.unit, "name": name, "phase": phase, "points": []}
        curves.append(curve)
    points = curve["points"]
    if points and points[-1][0] == event.done:
        points.pop()
    points.append([event.done, value])
    if len(points) > MOST_POINTS:
        curve["points"] = points[::2]
