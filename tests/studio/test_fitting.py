"""Fits in the run manager and on the command line."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from protocols.core.errors import UserError
from protocols.core.events import Answer, Artifact, Ended, RunStarted
from protocols.core.fit import FITTED
from protocols.engines.scripted import ScriptedEngine
from studio.cli import main
from studio.runs import LiveRun, RunManager
from studio.settings import Settings
from studio.workspace import Workspace
from tests.core.toy import registered, toy_data, toy_spec
from tests.helpers import make_pool, make_spec, until

SAYS = {"alpha": "red", "beta": "red green", "gamma": "blue"}


def ended(live: LiveRun) -> Ended:
    until(lambda: live.ended)
    last = live.events[-1]
    assert isinstance(last, Ended)
    return last


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[RunManager]:
    settings = Settings.model_validate({"workspace": tmp_path, "assets": tmp_path, "grace_s": 0.1})
    workspace = Workspace(tmp_path, tmp_path)
    workspace.runs.mkdir()
    made = RunManager(settings, workspace, ScriptedEngine(SAYS, delay_s=0.02))
    with registered():
        yield made
        made.close()


def test_a_fit_is_stored_like_a_run_and_then_used(manager: RunManager) -> None:
    with pytest.raises(UserError, match="studio fit"):
        manager.start(make_spec("toy"), make_pool(3))
    live = manager.start_fit(toy_spec(), make_pool(3), toy_data())
    assert ended(live).status == "ok"
    until(lambda: manager.stored(live.id).status == "ok")
    opening = manager.stored(live.id).events[0]
    assert isinstance(opening, RunStarted) and opening.purpose == "fit"
    assert live.spec.question == opening.question == "Fit to toy"
    used = manager.start(make_spec("toy"), make_pool(3))
    with manager.watch(used):
        assert ended(used).status == "ok"
    assert any(isinstance(e, Answer) for e in used.events)


def test_a_fit_goes_on_when_nobody_watches(manager: RunManager) -> None:
    live = manager.start_fit(toy_spec(), make_pool(3), toy_data(40))
    began = time.monotonic()
    until(lambda: time.monotonic() - began > 1.5 or live.ended)
    assert ended(live).status == "ok"
    assert isinstance(live.events[-2], Artifact) and live.events[-2].name == FITTED


def test_the_second_of_two_is_told_why(manager: RunManager) -> None:
    data = toy_data(40)
    lives = [manager.start_fit(toy_spec(), make_pool(3), data) for _ in range(2)]
    ends = sorted((ended(live) for live in lives), key=lambda end: end.status)
    assert [end.status for end in ends] == ["failed", "ok"]
    assert "being fitted to this already" in ends[0].message and ends[0].owner == "user"


def test_a_bad_fit_is_refused_at_once(manager: RunManager) -> None:
    with pytest.raises(UserError, match="no toy setting 'scal'"):
        manager.start_fit(toy_spec(config={"scal": 1}), make_pool(3), toy_data())


def studio(*words: str) -> Result:
    return CliRunner().invoke(main, ["fit", *words], catch_exceptions=False)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--protocol", "greedy_soop", "--task", "roman"], "greedy_soup"),
        (["--protocol", "greedy_soup", "--task", "romans"], "Did you mean 'roman'"),
        (["--protocol", "single_model", "--task", "roman"], "nothing to fit"),
        (["--protocol", "expo", "--task", "roman", "--set", "kk=1"], "expo setting 'kk'"),
        (["--protocol", "expo", "--task", "roman", "--models", "nobody"], "nobody"),
        (["--protocol", "expo", "--task", "roman", "--profile", "huge"], "expo profile 'huge'"),
        (["--protocol", "expo", "--task", "roman", "--models", "smollm2-base"], "at least 2"),
    ],
)
def test_unusable_arguments_are_one_sentence(words: list[str], says: str) -> None:
    result = studio(*words)
    assert result.exit_code == 2 and says in result.stderr and not result.stdout


def sums(folder: Path, many: int) -> str:
    path = folder / "sums.jsonl"
    rows = [{"question": f"What is {n} plus 1?", "answer": n + 1} for n in range(many)]
    path.write_text("\n".join(map(json.dumps, rows)))
    return str(path)


def test_a_file_of_own_questions_can_be_fitted_to_if_it_has_enough(tmp_path: Path) -> None:
    words = ["--protocol", "greedy_soup", "--task", sums(tmp_path, 8), "--metric", "exact"]
    result = studio(*words)
    assert result.exit_code == 2 and "a fit needs 4 of each" in result.stderr
    words = ["--protocol", "single_model", "--task", sums(tmp_path, 80), "--metric", "f2"]
    assert "f1" in studio(*words).stderr
    assert "nothing to fit" in studio(*words[:-1], "f1").stderr


@pytest.mark.slow
@pytest.mark.models
def test_the_embedded_pool_can_be_merged(
    base_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / base_model.name).symlink_to(base_model)
    monkeypatch.setenv("STUDIO_WORKSPACE", str(tmp_path))
    words = ["--protocol", "greedy_soup", "--task", "roman,units", "--limit", "2", "--json"]
    result = studio(*words, "--models", "smollm2-roman,smollm2-units")
    assert result.exit_code == 0, result.stderr
    events = [json.loads(line) for line in result.stdout.splitlines()]
    fitted = events[-2]["data"]
    assert fitted["metrics"]["n"] == 2 and fitted["derived"] == ["derived.greedy_soup"]
    words[3] = f"roman,{sums(tmp_path, 80)}"
    result = studio(*words, "--models", "smollm2-roman,smollm2-units")
    assert result.exit_code == 0, result.stderr
    own = json.loads(result.stdout.splitlines()[-2])["data"]
    assert own["task"] == "roman,sums" and own["key"] != fitted["key"]
