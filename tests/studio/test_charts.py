"""Figures are readable with many protocols: panels apart, titles for ids, two layouts."""

from __future__ import annotations

import itertools
from functools import cache
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evals.analyses.core import Finding
from evals.analyses.emergence import emergence
from evals.analyses.scaling import scaling
from evals.names import IDS, Names, protocol_title
from protocols.core.registry import protocols
from studio.chart_style import ordered
from studio.charts import apart, draw, frontier
from studio.facets import Facets
from tests.evals.analyses.frames import frame, members, rows, solos

MODELS = tuple("abcdefgh")
MANY = [one.id for one in protocols().values() if one.level != "baselines"]


@given(st.integers(1, 30), st.booleans(), st.booleans())
@settings(max_examples=12)
def test_no_two_panels_lie_on_one_another(count: int, wide: bool, titled: bool) -> None:
    facets = Facets([f"panel {n}" for n in range(count)], "x", "y")
    facets.add(0, "line", x=[1], y=[1])
    layout = facets.finished(titled).layout.meta["wide" if wide else "narrow"]
    boxes = [_box(layout, "" if not n else str(n + 1)) for n in range(count)]
    assert all(0 <= low < high <= 1 for box in boxes for low, high in box)
    for one, other in itertools.combinations(boxes, 2):
        assert any(a[1] <= b[0] or b[1] <= a[0] for a, b in zip(one, other, strict=True))
    assert layout["height"] > 150 * count / (4 if wide else 2)


def _box(layout: dict[str, Any], name: str) -> tuple[list[float], list[float]]:
    return layout[f"xaxis{name}.domain"], layout[f"yaxis{name}.domain"]


@cache
def many_protocols() -> Any:
    values = {m: [float(n % (2 + i) == 0) for n in range(12)] for i, m in enumerate(MODELS)}
    systems = [
        rows("system", name, MODELS[:n], [1.0] * (6 + place % 5) + [0.0] * (6 - place % 5))
        for place, name in enumerate(MANY)
        for n in (2, 4, 8)
    ]
    return frame(solos(values), *systems)


@cache
def scaled() -> Finding:
    return scaling(many_protocols())


def test_twenty_protocols_have_a_panel_each_and_one_legend() -> None:
    whole = many_protocols()
    for finding in (scaled(), emergence(whole, members(whole))):
        figure = draw(finding, titled=False)
        assert figure is not None
        titles = [note.text for note in figure.layout.annotations]
        for name in MANY:
            assert f"<b>{protocol_title(name)}</b>" in titles
        shown = [trace.name for trace in figure.data if trace.showlegend]
        assert len(shown) == len(set(shown)) <= 8
        told = " ".join(str(trace.hovertemplate) for trace in figure.data)
        assert not any(name in f"{told} {titles}" for name in MANY if "_" in name)


def test_levels_stand_together_best_first() -> None:
    table = scaled().table
    names = ordered(table[table["protocol"].isin(MANY)])
    levels = [protocols()[name].level for name in names]
    assert levels == sorted(levels, key=["api", "text", "logit", "weight"].index)
    largest = table[table["n"] == 8].set_index("protocol")["value"]
    for a, b in itertools.pairwise(names):
        assert protocols()[a].level != protocols()[b].level or largest[a] >= largest[b]


def test_every_point_names_the_row_it_draws() -> None:
    finding = scaled()
    figure = draw(finding)
    assert figure is not None
    named = {point[0] for trace in figure.data for point in trace.customdata}
    assert named == {f"scaling/{row}" for row in finding.table.index}


def test_the_frontier_of_cost_is_what_nothing_cheaper_beats() -> None:
    table = pd.DataFrame({"tokens": [10.0, 20.0, 30.0, 5.0], "value": [0.5, 0.4, 0.7, 0.0]})
    assert frontier(table) == {0, 2}


@pytest.mark.parametrize(
    ("name", "told"),
    [("x", "Expert"), ("x.copy2", "Expert (copy 2)"), ("nobody", "nobody"), ("a.copyx", "a.copyx")],
)
def test_models_are_called_by_their_names(name: str, told: str) -> None:
    assert Names({"x": "Expert"}).model(name) == told
    assert IDS.model(name.partition(".")[0]) == name.partition(".")[0]
    assert Names({"x": "Expert"}).pool("x,b,c", 2) == "Expert, b and 1 more"


def test_names_in_a_figure_do_not_lie_on_one_another() -> None:
    values = pd.Series([0.0, 0.5, 0.52, 0.9, 1.0])
    assert apart(values, {0, 1, 2, 3, 4}) == {0, 2, 3, 4}
    assert apart(values, set()) == set() and apart(values[:1], {0}) == {0}
