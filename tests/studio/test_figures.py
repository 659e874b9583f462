"""Figures: equal in both languages, right where the answer is known, readable whatever comes."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.core.events import Artifact, Event, Progress, dump
from protocols.core.view import View, fold_all
from studio.figure_parts import number, percent, signed
from studio.figure_views import THINGS
from studio.figures import figures
from studio.static import script
from tests import figures as made

NODE = shutil.which("node")
needs_node = pytest.mark.skipif(NODE is None, reason="node is not installed")
DRIVER = """
const runs = JSON.parse(require('fs').readFileSync(process.argv[2], 'utf8'));
const out = runs.map((events) => {
  const state = Studio.newState();
  events.forEach((event) => Studio.fold(state, event));
  return Studio.figures(state);
});
require('fs').writeFileSync(process.argv[3], JSON.stringify(out));
"""


def in_node(runs: Sequence[Sequence[Event]], folder: Path) -> Any:
    files = folder / "driver.js", folder / "runs.json", folder / "figures.json"
    files[0].write_text(script() + DRIVER, encoding="utf-8")
    wire = "[" + ",".join("[" + ",".join(map(dump, run)) + "]" for run in runs) + "]"
    files[1].write_text(wire, encoding="utf-8")
    assert NODE
    subprocess.run([NODE, *map(str, files)], check=True, timeout=60)
    return json.loads(files[2].read_text(encoding="utf-8"))


def in_python(run: Sequence[Event]) -> Any:
    return json.loads(json.dumps(figures(fold_all(run))))


def shown(name: str, data: Any) -> dict[str, Any]:
    view = View(artifacts={name: data})
    return figures(view)[0]


@needs_node
def test_twins_agree_on_every_kind_of_artifact(tmp_path: Path) -> None:
    runs = [made.fit_run(), *(made.fit_run((name,)) for name in made.things())]
    values = {"reputation.alpha": 1000.0, "reputation.beta": 990.0, "loss": 0.5}
    runs.append([Progress(unit="duels", done=i, values=values) for i in (1, 2, 1)])
    levels = {"levels": {"alpha": made.things()["calibration"]["bins"]}}
    runs.append([Artifact(name="calibration", data=levels)])
    runs.append([Artifact(name="fitted", data=made.things()["fitted"] | {"cached": True})])
    for ours, theirs in zip(map(in_python, runs), in_node(runs, tmp_path), strict=True):
        assert theirs == ours


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**6), 10**6) | st.text("ab_<é", max_size=5)
    | st.floats(-1e6, 1e6, allow_nan=False),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.text("xyz_", min_size=1, max_size=4), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@needs_node
def test_twins_agree_on_artifacts_that_nobody_knows(tmp_path: Path) -> None:
    runs: list[list[Event]] = []

    @settings(max_examples=80, database=None)
    @given(plain)
    def collect(data: Any) -> None:
        runs.append([Artifact(name="unheard_of", data=data)])

    collect()
    for ours, theirs in zip(map(in_python, runs), in_node(runs, tmp_path), strict=True):
        assert theirs == ours


@given(st.sampled_from(sorted(THINGS)), plain)
@settings(max_examples=60, database=None)
def test_an_artifact_that_is_not_as_it_should_be_becomes_a_table(name: str, data: Any) -> None:
    found = shown(name, data)
    assert found["parts"] and all(part["kind"] in KINDS for part in found["parts"])


KINDS = {"chart", "particles", "matrix", "intervals", "shares", "badge", "table"}


def test_every_view_is_used_by_its_example() -> None:
    for name, data in made.things().items():
        kinds = {part["kind"] for part in shown(name, data)["parts"]}
        assert (name in THINGS) or kinds == {"table"}, name
        if name in THINGS:
            assert shown(name, data)["title"] == THINGS[name][0], f"{name} fell back to a table"
    assert set(THINGS) <= set(made.things())


def test_the_ladder_says_who_was_added_and_by_how_much() -> None:
    found = shown("ladder", made.ladder())
    rungs = found["parts"][0]["rows"]
    assert [one["state"] for one in rungs] == ["start", "added", "left out", "left out"]
    assert rungs[1]["note"] == "+12.5 points: 2 better, 1 worse"
    assert rungs[2]["note"] == "−25 points: 0 better, 2 worse"
    assert found["note"].startswith("2 of 4 models are in the soup: 63\u202f%")
    assert (rungs[1]["low"], rungs[1]["high"]) == (pytest.approx(0.425), pytest.approx(0.825))


def test_the_matrix_of_pairs_fills_on_both_sides_of_the_diagonal() -> None:
    cells = shown("pairs", made.pairs(2))["parts"][0]["cells"]
    assert cells == [
        [None, 0.25, 0.5, None],
        [0.75, None, None, None],
        [0.5, None, None, None],
        [None, None, None, None],
    ]
    ranking = shown("pairs", made.pairs())["parts"][1]["rows"]
    assert [one["name"] for one in ranking] == ["delta", "gamma", "beta", "alpha"]
    assert ranking[-1]["note"] == "also from theta"


def test_sign_conflict_is_laid_out_by_module_and_layer() -> None:
    part = shown("conflict", made.conflict())["parts"][0]
    assert part["rows"] == ["k", "o", "q", "v"] and part["columns"] == [str(i) for i in range(12)]
    assert part["cells"][2][5] == pytest.approx(5 / 20)


def test_a_recipe_shares_out_by_size_and_keeps_the_sign() -> None:
    rows = shown("recipe", made.things()["recipe"])["parts"][0]["rows"]
    assert rows == [["alpha", 0.5, 0.5], ["beta", -0.25, 0.25], ["delta", 0.25, 0.25]]


def test_a_recipe_of_students_says_what_each_learnt() -> None:
    taught = shown("recipe", made.things()["recipe"])["parts"][1]
    assert taught["rows"] == [["alpha", "75\u202f%", "50\u202f%", "25\u202f%", "63\u202f%", "8"]]


def test_what_was_fitted_before_says_so_and_what_it_is_made_of() -> None:
    found = shown("fitted", made.things()["fitted"] | {"cached": True})
    assert "fitted before" in found["note"]
    assert [part["kind"] for part in found["parts"]] == ["table", "shares"]


def test_a_swarm_of_graphs_shows_its_best_graph_instead_of_shares() -> None:
    data = made.swarm() | {"landmarks": []}
    graph = {"order": ["alpha", "beta"], "edges": [["alpha", "beta"]], "sink": "beta"}
    for frame in data["iterations"]:
        frame |= {"best_graph": graph}
        del frame["best_row"]
    parts = shown("swarm", data)["parts"]
    assert [part["kind"] for part in parts] == ["particles", "chart", "table"]
    assert parts[2]["rows"] == [["links", "alpha > beta"], ["speaks last", "beta"]]


def test_curves_of_several_models_are_one_chart() -> None:
    values = {"reputation.alpha": 1000.0, "reputation.beta": 990.0}
    view = fold_all([Progress(unit="duels", done=i, values=values) for i in (1, 2, 1)])
    (chart,) = figures(view)[0]["parts"]
    assert chart["label"] == "reputation"
    names = [one["name"] for one in chart["series"]]
    assert names == ["alpha (1)", "beta (1)", "alpha (2)", "beta (2)"]


def test_curves_that_begin_again_are_series_of_their_own() -> None:
    charts = next(one for one in figures(fold_all(made.fit_run())) if one["name"] == "curves")
    loss, best = charts["parts"]
    assert [one["name"] for one in loss["series"]] == ["Every model alone", "Once more"]
    assert loss["series"][0]["points"][0] == [1.0, 3.0] and loss["unit"] == ""
    assert best["unit"] == "percent" and len(best["series"][0]["points"]) == 6


def test_an_unknown_artifact_is_readable_and_bounded() -> None:
    rows = [{"place": i, "what": "x" * 500} for i in range(100)]
    found = shown("some_thing", {"note": True, "rows": rows})
    assert found["title"] == "Some thing"
    single, records = found["parts"]
    assert single["rows"] == [["note", "yes"]]
    assert len(records["rows"]) == 60 and records["left"] == 40
    assert len(records["rows"][0][1]) == 160
    assert not any("{" in cell for row in single["rows"] + records["rows"] for cell in row)


@pytest.mark.parametrize(
    ("value", "told"),
    [(0, "0"), (1234.5, "1235"), (0.1234, "0.123"), (-2.5, "−2.5"), (0.00001, "< 0.001")],
)
def test_numbers_are_written_for_people(value: float, told: str) -> None:
    assert number(value) == told
    assert signed(3) == "+3" and percent(0.125) == "13\u202f%"
