"""Results of lm-evaluation-harness: ``samples_TASK_DATE.jsonl``, and the results beside it.

``lm_eval --log_samples`` writes a line for each item and filter: ``doc_id``, ``target``, ``resps``,
``filtered_resps``, ``filter``, ``metrics`` (names) and a field for each of these. Which model it
was stands in ``results_DATE.json`` of the same folder. Averages without samples are no answers.
What :mod:`evals.lm_eval` writes is read back with its protocol, pool, seeds and both scorings.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

from evals.bench_plan import SOLO
from evals.imports.core import (
    Answer,
    Source,
    as_record,
    model_id,
    number,
    read_json,
    read_lines,
)
from evals.records import BenchRecord, Outcome, Reading
from evals.tasks.core import SPLITS, Split
from protocols.core.errors import UserError, unknown

FORMAT = "lm-eval"
SAMPLES = re.compile(r"samples_(?P<task>.+)_(?P<date>[^_]+)\.jsonl")
NAMED_MODEL = ("peft", "pretrained", "model", "path")
"""Arguments of the harness that name a model, the most telling first."""
OUR_FILTERS = ("corrected", "compatible")


@dataclass
class Sample:
    """One item under all filters. ``scores`` are by ``METRIC,FILTER``, as results call them."""

    where: str
    line: Mapping[str, Any]
    scores: dict[str, float] = field(default_factory=dict)
    parsed: dict[str, str] = field(default_factory=dict)


def read_samples(path: Path, model: str = "", metric: str = "") -> Iterator[BenchRecord]:
    """The answers of a file of samples, scored by ``metric`` (default: the first of the file).

    ``model`` names who answered where no results lie beside the file. Raises :class:`UserError`
    for a file that is none of samples, naming the line.
    """
    named = SAMPLES.fullmatch(path.name)
    if named is None:
        raise UserError(
            f"'{path.name}' is not named like samples_TASK_DATE.jsonl, so its task is not known. "
            "Import the file as lm_eval --log_samples wrote it."
        )
    samples = _samples(path)
    results = _results(path, named["date"])
    source = _source(path, named["task"], results, model)
    chosen = _metric(path, samples, metric)
    for sample in samples:
        yield as_record(source, _answer(sample, chosen))


def _samples(path: Path) -> list[Sample]:
    found: dict[tuple[str, str], Sample] = {}
    for where, line in read_lines(path):
        names = line.get("metrics")
        if "doc_id" not in line or not isinstance(names, list):
            raise UserError(f"{where} has no 'doc_id' and 'metrics', so it is no sample.")
        key = (str(line["doc_id"]), str(line.get("seed", 0)))
        sample = found.setdefault(key, Sample(where, line))
        applied = str(line.get("filter", "none"))
        if f"{names[0] if names else ''},{applied}" in sample.scores:
            raise UserError(f"{where} has doc_id {key[0]} a second time; import one run at a time.")
        for name in names:
            if (value := number(line.get(str(name)))) is not None:
                sample.scores[f"{name},{applied}"] = value
        sample.parsed[applied] = _first_text(line.get("filtered_resps"))
    if not found:
        raise UserError(f"'{path.name}' has no samples.")
    return list(found.values())


def _results(path: Path, date: str) -> Mapping[str, Any]:
    """The results that were written with a file of samples; empty where there are none."""
    for beside in sorted(path.parent.glob("results_*.json")):
        if beside.stem.removeprefix("results_").replace("_", "-") == date.replace("_", "-"):
            found = read_json(beside)
            return found if isinstance(found, dict) else {}
    return {}


def _source(path: Path, task: str, results: Mapping[str, Any], model: str) -> Source:
    config, about = _mapping(results, "config"), _mapping(_mapping(results, "configs"), task)
    given = config.get("model_args")
    made, split = _day(results.get("date")), _split(about)
    pool = given.get("pool") if isinstance(given, dict) else None
    if isinstance(given, dict) and isinstance(pool, list) and pool:
        settings = {k: v for k, v in given.items() if k != "pool"}
        names = tuple(map(model_id, pool))
        method = str(config.get("model") or SOLO)
        return Source(FORMAT, path.name, task, method, names, split, settings, made)
    who = model or str(results.get("model_name") or _model(given))
    if not who.strip():
        raise UserError(
            f"No results_*.json beside '{path.name}' says whose answers these are. Name the model "
            "with --model."
        )
    return Source(FORMAT, path.name, task, SOLO, (model_id(who),), split, {}, made)


def _mapping(found: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = found.get(name)
    return value if isinstance(value, dict) else {}


def _model(given: object) -> str:
    """The model in the harness' arguments: a mapping, or ``pretrained=NAME,dtype=float``."""
    pairs = given if isinstance(given, dict) else {}
    if isinstance(given, str):
        pairs = dict(part.split("=", 1) for part in given.split(",") if "=" in part)
    return next((str(pairs[name]) for name in NAMED_MODEL if pairs.get(name)), "")


def _split(about: Mapping[str, Any]) -> Split:
    """The split of our own files, else whether the harness had test items for this task."""
    own = next((split for split in SPLITS if split == about.get("split")), None)
    return own or (
        "dev" if about.get("validation_split") and not about.get("test_split") else "test"
    )


def _day(date: object) -> str:
    """The harness writes seconds since 1970; our own files a date."""
    seconds = number(date)
    if seconds is None:
        return date if isinstance(date, str) else ""
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
    except (OverflowError, OSError, ValueError):
        return ""


def _metric(path: Path, samples: list[Sample], asked: str) -> str:
    """The metric of all samples, ``METRIC,FILTER`` or the beginning of one."""
    names = list(samples[0].scores)
    found = next((name for name in names if name == asked or name.startswith(f"{asked},")), "")
    chosen = found if asked else next(iter(names), "")
    if asked and not found:
        raise unknown(f"metric of '{path.name}'", asked, names)
    missing = next((one.where for one in samples if chosen not in one.scores), "")
    if missing:
        raise UserError(f"{missing} has no number for {chosen or 'any metric'}; name another one "
                        "with --metric, or copy the file anew.")  # fmt: skip
    return chosen


def _answer(sample: Sample, chosen: str) -> Answer:
    line, (metric, _, applied) = sample.line, chosen.rpartition(",")
    own = tuple(f"score,{name}" for name in OUR_FILTERS)
    ours = set(own) <= set(sample.scores) and "outcome" in line
    outcome = next((one for one in get_args(Outcome) if ours and one == line["outcome"]), None)
    unread = outcome in ("unparsed", "unscored", "failed")
    score = sample.scores[chosen]
    others = {name: value for name, value in sample.scores.items() if name != chosen}
    return Answer(
        item=_item(line, ours),
        text=_text(line),
        score=None if unread else score,
        rule=f"lm-eval: {metric}, filter {applied}",
        parsed=None if unread else sample.parsed.get(applied),
        seed=_seed(line.get("seed")),
        outcome=outcome,
        compatible=Reading(score=sample.scores[own[1]], rule="whole") if ours else Reading(),
        others={} if ours else others,
    )


def _seed(found: object) -> int:
    return found if isinstance(found, int) and found >= 0 else 0


def _item(line: Mapping[str, Any], ours: bool) -> str:
    """An item's name; those of the harness are kept apart from numbers that name our own items."""
    if ours:
        return str(line["doc_id"])
    return f"lm-eval:{line['doc_id']}:{str(line.get('doc_hash', ''))[:8]}"


def _text(line: Mapping[str, Any]) -> str:
    """What was written; where options were compared, the likeliest one."""
    resps = line.get("resps")
    first = resps[0] if isinstance(resps, list) and resps else None
    likely = [_likelihood(one) for one in resps] if isinstance(resps, list) else []
    if len(likely) > 1 and all(value is not None for value in likely):
        best = max(range(len(likely)), key=lambda place: likely[place] or float("-inf"))
        return _option(line, best)
    return _first_text(first)


def _likelihood(resp: object) -> float | None:
    """The log-likelihood of an option: ``[["-1.5", "False"]]`` in the file."""
    while isinstance(resp, list) and resp and isinstance(resp[0], list):
        resp = resp[0]
    if not isinstance(resp, list) or len(resp) != 2 or str(resp[1]) not in ("True", "False"):
        return None
    try:
        return float(resp[0])
    except (TypeError, ValueError):
        return None


def _option(line: Mapping[str, Any], place: int) -> str:
    """The words of an option that was compared; its number where they are not in the file."""
    given = _mapping(_mapping(line, "arguments"), f"gen_args_{place}")
    return str(given.get("arg_1", f"option {place + 1}")).strip()


def _first_text(found: object) -> str:
    while isinstance(found, list):
        found = found[0] if found else ""
    return "" if found is None else str(found)
