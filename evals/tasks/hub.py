"""The paper's tasks from the hub, through ``datasets``.

The column names were written down without the hub at hand: where a data set looks otherwise now,
the error says which column is missing, and a file in the reference library's format does instead.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from evals.metrics.exact_match import balanced
from evals.tasks.outside import Row, make_task
from evals.tasks.paper import PaperTask, Source
from evals.tasks.suite import BenchTask
from protocols.core.errors import EngineError, UserError
from protocols.lib.parsing import BOX

Load = Callable[[str, str, str], Iterable[Mapping[str, Any]]]
"""Rows of a data set by its path, configuration and split."""
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def read_hub(task: PaperTask, load: Load | None = None) -> BenchTask:
    """Read a task from the hub.

    Raises :class:`UserError` for one that is not there in usable form, :class:`EngineError` if the
    hub cannot be reached.
    """
    source = task.source
    if source is None:
        raise UserError(
            f"{task.title} is read from a file: put '{task.name}.json' in the reference library's "
            "format into a folder and name it with --data."
        )
    rows = {split: _rows(task, source, split, load or from_hub) for split in source.splits}
    first, last = rows[source.splits[0]], rows[source.splits[-1]]
    if len(rows) == 1:
        dev = [row for row in first if _half(row)]
        return make_task(task.name, task.metric, dev, [row for row in first if not _half(row)])
    return make_task(task.name, task.metric, first, last)


def from_hub(path: str, config: str, split: str) -> Iterable[Mapping[str, Any]]:
    """Download rows (or take them from the local cache). Raises :class:`EngineError`."""
    from datasets import load_dataset

    try:
        found: Iterable[Mapping[str, Any]] = load_dataset(path, config or None, split=split)
    except (OSError, ValueError, RuntimeError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise EngineError(
            f"The data set '{path}' cannot be read: {first[:160]}. Check the network, or put a "
            "file of the task into a folder and name it with --data."
        ) from error
    return found


def _rows(task: PaperTask, source: Source, split: str, load: Load) -> list[Row]:
    rows = []
    for config in source.configs:
        for number, raw in enumerate(load(source.path, config, split)):
            try:
                rows.append(_row(dict(source.fields), raw, f"{config}{split}-{number}", config))
            except (KeyError, TypeError, IndexError) as error:
                raise UserError(
                    f"The data set '{source.path}' has no usable {error} in {split} row {number}; "
                    "its columns may have changed. Use a file with --data instead."
                ) from None
    return rows


def _row(fields: Mapping[str, str], raw: Mapping[str, Any], name: str, config: str) -> Row:
    """One row of the hub. Raises ``KeyError`` for a missing column."""
    got = {ours: _column(raw, theirs) for ours, theirs in fields.items()}
    question = str(got.get("question", got.get("input")))
    choices, answer = _options(got, question)
    domain = str(got.get("domain", "")) or config
    return Row(str(got.get("id", name)), question, answer or _gold(got), choices, domain)


def _column(raw: Mapping[str, Any], name: str) -> Any:
    value: Any = raw
    for part in name.split("."):
        value = value[part]
    return value


def _options(got: Mapping[str, Any], question: str) -> tuple[dict[str, str], str]:
    """The lettered options and the right letter. Options with labels are put in a drawn order."""
    if "options" not in got:
        return {}, ""
    options = [str(one) for one in got["options"]]
    if "labels" not in got:
        keys = [str(key) for key in got.get("keys", LETTERS[: len(options)])]
        return dict(zip(keys, options, strict=True)), str(got["answer"])
    right = options[list(got["labels"]).index(1)]
    drawn = sorted(options, key=lambda one: hashlib.sha256(f"{question}/{one}".encode()).digest())
    return dict(zip(LETTERS, drawn, strict=False)), LETTERS[drawn.index(right)]


def _gold(got: Mapping[str, Any]) -> str:
    if "solution" in got:
        return str(got["solution"]).rpartition("####")[2].strip()
    if "boxed" in got:
        return _last_box(str(got["boxed"]))
    output = got.get("output", "")
    return output if isinstance(output, str) else _as_list(output)


def _as_list(values: Sequence[Any]) -> str:
    import json

    return json.dumps([str(value) for value in values], ensure_ascii=False)


def _last_box(solution: str) -> str:
    boxes = list(BOX.finditer(solution))
    return solution[boxes[-1].end() : balanced(solution, boxes[-1].end())] if boxes else ""


def _half(row: Row) -> bool:
    return hashlib.sha256(f"half/{row.asked}".encode()).digest()[0] % 2 == 0
