"""Reads the browser files that live in ``studio/static``."""

from __future__ import annotations

from functools import cache
from importlib.resources import files


@cache
def asset(name: str) -> str:
    """The text of a file in ``studio/static``."""
    return files("studio").joinpath("static", name).read_text(encoding="utf-8")
