"""Results in the form that lm-evaluation-harness writes, for tools that read such files.

Both versions of a metric are filters of it: ``score,corrected`` and ``score,compatible``. Answers
that could not be read count as not right; how many there were stands beside the scores.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import pandas as pd

from evals.bench_folder import STARTS, object_file
from evals.frames import counted, to_frame
from evals.records import BenchRecord

FOLDER = "lm_eval"
ONE = ["protocol", "setting", "order", "n", "pool", "split"]
"""What one result file is about."""


def results(frame: pd.DataFrame, start: Mapping[str, Any]) -> dict[str, Any]:
    """Return one system's results over tasks. ``start`` is the bench's own line about its start."""
    head = frame.iloc[0]
    tasks = {str(name): part for name, part in frame.groupby("task", sort=True)}
    metrics = {name: about["metric"] for name, about in start.get("tasks", {}).items()}
    return {
        "results": {name: _task(name, part) for name, part in tasks.items()},
        "group_subtasks": {
            str(family): sorted(part["task"].unique()) for family, part in frame.groupby("family")
        },
        "configs": {
            name: {"task": name, "metric": metrics.get(name, ""), "split": head["split"]}
            for name in tasks
        },
        "versions": {name: str(part.iloc[0]["scoring"]) for name, part in tasks.items()},
        "n-shot": dict.fromkeys(tasks, 0),
        "higher_is_better": {name: {"score": True} for name in tasks},
        "n-samples": {
            name: {"original": int(part["item"].nunique()), "effective": len(part)}
            for name, part in tasks.items()
        },
        "config": {
            "model": head["protocol"],
            "model_args": {"pool": head["pool"].split(","), **json.loads(head["config"])},
            "gen_kwargs": json.loads(head["sampling"]),
            "seeds": sorted(int(seed) for seed in frame["seed"].unique()),
            "code": head["code"],
        },
        "versions_of_packages": start.get("versions", {}),
        "date": frame["made"].max(),
        "total_evaluation_time_seconds": round(float(frame["busy_seconds"].sum()), 3),
    }


def _task(name: str, frame: pd.DataFrame) -> dict[str, Any]:
    found: dict[str, Any] = {"alias": name}
    for column, version in (("value", "corrected"), ("compatible", "compatible")):
        values = frame[column].dropna().astype(float)
        if len(values):
            found[f"score,{version}"] = float(values.mean())
            found[f"score_stderr,{version}"] = _standard_error(values)
    for outcome in ("unparsed", "failed"):
        found[f"{outcome},corrected"] = int((frame["outcome"] == outcome).sum())
    return found


def _standard_error(values: Sequence[float] | pd.Series) -> float | str:
    """The standard error of the mean; "N/A", as the harness writes, from fewer than two."""
    series = pd.Series(values)
    return float(series.std(ddof=1) / math.sqrt(len(series))) if len(series) > 1 else "N/A"


def write_results(records: Iterable[BenchRecord], folder: Path) -> list[Path]:
    """Write one file for each system below ``folder`` and return their paths."""
    starts = object_file(folder / STARTS).read()
    frame = counted(to_frame(records))
    (folder / FOLDER).mkdir(parents=True, exist_ok=True)
    paths = []
    for key, part in frame.groupby(ONE, sort=True, dropna=False):
        named = dict(zip(ONE, key, strict=True))
        path = folder / FOLDER / f"results_{file_name(named)}.json"
        text = json.dumps(results(part, starts[-1] if starts else {}), indent=1, sort_keys=True)
        path.write_text(text + "\n", encoding="utf-8")
        paths.append(path)
    return paths


def file_name(named: Mapping[str, Any]) -> str:
    """A system's name as a file name: letters, digits and hyphens."""
    who = named["pool"] if named["n"] == 1 else f"n{named['n']}"
    parts = [named["protocol"], who, named["setting"], named["split"]]
    parts += [f"order{named['order']}"] if named["order"] else []
    text = "-".join(str(part) for part in parts if part)
    words = ("".join(group) for sane, group in groupby(text, _sane) if sane)
    return "-".join(words)[:150]


def _sane(letter: str) -> bool:
    return (letter.isalnum() and letter.isascii()) or letter == "_"
