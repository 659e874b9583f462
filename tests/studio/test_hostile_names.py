"""T-L13: whatever a study, its texts or its files are called, nothing leaks, breaks out or ends."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import example, given
from hypothesis import settings as few
from hypothesis import strategies as st

from evals.human import studies
from evals.human.questions import locate, read_questions
from evals.human.store import Store
from evals.human.study import StudySpec, spec_from
from protocols.core.errors import UserError
from studio.cli import main
from studio.lab import Lab, plan_text, read_plan
from studio.pages import results, study_html
from studio.settings import Settings
from tests.studio.rating_world import Page, Person, World, make_pairs, make_spec, open_study

NASTY = [
    "../../../etc/passwd", "..", ".", "/etc/hostname", "a/../../b", "C:\\x", "con", "a\x00b",
    "line\nbreak: true", "\r\nSet-Cookie: a=b", "<script>alert(1)</script>", '"><img src=x>',
    "' OR 1=1 --", "{{ 7*7 }}{% for x in y %}", "%s%n{0}", "\x1b[2J\x1b[31mred", "\u202egnp.exe",
    "=HYPERLINK(1)", "--json", "-h", "🧪", "ё" * 300, "x" * 5000, "study ", " study", "STUDY",
    "!!python/object/apply:os.system [id]", "&a [*a, *a]", "$(id)", "a;b", "\ufeffstudy", "a\n",
]  # fmt: skip
hostile = st.one_of(st.sampled_from(NASTY), st.text(max_size=40))
COMMANDS = (
    ("answers",), ("review",), ("open",), ("invite",), ("status",), ("report",), ("publish",),
    ("export", "out"), ("verify",), ("judge",), ("import", "a.jsonl", "b.jsonl"),
)  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A workspace with a store in a folder that holds nothing else."""
    folder = tmp_path_factory.mktemp("hostile")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STUDIO_WORKSPACE", str(folder / "ws"))
        patch.chdir(folder)
        _ = Lab(Settings()).store
        yield folder


@pytest.fixture(scope="module")
def lab(place: Path) -> Iterator[Lab]:
    made = Lab(Settings())
    yield made
    made.close()


def refused_in_one_sentence(act: Any, *given_: Any) -> bool:
    """Whether it raises a :class:`UserError`; anything else that is raised is a bug."""
    try:
        act(*given_)
    except UserError as error:
        assert error.message.strip()
        return True
    return False


@given(hostile)
def test_a_short_name_is_plain_or_no_study_has_it(lab: Lab, name: str) -> None:
    fields = {"slug": name, "title": "T", "contributors": [{"model": "m", "questions": "q.csv"}],
              "system": {"protocol": "p"}}  # fmt: skip
    if refused_in_one_sentence(spec_from, fields):
        return
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-") and 2 <= len(name) <= 48
    assert lab.folder(name).resolve().parent == (lab.settings.workspace / "studies").resolve()


@few(max_examples=10)
@given(hostile, st.sampled_from(COMMANDS))
@example("\x1b[2J\x00", ("status",))
@example("../x", ("export", "out"))
def test_no_name_crashes_a_command_or_leaves_the_workspace(
    place: Path, name: str, command: tuple[str, ...]
) -> None:
    if not name and command[0] == "status":
        return  # all studies
    result = CliRunner().invoke(main, ["study", command[0], "--", name, *command[1:]])
    words = (name, command)
    assert result.exit_code == 2, (words, result.output)
    assert isinstance(result.exception, SystemExit)
    said = result.stderr.strip()
    assert said and "Traceback" not in said
    assert not {c for c in said if ord(c) < 32} - {"\n"}, "a terminal would obey this"
    assert [path.name for path in place.iterdir()] == ["ws"]


@given(hostile)
@example("slug: [")
@example("slug: &a [*a]")
def test_a_plan_of_any_text_is_read_or_refused(text: str) -> None:
    refused_in_one_sentence(read_plan, text)


@given(hostile)
def test_question_files_are_found_inside_their_folder_only(lab: Lab, name: str) -> None:
    lab.questions.mkdir(parents=True, exist_ok=True)
    (lab.settings.workspace / "outside.jsonl").write_text('{"prompt": "secret"}\n')
    for asked in (name, f"{name}.jsonl", f"../{name}", f"../outside.jsonl{name}"):
        try:
            found = locate(asked, lab.questions)
        except UserError:
            continue
        assert found.resolve().is_relative_to(lab.questions.resolve())
        refused_in_one_sentence(read_questions, found)


@given(st.lists(hostile, min_size=1, max_size=4), st.booleans())
def test_questions_of_any_text_are_kept_under_the_hash_of_their_file(
    lab: Lab, prompts: list[str], as_list: bool
) -> None:
    path = lab.settings.workspace / "given.jsonl"
    rows = [json.dumps(["prompt", p] if as_list else {"prompt": p}) for p in prompts]
    path.write_text("\n".join(rows), encoding="utf-8")
    if refused_in_one_sentence(lab.keep_questions, path):
        return
    kept = lab.keep_questions(path)
    assert (lab.questions / kept).resolve().parent == lab.questions.resolve()
    assert set(kept) <= set("0123456789abcdef.jsonl")
    assert [q.prompt for q in read_questions(lab.questions / kept)]


@given(hostile)
def test_no_report_has_a_name_that_is_a_path(lab: Lab, name: str) -> None:
    for read in (lab.report, lab.published):
        assert refused_in_one_sentence(read, name)
    assert not (lab.settings.workspace / "reports").exists()


def tags(html: str) -> list[str]:
    return [tag for tag, _ in Page(html).tags]


@given(hostile, hostile)
def test_the_labs_pages_show_any_text_as_text(lab: Lab, title: str, arm: str) -> None:
    try:
        spec = named(title=title, contributors=[{"model": arm, "questions": "q.csv"}])
    except UserError:
        return
    row = studies.StudyRow(spec, "draft", "", "", "", False, 0, False)
    plain = replace(row, spec=named())
    done = studies.Progress()
    assert tags(study_html.status(row, done)) == tags(study_html.status(plain, done))
    assert read_plan(plan_text(spec)) == spec
    page = study_html.job(title, 1, 2, arm, "") + study_html.job("", 0, 0, "", title)
    assert not {"script", "img"} & set(tags(page))


def named(**changes: Any) -> StudySpec:
    base = {"slug": "fuzz", "title": "T", "contributors": [{"model": "m", "questions": "q.csv"}],
            "system": {"protocol": "p"}}  # fmt: skip
    return spec_from({**base, **changes})


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("empty") / "studies.db"
    Store.open(str(path)).close()
    return path


def session(folder: Path, empty: Path, fields: dict[str, Any], texts: list[str]) -> list[list[str]]:
    """The elements of each page up to the first pair; every answer is searched for the arms."""
    path = shutil.copy(empty, folder / "studies.db")
    store = Store.open(str(path))
    pairs = [
        replace(pair, prompt=texts[0] or "?", contributor=texts[1] or "a", system=texts[2] or "b")
        for pair in make_pairs(1)
    ]
    spec = make_spec(slug="zqx-study", pairs_per_rater=1, **fields)
    open_study(store, spec, pairs)
    world = World(store, spec)
    person = Person(world, world.invite()[0])
    seen = []
    for go_on in (person.consent, person.begin, person.practise, lambda: None):
        seen.append([tag for tag, _ in person.see().tags])
        go_on()
    store.close()
    return seen


@few(max_examples=6)
@given(hostile, hostile, hostile, st.lists(hostile, min_size=3, max_size=3))
def test_no_text_of_a_study_adds_an_element_to_a_raters_page(
    tmp_path_factory: pytest.TempPathFactory, empty: Path, title: str, rubric: str, criterion: str,
    texts: list[str],
) -> None:  # fmt: skip
    fields = {"title": title[:120] or "T", "rubric": rubric[:600] or "R",
              "dimensions": (criterion or "D",), "consent": title[:8000]}  # fmt: skip
    folder = tmp_path_factory.mktemp("fuzz")
    plain = {"title": "T", "rubric": "R", "dimensions": ("D",), "consent": "C" if title else ""}
    (folder / "plain").mkdir()
    (folder / "fuzz").mkdir()
    wanted = session(folder / "plain", empty, plain, ["q", "a", "b"])
    assert session(folder / "fuzz", empty, fields, texts) == wanted


def test_the_line_of_a_published_study_shows_any_text_as_text(lab: Lab) -> None:
    row = replace(lab.examples()[0], title="<script>x</script>", about='"><img src=x>')
    assert not {"script", "img"} & set(tags(results.describe(row) + results.frame(row)))
