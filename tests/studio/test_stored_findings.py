"""Kept findings are those of the very files, code and names that are here, or are made anew."""

from __future__ import annotations

import ast
import gzip
import json
import math
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from evals.names import Names
from evals.results_file import KEPT, keep_records, kept
from protocols.core.errors import UserError
from studio import stored_findings, stored_results
from studio.settings import REPOSITORY, Settings
from studio.stored_findings import NAME, SOURCES, Called, Column, Table, key_of
from studio.stored_results import ResultFiles, Stored, current, remember, result_files
from tests.evals.bench.helpers import measure, spec

NO_DATA = (
    *("evals/tasks/", "evals/append_only.py", "evals/human/study.py", "evals/metrics/grade.py"),
    "evals/human/reporting/",
)
"""What no kept number follows from: types, where tasks are read from, what is told of studies."""
FLOATS = st.floats() | st.none()
KINDS = {
    "float64": FLOATS,
    "int64": st.integers(-(2**53), 2**53),
    "bool": st.booleans(),
    "object": st.none() | st.text(max_size=5) | st.booleans() | st.floats(),
    "str": st.text(st.characters(exclude_categories=["Cs"]), max_size=5) | st.none(),
}


@st.composite
def frames(draw: st.DrawFn) -> pd.DataFrame:
    size = draw(st.integers(0, 4))
    rows = draw(st.lists(st.integers(0, 99), min_size=size, max_size=size, unique=True))
    names = draw(st.lists(st.text("abc_", min_size=1), max_size=4, unique=True))
    index = pd.Index(rows, dtype="int64")
    made = {}
    for name in names:
        kind = draw(st.sampled_from(sorted(KINDS)))
        values = draw(st.lists(KINDS[kind], min_size=size, max_size=size))
        made[name] = pd.Series(values, index=index, dtype=kind)
    return pd.DataFrame(made, index=index)


@given(frames())
def test_a_table_comes_back_as_it_was(frame: pd.DataFrame) -> None:
    again = Table.model_validate_json(Table.of(frame).model_dump_json()).frame()
    pd.testing.assert_frame_equal(again, frame, check_exact=True, check_column_type=False)
    for name in frame:
        for one, two in zip(again[name], frame[name], strict=True):
            assert (one is None) == (two is None), "a missing number is no missing text"


@pytest.mark.parametrize(
    "column",
    [
        Column(kind="int64", values=[1, 2]),
        Column(kind="int64", values=["x"]),
        Column(kind="float64", values=[{}]),
        Column(kind="nothing", values=[1]),
    ],
)
def test_a_table_whose_columns_do_not_fit_is_refused(column: Column) -> None:
    with pytest.raises(ValidationError):
        Table(rows=[0], columns={"a": column})


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the results of a small bench, and what follows from them."""
    folder = tmp_path_factory.mktemp("made")
    records, _ = measure(spec(sizes=(2, 4), leave_one_out=True), folder / "bench")
    keep_records(records, folder / "assets" / "results" / f"small{KEPT}")
    settings = Settings(assets=folder / "assets", workspace=folder / "workspace")
    remember(opened(settings), settings)
    return folder


@pytest.fixture
def here(made: Path, tmp_path: Path) -> Settings:
    """An installation with these results, of which nothing is known."""
    shutil.copytree(made / "assets", tmp_path / "assets")
    return Settings(assets=tmp_path / "assets", workspace=tmp_path / "workspace")


@pytest.fixture
def known(made: Path, here: Settings) -> Settings:
    """The same where what follows from them is known."""
    shutil.copytree(made / "workspace", here.workspace)
    return here


@pytest.fixture(autouse=True)
def _nothing_in_memory() -> Iterator[None]:
    stored_results.stored.cache_clear()
    yield
    stored_results.stored.cache_clear()


def opened(settings: Settings) -> Stored:
    """As another process opens it."""
    stored_results.stored.cache_clear()
    return current(settings)


def told(found: Stored) -> str:
    """What is known, or else what is made now."""
    return (found.known or found.stored_findings()).model_dump_json()


def file_of(settings: Settings) -> Path:
    return settings.workspace / "results" / f"{NAME}.json.gz"


def test_what_was_made_once_is_known_in_the_next_process(known: Settings) -> None:
    before = file_of(known).read_bytes()
    second = opened(known)
    first = replace(second, known=None)
    assert told(second) == told(first) and "records" not in vars(second)
    for name, finding in first.findings.items():
        assert second.counts(name) == first.counts(name)
        assert second.finding(name).sentence == finding.sentence
        pd.testing.assert_frame_equal(second.finding(name).table, finding.table, check_exact=True)
    remember(second, known)
    assert file_of(known).read_bytes() == before
    assert [one.key for one in second.records] == [one.key for one in first.records]


def test_other_records_code_or_names_make_it_anew(
    known: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as changed:
        changed.setattr(stored_results, "names_of", lambda _: Names({"alpha": "Another name"}))
        assert opened(known).known is None
    with monkeypatch.context() as changed:
        changed.setattr(stored_findings, "SOURCES", SOURCES[1:])
        assert opened(known).known is None
    before = opened(known)
    assert before.known is not None
    path = result_files(known.assets)[0]
    keep_records(kept(path).records[:-1], path)
    other = opened(known)
    assert other.known is None and other.answers == before.answers - 1
    remember(other, known)
    assert told(opened(known)) == told(other)


def test_files_that_change_while_they_are_analysed_are_not_remembered(here: Settings) -> None:
    found = opened(here)
    path = result_files(here.assets)[0]
    keep_records(kept(path).records[:-1], path)
    remember(found, here)
    assert not file_of(here).exists()


def test_a_damaged_file_is_written_anew(known: Settings) -> None:
    good = file_of(known).read_bytes()
    data: dict[str, Any] = json.loads(gzip.decompress(good))
    data["value"]["findings"][0]["table"]["rows"].pop()
    for junk in (
        *(b"", b"junk", good[:-9], gzip.compress(b"[]"), gzip.compress(b'{"key": 1}')),
        gzip.compress(json.dumps(data).encode()),  # The right key, and a table that does not fit.
    ):
        file_of(known).write_bytes(junk)
        assert opened(known).known is None
    remember(current(known), known)
    assert file_of(known).read_bytes() == good


def test_two_who_write_at_once_leave_one_whole_file(here: Settings) -> None:
    found = opened(here)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: remember(found, here), range(4)))
    assert [path.name for path in file_of(here).parent.iterdir()] == [file_of(here).name]
    assert told(opened(here)) == told(found)
    shutil.rmtree(here.workspace)
    here.workspace.write_text("a file where the folder should be")
    remember(found, here)
    assert opened(here).known is None, "a workspace that takes nothing costs time only"


def test_results_that_cannot_be_read_are_told_of_at_once(known: Settings) -> None:
    path = result_files(known.assets)[0]
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UserError, match="cannot be read"):
        opened(known)


def test_the_key_is_of_contents_not_of_places_or_times(here: Settings, tmp_path: Path) -> None:
    path = result_files(here.assets)[0]
    copy = tmp_path / "elsewhere" / "results" / path.name
    copy.parent.mkdir(parents=True)
    copy.write_bytes(path.read_bytes())
    assert key_of([path], 0) == key_of([copy], 0) != key_of([path], 1)
    renamed = path.rename(path.with_name(f"other{KEPT}"))
    assert key_of([renamed], 0) != key_of([copy], 0), "standings are told by the files' names"


def test_names_count_only_as_far_as_they_are_told() -> None:
    called = Called.of(["a"], ["majority_vote"], Names({"a": "Alpha"}))
    assert called.protocols["majority_vote"] == ("Majority vote", "Text")
    assert called.still(Names({"a": "Alpha", "b": "Beta"})) and not called.still(Names())


def place(path: Path) -> str:
    return path.relative_to(REPOSITORY).as_posix()


def modules(path: Path) -> Iterator[Path]:
    """The files of our packages below ``studio`` that a file imports."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("evals"):
            for name in (node.module, *(f"{node.module}.{one.name}" for one in node.names)):
                found = REPOSITORY / str(name).replace(".", "/")
                yield from (
                    one for one in (found.with_suffix(".py"), found / "__init__.py")
                    if one.is_file()
                )  # fmt: skip


def test_all_code_that_findings_follow_from_counts() -> None:
    named = {path for glob in SOURCES for path in REPOSITORY.glob(glob)}
    assert all(any(REPOSITORY.glob(glob)) for glob in SOURCES)
    reached, left = set[Path](), set(named)
    while left:
        path = left.pop()
        reached.add(path)
        found = {one for one in modules(path) if not place(one).startswith(NO_DATA)}
        left |= found - reached
    assert {place(path) for path in reached - named} == set()


def test_the_findings_that_ship_are_those_of_the_records_that_ship(tmp_path: Path) -> None:
    """What differs is out of date: run ``make docs``."""
    shipped = current(Settings(workspace=tmp_path))
    assert shipped.known is not None, "made of other records or other code"
    files = ResultFiles(result_files(REPOSITORY / "assets"))
    made = Stored(files, shipped.influences, names=shipped.names).stored_findings()
    assert not differences(made.model_dump(), shipped.known.model_dump())


def differences(one: Any, other: Any, at: str = "") -> list[str]:
    """Where two values of JSON differ; numbers may differ in their last digits only.

    A missing number is NaN before it is stored and null in the file.
    """
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        return [d for key in one for d in differences(one[key], other[key], f"{at}/{key}")]
    if isinstance(one, list | tuple) and isinstance(other, list | tuple) and len(one) == len(other):
        pairs = enumerate(zip(one, other, strict=True))
        return [d for n, pair in pairs for d in differences(*pair, f"{at}/{n}")]
    if isinstance(one, float) and isinstance(other, float):
        same = math.isclose(one, other, rel_tol=1e-9) or (math.isnan(one) and math.isnan(other))
        return [] if same else [at]
    missing = [value is None or value != value for value in (one, other)]
    return [] if one == other or all(missing) else [at]
