from __future__ import annotations

import asyncio
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from evals.human import schema
from evals.human.ledger import verify_chain
from evals.human.records import PairText
from evals.human.report import build_report, forest_rows
from evals.human.reporting.page import page
from evals.human.reporting.text import text
from evals.human.store import Store
from evals.human.studies import (
    add_pairs,
    create_study,
    lock_study,
    mark_reviewed,
    note_worth,
    open_study,
    study_data,
)
from evals.human.study import ContributorArm, StudySpec, SystemArm
from evals.judges.registry import UNMEASURED, judge_entries
from protocols.core.errors import UserError
from protocols.core.events import Progress
from protocols.engines.scripted import ScriptedEngine
from studio.judging import judge_planned, planned_worth
from studio.settings import Settings

SLUG = "planned-study"
PAIRS = [PairText(f"i{n}", "smollm2-roman", f"Q{n}?", "short", "much longer") for n in range(5)]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store.open(f"sqlite:///{tmp_path / 'study.db'}")
    yield store
    store.close()


def planned(store: Store, judges: tuple[str, ...], protocol: str = "majority_vote") -> StudySpec:
    spec = StudySpec(
        slug=SLUG,
        title="A test study",
        contributors=(ContributorArm(model="smollm2-roman", questions="import:test"),),
        system=SystemArm(protocol=protocol),
        judges=judges,
    )
    create_study(store, spec)
    add_pairs(store, SLUG, PAIRS, [])
    mark_reviewed(store, SLUG)
    open_study(store, SLUG)
    return spec


def judge(store: Store, **scripted: Any) -> list[Progress]:
    async def judging() -> list[Progress]:
        engine = ScriptedEngine(**scripted)
        return [event async for event in judge_planned(store, SLUG, engine, Settings())]

    return asyncio.run(judging())


def test_the_planned_judges_judge_and_their_flags_are_kept(store: Store) -> None:
    planned(store, ("smollm2-base-judge", "longer-wins"))
    judge(store, scores={"A": -1.0, "B": -2.0, "T": -9.0})
    lock_study(store, SLUG, by="test")
    verdicts = study_data(store, SLUG).verdicts
    assert {(one.judge, one.same_family) for one in verdicts} == {
        ("smollm2-base-judge", True),
        ("longer-wins", False),
    }
    assert len(verdicts) == 20
    longer = [one for one in verdicts if one.judge == "longer-wins"]
    assert {one.parsed for one in longer} == {"system"}


def test_a_circular_reward_model_alone_is_warned_about(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    # Otherwise a machine with a GPU would fetch the reward model.
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    planned(store, ("skywork-reward", "always-first"), protocol="trained_router")
    notes = [event.note for event in judge(store) if event.level == "warning"]
    assert any("had a part in making the system" in note for note in notes)
    assert any("needs a CUDA GPU" in note for note in notes)


def test_what_judges_are_worth_is_noted_once_and_told_in_the_report(store: Store) -> None:
    judges = ("smollm2-reward", "longer-wins", "skywork-reward")
    worth = planned_worth(planned(store, judges), Settings())
    tested = judge_entries(Settings().assets, Settings().workspace)["smollm2-reward"].card["tested"]
    assert f"{tested['all']['n']} test pairs" in worth["smollm2-reward"]
    assert worth["skywork-reward"] == UNMEASURED and "longer" in worth["longer-wins"]
    for _ in range(2):
        note_worth(store, SLUG, worth)
    with store.read() as connection:
        kinds = connection.execute(select(schema.event.c.kind)).scalars().all()
    assert kinds.count("judges") == 1
    judge(store)
    lock_study(store, SLUG, by="test")
    data = study_data(store, SLUG)
    assert data.worth == worth and verify_chain(store, SLUG).ok
    report = build_report(data)
    assert {one.name: one.worth for one in report.judges.judges}.items() <= worth.items()
    shown = page(report, forest_rows(report))
    assert all(
        one.worth and escape(one.worth, quote=False) in shown for one in report.judges.judges
    )
    assert "longer answer" in text(report, forest_rows(report))


def test_a_study_without_judges_says_so(store: Store) -> None:
    planned(store, ())
    with pytest.raises(UserError, match="names no judges"):
        judge(store)
