"""The Python fold and the JavaScript fold are one table."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from protocols.core.events import Event, dump
from protocols.core.registry import protocols
from protocols.core.view import View, fold
from studio.static import script, style
from tests.golden import read
from tests.helpers import make_spec, played
from tests.streams import streams

NODE = shutil.which("node")
needs_node = pytest.mark.skipif(NODE is None, reason="node is not installed")
EVERY = 7
"""States are compared at every seventh event and at the end."""
DRIVER = """
const runs = JSON.parse(require('fs').readFileSync(process.argv[2], 'utf8'));
const out = runs.map((events) => {
  const state = Studio.newState();
  const seen = [];
  events.forEach((event, i) => {
    Studio.fold(state, event);
    if (i % EVERY === 0 || i === events.length - 1) {
      seen.push(JSON.parse(JSON.stringify(Studio.toJson(state))));
    }
  });
  return seen;
});
require('fs').writeFileSync(process.argv[3], JSON.stringify(out));
"""


def in_node(runs: list[list[Event]], folder: Path) -> Any:
    """The states that the browser's code reaches on ``runs``."""
    files = folder / "driver.js", folder / "runs.json", folder / "states.json"
    files[0].write_text(script() + DRIVER.replace("EVERY", str(EVERY)), encoding="utf-8")
    wire = "[" + ",".join("[" + ",".join(map(dump, run)) + "]" for run in runs) + "]"
    files[1].write_text(wire, encoding="utf-8")
    assert NODE
    subprocess.run([NODE, *map(str, files)], check=True, timeout=60)
    return json.loads(files[2].read_text(encoding="utf-8"))


def in_python(run: list[Event]) -> list[Any]:
    view, seen = View(), []
    for index, event in enumerate(run):
        fold(view, event)
        if index % EVERY == 0 or index == len(run) - 1:
            seen.append(json.loads(json.dumps(view.to_json())))
    return seen


@needs_node
@pytest.mark.parametrize("name", read.NAMES)
def test_twins_agree_on_the_golden_traces(name: str, tmp_path: Path) -> None:
    run = read.events(name)
    assert in_node([run], tmp_path) == [in_python(run)]


@needs_node
def test_twins_agree_on_every_protocol(tmp_path: Path) -> None:
    runs = [played(make_spec(name, 4)) for name in protocols()]
    for ours, theirs in zip([in_python(r) for r in runs], in_node(runs, tmp_path), strict=True):
        assert theirs == ours


@needs_node
def test_twins_agree_on_made_up_streams(tmp_path: Path) -> None:
    runs: list[list[Event]] = []

    @settings(max_examples=60, suppress_health_check=list(HealthCheck), database=None)
    @given(streams())
    def collect(run: list[Event]) -> None:
        runs.append(run)

    collect()
    for ours, theirs in zip([in_python(r) for r in runs], in_node(runs, tmp_path), strict=True):
        assert theirs == ours


def test_script_and_style_can_stand_inside_a_page() -> None:
    assert "</script" not in script().lower()
    assert "innerHTML" not in script()
    assert "</style" not in style().lower() and "url(" not in style()
