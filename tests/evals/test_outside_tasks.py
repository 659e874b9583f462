"""Tasks from files: splits that never overlap, and golds that score 1.

The files are artificial, in the reference library's format. No item of the paper's tasks is here.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.metrics.overlap import aliases
from evals.tasks.outside import read_task_file
from evals.tasks.paper import METRICS, PAPER_TASKS
from evals.tasks.suite import BenchTask, open_tasks
from protocols.core.errors import UserError

WORDS = ("flig", "morp", "zasto", "quindle", "brax", "telu", "vimp", "sorb")


def word(number: int) -> str:
    return WORDS[number % 8] + WORDS[number // 8 % 8]


def choice_item(number: int) -> dict[str, Any]:
    choices = {key: f"{word(number + n)}{n}" for n, key in enumerate("ABCD")}
    gold = "ABCD"[number % 4]
    return {"id": number, "question": f"What is {number}?", "choices": choices, "answer": gold}


def exact_item(number: int) -> dict[str, Any]:
    golds = ["-5", "A", ") ]", r"\frac{1}{2}", "1,250", "Yes", "x^2+1", "ten words in all"]
    domain = f"kind {number % 8}"
    question = f"Question {number}?"
    return {"id": str(number), "input": question, "output": golds[number % 8], "domain": domain}


def f1_item(number: int) -> dict[str, Any]:
    golds = [f"{word(number)}, D.C.", word(number)]
    return {"id": number, "input": f"Who is {number}?", "output": json.dumps(golds)}


def plain_item(number: int) -> dict[str, Any]:
    return {"id": number, "input": f"Say something about {word(number)} {number}.", "output": ""}


KINDS = {
    "multiple_choice": choice_item,
    "exact_match": exact_item,
    "f1_match": f1_item,
    "noncompliance": plain_item,
    "reward_model": plain_item,
    "generation_diversity": plain_item,
}


def write(folder: Path, kind: str, dev: list[Any], test: list[Any], name: str = "toy") -> Path:
    path = folder / f"{name}.json"
    path.write_text(json.dumps({"name": name, "task_type": kind, "dev": dev, "test": test}))
    return path


def made(folder: Path, kind: str) -> BenchTask:
    items = [KINDS[kind](n) for n in range(80)]
    return read_task_file(write(folder, kind, items[:50], items[50:]))


def everything(task: BenchTask) -> list[Any]:
    return [item for items in task.splits.values() for item in items]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_three_splits_without_overlap(tmp_path: Path, kind: str) -> None:
    task = made(tmp_path, kind)
    assert task.metric == METRICS[kind] and not task.notes
    sizes = {split: len(items) for split, items in task.splits.items()}
    assert sizes["test"] == 30 and sizes["dev"] + sizes["heldout"] == 50
    assert 2 <= sizes["heldout"] <= 20
    prompts = [item.prompt for item in everything(task)]
    assert len(set(prompts)) == len(prompts) == 80
    assert len({item.id for item in everything(task)}) == 80


@pytest.mark.parametrize("kind", ["multiple_choice", "exact_match", "f1_match"])
def test_the_gold_answer_scores_one_and_another_does_not(tmp_path: Path, kind: str) -> None:
    for item in everything(made(tmp_path, kind)):
        gold = aliases(item.gold)[0] if kind == "f1_match" else item.gold
        for text in (f"\\boxed{{{gold}}}", f"First 3, then more.\nSo: \\boxed{{{gold}}}"):
            assert item.grade(text).corrected.value == 1.0, (item.gold, item.grade(text))
        assert item.grade("\\boxed{wrong}").corrected.value != 1.0
        assert item.grade("").corrected.value is None


def test_the_prompt_shows_the_options_once(tmp_path: Path) -> None:
    listed = choice_item(1)
    listed["question"] += " " + " ".join(f"{k}. {v}" for k, v in listed["choices"].items())
    path = write(tmp_path, "multiple_choice", [choice_item(0)], [listed])
    task = read_task_file(path)
    for item in everything(task):
        assert all(item.prompt.count(words) == 1 for words in item.choices.values())
        assert item.grade(item.gold).compatible.value == 1.0


def test_what_is_wrong_with_the_data_is_left_out_and_told(tmp_path: Path) -> None:
    """The defects found in the reference library's files, each planted once."""
    dev = [
        exact_item(0),
        exact_item(1),
        {**exact_item(1), "id": "other id, same question"},
        {**exact_item(2), "input": exact_item(60)["input"]},
        {**exact_item(3), "output": None},
        {**exact_item(4), "id": "0"},
    ]
    task = read_task_file(write(tmp_path, "exact_match", dev, [exact_item(60), exact_item(61)]))
    asked = {item.prompt.splitlines()[0] for s in ("dev", "heldout") for item in task.splits[s]}
    assert asked == {"Question 0?", "Question 1?", "Question 4?"}
    assert len({item.id for item in everything(task)}) == 5
    told = " ".join(task.notes)
    for told_of in ("without a question or a right answer", "test asks as well", "repeated dev"):
        assert told_of in told


def test_groups_stay_whole(tmp_path: Path) -> None:
    def statement(group: int, number: int) -> dict[str, Any]:
        text = f"Is {word(group)} {number}?"
        return {
            "id": f"{group}.{number}",
            "question_id": str(group),
            "input": text,
            "output": "True",
        }

    items = [statement(g, n) for g in range(20) for n in range(4)]
    task = read_task_file(write(tmp_path, "exact_match", items[:42], items[42:]))
    for split in ("dev", "heldout", "test"):
        groups = [item.group for item in task.splits[split]]
        assert all(groups.count(group) == 4 for group in groups)
    assert "1 groups that are cut between dev and test are left out." in task.notes


def test_digit_keys_can_be_right(tmp_path: Path) -> None:
    one = {**choice_item(0), "choices": {"1": "flig", "2": "morp"}, "answer": "2"}
    item = read_task_file(write(tmp_path, "multiple_choice", [], [one])).splits["test"][0]
    assert item.grade("The answer is 2.").corrected.value == 1.0
    assert item.grade("2").compatible.value == 0.0


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "is not JSON"),
        ("[" * 200_000, "is not JSON"),
        ("[]", "task_type"),
        ('{"task_type": "coding", "dev": [], "test": []}', "task_type"),
        ('{"task_type": "exact_match", "dev": []}', "lists"),
        ('{"task_type": "exact_match", "dev": [1], "test": []}', "dev item 0"),
        ('{"task_type": "multiple_choice", "dev": [], "test": [{"id": 1}]}', "test item 0"),
    ],
)
def test_bad_files_are_one_sentence(tmp_path: Path, content: str, says: str) -> None:
    path = tmp_path / "bad.json"
    path.write_text(content)
    with pytest.raises(UserError, match=says) as caught:
        read_task_file(path)
    assert "bad.json" in str(caught.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["id", "question", "choices", "answer", "input", "output"]),
            inner,
            max_size=6,
        )
    ),
    max_leaves=12,
)


@given(st.sampled_from(sorted(METRICS)), st.lists(JSON, max_size=4))
def test_hostile_files_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, kind: str, items: list[Any]
) -> None:
    path = write(tmp_path_factory.mktemp("hostile"), kind, items, [])
    try:
        task = read_task_file(path)
    except UserError:
        return
    for item in everything(task):
        item.grade("some text 12")


def test_names_files_and_folders(tmp_path: Path) -> None:
    items = [f1_item(n) for n in range(10)]
    path = write(tmp_path, "f1_match", items, [], "popqa")
    by_file, _ = open_tasks(f"{path}, roman")
    (by_name,) = open_tasks("popqa", tmp_path)
    assert by_file.name == by_name.name == "popqa" and by_name.family == "knowledge"
    with pytest.raises(UserError, match="Did you mean 'roman'"):
        open_tasks("romans")
    with pytest.raises(UserError, match=r"human_interest\.json.*--data"):
        open_tasks("human_interest", tmp_path)
    with pytest.raises(UserError, match="No task"):
        open_tasks(" , ")
    with pytest.raises(UserError, match="Two of the tasks are named 'popqa'"):
        open_tasks(f"{path}, popqa", tmp_path)


def test_the_paper_has_fifteen_tasks_in_five_domains_and_five_of_diversity() -> None:
    families = [task.family for task in PAPER_TASKS]
    assert len(families) == 20 and families.count("human diversity") == 5
    counts = [families.count(f) for f in dict.fromkeys(families) if f != "human diversity"]
    assert sorted(counts) == [2, 3, 3, 3, 4]
