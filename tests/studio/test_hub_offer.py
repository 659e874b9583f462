"""A model on the hub: its page, its files where they are here, and what nobody could check."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from protocols.core.errors import ContributorError, EngineError, UserError
from protocols.engines.hub import HubFacts
from studio.context import StudioContext
from studio.contribution_checks import Finding
from studio.examples import Example
from studio.hub_offer import add_from_hub, try_listed
from studio.pool import load_pool
from studio.private_records import keep_private
from studio.withdrawal import withdraw
from tests.studio.test_contribute import OFFER, settings
from tests.studio.test_contribute_page import CANARY, ctx

__all__ = ["ctx", "settings"]
FACTS = HubFacts("mit", ("LlamaForCausalLM",), "", 7, ("model.safetensors",), "f" * 40, False)


def hub(repo: str, ctx: StudioContext, facts: HubFacts | None, **more: Any) -> list[Finding]:
    def ask(_: str) -> HubFacts:
        if facts is None:
            raise EngineError("The hub is away.")
        return facts

    offer = replace(OFFER, contact=CANARY, **more)
    return list(add_from_hub(offer, repo, ctx.settings, who="x", ask=ask).findings)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"runs_code": True}, "never run here"),
        ({"files": ("pytorch_model.bin",)}, "no safetensors"),
        ({"files": ("adapter_config.json", "adapter_model.safetensors")}, "upload its files"),
        ({"architectures": ("SomethingElse",)}, "generates no text"),
        ({"parameters": 10**12}, "more than 100B"),
    ],
)
def test_a_hub_model_is_checked_by_its_page(
    change: dict[str, Any], reason: str, ctx: StudioContext
) -> None:
    with pytest.raises(ContributorError, match=reason):
        hub("made/up", ctx, replace(FACTS, **change))
    assert not (ctx.settings.workspace / "private").exists()
    assert [s.id for s in load_pool("ours", ctx.settings).specs] == ["base"]


def test_a_hub_model_waits_also_while_the_hub_is_away(ctx: StudioContext) -> None:
    reached = hub("made/up", ctx, FACTS)
    assert [(f.point, f.text[:20]) for f in reached if f.state != "ok"] == [
        ("smoke test", "not checked: its fil")
    ]
    away = hub("made/other", ctx, None, id="other")
    assert [f.point for f in away if f.state == "note"] == ["hub", "smoke test"]
    assert away[-1].text.startswith("not checked: no network")
    tried = [dict(entry.card)["tried"] for entry in load_pool("ours", ctx.settings).entries[1:]]
    assert tried == [reached[-1].text, away[-1].text]
    one, other = load_pool("ours", ctx.settings).specs[1:]
    assert (one.revision, one.contributor.licence, other.revision) == ("f" * 40, "CC0-1.0", "")
    assert {*ctx.workspace.quarantine.held()} == {"newcomer", "other"}
    with pytest.raises(ContributorError, match="same model as 'newcomer'"):
        hub("made/up", ctx, FACTS, id="again")
    with pytest.raises(UserError, match="OWNER/NAME"):
        hub("../../etc", ctx, FACTS, id="again")
    with pytest.raises(ContributorError, match="none is stated"):
        hub("made/third", ctx, replace(FACTS, licence=""), id="again", licence="")
    assert withdraw("newcomer", ctx.settings).pool == "ours"


def cached(files: Path, to: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder stands in for what the hub's library keeps of the model made/up."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(to))
    kept = to / "models--made--up"
    (kept / "refs").mkdir(parents=True)
    (kept / "refs" / "main").write_text("f" * 40)
    shutil.copytree(files, kept / "snapshots" / ("f" * 40))


def test_a_hub_model_whose_files_are_here_is_looked_at(
    ctx: StudioContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tmp_path / "whole"
    shutil.copytree(ctx.settings.workspace / "models" / "tiny", whole)
    config = json.loads((whole / "config.json").read_text())
    (whole / "config.json").write_text(json.dumps(config | {"auto_map": {"AutoModel": "x.y"}}))
    cached(whole, tmp_path / "hub", monkeypatch)
    with pytest.raises(ContributorError, match="run its own code"):
        hub("made/up", ctx, FACTS)
    assert [s.id for s in load_pool("ours", ctx.settings).specs] == ["base"]
    assert not (ctx.settings.workspace / "private").exists()


@pytest.mark.slow
@pytest.mark.models
@pytest.mark.parametrize("kind", ["honest", "without a tokenizer"])
def test_a_hub_model_whose_files_are_here_is_tried_out(
    kind: str, ctx: StudioContext, base_model: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    whole = tmp_path / "whole"
    shutil.copytree(base_model, whole)
    (whole / "extra.txt").write_text("another folder")
    if kind != "honest":
        for path in whole.glob("tokenizer*"):
            path.unlink()
    cached(whole, tmp_path / "hub", monkeypatch)
    if kind != "honest":
        with pytest.raises(ContributorError, match="smoke test"):
            hub("made/up", ctx, FACTS)
        return
    found = hub("made/up", ctx, FACTS)
    assert found[-1].point == "smoke test" and found[-1].state == "ok"
    card = load_pool("ours", ctx.settings).entries[-1].card
    assert "tokens in" in card["tried"]
    rows = [Example(f"What is {n} + 1?", str(n + 1)) for n in range(5)]
    keep_private(ctx.settings.workspace, "newcomer", "", rows)
    again = try_listed("newcomer", "ours", ctx.settings)
    assert again[-1].point == "own data" and "(n=5" in again[-1].text
    results = load_pool("ours", ctx.settings).entries[-1].card["results"]
    assert results["own_domain"]["n"] == 5


def test_the_lab_is_told_what_to_fetch(ctx: StudioContext) -> None:
    hub("made/up", ctx, FACTS)
    (point,) = try_listed("newcomer", "ours", ctx.settings)
    assert point.state == "fail" and "hf download made/up" in point.text
    with pytest.raises(UserError, match="was contributed"):
        try_listed("base", "ours", ctx.settings)
