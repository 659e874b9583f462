"""What leaves the study: every format opens in the tool it is for, and no rater can be found."""

from __future__ import annotations

import csv
import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field

from evals.human.archive import from_file, to_json
from evals.human.exports import (
    battles,
    comparator,
    export_study,
    neutral,
    preferences,
    vote_rows,
)
from evals.human.records import StudyData
from evals.human.render import render_html
from evals.human.report import build_report, report_json
from evals.human.statistics.bradley_terry import strengths, two_arms
from evals.human.statistics.values import Tally
from protocols.core.errors import UserError
from tests.conftest import ROOT
from tests.evals.human.report.studies import (
    codes,
    counted,
    guesses,
    judged,
    near,
    pair,
    spec,
    study,
    verdicts,
)

SECRETS = ("rater-0", "rater-1", "RAW-TEXT", "C0DE")
FREE = '=HYPERLINK("http://evil.example") my name is FREE-TEXT'


def whole() -> StudyData:
    votes = [
        *counted(3, 1, 1, rater="rater-0", reason=FREE),
        *counted(1, 1, rater="rater-1", model="model-b"),
        *judged(1, "skip", rater="rater-1", model="model-b"),
        *judged(1, "system", kind="repeat", rater="rater-1", model="model-b"),
    ]
    plan = spec(["model-a", "model-b"], dimensions=("clear",), completion_code="C0DE")
    data = study(votes, spec=plan, guesses=guesses(2, 1, 1, "rater-1"))
    pairs = tuple(
        pair(j.item, j.stratum, raw_system="RAW-TEXT", raw_contributor="RAW-TEXT", hits_system=1)
        for j in data.judgements
    )
    said = tuple(v for j in data.judgements for v in verdicts(j.item, "system", "tie"))
    return replace(data, pairs=pairs, verdicts=said)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("export")
    export_study(whole(), made)
    return made


def rows_of(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_no_file_leads_back_to_a_rater(folder: Path) -> None:
    for path in folder.iterdir():
        content = path.read_bytes()
        for secret in (*SECRETS, "FREE-TEXT"):
            assert secret.encode() not in content, (path.name, secret)


def test_words_of_raters_are_there_when_asked_for_and_safe_in_a_spreadsheet(tmp_path: Path) -> None:
    export_study(whole(), tmp_path, texts=True)
    with (tmp_path / "votes.csv").open(encoding="utf-8", newline="") as file:
        reasons = [row["reason"] for row in csv.DictReader(file)]
    assert reasons[0] == f"'{FREE}"
    assert rows_of(tmp_path / "votes.jsonl")[0]["reason"] == FREE
    for name in ("votes.csv", "votes.jsonl", "votes.parquet"):
        assert b"rater-0" not in (tmp_path / name).read_bytes()
    assert "read them before" in (tmp_path / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("start", [*"=+-@\t\r\n", "＝", "＋", "－", "＠"])
def test_formulas_are_neutralised(start: str) -> None:
    assert neutral(f"{start}1+1") == f"'{start}1+1"
    assert neutral(f"a{start}") == f"a{start}" and neutral(-1) == -1 and neutral(None) is None


def test_hostile_cells_do_not_start_a_formula_in_any_csv(tmp_path: Path) -> None:
    votes = counted(2, 1, model="=1+1", rater="rater-0")
    data = study(votes, spec=spec(["=1+1"], dimensions=("@sum",)))
    export_study(data, tmp_path)
    for name in ("votes.csv", "guesses.csv"):
        with (tmp_path / name).open(encoding="utf-8", newline="") as file:
            cells = [cell for row in csv.reader(file) for cell in row]
        assert not [c for c in cells if c.startswith(("=", "+", "@", "\t", "\r"))]
    assert "'=1+1" in (tmp_path / "votes.csv").read_text(encoding="utf-8")


def test_the_checksums_are_those_of_the_files(folder: Path) -> None:
    lines = (folder / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
    listed = dict(reversed(line.split("  ")) for line in lines)
    assert set(listed) == {path.name for path in folder.iterdir()} - {"SHA256SUMS"}
    for name, digest in listed.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest


def test_the_same_data_give_the_same_files(folder: Path, tmp_path: Path) -> None:
    mixed = replace(whole(), judgements=whole().judgements[::-1])
    for path in export_study(mixed, tmp_path):
        assert path.read_bytes() == (folder / path.name).read_bytes(), path.name


def test_votes_agree_in_all_three_formats(folder: Path) -> None:
    import pyarrow.parquet as pq

    lines = rows_of(folder / "votes.jsonl")
    assert pq.read_table(folder / "votes.parquet").to_pylist() == lines
    with (folder / "votes.csv").open(encoding="utf-8", newline="") as file:
        cells = list(csv.DictReader(file))
    assert [{k: "" if v is None else str(v) for k, v in row.items()} for row in lines] == cells
    assert len(lines) == len(whole().judgements)
    named = [row["winner"] for row in lines if row["kind"] == "main"]
    assert (named.count("system"), named.count("contributor"), named.count(None)) == (4, 2, 1)
    for row in lines:
        if row["outcome"] in ("left", "right"):
            assert (row["winner"] == "system") == (row["outcome"] == row["system_side"])


def test_battles_give_the_strengths_of_the_votes() -> None:
    data = study(counted(15, 10, 3))
    rows = battles(data)
    assert len(rows) == 28 and {row["winner"] for row in rows} == {"model_a", "model_b", "tie"}
    arms = ["system:majority_vote", "model-a"]
    table = [[0.0, 0.0], [0.0, 0.0]]
    for row in rows:
        if row["winner"] != "tie":
            loser = "model_b" if row["winner"] == "model_a" else "model_a"
            table[arms.index(row[row["winner"]])][arms.index(row[loser])] += 1
    assert table == [[0, 15], [10, 0]]
    logs = strengths(table).logs
    assert logs is not None and near(
        logs[0] - logs[1], two_arms(Tally(15, 10)).log_ratio or 0, 1e-6
    )
    bad = [replace(j, outcome="tie_bad") for j in judged(1, "tie")]
    assert battles(study(bad))[0]["winner"] == "tie (bothbad)"


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class ComparatorRating(Strict):
    """LLM Comparator's IndividualRating, its README's "Individual Ratings"."""

    is_flipped: bool
    score: float
    rationale: str
    rating_label: str
    custom_fields: dict[str, str]


class ComparatorExample(Strict):
    """One of its examples: all fields of the README's minimal example are required."""

    input_text: str
    tags: list[str]
    output_text_a: str
    output_text_b: str
    score: float | None = Field(ge=-1.5, le=1.5)
    individual_rater_scores: list[ComparatorRating]
    custom_fields: dict[str, Any]


class ComparatorField(Strict):
    """A declared custom field, with the types of its README."""

    name: str
    type: str = Field(pattern="^(number|category|text|string|per_model_(boolean|number|category))$")


class ComparatorMetadata(Strict):
    """Its metadata."""

    source_path: str
    custom_fields_schema: list[ComparatorField]


class ComparatorModel(Strict):
    """One of its two models."""

    name: str


class Comparator(Strict):
    """The whole file."""

    metadata: ComparatorMetadata
    models: list[ComparatorModel] = Field(min_length=2, max_length=2)
    examples: list[ComparatorExample]


def test_the_comparator_file_follows_its_documented_schema(folder: Path) -> None:
    text = (folder / "comparator.json").read_text(encoding="utf-8")
    made = Comparator.model_validate_json(text)
    declared = {field.name: field.type for field in made.metadata.custom_fields_schema}
    for example in made.examples:
        assert set(example.custom_fields) == set(declared)
        for name, kind in declared.items():
            value = example.custom_fields[name]
            assert not kind.startswith("per_model") or len(value) == 2
        assert all(rating.rationale == "" for rating in example.individual_rater_scores)


def test_the_comparator_counts_wins_as_the_study_does() -> None:
    # Its bound of a win is 0.25 of the mean score; its usual scale needs a score below 1.
    pairs = tuple(pair(f"item-{k:03}") for k in range(1, 6))
    made = comparator(study(counted(4, 1), pairs=pairs))
    scores = [example["score"] for example in made["examples"]]
    assert sum(s > 0.25 for s in scores) == 4 and sum(s < -0.25 for s in scores) == 1
    assert max(scores) < 1
    flipped = [e["individual_rater_scores"][0]["is_flipped"] for e in made["examples"]]
    assert flipped == [False, True, False, True, False]
    three = [
        replace(j, item="item-001")
        for k, said in enumerate(("system", "system", "contributor"))
        for j in judged(1, said, rater=f"rater-{k}")
    ]
    assert comparator(study(three, pairs=pairs))["examples"][0]["score"] > 0.25
    assert comparator(study(three, pairs=pairs))["examples"][1]["score"] is None


def test_preference_pairs_load_as_a_dataset(folder: Path, tmp_path: Path) -> None:
    from datasets import load_dataset

    file = str(folder / "preferences.jsonl")
    loaded = load_dataset("json", data_files=file, split="train", cache_dir=str(tmp_path))
    assert set(loaded.column_names) == {"prompt", "chosen", "rejected"} and len(loaded) == 6
    first = loaded[0]
    assert first["prompt"][0]["role"] == "user" and first["chosen"][0]["role"] == "assistant"
    assert first["chosen"][0]["content"].startswith("joint")
    rejected = [row["rejected"][0]["content"] for row in loaded]
    assert sum(text.startswith("joint") for text in rejected) == 2
    votes = load_dataset(
        "parquet", data_files=str(folder / "votes.parquet"), split="train", cache_dir=str(tmp_path)
    )
    assert votes[0]["rater"] in ("A1", "A2")


@pytest.mark.slow
def test_trl_takes_the_preference_pairs_as_conversations() -> None:
    from trl.data_utils import is_conversational, maybe_extract_prompt

    for row in preferences(whole()):
        assert is_conversational(row) and maybe_extract_prompt(row) == row


def test_an_archived_study_gives_the_same_report(tmp_path: Path) -> None:
    data = replace(whole(), spec=spec(["model-a", "model-b"], dimensions=("clear",)))
    path = tmp_path / "test-study.json"
    text = to_json(data)
    path.write_text(text, encoding="utf-8")
    again = from_file(path)
    assert report_json(build_report(again)) == report_json(build_report(data))
    assert vote_rows(again) == vote_rows(data) and to_json(again) == text
    assert not [secret for secret in (*SECRETS, "FREE-TEXT") if secret in text]


def test_what_cannot_be_archived_or_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="completion code"):
        to_json(whole())
    (tmp_path / "broken.json").write_text("{}", encoding="utf-8")
    for name in ("broken.json", "missing.json"):
        with pytest.raises(UserError, match=name):
            from_file(tmp_path / name)


def test_the_recorded_examples_are_simulated_public_and_reportable() -> None:
    found = sorted((ROOT / "assets" / "studies").glob("*.json"))
    assert found
    for path in found:
        data = from_file(path)
        assert data.simulated and to_json(data) == path.read_text(encoding="utf-8")
        report = build_report(data)
        assert "simulated" in codes(report) and report.result.counts.n == report.flow.main > 0
        assert len(report.judges.judges) == 2 and any(j.kind == "gold" for j in data.judgements)
        assert "People (simulated)" in render_html(report)
