"""Scores added to stored answers: once each, resumable, beside the score and never instead."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from evals.human.records import PairText, Verdict
from evals.judges.core import Ask, in_order
from evals.judges.registry import BASELINES
from evals.metrics.diversity import Floats, by_letters
from evals.records import BenchRecord, read_records
from evals.rescoring import ALIKE, ALIKE_NULL, Make, add_scores, judge_score, judged, likeness
from protocols.core.engine import LoadProgress
from studio.cli import main
from tests.evals.bench.helpers import measure, spec


def score(folder: Path, name: str, make: Make, most: int = 0, limit: int = 0) -> int:
    """Add scores, or the first ``most``; returns how many were added."""

    async def collect() -> int:
        done = 0
        async with aclosing(add_scores(folder, name, "artificial", make, limit)) as steps:
            async for step in steps:
                assert step.level != "warning"
                done += 1
                if most and done >= most:
                    break
        return done

    return asyncio.run(asyncio.wait_for(collect(), 60))


def systems(folder: Path) -> list[BenchRecord]:
    return [one for one in read_records(folder) if one.role == "system"]


def by_word(texts: Sequence[str]) -> Floats:
    """One direction per word: answers are alike by the words that they share."""
    words = ["red", "green", "blue", "mumble"]
    return np.array([[float(word in text.split()) for word in words] for text in texts])


def test_homogeneity_is_of_the_members_own_texts(tmp_path: Path) -> None:
    measure(spec(), tmp_path)
    assert score(tmp_path, ALIKE, likeness(by_word)) == len(systems(tmp_path))
    cosine = 1 / np.sqrt(2)  # Only "green" and "green blue" share a word, of six pairs.
    for record in systems(tmp_path):
        expected = 0.0 if record.n == 2 else cosine / 6
        assert record.others[ALIKE] == pytest.approx(expected, abs=1e-6)
        assert record.others[ALIKE_NULL] == pytest.approx(expected, abs=1e-6)
        assert record.score is None or record.score <= 1


def test_scoring_goes_on_where_it_was(tmp_path: Path) -> None:
    measure(spec(), tmp_path)
    total = len(systems(tmp_path))
    assert score(tmp_path, ALIKE, likeness(by_letters), most=3) == 3
    assert score(tmp_path, ALIKE, likeness(by_letters), limit=0) == total - 3
    assert score(tmp_path, ALIKE, likeness(by_letters)) == 0
    again, _ = measure(spec(), tmp_path)
    assert not again, "scores are no reason to answer again"
    assert all(ALIKE in one.others for one in systems(tmp_path))


@dataclass
class LongerWins:
    """A judge that likes the longer answer, and the first of two that are as long."""

    id: str = "longer-wins"
    prompt_hash: str = ""
    model_hash: str = "artificial"
    asked: int = 0

    def asks(self) -> tuple[Ask, ...]:
        return Ask(False), Ask(True)

    async def load(self, progress: LoadProgress | None = None) -> None:
        pass

    async def verdict(self, pair: PairText, ask: Ask) -> Verdict:
        self.asked += 1
        first, second = in_order(pair, ask)
        first_won = len(first) >= len(second)
        parsed = "system" if first_won == ask.system_first else "contributor"
        return Verdict(pair.item, self.id, ask.system_first, ask.repeat, parsed)


def test_a_judge_compares_with_the_best_single_member(tmp_path: Path) -> None:
    measure(spec(rank_items=4), tmp_path)
    judge = LongerWins()
    score(tmp_path, judge_score(judge.id), judged(tmp_path, judge))
    rival = "red"  # alpha is the first of those that are best on held-out items.
    for record in systems(tmp_path):
        assert len(record.text) > len(rival) and record.others[judge_score(judge.id)] == 1.0
    assert judge.asked % 2 == 0, "each pair in both orders"
    before = judge.asked
    assert score(tmp_path, judge_score(judge.id), judged(tmp_path, judge)) == 0
    assert judge.asked == before


def test_a_verdict_that_turns_with_the_order_is_a_tie(tmp_path: Path) -> None:
    measure(spec(), tmp_path)
    judge = BASELINES["always-first"]
    score(tmp_path, judge_score(judge.id), judged(tmp_path, judge))
    assert {one.others[judge_score(judge.id)] for one in systems(tmp_path)} == {0.5}


def test_the_command_adds_diversity_without_a_model(tmp_path: Path) -> None:
    measure(spec(), tmp_path)
    words = ["score", str(tmp_path), "--metric", "diversity", "--json"]
    result = CliRunner().invoke(main, words, catch_exceptions=False)
    assert result.exit_code == 0 and f'"scored": {len(systems(tmp_path))}' in result.stdout
    wrong = [*words[:2], "--metric", "reward", "--judge", "smollm2-judge"]
    refused = CliRunner().invoke(main, wrong)
    assert refused.exit_code == 2 and "smollm2-reward" in refused.stderr
