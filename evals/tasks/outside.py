"""Tasks that are not in this repository: files in the reference library's format, and the hub.

Whatever the source, an item is left out if nothing is right for it, the same question is asked once
and stands in one split only (test before dev), and a part of dev is held out for ranking models.
What was left out is told in the task's notes.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from evals.tasks.core import Split
from evals.tasks.graders import grader
from evals.tasks.paper import BY_NAME, METRICS, Metric
from evals.tasks.prompts import choice_prompt, exact_prompt
from evals.tasks.suite import BenchItem, BenchTask
from protocols.core.errors import UserError

HELD_OUT = 5
"""One of so many dev items is held out."""
MOST_LABELS = 12


@dataclass(frozen=True)
class Row:
    """An item as read, before it is put into words."""

    id: str
    question: str
    gold: str
    choices: Mapping[str, str]
    domain: str = ""
    group: str = ""

    @property
    def asked(self) -> str:
        """The question without regard to spacing and case, with its options."""
        words = " ".join([self.question, *sorted(self.choices.values())])
        return " ".join(words.casefold().split())


def read_task_file(path: Path) -> BenchTask:
    """Read a task from a file in the reference library's format.

    The file is one JSON object with ``name`` or ``dataset``, ``task_type`` and the lists ``dev``
    and ``test``. Raises :class:`UserError` for anything else, naming the file and what is wrong.
    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"The task file '{path.name}' cannot be read: {error.strerror}.") from None
    except (ValueError, RecursionError):
        raise UserError(f"The task file '{path.name}' is not JSON. Use another copy.") from None
    kind = str(raw.get("task_type")) if isinstance(raw, dict) else ""
    if kind not in METRICS or not all(isinstance(raw.get(s), list) for s in ("dev", "test")):
        raise UserError(
            f"The task file '{path.name}' needs a task_type ({', '.join(METRICS)}) and the lists "
            "dev and test. Questions of your own go into a .jsonl file, one a line."
        )
    name = BY_NAME[path.stem].name if path.stem in BY_NAME else path.stem
    rows = {split: _rows(path, split, raw[split], METRICS[kind]) for split in ("dev", "test")}
    return make_task(name, METRICS[kind], rows["dev"], rows["test"])


def _rows(path: Path, split: str, raw: Sequence[Any], metric: Metric) -> list[Row]:
    rows = []
    for number, one in enumerate(raw):
        try:
            rows.append(as_row(one, metric))
        except (KeyError, TypeError, ValueError, AttributeError):
            raise UserError(
                f"In the task file '{path.name}', {split} item {number} lacks what a "
                f"{metric} item needs. Use another copy."
            ) from None
    return rows


def as_row(one: Mapping[str, Any], metric: Metric) -> Row:
    """Read one item. Raises ``KeyError`` or ``TypeError`` for one that lacks a part."""
    choice = metric == "choice"
    gold = one["answer"] if choice else one.get("output", "")
    choices = {str(k): str(v) for k, v in one["choices"].items()} if choice else {}
    return Row(
        id=str(one["id"]),
        question=str(one["question"] if choice else one["input"]),
        gold="" if gold is None else str(gold),
        choices=choices,
        domain=str(one.get("domain") or one.get("country") or one.get("category") or ""),
        group=str(one.get("question_id", "")),
    )


def make_task(name: str, metric: Metric, dev: Sequence[Row], test: Sequence[Row]) -> BenchTask:
    """Put rows into words and splits, with notes about what was left out."""
    about = BY_NAME.get(name)
    notes = [about.note] if about and about.note else []
    kept = {"dev": _usable(dev, metric, notes), "test": _usable(test, metric, notes)}
    _drop_groups(kept, notes)
    kept["dev"] = _disjoint(kept["dev"], kept["test"], notes)
    kept = {split: _named(_once(rows, split, notes)) for split, rows in kept.items()}
    labels = label_sets([*kept["dev"], *kept["test"]]) if metric == "exact" else {}
    parts: dict[Split, list[Row]] = {"train": [], "dev": [], "heldout": [], "test": kept["test"]}
    for row in kept["dev"]:
        parts["heldout" if held_out(row) else "dev"].append(row)
    return BenchTask(
        name=name,
        family=about.family if about else "outside",
        metric=metric,
        title=about.title if about else name,
        splits={
            split: tuple(
                _item(name, metric, split, row, labels.get(row.domain, ())) for row in rows
            )
            for split, rows in parts.items()
        },
        notes=tuple(notes),
    )


def _item(task: str, metric: Metric, split: Split, row: Row, labels: Sequence[str]) -> BenchItem:
    prompt = row.question
    if metric == "choice":
        prompt = choice_prompt(row.question, row.choices)
    elif metric in ("exact", "f1"):
        prompt = exact_prompt(row.question)
    return BenchItem(
        task=task,
        id=row.id,
        split=split,
        prompt=prompt,
        gold=row.gold,
        grade=grader(metric, row.gold, row.choices, labels),
        domain=row.domain,
        group=row.group,
        choices=row.choices,
    )


def held_out(row: Row) -> bool:
    """Whether a dev item is held out; follows from its group or its question alone."""
    return hashlib.sha256((row.group or row.asked).encode()).digest()[0] % HELD_OUT == 0


def half(row: Row) -> bool:
    """Whether an item is for dev, where a source has one split; follows from its group or words."""
    return half_of(row.group or row.asked)


def half_of(words: str) -> bool:
    """A draw of one in two that follows from the words alone."""
    return hashlib.sha256(f"half/{words}".encode()).digest()[0] % 2 == 0


def label_sets(rows: Iterable[Row]) -> dict[str, tuple[str, ...]]:
    """The few words that are right somewhere in a domain, by domain; none where golds are open."""
    golds: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        golds[row.domain][row.gold] += 1
    return {
        domain: tuple(sorted(counts))
        for domain, counts in golds.items()
        if 1 < len(counts) <= MOST_LABELS
        and sum(counts.values()) > len(counts)
        and all(one.replace(" ", "").isalpha() and len(one) > 1 for one in counts)
    }


def _usable(rows: Sequence[Row], metric: Metric, notes: list[str]) -> list[Row]:
    kept = [row for row in rows if row.question.strip() and _has_gold(row, metric)]
    if left := len(rows) - len(kept):
        notes.append(f"{left} items without a question or a right answer are left out.")
    return kept


def _has_gold(row: Row, metric: Metric) -> bool:
    if metric == "choice":
        return row.gold in row.choices
    return bool(row.gold.strip()) if metric in ("exact", "f1") else True


def _drop_groups(kept: dict[str, list[Row]], notes: list[str]) -> None:
    """Leave out groups that are cut between the splits: no split has all of their items."""
    groups = {split: {row.group for row in rows if row.group} for split, rows in kept.items()}
    cut = groups["dev"] & groups["test"]
    if cut:
        for split, rows in kept.items():
            kept[split] = [row for row in rows if row.group not in cut]
        notes.append(f"{len(cut)} groups that are cut between dev and test are left out.")


def _disjoint(dev: Sequence[Row], test: Sequence[Row], notes: list[str]) -> list[Row]:
    asked = {row.asked for row in test}
    kept = [row for row in dev if row.asked not in asked]
    if left := len(dev) - len(kept):
        notes.append(f"{left} dev items that test asks as well are left out.")
    return kept


def _once(rows: Sequence[Row], split: str, notes: list[str]) -> list[Row]:
    """Ask each question once; of several with the same words the first stays."""
    first = {row.asked: row for row in reversed(rows)}
    kept = [row for row in rows if first[row.asked] is row]
    if left := len(rows) - len(kept):
        notes.append(f"{left} repeated {split} items are left out.")
    return kept


def _named(rows: Sequence[Row]) -> list[Row]:
    """Number the ids that are not unique."""
    seen: Counter[str] = Counter()
    named = []
    for row in rows:
        seen[row.id] += 1
        many = seen[row.id]
        named.append(replace(row, id=f"{row.id}#{many}") if many > 1 else row)
    return named
