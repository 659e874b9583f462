from __future__ import annotations

from pathlib import Path

import pytest

from evals.judges.baselines import FirstJudge
from evals.judges.likelihood import LikelihoodJudge
from evals.judges.llm_judge import LlmJudge
from evals.judges.prompt import RUBRIC
from evals.judges.registry import BASELINES, judge_entries, judge_models, make_judges
from evals.judges.reward_model import RewardJudge
from protocols.core.errors import ContributorError, UserError
from protocols.engines.scripted import ScriptedEngine
from tests.conftest import ROOT

ASSETS = ROOT / "assets"


def test_the_committed_judges_can_be_made() -> None:
    found = judge_entries(ASSETS, Path("somewhere"))
    made = make_judges([*found, *BASELINES], found, ScriptedEngine(), rubric="Which?", seed=3)
    assert [judge.id for judge in made] == [*found, *BASELINES]
    kinds = {judge.id: type(judge) for judge in made}
    assert kinds["smollm2-base-judge"] is kinds["qwen2.5-7b"] is LlmJudge
    assert kinds["smollm2-judge"] is LikelihoodJudge
    assert kinds["smollm2-reward"] is kinds["skywork-reward"] is RewardJudge
    assert kinds["always-first"] is FirstJudge
    models = {one.id: one for one in made if isinstance(one, LlmJudge)}
    assert (models["qwen2.5-7b"].rubric, models["qwen2.5-7b"].seed) == ("Which?", 3)
    assert models["smollm2-base-judge"].rubric == "Which?"


def test_an_embedded_judge_lies_on_the_workspaces_base() -> None:
    found = judge_entries(ASSETS, Path("somewhere"))["smollm2-judge"]
    assert Path(found.model.source) == Path("somewhere/models/smollm2-135m-instruct")
    reward = judge_entries(ASSETS, Path("somewhere"))["smollm2-reward"]
    assert Path(reward.model.adapter) == ASSETS / "judges" / "smollm2-reward"
    assert [model.id for model in judge_models(["longer-wins", "smollm2-judge"], {
        "smollm2-judge": found
    })] == ["smollm2-judge"]  # fmt: skip


def test_an_unknown_judge_is_named() -> None:
    with pytest.raises(UserError, match=r"no judge 'smollm-judge'. Did you mean 'smollm2-judge'"):
        make_judges(["smollm-judge"], judge_entries(ASSETS, Path()), ScriptedEngine())


def test_the_margin_is_the_files_else_the_cards(tmp_path: Path) -> None:
    folder = tmp_path / "judges" / "one"
    folder.mkdir(parents=True)
    (folder / "card.json").write_text('{"tau": 0.25}')
    entry = "{id: %s, kind: reward, source: x, adapter: judges/one%s}"
    rows = [entry % ("card", ""), entry % ("file", ", tau: 0.5")]
    text = "judges:\n" + "".join(f"- {row}\n" for row in rows)
    (tmp_path / "judges" / "judges.yaml").write_text(text)
    found = judge_entries(tmp_path, tmp_path)
    made = make_judges(["card", "file"], found, ScriptedEngine())
    assert [one.tau for one in made if isinstance(one, RewardJudge)] == [0.25, 0.5]


def test_a_malformed_file_is_refused_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "judges").mkdir()
    (tmp_path / "judges" / "judges.yaml").write_text(
        "judges:\n- {id: x, kind: oracle, source: y}\n"
    )
    with pytest.raises(ContributorError, match="kind"):
        judge_entries(tmp_path, tmp_path)


def test_a_judge_may_keep_the_question_it_was_trained_with(tmp_path: Path) -> None:
    (tmp_path / "judges").mkdir()
    rows = (
        "- {id: own, kind: llm, source: x, own_words: true}\n- {id: asked, kind: llm, source: x}\n"
    )
    (tmp_path / "judges" / "judges.yaml").write_text(f"judges:\n{rows}")
    found = judge_entries(tmp_path, tmp_path)
    made = make_judges(["own", "asked"], found, ScriptedEngine(), rubric="Which?")
    assert [one.rubric for one in made if isinstance(one, LlmJudge)] == [RUBRIC, "Which?"]
