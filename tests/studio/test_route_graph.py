"""A question's route is drawn by the view that draws collaboration graphs."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from protocols.core.events import CallStarted, dump
from protocols.core.view import fold_all
from studio.paint import body, graph_svg
from studio.static import script
from tests.helpers import make_spec, played
from tests.studio.test_fold_twins import NODE, needs_node

STATES = """
const [events, names] = JSON.parse(require('fs').readFileSync(process.argv[2], 'utf8'));
const state = Studio.newState();
events.forEach((event) => Studio.fold(state, event));
process.stdout.write(JSON.stringify(names.map((name) => Studio.nodeState(state, name))));
"""


def test_neighbours_are_drawn_and_the_chosen_model_lights_up() -> None:
    events = played(make_spec("graph_routing", 3, question="Name item 5 on the list of numbers."))
    begun = next(at for at, e in enumerate(events) if isinstance(e, CallStarted))
    view = fold_all(events[:begun])
    assert view.graph
    states = {node["id"]: view.node_state(node["id"]) for node in view.graph["nodes"]}
    kinds = {node["id"]: node["kind"] for node in view.graph["nodes"]}
    assert {state for name, state in states.items() if kinds[name] != "model"} == {"ok"}
    assert {state for name, state in states.items() if kinds[name] == "model"} == {"waiting"}
    after = fold_all(events)
    lit = [
        name for name, kind in kinds.items() if kind == "model" and after.node_state(name) == "ok"
    ]
    assert lit == [view.graph["sink"]]
    drawn = graph_svg(after)
    assert drawn.count("ps-node-box") == len(kinds) and drawn.count("data-chosen") > 2
    assert ">Q<" in drawn and ">N<" in drawn and ">T<" in drawn and "alike" in drawn
    assert "The route" in body(after) and "The swarm" not in body(after)


def test_heavier_links_are_drawn_thicker() -> None:
    view = fold_all(played(make_spec("graph_routing", 3)))
    assert view.graph
    view.graph["links"] = [{**one, "weight": 0.0} for one in view.graph["links"]]
    thin = graph_svg(view)
    view.graph["links"] = [{**one, "weight": 1.0} for one in view.graph["links"]]
    assert "stroke-width: 1.20" in thin and "stroke-width: 7.20" in graph_svg(view)


@needs_node
def test_both_twins_say_the_same_of_every_node(tmp_path: Path) -> None:
    events = played(make_spec("graph_routing", 4))
    for count in range(4, len(events) + 1):
        view = fold_all(events[:count])
        names = [node["id"] for node in (view.graph or {"nodes": []})["nodes"]] + ["nowhere"]
        files = tmp_path / "driver.js", tmp_path / "run.json"
        files[0].write_text(script() + STATES, encoding="utf-8")
        wire = "[" + ",".join(map(dump, events[:count])) + "]"
        files[1].write_text(f"[{wire},{json.dumps(names)}]", encoding="utf-8")
        if count % 5 and count != len(events):
            continue
        assert NODE
        told = subprocess.run([NODE, *map(str, files)], check=True, timeout=60, capture_output=True)
        assert json.loads(told.stdout) == [view.node_state(name) for name in names]
