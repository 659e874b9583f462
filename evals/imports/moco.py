"""Logs of the model-collaboration library that the paper uses: one JSON file for each run.

A log is an object with ``task``, ``task_type``, ``model_names``, ``hyperparameters`` and ``logs``,
a list of ``input``, ``output`` and ``score``. Which method ran stands in the file's name alone, at
its end; items have no id, so they are named by their input. All of them are test items. The scores
are the library's own: https://github.com/BunsenFeng/model_collaboration.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from evals.bench_plan import SOLO
from evals.imports.core import MOST, Answer, Source, as_record, model_id, number, read_json
from evals.records import BenchRecord, Reading
from protocols.core.errors import UserError
from protocols.core.models import content_hash
from protocols.core.registry import protocols

FORMAT = "moco"
METHODS = {"api_cascade": "cascade", "text_sparta": "sparta", "text_structure": "structure"}
"""Methods whose file names are not our protocol's name."""
UNBOUNDED = ("reward_model", "text_generation")
"""Types of tasks whose score is a reward, from any number to any other."""


def is_log(found: Any) -> bool:
    """Whether a JSON value looks like a log of the library."""
    return isinstance(found, dict) and isinstance(found.get("logs"), list)


def read_log(path: Path, protocol: str = "") -> Iterator[BenchRecord]:
    """The answers of a log; ``protocol`` is asked for where the file's name does not tell it.

    Raises :class:`UserError` for a file that is no log, naming the entry.
    """
    log = read_json(path)
    if not is_log(log):
        raise UserError(f"'{path.name}' has no list 'logs', so it is no log of the library.")
    models = log.get("model_names")
    if not isinstance(models, list) or not models or not str(log.get("task") or "").strip():
        raise UserError(f"'{path.name}' does not say its 'task' and 'model_names'; copy it anew.")
    if len(log["logs"]) > MOST:
        raise UserError(f"'{path.name}' has more than {MOST:,} entries; cut it.")
    method = protocol or _method(path)
    source = Source(
        FORMAT, path.name, str(log["task"]), method,
        tuple(map(model_id, models[:1] if method == SOLO else models)),
    )  # fmt: skip
    bounded = str(log.get("task_type")) not in UNBOUNDED
    for place, entry in enumerate(log["logs"], start=1):
        yield as_record(source, _answer(f"'{path.name}', entry {place} of 'logs'", entry, bounded))


def _method(path: Path) -> str:
    """The protocol that a file's name ends with."""
    names = {**{name: name for name in protocols()}, **METHODS}
    for ending in sorted(names, key=len, reverse=True):
        if path.stem.endswith(f"_{ending}"):
            return names[ending]
    raise UserError(
        f"The name '{path.name}' does not end with a protocol of the studio (…_majority_vote.json),"
        " so it is not known what made it. Say it with --protocol."
    )


def _answer(where: str, entry: object, bounded: bool) -> Answer:
    if not isinstance(entry, Mapping) or not isinstance(entry.get("input"), str):
        raise UserError(f"{where} has no 'input'; copy the file anew.")
    score, text = number(entry.get("score")), entry.get("output")
    if score is None or not isinstance(text, str | int | float | None):
        raise UserError(f"{where} has no 'output' or no number as its 'score'; copy it anew.")
    rule = "scored by the library that made it"
    return Answer(
        item=f"moco:{content_hash(entry['input'])}",
        text="" if text is None else str(text),
        score=score if bounded else None,
        rule=rule,
        compatible=Reading(score=score, rule=rule) if bounded else Reading(),
        others={} if bounded else {"reward": score},
    )
