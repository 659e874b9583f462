"""Reads the browser files that live in ``studio/static``."""

from __future__ import annotations

from functools import cache
from importlib.resources import files


@cache
def asset(name: str) -> str:
    """The text of a file in ``studio/static``."""
    return files("studio").joinpath("static", name).read_text(encoding="utf-8")


SCRIPTS = ("fold.js", "dag.js", "views.js", "player.js", "studio.js")


def script() -> str:
    """The live views as one script that can stand inside a page."""
    return "\n".join(asset(name) for name in SCRIPTS)
