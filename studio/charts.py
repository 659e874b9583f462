"""Findings as Plotly figures, and as files: CSV, JSON, HTML, and SVG or PNG where Chromium is.

Colours are those of Okabe and Ito (2008), told apart by people who confuse red and green; dashes
and symbols say the same again.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from evals.analyses.core import Finding
from evals.analyses.points import point_name
from protocols.core.errors import EngineError

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F")
SYMBOLS = ("circle", "square", "diamond", "cross", "triangle-up", "star", "x")
DASHED = "best single model"
Draw = Callable[[Finding], "Figure"]


def draw(finding: Finding, *, titled: bool = True) -> Figure | None:
    """The figure of a finding; None where there is nothing to draw.

    Without its title for pages that have it as a heading, where a phone would cut it.
    """
    if finding.table.empty or finding.id not in FIGURES:
        return None
    figure = FIGURES[finding.id](finding)
    figure.update_layout(
        title=finding.title if titled else None, template="plotly_white",
        height=figure.layout.height or 440, legend={"orientation": "h", "y": -0.25},
        margin={"l": 60, "r": 20, "t": 60 if titled else 30, "b": 60},
        paper_bgcolor="rgba(0,0,0,0)", plot_bgcolor="rgba(0,0,0,0)",
    )  # fmt: skip
    return figure


def _empty() -> Figure:
    from plotly.graph_objects import Figure

    return Figure()


def _named(finding: Finding, part: pd.DataFrame, *columns: str) -> list[list[Any]]:
    """What a point carries: its name, by which the runs behind it are found, and more columns."""
    more = part[list(columns)].astype(object).to_numpy().tolist()
    return [[point_name(finding, int(at)), *row] for at, row in zip(part.index, more, strict=True)]


def _styles() -> Iterable[dict[str, str]]:
    """Endless pairs of colour and symbol, a new pair for each trace."""
    for number in itertools.count():
        turn = number // len(COLOURS)
        symbol = SYMBOLS[(number + turn) % len(SYMBOLS)]
        yield {"color": COLOURS[number % len(COLOURS)], "symbol": symbol}


def _bars(
    part: pd.DataFrame, value: str, low: str, high: str, color: str = "#7F7F7F"
) -> dict[str, Any]:
    """Asymmetric error bars; none where a row has no interval."""
    up = (part[high].astype(float) - part[value]).fillna(0.0).clip(lower=0)
    down = (part[value] - part[low].astype(float)).fillna(0.0).clip(lower=0)
    return {
        "type": "data",
        "symmetric": False,
        "array": up,
        "arrayminus": down,
        "thickness": 1,
        "color": color,
    }


def _scaling(finding: Finding) -> Figure:
    figure = _empty()
    for style, (protocol, part) in zip(
        _styles(), finding.table.groupby("protocol", sort=False), strict=False
    ):
        line = {"color": style["color"], "dash": "dash" if protocol == DASHED else "solid"}
        figure.add_scatter(
            x=part["n"], y=part["value"], name=str(protocol), mode="lines+markers", marker=style,
            line=line, error_y=_bars(part, "value", "low", "high"),
            customdata=_named(finding, part, "items"),
            hovertemplate="%{y:.3f} at n = %{x}, %{customdata[1]} items",
        )  # fmt: skip
    sizes = sorted(finding.table["n"].unique())
    figure.update_xaxes(type="log", tickvals=sizes, title="contributors")
    return figure.update_yaxes(title="mean score")


def _emergence(finding: Finding) -> Figure:
    figure, table = _empty(), finding.table.dropna(subset=["emergence"])
    names = table["protocol"] + " · " + table["n"].astype(str)
    figure.add_bar(
        x=names, y=table["emergence"], name="solved by the system", marker_color=COLOURS[0],
        error_y=_bars(table, "emergence", "low", "high"),
        customdata=_named(finding, table, "unsolved"),
        hovertemplate="%{y:.1%} of %{customdata[1]} unsolved",
    )  # fmt: skip
    null = {"symbol": "line-ew-open", "size": 16, "color": COLOURS[1], "line": {"width": 3}}
    figure.add_scatter(
        x=names, y=table["null"], name="a member asked again", mode="markers", marker=null,
        customdata=_named(finding, table, "null_tries"),
        hovertemplate="%{y:.1%} of %{customdata[1]} attempts",
    )  # fmt: skip
    figure.add_bar(
        x=names, y=table["regression"], name="lost by the system", marker_color="#7F7F7F",
        customdata=_named(finding, table, "all_right"),
        hovertemplate="%{y:.1%} of %{customdata[1]} that every member solves",
    )  # fmt: skip
    return figure.update_yaxes(title="share", tickformat=".0%")


def _points(finding: Finding, x: str, titles: Sequence[str], label: str) -> Figure:
    figure = _empty()
    for style, (protocol, part) in zip(
        _styles(), finding.table.groupby("protocol", sort=False), strict=False
    ):
        known = {"low", "high"} <= set(part.columns)
        figure.add_scatter(
            x=part[x], y=part["gain" if "gain" in part else "value"], name=str(protocol),
            mode="markers", marker=style | {"size": 9}, text=part[label],
            error_y=_bars(part, "value", "low", "high") if known else None,
            customdata=_named(finding, part), hovertemplate="%{text}<br>%{x:.3g}, %{y:.3f}",
        )  # fmt: skip
    figure.update_xaxes(title=titles[0])
    return figure.update_yaxes(title=titles[1])


def _strength(finding: Finding) -> Figure:
    return _points(finding, "own", ("own score", "worth to the system"), "model")


def _diversity(finding: Finding) -> Figure:
    return _points(finding, "diversity", ("disagreement", "gain over the members' mean"), "pool")


def _settings(finding: Finding) -> Figure:
    figure = _empty()
    for style, (setting, part) in zip(
        _styles(), finding.table.groupby("setting", sort=False), strict=False
    ):
        names = part["setting"] + " · " + part["name"]
        figure.add_scatter(
            x=names, y=part["value"], name=str(setting), mode="lines+markers",
            marker=style | {"size": 9}, error_y=_bars(part, "value", "low", "high"),
            customdata=_named(finding, part, "items", "diversity"),
            hovertemplate="%{y:.3f}, %{customdata[1]} items, disagreement %{customdata[2]:.2f}",
        )  # fmt: skip
    alone = {"symbol": "line-ew-open", "size": 16, "color": "#7F7F7F", "line": {"width": 3}}
    figure.add_scatter(
        x=finding.table["setting"] + " · " + finding.table["name"], y=finding.table["strength"],
        name="members alone (mean)", mode="markers", marker=alone,
        customdata=_named(finding, finding.table),
    )  # fmt: skip
    return figure.update_yaxes(title="mean score")


def _humans(finding: Finding) -> Figure:
    from plotly.subplots import make_subplots

    table = finding.table
    tasks = dict(zip(table["task"], table["measure"], strict=True))
    titles = [f"{task}: {measure}" for task, measure in tasks.items()]
    figure = make_subplots(rows=len(tasks), cols=1, subplot_titles=titles)
    styles = dict(zip(dict.fromkeys(finding.table["protocol"]), _styles(), strict=False))
    seen: set[str] = set()
    for place, task in enumerate(tasks, 1):
        for protocol, part in table[table["task"] == task].groupby("protocol", sort=False):
            style = styles[protocol]
            line = {"color": style["color"], "dash": "dash" if protocol == DASHED else "solid"}
            figure.add_scatter(
                x=part["n"], y=part["value"], name=str(protocol), legendgroup=str(protocol),
                showlegend=protocol not in seen, mode="lines+markers", marker=style, line=line,
                error_y=_bars(part, "value", "low", "high"), row=place, col=1,
                customdata=_named(finding, part, "items", "null"),
                hovertemplate="%{y:.3f} at n = %{x}, %{customdata[1]} items, null "
                "%{customdata[2]:.3f}",
            )  # fmt: skip
            seen.add(str(protocol))
    sizes = sorted(finding.table["n"].unique())
    figure.update_xaxes(type="log", tickvals=sizes, title="contributors")
    return figure.update_layout(height=60 + 300 * len(tasks))


def _participants(finding: Finding) -> Figure:
    figure = _empty()
    for style, ((_, judge), part) in zip(
        _styles(), finding.table.groupby(["study", "judge"], sort=False), strict=False
    ):
        figure.add_scatter(
            x=part["model"], y=part["value"], name=str(judge), mode="markers",
            marker=style | {"size": 10}, error_y=_bars(part, "value", "low", "high"),
            customdata=_named(finding, part, "wins", "losses", "ties"),
            hovertemplate="%{x}: %{y:.0%}<br>%{customdata[1]} wins, %{customdata[2]} losses, "
            "%{customdata[3]} ties",
        )  # fmt: skip
    figure.add_hline(y=0.5, line_dash="dash", line_color="#7F7F7F")
    figure.update_layout(scattermode="group")
    return figure.update_yaxes(title="the system is preferred", tickformat=".0%", range=[-0.02, 1])


def _harm(finding: Finding) -> Figure:
    figure, table = _empty(), finding.table
    names = table["protocol"] + " · " + table["attack"]
    figure.add_bar(
        x=names, y=table["value"], name="answers that changed", marker_color=COLOURS[0],
        error_y=_bars(table, "value", "low", "high"), customdata=_named(finding, table, "items"),
        hovertemplate="%{y:.0%} of %{customdata[1]} changed",
    )  # fmt: skip
    figure.add_bar(
        x=names, y=table["captured"], name="became the attacker's", marker_color=COLOURS[1],
        error_y=_bars(table, "captured", "captured_low", "captured_high"),
        customdata=_named(finding, table, "items"),
        hovertemplate="%{y:.0%} of %{customdata[1]} taken over",
    )  # fmt: skip
    null = {"symbol": "line-ew-open", "size": 16, "color": "#7F7F7F", "line": {"width": 3}}
    figure.add_scatter(
        x=names, y=table["null"], name="changed without cause", mode="markers", marker=null,
        customdata=_named(finding, table, "items"), hovertemplate="%{y:.0%} of %{customdata[1]}",
    )  # fmt: skip
    return figure.update_yaxes(title="share of answers", tickformat=".0%")


def _cost(finding: Finding) -> Figure:
    figure = _points(finding, "tokens", ("generated tokens per item", "mean score"), "pool")
    return figure.update_xaxes(type="log")


FIGURES: dict[str, Draw] = {
    "scaling": _scaling,
    "emergence": _emergence,
    "strength": _strength,
    "diversity": _diversity,
    "cost": _cost,
    "settings": _settings,
    "humans": _humans,
    "participants": _participants,
    "harm": _harm,
}


def write(finding: Finding, folder: Path, pictures: Sequence[str] = ()) -> list[Path]:
    """Write a finding as files and return them: ``<id>.json``, its tables as CSV, its figure.

    ``pictures`` may name ``svg`` and ``png``. Raises :class:`EngineError` if there is no Chromium
    to draw them with.
    """
    folder.mkdir(parents=True, exist_ok=True)
    made = [folder / f"{finding.id}.json"]
    made[0].write_text(json.dumps(summary(finding), indent=1, ensure_ascii=False), encoding="utf-8")
    for name, table in {"": finding.table, **finding.more}.items():
        made.append(folder / f"{finding.id}{'-' if name else ''}{name}.csv")
        table.to_csv(made[-1], index=False)
    if figure := draw(finding):
        made.append(folder / f"{finding.id}.html")
        figure.write_html(made[-1], include_plotlyjs="directory")
        made += [picture(figure, folder / f"{finding.id}.{kind}") for kind in pictures]
    return made


def summary(finding: Finding) -> dict[str, Any]:
    """What a finding says, without its tables."""
    return {
        "id": finding.id,
        "title": finding.title,
        "sentence": finding.sentence,
        "claims": [asdict(claim) for claim in finding.claims],
        "notes": list(finding.notes),
    }


def picture(figure: Figure, path: Path) -> Path:
    """Draw a figure with Chromium. Raises :class:`EngineError` if there is none."""
    try:
        figure.write_image(path, width=900, height=520)
    except Exception as error:  # noqa: BLE001  kaleido's errors share no base class
        raise EngineError(
            f"{path.name} could not be drawn ({type(error).__name__}). Install Chromium "
            "(apt-get install chromium), or leave --pictures out."
        ) from None
    return path
