"""Files of any known format as records, and folders in which they are kept."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from evals.imports.core import joined, read_json
from evals.imports.lm_eval import FORMAT as LM_EVAL
from evals.imports.lm_eval import SAMPLES, read_samples
from evals.imports.moco import FORMAT as MOCO
from evals.imports.moco import is_log, read_log
from evals.records import BenchRecord, record_file
from protocols.core.errors import UserError

FORMATS = (LM_EVAL, MOCO)
# A folder of a workspace; each import is a folder in it.
IMPORTS = "imports"
NAME = re.compile(r"[a-zA-Z0-9][\w.-]{0,59}")


def read_foreign(
    files: Sequence[Path], form: str = "", *, model: str = "", metric: str = "", protocol: str = ""
) -> list[BenchRecord]:
    """Read files, and all that can be read in folders, as records.

    ``form`` is one of :data:`FORMATS`; without it each file's own look decides. ``model`` names who
    answered where the files do not, ``metric`` and ``protocol`` likewise. Raises
    :class:`UserError` with one sentence for whatever cannot be read.
    """
    found = [path for given in files for path in _inside(given)]
    if not found:
        raise UserError(
            "There is no file of results there. Name samples_*.jsonl of lm_eval --log_samples, a "
            "log of the model-collaboration library (.json), or a folder of them."
        )
    records: list[BenchRecord] = []
    for path in found:
        if (form or _form(path)) == LM_EVAL:
            records += read_samples(_samples_of(path), model, metric)
        else:
            records += read_log(path, protocol)
    return joined(records)


def _inside(given: Path) -> Iterator[Path]:
    """The file, or the files of a folder that hold answers: results of averages hold none."""
    if not given.is_dir():
        yield given
        return
    yield from (path for path in sorted(given.rglob("*.json*")) if _holds_answers(path))


def _holds_answers(path: Path) -> bool:
    averages = path.suffix != ".json" or path.name.startswith("results_")
    return bool(SAMPLES.fullmatch(path.name)) or (not averages and is_log(read_json(path)))


def _form(path: Path) -> str:
    if path.suffix == ".jsonl" or path.name.startswith("results_"):
        return LM_EVAL
    if path.suffix == ".json":
        return MOCO
    raise UserError(
        f"'{path.name}' is neither .jsonl nor .json. Results come as samples_*.jsonl of lm_eval "
        "--log_samples or as .json logs of the model-collaboration library."
    )


def _samples_of(path: Path) -> Path:
    """The only samples beside a file of averages; any other file is its own."""
    if not path.name.startswith("results_"):
        return path
    date = path.stem.removeprefix("results_").replace("_", "-")
    beside = [
        one for one in sorted(path.parent.glob("samples_*.jsonl"))
        if (named := SAMPLES.fullmatch(one.name)) and named["date"].replace("_", "-") == date
    ]  # fmt: skip
    if len(beside) == 1:
        return beside[0]
    what = "none lie" if not beside else f"{len(beside)} files of them lie"
    raise UserError(
        f"'{path.name}' holds averages; answers are in its samples, and {what} beside it. Run "
        "lm_eval with --log_samples and name the samples, or their folder."
    )


def told_imported(records: Sequence[BenchRecord]) -> str:
    """A sentence on how many of some records were not measured here; nothing if all were."""
    foreign = [one.imported for one in records if one.imported]
    if not foreign:
        return ""
    formats = " and ".join(sorted({origin.partition(":")[0] for origin in foreign}))
    return (
        f"{len(foreign):,} of {len(records):,} answers were imported ({formats}) and not measured "
        "here: prompts, scoring and sampling may differ, and their cost is not known."
    )


def keep(records: Sequence[BenchRecord], folder: Path, name: str) -> Path:
    """Store records in a new folder of that name, which all commands read like a bench's.

    Raises :class:`UserError` for a name that is none or is taken.
    """
    if not NAME.fullmatch(name):
        raise UserError(
            f"'{name[:60]}' is no name for an import: letters, digits, dots, hyphens, at most 60."
        )
    out = folder / name
    if out.exists():
        raise UserError(f"There is an import '{name}' already. Choose another --name or remove "
                        f"'{out}'.")  # fmt: skip
    with record_file(out) as file:
        file.append(records)
    return out
