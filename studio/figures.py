"""What a run shows beside its texts, as figures: plain data that a page draws.

A figure is ``{"name", "title", "note", "parts"}``; a part is a chart, particles, a matrix, rows
with intervals, shares, a table or a badge. The same table is in ``studio/static/figures.js``, and
tests keep the twins equal; :mod:`studio.paint_figures` and ``plots.js`` draw them. An artifact that
nobody knows, or one that is not as it should be, becomes a readable table.
"""

from __future__ import annotations

import json
from typing import Any

from protocols.core.view import View
from studio import figure_parts as part
from studio.figure_parts import Figure, figure, percent
from studio.figure_views import THINGS

ORDER = [
    *("fitted", "side", "cascade", "ladder", "alpha", "swarm", "evolution", "weights", "pairs"),
    *("duels", "champions", "cost_curve", "calibration", "regret", "recipe", "curves"),
    *("conflict", "deltas", "fusion", "?", "preflight"),
]
"""What comes first; ``?`` is where unknown artifacts stand."""
SCORES = {"accuracy", "agreement", "best", "dev", "dev_score", "mean", "score"}
"""Curves of these names are shares of what can be reached, if they stay between 0 and 1."""


def figures(view: View) -> list[Figure]:
    """Every figure of a run as it stands, the most telling first."""
    found = [*_decided(view), *_curves(view)]
    found += [_thing(name, data) for name, data in view.artifacts.items()]
    return sorted(found, key=lambda one: _place(one["name"]))


def _place(name: str) -> int:
    return ORDER.index(name) if name in ORDER else ORDER.index("?")


def _thing(name: str, data: Any) -> Figure:
    """An artifact as a figure; a table if there is no view for it or it does not fit its view."""
    # As a page receives it: lists for tuples, text for keys.
    data = json.loads(json.dumps(data))
    known = THINGS.get(name)
    if known:
        title, draw = known
        try:
            return figure(name, title, *draw(data))
        except (KeyError, TypeError, ValueError, IndexError, AttributeError):
            pass
    return figure(name, part.heading(name), "", part.tables(data))


def _decided(view: View) -> list[Figure]:
    """The figures that are made of decisions: whose side was taken, how far a cascade went."""
    found = []
    sides = [one for one in view.decisions if one["what"] == "side"]
    if sides:
        options = list(sides[-1]["options"])
        parts = [part.badge(options, sides[-1]["chosen"])]
        found.append(figure("side", "Whose side the aggregator took", sides[-1]["why"], parts))
    levels = [one for one in view.decisions if one["what"] == "cascade"]
    if levels:
        rows = [_level(one) for one in levels]
        table = part.table("", ["level", "right with a chance of", "then", "why"], rows)
        found.append(figure("cascade", "How far the question went", "", [table]))
    return found


def _level(one: dict[str, Any]) -> list[Any]:
    asked = one["options"][0]
    then = "kept" if one["chosen"] == asked else f"on to {one['options'][-1]}"
    return [asked, percent(one["scores"].get(asked, 0.0)), then, one["why"]]


def _curves(view: View) -> list[Figure]:
    """One chart for each name; what began again is a series of its own."""
    parts = []
    for name in dict.fromkeys(_group(curve) for curve in view.curves):
        own = [curve for curve in view.curves if _group(curve) == name]
        series = [part.series(_curve_name(view, own, curve), curve["points"]) for curve in own]
        ys = [point[1] for one in series for point in one["points"]]
        share = name in SCORES and all(0 <= y <= 1 for y in ys)
        words = name.replace("_", " ")
        parts.append(part.chart(words, "step", words, series, "percent" if share else ""))
    return [figure("curves", "Progress", "", parts)] if parts else []


def _group(curve: dict[str, Any]) -> str:
    """The chart of a curve: ``reputation.alpha`` and ``reputation.beta`` are drawn together."""
    return str(curve["name"]).partition(".")[0]


def _curve_name(view: View, own: list[dict[str, Any]], curve: dict[str, Any]) -> str:
    whose = str(curve["name"]).partition(".")[2]
    titled = view.phases[curve["phase"]]["title"] if curve["phase"] >= 0 else curve["unit"]
    titled = whose or titled
    twice = [c for c in own if c["name"] == curve["name"]]
    if not whose:
        twice = [c for c in twice if c["phase"] == curve["phase"]]
    number_ = next(i for i, c in enumerate(twice, start=1) if c is curve)
    return f"{titled} ({number_})" if len(twice) > 1 else str(titled)
