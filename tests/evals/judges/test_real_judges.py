"""The committed judges on the real embedded base."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path

import pytest

from evals.human.records import Verdict
from evals.human.study import SystemArm
from evals.judges.flags import flags_of
from evals.judges.measure import as_pair
from evals.judges.preference_data import GoldPair, split_pairs
from evals.judges.registry import judge_entries, make_judges
from evals.judges.run import collect, run_judges
from protocols.engines.transformers_engine import TransformersEngine
from tests.conftest import ROOT

pytestmark = pytest.mark.models
DOMAINS = ("acronyms", "capitals")


@pytest.fixture(scope="module")
def pairs() -> list[GoldPair]:
    return split_pairs("test", 8, {}, seed=7, tasks=DOMAINS)


def judged(name: str, workspace: Path, pairs: list[GoldPair]) -> list[Verdict]:
    async def judging() -> list[Verdict]:
        engine = TransformersEngine()
        try:
            made = make_judges([name], judge_entries(ROOT / "assets", workspace), engine)
            return await collect(run_judges([as_pair(pair) for pair in pairs], made))
        finally:
            await engine.close()

    return asyncio.run(judging())


@pytest.mark.parametrize(("name", "least"), [("smollm2-reward", 0.6), ("smollm2-judge", 0.7)])
def test_a_judge_knows_the_domains_it_was_trained_on(
    base_model: Path, workspace: Path, pairs: list[GoldPair], name: str, least: float
) -> None:
    verdicts = judged(name, workspace, pairs)
    assert len(verdicts) == len(pairs)
    better = sum((one.score_system or 0) > (one.score_contributor or 0) for one in verdicts)
    assert better >= least * len(pairs)


def test_the_judge_answers_with_its_letters_in_both_orders(
    base_model: Path, workspace: Path, pairs: list[GoldPair]
) -> None:
    verdicts = judged("smollm2-base-judge", workspace, pairs[:4])
    assert len(verdicts) == 8
    for one in verdicts:
        assert one.score_system is not None and one.score_contributor is not None
        assert 0 < math.exp(one.score_system) + math.exp(one.score_contributor) <= 1.0
    assert {one.parsed for one in verdicts} <= {"system", "contributor", "tie"}


def test_an_embedded_judge_is_kin_of_the_embedded_pool(workspace: Path) -> None:
    judge = judge_entries(ROOT / "assets", workspace)["smollm2-judge"].model
    pool = {"base": judge.model_copy(update={"id": "base", "adapter": ""})}
    assert flags_of(judge, "base", SystemArm(protocol="majority_vote"), pool).same_family
