"""The parts that figures are made of, and numbers in words that both twins write alike.

A name in a part may be a model's id: whoever draws it then adds the model's mark.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

Figure = dict[str, Any]
Part = dict[str, Any]
Row = dict[str, Any]
MOST_ROWS = 60
"""Rows of a table that are shown; the rest is counted."""
MOST_CHARS = 160
DASH = "–"


def figure(name: str, title: str, note: str, parts: list[Part]) -> Figure:
    """A figure with its parts."""
    return {"name": name, "title": title, "note": note, "parts": parts}


def series(name: str, points: Sequence[Any], bounds: Sequence[Any] | None = None) -> dict[str, Any]:
    """A line through ``points`` [[x, y], ...], with [[low, high], ...] for intervals."""
    return {"name": name, "points": list(points), "bounds": list(bounds) if bounds else None}


def chart(label: str, x: str, y: str, lines: list[dict[str, Any]], unit: str) -> Part:
    """Lines over a common x axis; ``unit`` percent shows shares."""
    return {"kind": "chart", "label": label, "x": x, "y": y, "series": lines, "unit": unit}


def particles(
    label: str, names: list[str], landmarks: list[Any], frames: list[dict[str, Any]]
) -> Part:
    """Points that move in a plane, beside landmarks that stand for models, if there are any."""
    pairs = zip(names, landmarks, strict=True) if landmarks else ()
    places = [[name, *place] for name, place in pairs]
    return {"kind": "particles", "label": label, "landmarks": places, "frames": frames}


def matrix(
    label: str,
    rows: list[str],
    columns: list[str],
    cells: list[list[Any]],
    low: float,
    high: float,
    unit: str,
) -> Part:
    """Numbers between ``low`` and ``high``, by row; None is not known (yet)."""
    named = {"rows": rows, "columns": columns, "cells": cells}
    return {"kind": "matrix", "label": label, **named, "low": low, "high": high, "unit": unit}


def row(
    name: str, value: float, low: Any = None, high: Any = None, state: str = "", note: str = ""
) -> Row:
    """A value with its interval, where it has one."""
    return {"name": name, "value": value, "low": low, "high": high, "state": state, "note": note}


def intervals(label: str, rows: list[Row], unit: str, low: float, high: float) -> Part:
    """Values with intervals on one scale from ``low`` to ``high``."""
    return {
        "kind": "intervals", "label": label, "rows": rows, "unit": unit, "low": low, "high": high,
    }  # fmt: skip


def shares(label: str, weights: Sequence[tuple[str, float]]) -> Part:
    """Signed weights of contributors, the largest first; their sizes share out the whole."""
    total = sum(abs(weight) for _, weight in weights) or 1
    ranked = sorted((pair for pair in weights if pair[1]), key=lambda pair: -abs(pair[1]))
    rows = [[name, weight, abs(weight) / total] for name, weight in ranked]
    return {"kind": "shares", "label": label, "rows": rows}


def badge(options: list[str], chosen: str) -> Part:
    """One of a few words, among those it could have been."""
    return {"kind": "badge", "options": options, "chosen": chosen}


def table(label: str, columns: list[str], rows: list[list[Any]]) -> Part:
    """Words in rows; of a long table the beginning and a count."""
    left = max(0, len(rows) - MOST_ROWS)
    kept = [[clip(str(cell)) for cell in one] for one in rows[:MOST_ROWS]]
    return {"kind": "table", "label": label, "columns": columns, "rows": kept, "left": left}


def tables(data: Any) -> list[Part]:
    """Any JSON as readable tables: single values together, each list of records on its own."""
    if isinstance(data, list):
        return [_records("", data)]
    if not isinstance(data, dict):
        return [table("", ["value"], [[told(data)]])]
    nested = {name: v for name, v in data.items() if isinstance(v, list | dict) and _deep(v)}
    plain = [[words(name), told(v)] for name, v in data.items() if name not in nested]
    found = [table("", ["what", "value"], plain)] if plain or not nested else []
    for name, value in nested.items():
        if isinstance(value, list):
            found.append(_records(words(name), value))
        else:
            inner = [[words(key), told(v)] for key, v in value.items()]
            found.append(table(words(name), ["what", "value"], inner))
    return found


def _deep(value: Any) -> bool:
    inner = value.values() if isinstance(value, dict) else value
    return isinstance(value, dict) or any(isinstance(one, list | dict) for one in inner)


def _records(label: str, rows: list[Any]) -> Part:
    """A list as a table: records by their fields, anything else line by line."""
    records = [one for one in rows if isinstance(one, dict)]
    if not rows or len(records) < len(rows):
        lines = [[str(place), told(one)] for place, one in enumerate(rows, start=1)]
        return table(label, ["", "value"], lines)
    names = list(dict.fromkeys(name for one in records for name in one))
    body = [[told(one.get(name)) for name in names] for one in records]
    return table(label, [words(name) for name in names], body)


def told(value: Any) -> str:
    """A JSON value in words."""
    if value is None or value == "":
        return DASH
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return number(value)
    if isinstance(value, list):
        return ", ".join(told(one) for one in value[:12]) + (" …" if len(value) > 12 else "")
    if isinstance(value, dict):
        return ", ".join(f"{words(key)} {told(one)}" for key, one in value.items())
    return str(value)


def number(value: float) -> str:
    """A number for people: whole from 100 on, else with three decimals at most."""
    size = abs(value)
    places = 0 if size >= 100 else 3
    scale = 10**places
    rounded = math.floor(size * scale + 0.5) / scale
    if size and not rounded:
        return "< 0.001"
    text = f"{rounded:.{places}f}"
    if places:
        text = text.rstrip("0").rstrip(".")
    return f"−{text}" if value < 0 else text


def signed(value: float) -> str:
    """A number with its sign."""
    return number(value) if value < 0 else f"+{number(value)}"


def percent(share: float) -> str:
    """A share in percent."""
    return f"{math.floor(share * 100 + 0.5)}\u202f%"


def words(name: str) -> str:
    """A field's name for people."""
    return name.replace("_", " ")


def heading(name: str) -> str:
    """A name as a title."""
    return words(name)[:1].upper() + words(name)[1:]


def clip(text: str) -> str:
    """The text, or its beginning if it is long."""
    return text if len(text) <= MOST_CHARS else f"{text[: MOST_CHARS - 1]}…"
