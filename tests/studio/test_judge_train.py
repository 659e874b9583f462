from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from evals.judges.measure import finding
from evals.judges.registry import BASELINES_CARD
from protocols.core.models import content_hash
from protocols.engines.embedded_base import BASE_ID, base_dir
from protocols.training.preferences import Preference, preference_fingerprint
from protocols.training.sft import CONFIG, WEIGHTS, fingerprint
from studio import judge_measure, judge_train
from studio.cli import main
from studio.judge_measure import UNTRAINED, Exam, choose_contrast, exam
from studio.judge_train import JUDGE, REWARD, SAID, read_said
from studio.pool_cards import CARD, read_card
from studio.settings import Settings
from tests.training.tiny_base import tiny_base

OUT = Settings().assets / "judges"
LIMIT = 3_000_000


def committed(name: str) -> dict[str, Any]:
    card = read_card(OUT / name)
    assert card, f"{name} has no card"
    return card


@pytest.mark.parametrize("name", [JUDGE, REWARD])
def test_committed_judges_are_small_and_safe(name: str) -> None:
    folder = OUT / name
    assert sorted(path.name for path in folder.iterdir()) == [CONFIG, WEIGHTS, CARD]
    assert sum(path.stat().st_size for path in folder.iterdir()) <= LIMIT
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    assert config["r"] <= 4 and config["base_model_name_or_path"] == BASE_ID


@dataclass(frozen=True)
class Rows:
    """What the committed data says to train on and to measure with."""

    preferences: list[Preference]
    taught: list[tuple[str, str]]
    sources: dict[str, int]
    asked: Exam


@pytest.fixture(scope="module")
def rows() -> Rows:
    said = read_said(OUT)
    return Rows(judge_train.reward_rows(said)[0], *judge_train.judge_rows(said), exam(said))


def test_committed_cards_belong_to_the_committed_data(rows: Rows) -> None:
    """Training again from the files in the tree would change nothing."""
    wanted = {
        REWARD: preference_fingerprint(rows.preferences, judge_train.REWARD_SETTINGS),
        JUDGE: fingerprint(rows.taught, judge_train.JUDGE_SETTINGS),
    }
    mark = rows.asked.mark
    for name, made_from in wanted.items():
        card = committed(name)
        assert card["made_from"] == made_from, name
        assert card["tested_on"] == content_hash(mark, made_from), name
    assert read_card(OUT, BASELINES_CARD)["tested_on"] == mark


def test_training_saw_train_items_only(rows: Rows) -> None:
    asked = {one.question for one in rows.preferences}
    asked |= {question for question, _ in rows.taught}
    steps = judge_train.JUDGE_SETTINGS.steps * judge_train.JUDGE_SETTINGS.batch
    assert len(set(rows.taught)) == len(rows.taught) == sum(rows.sources.values()) == steps
    for pair in (*rows.asked.test, *rows.asked.dev):
        assert pair.item.split("-")[-2] in ("test", "dev")
        assert pair.question not in asked


@pytest.mark.parametrize("name", [JUDGE, REWARD])
def test_a_card_shows_numbers_with_intervals_beside_baselines(name: str) -> None:
    card = committed(name)
    for row in (card["tested"]["all"], *card["tested"]["by_domain"].values()):
        assert row["low"] <= row["accuracy"] <= row["high"]
        assert row["right"] + row["wrong"] + row["ties"] + row["unparsed"] == row["n"]
    assert card["tested"]["all"]["n"] >= 400
    assert len(card["tested"]["by_domain"]) >= 18
    assert set(card["baselines"]) == {"always-first", "longer-wins", UNTRAINED}
    assert card["baselines"]["always-first"]["accuracy"] == 0.5
    assert "not a good judge" in card["caution"]
    assert card["finding"] == finding(card["tested"])


@pytest.fixture
def small(base_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace whose base is a random model of the base's kind, and few items and steps."""
    tiny_base(base_model, base_dir(tmp_path))
    few = {"steps": 2, "batch": 2, "warmup": 1}
    monkeypatch.setattr(judge_train, "SAID_EACH", {"train": 1, "dev": 1, "test": 1})
    monkeypatch.setattr(judge_train, "SAID_TOKENS", 4)
    monkeypatch.setattr(judge_train, "REWARD_EACH", 1)
    monkeypatch.setattr(judge_train, "ALL", 4)
    rewarding = replace(judge_train.REWARD_SETTINGS, **few)
    judging = replace(judge_train.JUDGE_SETTINGS, **few)
    monkeypatch.setattr(judge_train, "REWARD_SETTINGS", rewarding)
    monkeypatch.setattr(judge_train, "JUDGE_SETTINGS", judging)
    monkeypatch.setattr(judge_measure, "TEST_EACH", 1)
    monkeypatch.setattr(judge_measure, "DEV_EACH", 1)
    return tmp_path


def test_judges_are_trained_measured_and_kept(small: Path) -> None:
    out, said = small / "judges", []
    judge_train.train_judges(small, out, said.append)
    judge_measure.measure_judges(small, out, said.append)
    assert {path.name for path in out.iterdir()} == {SAID, BASELINES_CARD, REWARD}
    judge_train.train_judges(small, out, said.append, with_judge=True)
    judge_measure.measure_judges(small, out, said.append)
    assert {path.name for path in out.iterdir()} == {SAID, BASELINES_CARD, REWARD, JUDGE}
    for name in (REWARD, JUDGE):
        card = read_card(out / name)
        assert card["training"]["split"] == "train" and card["tested"]["all"]["n"] >= 12
    for name in (REWARD, JUDGE):
        assert "tau" in read_card(out / name) and "swap" not in read_card(out / name)["tested"]
    assert read_card(out / JUDGE)["training"]["examples"] == 4
    assert read_card(out / JUDGE)["contrast"] in judge_measure.CONTRASTS
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    again: list[str] = []
    judge_train.train_judges(small, out, again.append, with_judge=True)
    judge_measure.measure_judges(small, out, again.append)
    assert again == [f"{name}: kept, nothing changed" for name in (REWARD, JUDGE)]
    assert before == {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}


def test_the_contrast_is_the_one_with_most_dev_pairs_right() -> None:
    """A wrong answer that the base finds likely is only seen through with a contrast."""
    plain = [((-1.0, -1.0), (-2.0, -2.0))]
    fluent = [((-5.0, -9.0), (-3.0, -3.0))]
    assert choose_contrast(plain) == choose_contrast([]) == 0.0
    assert choose_contrast(fluent) == 0.5
    assert choose_contrast(3 * plain + fluent) == 0.5
    assert choose_contrast(plain + 3 * fluent) == 0.5


def test_the_command_line_lists_every_judge_with_its_worth() -> None:
    done = CliRunner().invoke(main, ["judges", "list", "--json"], catch_exceptions=False)
    rows = {row["id"]: row for row in map(json.loads, done.stdout.splitlines())}
    assert {JUDGE, REWARD, "skywork-reward", "longer-wins"} <= set(rows)
    assert rows[REWARD]["tested"] == committed(REWARD)["tested"]["all"]
    plain = CliRunner().invoke(main, ["judges", "list"], catch_exceptions=False).stdout
    assert f"{committed(REWARD)['tested']['all']['n']} test pairs" in plain
    untrained = read_card(OUT, BASELINES_CARD)["tested"][UNTRAINED]["all"]
    assert rows["smollm2-base-judge"]["tested"] == untrained and "no better than chance" in plain
    assert rows[JUDGE]["tested"] == committed(JUDGE)["tested"]["all"]
    assert rows[JUDGE]["tested"]["low"] > 0.5, (
        "a judge that is no better than chance is not shipped"
    )
    assert f"called {untrained['ties']} of them a tie" in plain
