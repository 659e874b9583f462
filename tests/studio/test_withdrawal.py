"""A contributed model is used, fitted, measured, and then taken out again everywhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import constants

from protocols.core.engine import GenerateRequest
from protocols.core.errors import UserError
from protocols.core.events import Ended
from protocols.core.fit import FitData, FitSpec
from protocols.core.models import RunSpec
from protocols.engines.scripted import ScriptedEngine
from studio.app import compose
from studio.context import StudioContext
from studio.contributed import Offer, add, enlist
from studio.examples import Example
from studio.pages import contribute, pool
from studio.pool import load_pool
from studio.private_records import keep_private
from studio.runs import LiveRun
from studio.settings import Settings
from studio.withdrawal import KEEPS, withdraw
from tests.core.toy import registered, toy_data
from tests.helpers import until
from tests.studio.test_admin import arriving
from tests.studio.test_contribute import adapter, settings

__all__ = ["settings"]
CANARY = "canary-51c8"
OFFER = Offer(
    "newcomer", "ours", licence="CC0-1.0", contributor=f"{CANARY} group", domain="sums",
    description=f"{CANARY} adds.", priorities=f"{CANARY} first", contact=f"{CANARY}@example.org",
)  # fmt: skip
SAYS = {"base": "red", "newcomer": "red green", "derived.toy": "green"}
BOTH = ("base", "newcomer")
SLOW = toy_data(8)
"""Questions that take seconds to answer; a single one takes none."""


def says(request: GenerateRequest) -> str:
    short = request.messages[-1]["content"] in ("Question 0?", "Which colour?")
    return SAYS[request.model.id] if short else "word " * 500


@pytest.fixture
def ctx(settings: Settings, tmp_path: Path) -> Iterator[StudioContext]:
    """The app with a contributed and approved model."""
    folder = adapter(tmp_path / "mine")
    add(OFFER, [folder], settings, who="x", try_out=False)
    keep_private(settings.workspace, "newcomer", OFFER.contact, [Example(CANARY, "x")])
    made = compose(settings, ScriptedEngine(says, delay_s=0.02))
    with registered():
        yield made
        made.manager.close()
        made.lab.close()


def fitting(ctx: StudioContext, models: tuple[str, ...], data: FitData) -> LiveRun:
    spec = FitSpec(protocol="toy", pool=models, task="toy")
    return ctx.manager.start_fit(spec, ctx.pools["ours"].specs, data)


def asking(
    ctx: StudioContext, protocol: str, models: tuple[str, ...], question: str = "Which colour?"
) -> LiveRun:
    spec = RunSpec(protocol=protocol, pool=models, question=question)
    return ctx.manager.start(spec, ctx.pools["ours"].specs)


def status(live: LiveRun) -> str:
    until(lambda: live.ended)
    last = live.events[-1]
    return last.status if isinstance(last, Ended) else "none"


def holding(root: Path, what: str) -> set[str]:
    """Files that name something in what they hold or are called."""
    files = [path for path in root.rglob("*") if path.is_file()]
    return {
        str(path.relative_to(root)) for path in files
        if what.encode() in path.read_bytes() or what in str(path.relative_to(root))
    }  # fmt: skip


def test_a_withdrawn_model_is_gone_everywhere_but_from_what_was_said(
    ctx: StudioContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, store = ctx.settings.workspace, ctx.workspace.artifacts
    assert status(fitting(ctx, BOTH, toy_data(1))) == "ok"
    assert status(fitting(ctx, ("base",), toy_data(1))) == "ok"
    assert len(list(store.list("toy"))) == 2
    said = asking(ctx, "toy", BOTH)
    assert status(said) == "ok"
    begun, going = fitting(ctx, BOTH, SLOW), asking(ctx, "majority_vote", BOTH, "Tell me more.")
    until(lambda: begun.events and going.events and len(list(root.glob("runs/*.jsonl"))) == 5)
    engine = ctx.manager.engine
    assert isinstance(engine, ScriptedEngine)
    until(lambda: {"newcomer", "derived.toy"} <= engine.loaded.keys())
    assert len(holding(root, CANARY)) >= 3
    assert list(root.glob("artifacts/toy/.*.state"))
    monkeypatch.setattr(ctx.admin, "allowed", lambda request: True)
    assert pool.decide(ctx, arriving("x"), "remove", "newcomer", "") == ""
    assert (status(going), status(begun)) == ("cancelled", "cancelled")

    assert holding(root, CANARY) == set()
    kept = {name.split("/")[0] for name in holding(root, "newcomer")}
    assert kept == {"runs", "quarantine.jsonl"}
    assert [one.manifest.models[0].id for one in store.list("toy")] == ["base"]
    assert not list(root.glob("artifacts/toy/.*.state")) + list(root.glob("artifacts/*/.*.partial"))
    assert not {"newcomer", "derived.toy"} & engine.loaded.keys()
    shown = json.dumps(pool.refreshed(ctx).props, default=str)
    assert "newcomer" not in shown and CANARY not in shown
    assert ctx.manager.stored(said.id).header.spec.pool == BOTH
    with pytest.raises(UserError, match="Withdrawn on"):
        asking(ctx, "majority_vote", BOTH)


def test_a_withdrawal_in_another_process_empties_the_running_app(ctx: StudioContext) -> None:
    """Its weights and those of what was made of it; the base and what has nothing to do stay."""
    assert status(fitting(ctx, BOTH, toy_data(1))) == "ok"
    for protocol in ("toy", "majority_vote"):
        assert status(asking(ctx, protocol, BOTH)) == "ok"
    engine = ctx.manager.engine
    assert isinstance(engine, ScriptedEngine)
    assert {"base", "newcomer", "derived.toy"} <= engine.loaded.keys()
    named = {"WORKSPACE": ctx.settings.workspace, "ASSETS": ctx.settings.assets}
    shell = os.environ | {f"STUDIO_{name}": str(path) for name, path in named.items()}
    command = [sys.executable, "-m", "studio", "pool", "remove", "newcomer", "--by", "x"]
    done = subprocess.run(command, env=shell, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    until(lambda: not {"newcomer", "derived.toy"} & engine.loaded.keys())
    assert "base" in engine.loaded


def test_its_id_stays_taken_and_cannot_be_released(ctx: StudioContext, tmp_path: Path) -> None:
    withdraw("newcomer", ctx.settings)
    again = adapter(tmp_path / "again", fill=5.0)
    with pytest.raises(UserError, match="stored runs name it"):
        add(OFFER, [again], ctx.settings, who="x", try_out=False)
    with pytest.raises(UserError, match="another id"):
        ctx.workspace.quarantine.release("newcomer", "x")
    add(replace(OFFER, id="later"), [again], ctx.settings, who="x", try_out=False)
    assert [s.id for s in load_pool("ours", ctx.settings).specs] == ["base", "later"]


def test_a_quarantined_model_s_runs_end(ctx: StudioContext) -> None:
    """Also when it was held back from the command line, by another process."""
    fit = fitting(ctx, BOTH, SLOW)
    until(lambda: fit.events)
    ctx.workspace.quarantine.hold("newcomer", "It floods.", "x")
    assert status(fit) == "cancelled"
    last = fit.events[-1]
    assert isinstance(last, Ended) and "'newcomer' may not be used any more" in last.message


def test_what_the_hub_gave_goes_too_unless_others_need_it(
    ctx: StudioContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    fetched = tmp_path / "hub" / "models--made--up"
    (fetched / "snapshots" / ("f" * 40)).mkdir(parents=True)
    (fetched / "refs").mkdir()
    (fetched / "refs" / "main").write_text("f" * 40)
    (fetched / "snapshots" / ("f" * 40) / "model.safetensors").write_bytes(b"x" * 99)
    for name in ("one", "two"):
        enlist(replace(OFFER, id=name), {"id": name, "source": "made/up"}, ctx.settings, "")
    assert withdraw("one", ctx.settings).fetched == 0 and fetched.exists()
    assert withdraw("two", ctx.settings).fetched == 99 and not fetched.exists()


def test_the_form_promises_what_is_done() -> None:
    assert KEEPS in contribute.HAND_IN and KEEPS in contribute.BY_EXAMPLE
