"""The live views as files: plain scripts and one stylesheet, joined here and inlined into pages."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

SCRIPTS = (
    "fold.js",
    "layout.js",
    "dom.js",
    "text.js",
    "lanes.js",
    "segments.js",
    "dag.js",
    "charts.js",
    "parts.js",
    "figures.js",
    "plots.js",
    "figureview.js",
    "header.js",
    "answer.js",
    "screen.js",
    "player.js",
    "studio.js",
)
STYLES = ("studio.css", "views.css", "figures.css")
"""In the order in which they build on each other."""


@cache
def script() -> str:
    """All scripts as one that can stand inside a ``<script>`` element of a page."""
    return "\n".join(_read(name) for name in SCRIPTS)


@cache
def style() -> str:
    """The stylesheets of the live views."""
    return "\n".join(_read(name) for name in STYLES)


def _read(name: str) -> str:
    return files(__name__).joinpath(name).read_text(encoding="utf-8")
