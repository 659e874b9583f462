"""The paper's tasks from the hub: artificial rows with each data set's columns become items.

No row of a data set is here. The rows are read by hand and, from local copies, by ``datasets``.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evals.tasks.hub import read_hub
from evals.tasks.paper import BY_NAME, PAPER_TASKS, Source
from evals.tasks.suite import BenchItem, BenchTask
from protocols.core.errors import EngineError, UserError

Raw = dict[str, Any]
FOUR = ["flig", "morp", "zasto", "brax"]


def arc(n: int, tag: str) -> Raw:
    options = {"text": FOUR[:3], "label": ["1", "2", "3"]}
    return {"id": f"{tag}", "question": f"Which is {tag}?", "choices": options, "answerKey": "2"}


def truth(n: int, tag: str) -> Raw:
    targets = {"choices": ["truth", "tale", "myth"], "labels": [1, 0, 0]}
    return {"question": f"What about {tag}?", "mc1_targets": targets}


def exam(n: int, tag: str) -> Raw:
    listed = " ".join(f"({key}){words}" for key, words in zip("ABCD", FOUR, strict=True))
    tail = f" Answer Choices: {listed} \nA: Among A through D, the answer is"
    options = [f"({key}){words}" for key, words in zip("ABCD", FOUR, strict=True)]
    gold = [1, 2] if n == 0 else [n % 4]
    return {"query": f"A passage.\n\nQ: Which is {tag}?{tail}", "choices": options, "gold": gold}


def redux(n: int, tag: str) -> Raw:
    kind = "wrong_groundtruth" if n == 0 else "ok"
    asked = f"Which is {tag}?"
    return {"question": asked, "choices": FOUR, "answer": n % 4, "error_type": kind}


def everyday(n: int, tag: str) -> Raw:
    keyed = dict(zip("ABCD", FOUR, strict=True))
    listed = "\n".join(f"{key}. {words}" for key, words in keyed.items())
    form = " Without any explanation, choose only one from the given alphabet choices."
    return {
        "MCQID": f"{tag}", "ID": f"{tag}", "country": "Example",
        "prompt": f"What about {tag}?{form}\n{listed}\n\nAnswer:",
        "choices": json.dumps(keyed), "choice_countries": "{}", "answer_idx": "ABCD"[n % 4],
    }  # fmt: skip


def culture(n: int, tag: str) -> Raw:
    options = {f"prompt_option_{key}": words for key, words in zip("abcd", FOUR, strict=True)}
    asked = {"question_idx": n, "data_idx": n, "prompt_question": f"What about {tag}?"}
    return {**asked, **options, "answer": "ABCD"[n % 4], "country": "Example"}


def statement(n: int, tag: str) -> Raw:
    asked = {"data_idx": n, "question_idx": n // 2, "prompt_question": f"What about {n // 2}?"}
    return {**asked, "prompt_option": FOUR[n % 4], "answer": n % 4 == 2, "country": "Example"}


def value(n: int, tag: str) -> Raw:
    valence = ("Supports", "Opposes", "Either")[n % 3]
    return {"situation": f"Doing {tag}", "vrd": "Duty", "text": "Care", "valence": valence}


def fact(n: int, tag: str) -> Raw:
    asked = {"reliability": {"prompt": f"Where is {tag}?", "answer": "Port Example"}}
    year = "2019" if n == 0 else "2022"
    return {"fact": "that it is so?", "year": year, "eval": json.dumps(asked)}


def citation(n: int, tag: str) -> Raw:
    task = "another_task" if n == 0 else "acl_arc_intent_classification"
    wanted = ("Uses", "Extends")[n % 2]
    return {
        "_instance_id": f"{task}:{tag}",
        "input": f"Name the intent of {tag}.",
        "output": wanted,
    }


def chat(n: int, tag: str) -> Raw:
    said = [{"content": f"Tell me of {tag}.", "role": "user", "toxic": False}]
    language = "Esperanto" if n == 0 else "English"
    return {
        "conversation_id": f"{tag}", "conversation": said, "language": language, "toxic": n == 1
    }  # fmt: skip


def wish(n: int, tag: str) -> Raw:
    said = [
        {"role": "user", "content": f"Tell me of {tag}."},
        {"role": "assistant", "content": "A"},
    ]
    return {"messages": said[1:] if n == 0 else said}


ROWS: dict[str, Callable[[int, str], Raw]] = {
    "agieval": exam,
    "arc_challenge": arc,
    "mmlu_redux": redux,
    "bbh": lambda n, tag: {"input": f"Sum {tag}?", "target": "(B)"},
    "gsm8k": lambda n, tag: {"question": f"Total {tag}?", "answer": f"First 3.\n#### {n},000"},
    "math": lambda n, tag: {"problem": f"Find {tag}.", "solution": rf"\boxed{{\frac{{{n}}}{{7}}}}"},
    "sciriff": citation,
    "wikidyk": fact,
    "popqa": lambda n, tag: {
        "id": n, "question": f"Where is {tag}?", "possible_answers": '["Port Example"]'
    },
    "blend": everyday,
    "truthfulqa": truth,
    "coconot": lambda n, tag: {"id": tag, "prompt": f"Do {tag}.", "category": "made up"},
    "alpacaeval": lambda n, tag: {"instruction": f"Do {tag}.", "output": "", "dataset": "made up"},
    "wildchat": chat,
    "culturebench": statement,
    "culturalbench_hard": culture,
    "kaleidoscope": value,
    "infinite_chat_open": wish,
    "infinite_chat_diversity": lambda n, tag: {"query": f"Make up {tag}."},
}  # fmt: skip
LEFT_OUT = {"agieval": 1, "mmlu_redux": 1, "sciriff": 1, "wikidyk": 1, "wildchat": 2,
            "infinite_chat_open": 1}  # fmt: skip
"""Rows of each configuration and split that are not asked."""
COUNT = 24


def rows_of(name: str, config: str, split: str) -> list[Raw]:
    return [ROWS[name](n, f"{n} {config} {split}") for n in range(COUNT)]


def everything(task: BenchTask) -> list[BenchItem]:
    return [item for items in task.splits.values() for item in items]


def check(name: str, found: BenchTask, parts: int) -> None:
    """Nothing is lost, no split is empty, and what is right scores 1."""
    items = everything(found)
    assert len(items) == parts * (COUNT - LEFT_OUT.get(name, 0))
    assert found.splits["test"] and found.splits["dev"]
    assert "from the hub" in found.notes[0] and len({item.id for item in items}) == len(items)
    if found.metric in ("choice", "exact"):
        for item in items:
            assert item.grade(f"\\boxed{{{item.gold}}}").corrected.value == 1.0
    if found.metric == "choice":
        assert all(
            item.prompt.count(words) == 1 for item in items for words in item.choices.values()
        )


@pytest.mark.parametrize("name", ROWS)
def test_rows_of_the_hub_become_items(name: str) -> None:
    task = BY_NAME[name]
    assert task.source
    found = read_hub(task, lambda source, config, split: rows_of(name, config, split))
    check(name, found, len(task.source.configs) * len(task.source.splits))
    golds = {item.gold for item in everything(found)}
    if name == "truthfulqa":
        assert len(golds) > 1  # the right option is not always the first
        assert all(item.choices[item.gold] == "truth" for item in everything(found))
    if name == "arc_challenge":
        assert golds == {"2"}


def test_what_a_row_says_is_kept() -> None:
    def only(name: str, n: int = 2) -> BenchItem:
        found = read_hub(BY_NAME[name], lambda *_: [ROWS[name](n, "7")])
        return everything(found)[0]

    exam_item = only("agieval")
    assert exam_item.choices == dict(zip("ABCD", FOUR, strict=True)) and exam_item.gold == "C"
    assert exam_item.prompt.startswith("A passage.\nWhich is 7?\nA) flig\n")
    assert "Among" not in exam_item.prompt
    assert only("blend").prompt.startswith("What about 7?\nA) flig\n")
    assert [only("kaleidoscope", n).gold for n in range(3)] == ["A", "B", "C"]
    assert only("culturebench").gold == "True" and only("culturebench", 3).gold == "False"
    assert only("wikidyk").prompt.startswith("Where is 7?") and only("wikidyk").domain == "2022"
    assert only("sciriff").gold == "Uses" and only("wildchat").prompt == "Tell me of 7."


def test_statements_of_one_question_stay_in_one_split() -> None:
    found = read_hub(BY_NAME["culturebench"], lambda *_: rows_of("culturebench", "", ""))
    for items in found.splits.values():
        groups = [item.group for item in items]
        assert all(groups.count(group) == 2 for group in groups)


def test_of_many_drawings_of_a_question_the_first_is_asked() -> None:
    rows = [{**everyday(n, f"{n}"), "ID": f"{n // 3}"} for n in range(COUNT)]
    found = read_hub(BY_NAME["blend"], lambda *_: rows)
    assert sorted((item.id for item in everything(found)), key=int) == [
        str(n) for n in range(0, COUNT, 3)
    ]


def local_copy(folder: Path, name: str, source: Source) -> Source:
    """A data set as it lies on the hub, with at most two configurations, named in its card."""
    configs = source.configs[:2]
    if source.file:
        (folder / source.file).write_text(json.dumps(rows_of(name, "", source.splits[0])))
        return replace(source, path=str(folder))
    cards: dict[Path, list[str]] = {}
    for config in configs:
        home = Path(str(folder / "set-{config}").format(config=config))
        whole = home if "{config}" in source.path else folder / "set"
        card = cards.setdefault(whole, ["---", "configs:"])
        named = "default" if "{config}" in source.path else config or "default"
        card += [f"- config_name: '{named}'", "  data_files:"]
        for split in source.splits:
            part = whole / (config or "data") / f"{split}-00000-of-00001.parquet"
            part.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(pa.Table.from_pylist(rows_of(name, config, split)), part)
            card += [f"  - split: {split}", f"    path: {part.parent.name}/{split}-*"]
    for whole, card in cards.items():
        (whole / "README.md").write_text("\n".join([*card, "---", ""]), encoding="utf-8")
    several = "{config}" in source.path
    path = str(folder / ("set-{config}" if several else "set"))
    return replace(source, path=path, configs=configs, revision="")


SOME = ("arc_challenge", "alpacaeval")
"""One that is loaded whole and one that is a single file."""
LOCAL = [one if one in SOME else pytest.param(one, marks=pytest.mark.slow) for one in ROWS]


@pytest.mark.parametrize("name", LOCAL)
def test_a_local_copy_is_read_by_the_library_that_reads_the_hub(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through ``datasets`` itself: nested columns, configurations, splits, drawing and files."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()
    task = BY_NAME[name]
    assert task.source
    source = local_copy(tmp_path, name, task.source)
    found = read_hub(replace(task, source=source))
    check(name, found, len(source.configs) * len(source.splits))
    with pytest.raises(EngineError, match="--data"):
        read_hub(replace(task, source=replace(source, path=str(tmp_path / "nobody"))))


def test_without_a_network_it_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "https://hub.invalid")
    for name in ("gsm8k", "wildchat", "popqa"):
        with pytest.raises(EngineError, match=r"hub\.invalid cannot be reached.*local cache"):
            read_hub(BY_NAME[name])


def test_a_drawn_part_is_as_large_as_it_says(tmp_path: Path) -> None:
    source = BY_NAME["wildchat"].source
    assert source
    few = replace(local_copy(tmp_path, "wildchat", source), most=5)
    found = read_hub(replace(BY_NAME["wildchat"], source=few))
    assert 3 <= len(everything(found)) <= 5


def test_every_task_is_on_the_hub_or_says_which_file_it_wants() -> None:
    assert {task.name for task in PAPER_TASKS if task.source} == set(ROWS)
    without = [task for task in PAPER_TASKS if not task.source]
    assert [task.name for task in without] == ["human_interest"]
    for task in without:
        with pytest.raises(UserError, match=rf"no data set on the hub.*'{task.name}\.json'"):
            read_hub(task)
    for task in PAPER_TASKS:
        assert task.source is None or (
            task.source.licence and task.source.named in task.source.origin
        )


@pytest.mark.parametrize(
    ("name", "raw", "says"),
    [
        ("bbh", {"input": "Sum?"}, "target"),
        ("agieval", {"query": "Which?", "choices": FOUR}, "gold"),
        ("wikidyk", {"year": "2022", "eval": "{"}, "nested column"),
        ("kaleidoscope", {"situation": "x", "text": "y", "valence": "perhaps"}, "perhaps"),
        ("blend", {"country": "Example"}, "ID"),
        (
            "wildchat",
            {"language": "English", "toxic": False, "conversation_id": "1"},
            "conversation",
        ),
    ],
)
def test_changed_columns_are_named(name: str, raw: Raw, says: str) -> None:
    with pytest.raises(UserError, match=rf"{says}.*row 0.*--data"):
        read_hub(BY_NAME[name], lambda *_: [raw])
