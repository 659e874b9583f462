"""A lab's own questions: what is read is what was written, and every wrong file is one sentence."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.tasks.fitting import FEWEST, fit_data, fit_data_of
from evals.tasks.own import read_own_file
from evals.tasks.suite import BenchItem, BenchTask, open_embedded, open_tasks
from protocols.core.errors import UserError

CHOICES = {"A": "flig", "B": "morp"}


def write(folder: Path, rows: list[Any], name: str = "ours.jsonl") -> Path:
    path = folder / name
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return path


def plain(n: int, **more: Any) -> dict[str, Any]:
    return {"question": f"What is {n} plus 1?", "answer": n + 1, **more}


def everything(task: BenchTask) -> list[BenchItem]:
    return [item for items in task.splits.values() for item in items]


def test_questions_are_cut_into_splits_and_their_answers_score_one(tmp_path: Path) -> None:
    task = read_own_file(write(tmp_path, [plain(n) for n in range(60)]))
    sizes = {split: len(items) for split, items in task.splits.items()}
    assert (task.name, task.family, task.metric) == ("ours", "outside", "exact")
    assert sum(sizes.values()) == 60 and min(sizes[s] for s in ("dev", "heldout", "test")) >= 2
    again = read_own_file(write(tmp_path, [plain(n) for n in range(59, -1, -1)]))
    for split, items in task.splits.items():
        assert {i.prompt for i in items} == {i.prompt for i in again.splits[split]}
    for item in everything(task):
        assert item.grade(f"So the answer is {item.gold}.").corrected.value == 1.0
        assert item.grade("The answer is 0.").corrected.value == 0.0


def test_a_row_names_its_split_id_and_domain(tmp_path: Path) -> None:
    rows = [
        plain(n, split="dev" if n < 40 else "test", id=f"q{n}", domain="sums") for n in range(50)
    ]
    task = open_tasks(str(write(tmp_path, rows)))[0]
    assert {item.id for item in task.splits["test"]} == {f"q{n}" for n in range(40, 50)}
    assert len(task.splits["dev"]) + len(task.splits["heldout"]) == 40
    assert {item.domain for item in everything(task)} == {"sums"}


def test_choices_are_scored_as_choices_unless_told_otherwise(tmp_path: Path) -> None:
    path = write(tmp_path, [{"input": "Which?", "choices": CHOICES, "gold": "B"}])
    (item,) = everything(read_own_file(path))
    assert item.choices == CHOICES and item.prompt.startswith("Which?\nA) flig\nB) morp\n")
    assert item.grade("**B**").corrected.value == 1.0
    assert read_own_file(path, "exact").metric == "exact"


def test_several_answers_are_for_token_f1(tmp_path: Path) -> None:
    path = write(tmp_path, [{"prompt": "Where?", "answer": ["Port Example, D.C.", "the port"]}])
    (item,) = everything(open_tasks(str(path), metric="f1")[0])
    for said in ("Port Example, D.C.", "the port"):
        assert item.grade(f"The answer is {said}").corrected.value == 1.0
    with pytest.raises(UserError, match=r"line 1 has several answers.*--metric f1"):
        read_own_file(path)


@pytest.mark.parametrize("metric", ["reward", "diversity", "noncompliance"])
def test_wishes_need_no_answer(tmp_path: Path, metric: str) -> None:
    (item,) = everything(read_own_file(write(tmp_path, [{"prompt": "Sing."}]), metric))
    assert item.prompt == "Sing." and item.gold == ""


def test_a_table_of_a_spreadsheet_is_read_too(tmp_path: Path) -> None:
    path = tmp_path / "ours.csv"
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        table = csv.writer(file)
        table.writerows([["Question", "Answer", "Choices"], ["One, or?", "B", json.dumps(CHOICES)]])
    (item,) = everything(read_own_file(path))
    assert item.gold == "B" and item.prompt.startswith("One, or?") and item.choices == CHOICES


@pytest.mark.parametrize(
    ("rows", "metric", "says"),
    [
        ([], "", "0 questions"),
        ([plain(1), {"answer": "x"}], "", r"line 2 has no 'question'"),
        ([plain(1), {"question": "x?"}], "", r"line 2 has no 'answer'"),
        ([{"question": "x?", "answer": " "}], "", "no 'answer'"),
        ([{"question": "x?", "answer": True}], "", "'answer' is no text"),
        ([{"question": ["x"], "answer": "y"}], "", "'question' is no text"),
        ([plain(1)], "choice", "needs 'choices'"),
        ([{"question": "x?", "answer": "C", "choices": CHOICES}], "", "'C' is none of A, B"),
        ([{"question": "x?", "answer": "A", "choices": {"A": "one"}}], "", "needs 'choices'"),
        ([{"question": "x?", "answer": "A", "choices": "{"}], "", "needs 'choices'"),
        ([plain(1)], "exakt", "Did you mean 'exact'"),
        ([plain(1, split="dev"), plain(2)], "", "no split in some rows"),
        ([plain(1, split="train")], "", "'train'; write dev or test"),
        ([[1]], "", "line 1 is not a JSON object"),
    ],
)
def test_what_is_wrong_is_one_sentence(
    tmp_path: Path, rows: list[Any], metric: str, says: str
) -> None:
    with pytest.raises(UserError, match=says) as caught:
        read_own_file(write(tmp_path, rows), metric)
    assert "ours.jsonl" in str(caught.value) or "metric" in str(caught.value)


@pytest.mark.parametrize("name", ["roman.jsonl", "gsm8k.csv"])
def test_the_name_of_another_task_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="rename the file"):
        open_tasks(str(write(tmp_path, [plain(1)], name)))


def test_files_that_are_not_there_or_no_text(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no file 'ours\.jsonl'"):
        open_tasks(str(tmp_path / "ours.jsonl"))
    (tmp_path / "ours.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="line 1"):
        open_tasks(str(tmp_path / "ours.jsonl"))


FIELDS = ["question", "answer", "choices", "id", "split", "domain", "group"]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.just("A"),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner, max_size=2)
    ),
    max_leaves=4,
)


@given(
    st.lists(st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=5), max_size=3),
    st.sampled_from(["", "exact", "choice", "f1", "noncompliance"]),
)
def test_hostile_rows_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Any], metric: str
) -> None:
    try:
        task = read_own_file(write(tmp_path_factory.mktemp("hostile"), rows), metric)
    except UserError:
        return
    for item in everything(task):
        item.grade("some text 12")


# What a protocol may learn from them


def test_a_fit_learns_from_dev_items_and_never_from_held_out_or_test_ones(tmp_path: Path) -> None:
    task = read_own_file(write(tmp_path, [plain(n) for n in range(80)]))
    data = fit_data_of([task])
    asked = {part: {item.question for item in items} for part, items in data.items.items()}
    assert asked["train"] and asked["dev"] and not asked["train"] & asked["dev"]
    assert asked["train"] | asked["dev"] == {item.prompt for item in task.splits["dev"]}
    for item in (*data.items["train"], *data.items["dev"]):
        assert data.score(item, f"The answer is {item.answer}.") == 1.0
        assert data.score(item, "The answer is 0.") == 0.0 and data.score(item, "") is None


def test_two_tasks_share_the_limit_and_their_ids_do_not_collide(tmp_path: Path) -> None:
    first = read_own_file(write(tmp_path, [plain(n) for n in range(60)], "first.jsonl"))
    rows = [{"question": f"Where is {n}?", "answer": [f"Port {n}", "port"]} for n in range(60)]
    second = read_own_file(write(tmp_path, rows, "second.jsonl"), "f1")
    data = fit_data_of([first, second], limit=8, seed=1)
    for items in data.items.values():
        assert [item.task for item in items].count("first") == 4 and len(items) == 8
        assert len({item.id for item in items}) == 8
        port = next(item for item in items if item.task == "second")
        assert port.answer.startswith("Port ") and data.score(port, "port") == 1.0
    assert data.task == "first,second"
    assert data.digest != fit_data_of([first, second], limit=8, seed=2).digest


def test_tasks_of_the_repository_are_fitted_to_as_ever(tmp_path: Path) -> None:
    one, other = open_embedded("roman"), fit_data("roman", 10, 3)
    assert fit_data_of([one], 10, 3).digest == other.digest
    mixed = fit_data_of([one, read_own_file(write(tmp_path, [plain(n) for n in range(40)]))], 6)
    assert {item.task for item in mixed.items["train"]} == {"roman", "ours"}


def test_what_nothing_scores_cannot_be_fitted_to(tmp_path: Path) -> None:
    task = read_own_file(write(tmp_path, [{"prompt": "Sing."}]), "reward")
    with pytest.raises(UserError, match="Nothing can be fitted to ours"):
        fit_data_of([task])


def test_another_metric_or_another_answer_makes_another_artifact(tmp_path: Path) -> None:
    rows = [plain(n) for n in range(80)]
    path = write(tmp_path, rows)
    once, as_tokens = (fit_data_of([read_own_file(path, name)]) for name in ("exact", "f1"))
    assert [item.id for item in once.items["dev"]] == [item.id for item in as_tokens.items["dev"]]
    other = fit_data_of([read_own_file(write(tmp_path, [{**one, "answer": 7} for one in rows]))])
    assert len({once.digest, as_tokens.digest, other.digest}) == 3


def test_few_questions_are_refused_before_anything_is_fitted(tmp_path: Path) -> None:
    few = read_own_file(write(tmp_path, [plain(n) for n in range(12)]))
    with pytest.raises(UserError, match=r"ours has \d questions to train on and \d to choose by"):
        fit_data_of([few])
    all_of_dev = read_own_file(write(tmp_path, [plain(n, split="dev") for n in range(30)]))
    assert all(len(items) >= FEWEST for items in fit_data_of([all_of_dev]).items.values())
