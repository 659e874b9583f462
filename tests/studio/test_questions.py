"""Figures from real bench folders: by command, and on the Results page."""

from __future__ import annotations

import html
import json
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

from evals.records import KEPT, keep_records
from studio.cli import main
from studio.pages.results import ANALYSES, NONE_STORED, questions, stored_state
from tests.evals.bench.helpers import measure, spec


@pytest.fixture(scope="module")
def assets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of assets with the results of a small bench."""
    folder = tmp_path_factory.mktemp("assets")
    asked = spec(sizes=(2, 4), leave_one_out=True, seeds=(0, 1))
    made, _ = measure(asked, folder / "bench")
    keep_records(made, folder / "results" / f"small{KEPT}")
    return folder


def test_the_command_writes_figures_tables_and_a_page(assets: Path, tmp_path: Path) -> None:
    given = ["figures", str(assets / "bench"), "--out", str(tmp_path), "--json"]
    result = CliRunner().invoke(main, given)
    assert result.exit_code == 0, result.output
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [row["analysis"] for row in rows[:-1]] == list(ANALYSES)
    assert all((tmp_path / name).is_file() for row in rows[:-1] for name in row["files"])
    scaling = pd.read_csv(tmp_path / "scaling.csv")
    assert set(scaling["n"]) == {2, 3, 4}
    costs = pd.read_csv(tmp_path / "cost.csv")
    assert costs["equal_budget"].notna().all(), "real records hold the votes to compare with"
    verdicts = set(pd.read_csv(tmp_path / "claims.csv")["verdict"])
    assert verdicts <= {"confirmed", "not confirmed", "not testable at this size"}
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert all(html.escape(row["sentence"]) in page for row in rows[:-1])


def test_without_records_the_command_to_make_some_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    result = CliRunner().invoke(main, ["figures", str(tmp_path / "empty"), "--out", str(tmp_path)])
    assert result.exit_code == 2
    assert "studio bench" in result.output


def test_the_page_shows_each_analysis_once(assets: Path) -> None:
    overview, *parts = questions(str(assets), stored_state(assets))
    assert "Intervals are 95 %" in overview and "seeds 0, 1" in overview
    sentences, figures = parts[::2], parts[1::2]
    assert len(sentences) == len(figures) == len(ANALYSES)
    shown = {name: plot.visible for name, plot in zip(ANALYSES, figures, strict=True)}
    assert shown["scaling"] and shown["cost"] and not shown["diversity"]
    assert "--orders" in sentences[ANALYSES.index("diversity")]


def test_new_records_are_noticed(assets: Path, tmp_path: Path) -> None:
    assert questions(str(tmp_path), stored_state(tmp_path))[0] == NONE_STORED
    before = stored_state(assets)
    keep_records([], assets / "results" / f"more{KEPT}")
    assert stored_state(assets) != before
