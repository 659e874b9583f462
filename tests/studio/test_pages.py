"""Pages without a browser: forms from configs, costs, and what the page's config gives away."""

from __future__ import annotations

import json
from pathlib import Path

import gradio as gr
import pytest

from protocols.core.registry import protocols
from protocols.engines.scripted import ScriptedEngine
from studio import cost, form, live
from studio.app import build, compose
from studio.context import StudioContext
from studio.settings import REPOSITORY, Settings
from tests.helpers import make_pool, make_spec


@pytest.fixture
def ctx(tmp_path: Path) -> StudioContext:
    settings = Settings(workspace=tmp_path, assets=REPOSITORY / "assets")
    made = compose(settings, ScriptedEngine())
    yield made  # type: ignore[misc]
    made.manager.close()


def test_every_setting_of_every_protocol_has_a_field() -> None:
    with gr.Blocks():
        found = {spec.id: form.fields(spec, ["alpha", "beta"]) for spec in protocols().values()}
    for spec in protocols().values():
        fields = found[spec.id]
        assert set(fields) == set(spec.config.model_fields)
        shown = {name: component.value for name, component in fields.items()}
        assert spec.configure(form.values(shown, spec)) == spec.configure({})
        for name, component in fields.items():
            assert component.info == spec.config.model_fields[name].description


@pytest.mark.parametrize("effort", cost.EFFORTS)
def test_the_effort_dial_gives_valid_settings_and_costs_more_each_step(effort: str) -> None:
    for spec in protocols().values():
        spec.configure(cost.dial(spec, effort))  # type: ignore[arg-type]
    costs = []
    for level in cost.EFFORTS:
        spec = protocols()["multiagent_refine"]
        config = spec.configure(cost.dial(spec, level))
        costs.append(spec.estimate(config, 4, cost.MAX_TOKENS[level]).tokens)
    assert costs == sorted(costs) and costs[0] < costs[-1]


def test_the_page_config_has_no_local_paths_and_no_public_endpoint(ctx: StudioContext) -> None:
    config = build(ctx).get_config_file()
    text = json.dumps(config, default=str)
    assert str(REPOSITORY) not in text and str(ctx.workspace.root) not in text
    assert not [d for d in config["dependencies"] if d["api_visibility"] == "public"]


def test_server_functions_answer_junk_with_a_sentence(ctx: StudioContext) -> None:
    for function in live.server_functions(ctx):
        for junk in (None, 7, "x", [], {}, {"run": "../../etc"}, {"run": ["a"]}, {"run": "x" * 99}):
            assert set(function(junk)) == {"error"}


def test_resync_gives_what_was_missed(ctx: StudioContext) -> None:
    resync = live.server_functions(ctx)[0]
    run = ctx.manager.start(make_spec("majority_vote"), make_pool(3))
    while not run.ended:
        pass
    whole = resync({"run": run.id, "after": -1})
    rest = resync({"run": run.id, "after": 4})
    assert whole["from"] == -1 and rest["from"] == 4
    assert whole["to"] == rest["to"] == run.events[-1].seq
    for strange in ("4", None, -7, 1.5, True):
        assert resync({"run": run.id, "after": strange})["from"] in (-1, 1)


def test_a_stored_run_is_shown_to_whoever_has_its_link(ctx: StudioContext) -> None:
    load = live.server_functions(ctx)[2]
    for row in ctx.workspace.list_recordings():
        played = load({"run": row.run})["play"]
        assert played["events"][0]["kind"] == "run_started"
        assert played["header"]["label"]
