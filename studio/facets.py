"""Small multiples for Plotly: panels with one legend, in more columns where there is more room.

A figure carries both of its layouts in ``layout.meta``; ``points.js`` takes the one that fits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

TITLE, TICKS, LEGEND_ROW, HEADING = 24, 30, 22, 34
"""Pixels above and below a panel, of a row of the legend, and of a figure's own title."""
LEFT, RIGHT, BOTTOM = 58, 12, 28
GAP = {True: 0.03, False: 0.1}
"""Share of the width between two columns; more of it where there is little."""


@dataclass
class Facets:
    """Panels by title, ``wide`` or ``narrow`` of them in a row, each ``height`` pixels high."""

    titles: Sequence[str]
    x: str
    y: str
    wide: int = 4
    narrow: int = 2
    height: int = 170
    shared: bool = True
    keys: list[str] = field(default_factory=list)
    figure: Figure = field(init=False)

    def __post_init__(self) -> None:
        from plotly.graph_objects import Figure

        self.figure = Figure()
        for place, title in enumerate(self.titles):
            name = _nth(place)
            matches = {"matches": "y"} if self.shared and place else {}
            self.figure.update_layout({
                f"xaxis{name}": {"anchor": f"y{name}", "fixedrange": True},
                f"yaxis{name}": {"anchor": f"x{name}", "fixedrange": True, **matches},
            })  # fmt: skip
            self.figure.add_annotation(
                text=f"<b>{title}</b>", xref="paper", yref="paper", xanchor="left",
                yanchor="bottom", showarrow=False, font_size=12,
            )  # fmt: skip

    def add(self, place: int, key: str, **trace: Any) -> None:
        """Add a scatter trace to a panel; a ``key`` stands in the legend once."""
        name, first = _nth(place), key not in self.keys
        self.keys += [key] if first else []
        self.figure.add_scatter(
            **trace, cliponaxis=False, name=key, legendgroup=key, showlegend=first,
            xaxis=f"x{name}", yaxis=f"y{name}",
        )  # fmt: skip

    def axes(self, x: dict[str, Any] | None = None, y: dict[str, Any] | None = None) -> None:
        """Change the axes of every panel."""
        self.figure.update_xaxes(x or {})
        self.figure.update_yaxes(y or {})

    def finished(self, titled: bool) -> Figure:
        """The figure, laid out wide, with both of its layouts as its ``meta``."""
        for text, place in ((self.x, {"x": 0.5, "y": 0}), (self.y, {"x": 0, "y": 0.5})):
            side = place["x"] == 0
            self.figure.add_annotation(
                text=text, xref="paper", yref="paper", showarrow=False, font_size=12, **place,
                textangle=-90 if side else 0, xshift=-46 if side else 0, yshift=0 if side else -24,
            )  # fmt: skip
        wide, narrow = (self._places(many, titled) for many in (True, False))
        return self.figure.update_layout({**wide, "meta": {"wide": wide, "narrow": narrow}})

    def _places(self, many: bool, titled: bool) -> dict[str, Any]:
        """A layout as Plotly's ``relayout`` takes it."""
        columns = min(self.wide if many else self.narrow, len(self.titles))
        rows = -(-len(self.titles) // columns)
        inside = rows * (TITLE + self.height + TICKS)
        legend = LEGEND_ROW * -(-len(self.keys) // (6 if many else 2))
        top = legend + (HEADING if titled else 0) + 8
        width = (1 - (columns - 1) * GAP[many]) / columns
        found: dict[str, Any] = {
            "height": top + inside + BOTTOM,
            "margin": {"l": LEFT, "r": RIGHT, "t": top, "b": BOTTOM},
            "legend": {
                "orientation": "h", "x": 0, "xanchor": "left", "y": 1 + 4 / inside,
                "yanchor": "bottom", "groupclick": "togglegroup",
            },
        }  # fmt: skip
        for place in range(len(self.titles)):
            row, column = divmod(place, columns)
            left = column * (width + GAP[many])
            high = 1 - (row * (TITLE + self.height + TICKS) + TITLE) / inside
            name = _nth(place)
            found[f"xaxis{name}.domain"] = [left, min(1.0, left + width)]
            found[f"yaxis{name}.domain"] = [max(0.0, high - self.height / inside), high]
            found[f"yaxis{name}.showticklabels"] = not self.shared or not column
            found[f"annotations[{place}].x"] = left
            found[f"annotations[{place}].font.size"] = 12 if many else 10
            found[f"annotations[{place}].y"] = high
        return found


def _nth(place: int) -> str:
    """What Plotly writes behind the name of an axis."""
    return "" if not place else str(place + 1)
