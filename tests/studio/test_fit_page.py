"""The panel that fits: who may start, what it costs, which artifacts there are, what a run uses."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from protocols.core.artifacts import ArtifactStore, Manifest, fingerprint
from protocols.core.errors import UserError
from protocols.core.events import Ended
from protocols.core.models import ModelSpec, RunSpec
from protocols.core.registry import FitEstimate, FitSize, protocols
from protocols.core.trace import read_trace
from protocols.engines.scripted import ScriptedEngine
from studio import fit_cost
from studio.app import compose
from studio.context import StudioContext
from studio.fit_command import fit_spec
from studio.pages import fitting
from studio.pages.play_form import with_artifact
from studio.pool import load_pool
from studio.record import Example, record
from studio.settings import REPOSITORY, Settings
from tests.core.toy import registered, toy_data, toy_spec
from tests.helpers import make_pool, until

SOUP = "greedy_soup"
IDS = ["smollm2-addition", "smollm2-roman"]


@pytest.fixture
def ctx(tmp_path: Path) -> Iterator[StudioContext]:
    made = compose(Settings(workspace=tmp_path, assets=REPOSITORY / "assets"), ScriptedEngine())
    yield made
    made.manager.close()


def asked(**changes: Any) -> fitting.Asked:
    base: dict[str, Any] = {
        "pool": "embedded", "protocol": "cascade", "models": IDS, "tasks": ["addition"],
        "items": 4, "seed": 0, "config": {"keep": 0.5},
    }  # fmt: skip
    return fitting.Asked(**{**base, **changes})


def handlers(ctx: StudioContext, given: fitting.Asked) -> fitting.Handlers:
    with gr.Blocks():
        panel = fitting.build(ctx, protocols()["cascade"])
        shown = gr.Dropdown([]), gr.HTML()
    return fitting.Handlers(ctx, panel, *shown, lambda _: given)


def sealed(
    store: ArtifactStore, models: list[ModelSpec], key: str, seconds: float, **more: Any
) -> None:
    """An artifact as a greedy soup of 4 dev items would have left."""
    store.partial(SOUP, key).mkdir(parents=True)
    manifest = Manifest(
        protocol=SOUP, algorithm=1, key=key, task="addition,roman", data="d", seed=0,
        config={"max_p": 0.5}, models=tuple(map(fingerprint, models)),
        metrics={"dev": 0.625, "n": 4},
    )  # fmt: skip
    made = {"created": "2026-11-20T10:00:00", "seconds": seconds, "calls": 12, "engine": "scripted"}
    store.seal(manifest, {**made, **more})


def test_a_fit_starts_from_the_form_and_ends_in_the_list(ctx: StudioContext) -> None:
    page = handlers(ctx, asked())
    ticket, told = page.start({}, None)  # type: ignore[arg-type]
    assert ticket and not told.visible
    run = ctx.manager.get(ticket["run"])
    assert run
    until(lambda: run.ended)
    assert isinstance(run.events[-1], Ended) and run.events[-1].status == "ok"
    changed = page.finish(ticket)
    key = changed[page.panel.artifact].value
    assert ctx.workspace.artifacts.get("cascade", key)
    assert key in [value for _, value in fitting.choices(ctx, "cascade")]
    assert page.picked(key, "cascade") == IDS
    assert run.fit
    restored = page.restored(run.fit[0])
    assert restored[page.panel.settings]["values"]["keep"] == 0.5
    assert restored[page.protocol] == "cascade" and restored[page.models] == IDS
    assert restored[page.panel.tasks] == ["addition"] and restored[page.panel.items] == 4


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"models": []}, "No model is picked"),
        ({"tasks": []}, "No task is picked"),
        ({"tasks": ["additon"]}, "addition"),
        ({"items": -1}, "greater than or equal to 0"),
        ({"config": {"keep": 7}}, "keep"),
    ],
)
def test_what_cannot_be_fitted_is_told_beside_the_button(
    ctx: StudioContext, changes: dict[str, Any], says: str
) -> None:
    ticket, told = handlers(ctx, asked(**changes)).start({}, None)  # type: ignore[arg-type]
    assert ticket is None and says in told.value and "alert" in told.value


def test_a_hosted_demo_refuses_visitors_on_the_server(tmp_path: Path) -> None:
    settings = Settings(workspace=tmp_path, assets=REPOSITORY / "assets", hosted=True)
    ctx = compose(settings, ScriptedEngine())
    try:
        ticket, told = handlers(ctx, asked()).start({}, None)  # type: ignore[arg-type]
        assert ticket is None and "the lab starts fits" in told.value
        assert "python -m studio fit --protocol cascade" in fitting.told_cost(ctx, asked())
    finally:
        ctx.manager.close()


def test_time_is_predicted_from_the_fits_before(tmp_path: Path) -> None:
    store, spec = ArtifactStore(tmp_path), protocols()[SOUP]
    size, most = FitSize(3, 8, 8, 48), FitEstimate(40)
    config = spec.configure({})
    line = fit_cost.sentence(spec, config, size, store, "scripted")
    assert line.startswith("At most 40 answers of up to 48 tokens: 3 models")
    assert "No fit was timed" in line
    sealed(store, make_pool(2), "a" * 16, 24.0)
    a_call = fit_cost.predicted(spec, most, store, "scripted")
    assert a_call == pytest.approx(24 / 12 * 40), "by what a call took"
    assert "About 80 s" in fit_cost.sentence(spec, config, size, store, "scripted")
    assert fit_cost.predicted(spec, most, store, "another") is None
    sealed(store, make_pool(2), "b" * 16, 30.0, size=[8, 4, 48], created="2026-11-21T10:00:00")
    assert fit_cost.predicted(spec, most, store, "scripted") == pytest.approx(30 / (3 * 4) * 40)


@pytest.mark.parametrize("size", [None, "x", [1], [-8, -4, 48], ["a", "b", "c"]])
def test_a_size_that_says_nothing_is_passed_over(tmp_path: Path, size: Any) -> None:
    store, spec = ArtifactStore(tmp_path), protocols()[SOUP]
    sealed(store, make_pool(2), "a" * 16, 24.0, size=size)
    assert fit_cost.predicted(spec, FitEstimate(6), store, "scripted") == pytest.approx(12.0)


def test_the_bounds_in_words() -> None:
    told = fit_cost.asked(FitEstimate(1200, 30, 24, 96), 48)
    assert told == (
        "1,200 answers of up to 48 tokens, 30 scored verdicts and 24 training steps that draw "
        "96 answers"
    )


def test_a_list_of_artifacts_tells_them_apart(ctx: StudioContext) -> None:
    pool = [model for model in ctx.opening_pool.specs if model.id in IDS]
    sealed(ctx.workspace.artifacts, pool, "b" * 16, 24.0)
    sealed(ctx.workspace.artifacts, make_pool(2), "c" * 16, 24.0)
    shown = fitting.choices(ctx, SOUP)
    assert [key for _, key in shown] == ["", "b" * 16], "models that are nowhere cannot be picked"
    assert shown[1][0] == (
        "addition, roman · dev 63\u202f% (n 4) · 2 models · 2026-11-20 10:00 · bbbbbb"
    )


def test_a_run_takes_the_settings_of_the_chosen_artifact(ctx: StudioContext) -> None:
    pool = [model for model in ctx.opening_pool.specs if model.id in IDS]
    sealed(ctx.workspace.artifacts, pool, "d" * 16, 24.0)
    spec = RunSpec(protocol=SOUP, pool=tuple(IDS), question="What?", config={"max_p": 1.0})
    chosen = with_artifact(ctx, spec, "d" * 16)
    assert chosen.artifact == "d" * 16 and chosen.config == {"max_p": 0.5}
    assert with_artifact(ctx, spec, "").config == {}, "the newest, whatever it was made with"
    optional = spec.model_copy(update={"protocol": "cascade", "config": {"keep": 0.25}})
    assert with_artifact(ctx, optional, "") == optional


def test_a_profile_sets_what_it_names_and_resets_the_rest(ctx: StudioContext) -> None:
    page = handlers(ctx, asked(protocol="lorahub", config={}))
    panel = page.panel
    chosen = {page.protocol: "lorahub", panel.profile: "paper"}
    paper = page.profiled(chosen)[panel.settings]
    assert (paper["values"]["shots"], paper["values"]["budget"]) == (5, 40)
    small = page.profiled({**chosen, panel.profile: "small"})
    default = protocols()["lorahub"].configure({})
    assert small[panel.settings] == {"of": "lorahub", "values": default.model_dump()}
    assert "answers of up to 48 tokens" in small[panel.cost]


def test_the_command_line_and_the_page_ask_for_the_same(ctx: StudioContext) -> None:
    page = asked().spec()
    line = fit_spec("cascade", {"keep": 0.5}, IDS, "addition", limit=4, seed=0)
    assert page == line
    with pytest.raises(UserError, match="No model"):
        fit_spec("cascade", {}, [], "addition", limit=4, seed=0)


def test_a_fitted_protocol_can_be_recorded(tmp_path: Path) -> None:
    settings = Settings(workspace=tmp_path, assets=tmp_path / "assets")
    (tmp_path / "assets" / "traces").mkdir(parents=True)
    ctx = compose(Settings(workspace=tmp_path, assets=REPOSITORY / "assets"), ScriptedEngine())
    with registered():
        try:
            pool = load_pool("embedded", ctx.settings)
            ids = tuple(model.id for model in pool.specs[:3])
            example = Example("toy", "What is red?", ids)
            with pytest.raises(UserError, match="fitted"):
                asyncio.run(record(example, pool, ScriptedEngine(), settings))
            spec, data = toy_spec(pool=ids), toy_data()
            live = ctx.manager.start_fit(spec, pool.specs, data)
            until(lambda: live.ended)
            assert asyncio.run(record(example, pool, ScriptedEngine(), settings)) == "ok"
        finally:
            ctx.manager.close()
    (stored,) = (tmp_path / "assets" / "traces").glob("toy-*.jsonl")
    trace = read_trace(stored)
    assert getattr(trace.events[0], "artifact", "")
    assert trace.header.label.endswith(f", fitted to {data.task}")
