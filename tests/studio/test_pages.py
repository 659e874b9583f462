"""Pages without a browser: forms from configs, costs, and what the page's config gives away."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from gradio.context import Context
from hypothesis import given
from hypothesis import strategies as st

from evals.human.study import spec_from
from protocols.core.errors import UserError
from protocols.core.models import ModelSpec, RunSpec
from protocols.core.registry import ProtocolSpec, protocols
from protocols.core.session import resolve
from protocols.engines.scripted import ScriptedEngine
from studio import app, cost, form, live
from studio.app import build, compose
from studio.context import StudioContext
from studio.pages import controls, play
from studio.settings import REPOSITORY, Settings
from tests.helpers import make_pool, make_spec

PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
ANYTHING = st.recursive(
    PLAIN,
    lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(), x, max_size=3),
    max_leaves=5,
)


@pytest.fixture
def ctx(tmp_path: Path) -> StudioContext:
    settings = Settings(workspace=tmp_path, assets=REPOSITORY / "assets")
    made = compose(settings, ScriptedEngine())
    yield made  # type: ignore[misc]
    made.manager.close()


def test_every_setting_of_every_protocol_has_a_field() -> None:
    models = make_pool(2)
    for spec in protocols().values():
        every = tuple(spec.config.model_fields)
        shown = form.fields(spec, every, models)
        assert [one["name"] for one in shown] == list(every)
        asked = set(controls.run_fields(spec)) | set(spec.fit_fields if spec.fit else ())
        assert asked == set(every), "a setting is asked for nowhere"
        for one in shown:
            assert one["info"] == spec.config.model_fields[one["name"]].description
            if one["kind"] == "choice":
                assert one["standard"] in [value for _, value in one["choices"]]
        sent = form.values(json.loads(json.dumps(form.value(spec, every))), spec)
        assert spec.configure(sent) == spec.configure({})


def test_a_form_of_another_protocol_says_nothing_about_this_one() -> None:
    spec, other = protocols()["multiagent_refine"], protocols()["dare_ties"]
    assert form.values(form.value(other, ["density"], {"density": 0.25}), spec) == {}
    assert form.values(form.value(other, ["density"], {"density": 0.25}), other) == {
        "density": 0.25
    }


@given(st.data())
def test_whatever_a_page_sends_as_settings_is_valid_or_refused_in_a_sentence(
    data: st.DataObject,
) -> None:
    spec = protocols()[data.draw(st.sampled_from(sorted(protocols())))]
    names = st.sampled_from([*spec.config.model_fields, "no_such_setting"])
    settings = st.dictionaries(names, ANYTHING)
    sent = data.draw(ANYTHING | st.fixed_dictionaries({"of": st.just(spec.id), "values": settings}))
    try:
        config = spec.configure(form.values(sent, spec))
    except UserError as error:
        assert error.message.endswith(".") and "\n" not in error.message.strip()
        return
    assert config == spec.configure(config.model_dump())


def test_a_setting_as_long_as_a_book_is_refused_and_not_repeated() -> None:
    spec = protocols()["heterogeneous_swarms"]
    sent = {"of": spec.id, "values": {"edges": "1>2 " * form.LONGEST}}
    with pytest.raises(UserError, match="longer than") as refused:
        form.values(sent, spec)
    assert len(refused.value.message) < 200


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


@pytest.mark.parametrize("spec", protocols().values(), ids=lambda spec: spec.id)
def test_a_wrong_setting_is_named_as_the_form_names_it(spec: ProtocolSpec) -> None:
    shown = {
        field["name"]: field["label"] for field in form.fields(spec, spec.config.model_fields, [])
    }
    for name, title in shown.items():
        with pytest.raises(
            UserError, match=re.escape(f"Setting '{title}' ({name}) of {spec.title}")
        ):
            spec.configure({name: {"no": "value"}})


def test_a_setting_that_names_a_missing_model_is_named_as_the_form_names_it() -> None:
    spec = RunSpec(
        protocol="agglm", pool=("a", "b"), question="Why?", config={"aggregator": "stranger"}
    )
    with pytest.raises(UserError, match=re.escape("'Aggregator' (aggregator) names 'stranger'")):
        resolve(spec, [ModelSpec(id=name, source="artificial") for name in "ab"])


def test_a_studys_wrong_field_is_named_as_the_form_names_it() -> None:
    with pytest.raises(UserError, match=re.escape("'Raters per pair' (overlap): Input should be")):
        spec_from(
            {
                "slug": "artificial", "title": "T", "system": {"protocol": "single_model"},
                "contributors": [{"model": "m", "questions": "task:x/dev"}], "overlap": 0,
            },
            {"overlap": "Raters per pair"},
        )  # fmt: skip


@pytest.mark.slow
def test_pages_are_what_gradio_s_own_routes_would_make(ctx: StudioContext) -> None:
    """The pages are made in one go, which saves most of a start's time: nothing else may differ."""

    def config(demo: gr.Blocks) -> Any:
        return json.loads(json.dumps(demo.get_config_file(), default=str)) | {"app_id": 0}

    Context.id = 0
    ours = config(build(ctx))
    Context.id = 0
    with gr.Blocks(title="Participation Studio", analytics_enabled=False, fill_width=True) as demo:
        app._frame(ctx, play.build)
    for name, path, shown, page in app.PAGES:
        with demo.route(name, path, show_in_navbar=shown):
            app._frame(ctx, page.build)
    assert ours == config(demo)
