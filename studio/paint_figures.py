"""Figures as still HTML and SVG, with the classes of the live area (``plots.js``)."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Any

from protocols.core.view import View
from studio.figure_parts import Figure, Part, Row, number, percent, signed
from studio.markup import Html, tag, text

WIDTH, HEIGHT = 560, 230
LEFT, RIGHT, TOP, BOTTOM = 46, 14, 10, 34
DASHES = ("", "7 4", "2 3", "9 3 2 3", "14 4")
PATTERNS = 5
WORD = re.compile(r"[\w./:@-]+")
SVG: dict[str, object] = {"xmlns": "http://www.w3.org/2000/svg", "role": "img"}
Points = Sequence[Sequence[float]]
Scale = Callable[[float], float]


def cards(view: View, figures: Sequence[Figure]) -> list[Html]:
    """A card for each figure."""
    return [_card(view, figure) for figure in figures]


def _card(view: View, figure: Figure) -> Html:
    note = tag("p", "ps-note", told(view, figure["note"])) if figure["note"] else Html("")
    parts = tag("div", "ps-parts", *(_part(view, one) for one in figure["parts"]))
    title = tag("h4", "", text(figure["title"]))
    look = "ps-view ps-card ps-figure"
    return tag("section", look, title, note, parts, data_figure=figure["name"])


def _part(view: View, part: Part) -> Html:
    label = tag("h5", "", text(part["label"])) if part.get("label") else Html("")
    kind = part["kind"]
    try:
        drawn = DRAW[kind](view, part)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, ArithmeticError):
        # Whatever was in an artifact, the page stays.
        drawn = tag("p", "ps-empty", text("This cannot be drawn."))
    return tag("div", f"ps-part ps-part-{kind}", label, drawn)


def author(view: View, name: str) -> str:
    """The classes that draw a model, or those of nobody in particular."""
    known = view.models.get(name)
    if not known:
        return "ps-vote"
    return f"ps-a{known.colour} ps-u{list(view.models).index(name) % PATTERNS}"


def mark(view: View, name: str) -> Html:
    """A model's two letters."""
    known = view.models.get(name)
    letters, title = (known.mark, known.name) if known else ("?", name)
    return tag("span", f"ps-mark {author(view, name)}", text(letters), title=title)


def told(view: View, sentence: str) -> Html:
    """A protocol's sentence with the names of models in place of their ids, as in the live area."""

    def name(found: re.Match[str]) -> str:
        model = found.group().rstrip(".:")
        known = view.models.get(model)
        return (known.name if known else model) + found.group()[len(model) :]

    return text(WORD.sub(name, sentence))


def _named(view: View, name: str) -> Html:
    """A model by mark and name, anything else by its words."""
    known = view.models.get(name)
    if not known:
        return tag("bdi", "", told(view, name))
    return tag("span", "ps-named", mark(view, name), tag("bdi", "", text(known.name)))


def _shown(value: float, unit: str) -> str:
    return percent(value) if unit == "percent" else number(value)


def ticks(low: float, high: float, count: int, whole: bool = False) -> list[float]:
    """Round numbers between two values, about ``count`` of them; ``whole`` ones if asked for."""
    raw = (high - low) / max(1, count)
    power = 10 ** math.floor(math.log10(raw))
    step = next(n * power for n in (1, 2, 5, 10) if n * power >= raw * 0.999)
    step = max(step, 1.0) if whole else step
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [place * step for place in range(first, last + 1)]


def _scale(
    values: Sequence[float], start: float, end: float, unit: str = ""
) -> tuple[float, float, Scale]:
    """The values' range, widened a little, and where each lies between ``start`` and ``end``."""
    low, high = min(values), max(values)
    if low == high:
        room = abs(low) / 10 or 0.5
        low, high = low - room, high + room
    if unit == "percent":
        low, high = max(0.0, low - 0.05), min(1.0, high + 0.05)
    return low, high, lambda value: start + (value - low) / (high - low) * (end - start)


def _chart(view: View, part: Part) -> Html:
    lines = [one for one in part["series"] if one["points"]]
    if not lines:
        return tag("p", "ps-empty", text("Nothing to draw yet."))
    points = [point for one in lines for point in one["points"]]
    reach = [value for one in lines for bound in one["bounds"] or () for value in bound]
    xs = [point[0] for point in points]
    across = _scale(xs, LEFT, WIDTH - RIGHT)
    up = _scale([*(p[1] for p in points), *reach], HEIGHT - BOTTOM, TOP, part["unit"])
    drawn = [_line(view, one, place, across[2], up[2]) for place, one in enumerate(lines)]
    grid = _grid(part, across, up, all(float(x).is_integer() for x in xs))
    size = {"viewBox": f"0 0 {WIDTH} {HEIGHT}", "aria_label": _sentence(view, part, lines)}
    keys = [_key(view, one["name"], place) for place, one in enumerate(lines)]
    legend = tag("ul", "ps-keys", *keys) if len(keys) > 1 else Html("")
    return Html(tag("svg", "ps-plot", *grid, *drawn, **SVG, **size) + legend)


def _sentence(view: View, part: Part, lines: Sequence[dict[str, Any]]) -> str:
    """What a chart says, for whoever does not see it."""
    told = []
    for one in lines:
        (x0, y0), (x1, y1) = one["points"][0][:2], one["points"][-1][:2]
        known = view.models.get(one["name"])
        ends = [f"{_shown(y, part['unit'])} at {number(x)}" for x, y in ((x0, y0), (x1, y1))]
        told.append(f"{known.name if known else one['name']}: {', '.join(ends)}")
    return f"{part['label']} over {part['x']}. {'. '.join(told)}."


def _grid(
    part: Part, across: tuple[float, float, Scale], up: tuple[float, float, Scale], whole: bool
) -> list[Html]:
    made = []
    for value in ticks(up[0], up[1], 4):
        y = f"{up[2](value):.1f}"
        made.append(tag("line", "ps-grid", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y))
        made.append(_word(_shown(value, part["unit"]), LEFT - 6, up[2](value) + 4, "end"))
    for value in ticks(across[0], across[1], 7, whole):
        made.append(_word(number(value), across[2](value), HEIGHT - 18, "middle"))
    return [*made, _word(part["x"], (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 3, "middle")]


def _word(words: str, x: float, y: float, anchor: str) -> Html:
    return tag("text", "ps-axis", text(words), x=f"{x:.1f}", y=f"{y:.1f}", text_anchor=anchor)


def _look(view: View, name: str, place: int) -> str:
    return author(view, name) if name in view.models else f"ps-line-{place % 3}"


def _line(view: View, one: dict[str, Any], place: int, across: Scale, up: Scale) -> Html:
    at = [(across(x), up(y)) for x, y in one["points"]]
    d = "".join(f"{'L' if i else 'M'}{x:.1f} {y:.1f}" for i, (x, y) in enumerate(at))
    whiskers = [
        tag("line", "ps-whisker", x1=f"{x:.1f}", x2=f"{x:.1f}", y1=f"{up(b[0]):.1f}",
            y2=f"{up(b[1]):.1f}")
        for (x, _), b in zip(at, one["bounds"] or (), strict=False)
    ]  # fmt: skip
    dots = [tag("circle", "ps-dot", cx=f"{x:.1f}", cy=f"{y:.1f}", r=3.6) for x, y in at]
    curve = tag("path", "ps-curve", d=d, stroke_dasharray=DASHES[place % 5])
    kept = dots if len(dots) <= 40 else []
    return tag("g", f"ps-series {_look(view, one['name'], place)}", curve, *whiskers, *kept)


def _key(view: View, name: str, place: int) -> Html:
    line = tag("path", "ps-curve", d="M1 5H29", stroke_dasharray=DASHES[place % 5])
    swatch = tag("svg", "ps-key", line, viewBox="0 0 30 10", aria_hidden="true")
    return tag("li", f"ps-series {_look(view, name, place)}", swatch, _named(view, name))


def _particles(view: View, part: Part) -> Html:
    """Where the particles ended, each with the way it came."""
    frames, last = part["frames"], part["frames"][-1]
    spots = [one["best"] for one in frames if one["best"]]
    every = [*(m[1:] for m in part["landmarks"]), *(p for f in frames for p in f["points"]), *spots]
    across = _scale([p[0] for p in every], 26, WIDTH - 26)[2]
    up = _scale([p[1] for p in every], HEIGHT * 1.3 - 20, 20)[2]
    steady = all(len(one["points"]) == len(last["points"]) for one in frames)
    ways = [[f["points"][i] for f in frames[-7:]] for i in range(len(last["points"]))]
    trails = [_trail(way, across, up) for way in ways] if steady and len(frames) > 1 else []
    best = max(last["scores"])
    bodies = [
        tag("circle", "ps-particle", tag("title", "", text(percent(score))),
            cx=f"{across(x):.1f}", cy=f"{up(y):.1f}", r=5,
            style=f"--good: {score / best if best > 0 else 0:.3f}")
        for (x, y), score in zip(last["points"], last["scores"], strict=True)
    ]  # fmt: skip
    marks = [_landmark(view, name, across(x), up(y)) for name, x, y in part["landmarks"]]
    ring = [
        tag("circle", "ps-best", cx=f"{across(x):.1f}", cy=f"{up(y):.1f}", r=9)
        for x, y in spots[-1:]
    ]
    told = f"{part['label']}: {len(bodies)} particles, best {percent(best)} after {len(frames)}."
    size = {"viewBox": f"0 0 {WIDTH} {HEIGHT * 1.3:g}", "aria_label": told}
    return tag("svg", "ps-plot", *marks, *trails, *bodies, *ring, **SVG, **size)


def _trail(way: Points, across: Scale, up: Scale) -> Html:
    places = " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in way)
    return tag("polyline", "ps-trail", points=places)


def _landmark(view: View, name: str, x: float, y: float) -> Html:
    known = view.models.get(name)
    return tag(
        "g",
        f"ps-landmark {author(view, name)}",
        tag("rect", "", x=f"{x - 12:.1f}", y=f"{y - 9:.1f}", width=24, height=18, rx=5),
        tag("text", "", text(known.mark if known else "?"), x=f"{x:.1f}", y=f"{y + 4:.1f}",
            text_anchor="middle"),
    )  # fmt: skip


def _matrix(view: View, part: Part) -> Html:
    heads = [
        tag("th", "", mark(view, name) if name in view.models else text(name), scope="col")
        for name in part["columns"]
    ]
    lines = [
        tag("tr", "", tag("th", "", _named(view, name), scope="row"),
            *(_tile(part, value) for value in cells))
        for name, cells in zip(part["rows"], part["cells"], strict=True)
    ]  # fmt: skip
    head = tag("thead", "", tag("tr", "", tag("td", ""), *heads))
    small = str(len(heads) > 14).lower()
    table = tag("table", "ps-matrix", head, tag("tbody", "", *lines), data_small=small)
    return tag("div", "ps-scroll", table)


def _tile(part: Part, value: float | None) -> Html:
    if value is None:
        return tag("td", "ps-tile", data_empty="true")
    middle = 0 if part["low"] < 0 else part["low"]
    most = max(abs(part["high"]), abs(part["low"])) - middle or 1
    strength = min(1.0, abs(value - middle) / most) * 62
    told = _shown(value, part["unit"]).replace("\u202f%", "")
    sign = {"data_sign": "minus"} if value < middle else {}
    return tag("td", "ps-tile", text(told), style=f"--strength: {strength:.0f}%", **sign)


def _intervals(view: View, part: Part) -> Html:
    span = part["high"] - part["low"] or 1

    def at(value: float) -> str:
        return f"{100 * (value - part['low']) / span:.2f}%"

    rows = [_range(view, row, part["unit"], at) for row in part["rows"]]
    return tag("div", "ps-ranges", *rows)


def _range(view: View, row: Row, unit: str, at: Callable[[float], str]) -> Html:
    dot = tag("span", "ps-range-dot", style=f"--at: {at(row['value'])}")
    ends, reach = (0.0, row["value"]), ""
    if row["low"] is not None:
        ends = row["low"], row["high"]
        reach = f" ({_shown(row['low'], unit)} to {_shown(row['high'], unit)})"
    bar = tag("span", "ps-range-bar", style=f"--from: {at(ends[0])}; --to: {at(ends[1])}")
    value = [text(_shown(row["value"], unit)), tag("small", "", text(reach))]
    verdict = {"data_verdict": row["state"]} if row["state"] else {}
    more = [tag("span", "ps-chip ps-verdict", text(row["state"]), **verdict)] if verdict else []
    if row["note"]:
        more.append(tag("span", "ps-range-note", text(row["note"])))
    return tag(
        "div",
        f"ps-range {author(view, row['name'])}",
        tag("span", "ps-range-name", _named(view, row["name"])),
        tag("span", "ps-range-track", bar, dot),
        tag("span", "ps-range-value", *value),
        *more,
        **verdict,
    )


def _shares(view: View, part: Part) -> Html:
    bars = []
    for name, weight, share in part["rows"]:
        known = view.models.get(name)
        label = tag("bdi", "ps-model-name", text(known.name if known else name))
        fill = tag("span", "ps-bar-fill", style=f"--share: {share:.4f}")
        sign = {"data_sign": "minus"} if weight < 0 else {}
        bars.append(
            tag("div", f"ps-bar {author(view, name)}", mark(view, name) if known else Html(""),
                tag("span", "ps-bar-label", label), tag("span", "ps-bar-track", fill),
                tag("span", "ps-bar-value", text(f"{signed(weight)} · {percent(share)}")), **sign)
        )  # fmt: skip
    return tag("div", "ps-bars", *bars)


def _badge(_view: View, part: Part) -> Html:
    chips = [
        tag("span", "ps-chip ps-badge", text(f"✓ {o}" if o == part["chosen"] else o),
            data_chosen=str(o == part["chosen"]).lower())
        for o in part["options"]
    ]  # fmt: skip
    return tag("p", "ps-badges", *chips)


def _table(view: View, part: Part) -> Html:
    heads = [tag("th", "", _named(view, name), scope="col") for name in part["columns"]]
    lines = [
        tag("tr", "", *(tag("td", "", _named(view, cell), dir="auto") for cell in row))
        for row in part["rows"]
    ]
    body = [tag("thead", "", tag("tr", "", *heads)), tag("tbody", "", *lines)]
    left = part["left"]
    more = tag("p", "ps-note", text(f"and {left} more rows")) if left else Html("")
    return tag("div", "ps-scroll", tag("table", "ps-table", *body), more)


DRAW: dict[str, Callable[[View, Part], Html]] = {
    "chart": _chart,
    "particles": _particles,
    "matrix": _matrix,
    "intervals": _intervals,
    "shares": _shares,
    "badge": _badge,
    "table": _table,
}
