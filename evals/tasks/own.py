"""A lab's own questions: a file with one question a line and what is right for it.

``.jsonl`` (one JSON object a line) or ``.csv`` (a header, then rows). Fields: ``question`` (also
``prompt`` or ``input``); ``answer`` (also ``gold`` or ``output``); for multiple choice ``choices``,
an object of words by key, and the right key as the answer; for token F1 the answer may be a list of
texts; optional are ``id``, ``domain``, ``group`` and ``split`` (dev or test, then in every row).
Without splits half of the questions are dev, half test. The metric is named beside the file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from evals.human.questions import MAX_ROWS, PROMPT_FIELDS, field_text, read_rows
from evals.tasks.core import task_names
from evals.tasks.hub_rows import loaded
from evals.tasks.outside import Row, half, make_task
from evals.tasks.paper import BY_NAME, Metric
from evals.tasks.suite import BenchTask
from protocols.core.errors import UserError, unknown

ANSWER_FIELDS = ("answer", "gold", "output")
METRICS: tuple[Metric, ...] = get_args(Metric)
WITHOUT_GOLD = ("noncompliance", "reward", "diversity")
SPLITS = ("dev", "test")
FEWEST_OPTIONS = 2


def read_own_file(path: Path, metric: str = "") -> BenchTask:
    """Read a lab's own questions, scored by ``metric``.

    Without a metric the first row decides: choice where it has choices, else exact match. Raises
    :class:`UserError` with one sentence that names the file and the line.
    """
    name = _name(path)
    rows = list(read_rows(path))
    if not 0 < len(rows) <= MAX_ROWS:
        raise UserError(f"'{path.name}' has {len(rows):,} questions; put 1 to {MAX_ROWS:,} in it.")
    chosen = _metric(metric, rows[0][1])
    found = [_row(f"'{path.name}', line {number}", row, chosen) for number, row in rows]
    dev, test = _cut(path, [one for one, _ in found], [split for _, split in found])
    task = make_task(name, chosen, dev, test)
    if not any(task.splits.values()):
        raise UserError(f"'{path.name}' has no question that can be asked.")
    return task


def _name(path: Path) -> str:
    if path.stem in task_names() or path.stem in BY_NAME:
        raise UserError(
            f"'{path.name}' bears the name of another task, so their results would be mixed; "
            "rename the file."
        )
    return path.stem


def _metric(named: str, first: Mapping[str, Any]) -> Metric:
    if not named:
        return "choice" if first.get("choices") else "exact"
    for metric in METRICS:
        if metric == named:
            return metric
    raise unknown("metric", named, METRICS)


def _row(where: str, row: Mapping[str, Any], metric: Metric) -> tuple[Row, str]:
    """A row and the split that it names."""
    asked = next((name for name in PROMPT_FIELDS if name in row), "")
    question = field_text(where, row, asked) if asked else ""
    if not question.strip():
        raise UserError(f"{where} has no 'question'; write what is asked there.")
    choices = _choices(where, row) if metric == "choice" else {}
    gold = _gold(where, row, metric)
    if metric == "choice" and gold not in choices:
        raise UserError(f"{where}: the answer '{gold[:40]}' is none of {', '.join(choices)}.")
    made = Row(
        id=field_text(where, row, "id") or where.rpartition(" ")[2],
        question=question,
        gold=gold,
        choices=choices,
        domain=field_text(where, row, "domain"),
        group=field_text(where, row, "group"),
    )
    return made, field_text(where, row, "split").strip()


def _gold(where: str, row: Mapping[str, Any], metric: Metric) -> str:
    name = next((one for one in ANSWER_FIELDS if one in row), "answer")
    value = row.get(name)
    if isinstance(value, list):
        if metric != "f1":
            raise UserError(f"{where} has several answers, which only --metric f1 can score.")
        texts = [field_text(where, {name: one}, name) for one in value]
        gold = json.dumps(texts, ensure_ascii=False) if all(texts) and texts else ""
    else:
        gold = field_text(where, row, name)
    if not gold.strip() and metric not in WITHOUT_GOLD:
        raise UserError(f"{where} has no 'answer'; write what is right there.")
    return gold


def _choices(where: str, row: Mapping[str, Any]) -> dict[str, str]:
    try:
        found = loaded(row.get("choices"))
    except TypeError:
        found = None
    if not isinstance(found, dict) or len(found) < FEWEST_OPTIONS:
        raise UserError(
            f'{where} needs \'choices\' like {{"A": "one", "B": "another"}} for multiple choice.'
        )
    return {str(key): field_text(where, found, key) for key in found}


def _cut(path: Path, rows: Sequence[Row], named: Sequence[str]) -> tuple[list[Row], list[Row]]:
    """Dev and test rows, as the rows say or by a draw that follows from their words."""
    if not any(named):
        return [row for row in rows if half(row)], [row for row in rows if not half(row)]
    wrong = sorted(set(named) - set(SPLITS))
    if wrong:
        shown = f"'{wrong[0][:40]}'" if wrong[0] else "no split in some rows"
        raise UserError(f"'{path.name}' has {shown}; write dev or test in every row, or in none.")
    dev, test = ([r for r, split in zip(rows, named, strict=True) if split == s] for s in SPLITS)
    return dev, test
