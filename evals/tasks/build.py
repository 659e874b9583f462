"""Build the task files again: ``python -m evals.tasks.build`` (``--check`` only compares).

Needs the packages of ``requirements-train.txt``; reading the built files does not. The same recipes
and the same package versions give the same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path

from evals.tasks import (
    arithmetic,
    chemistry,
    clock,
    code_tracing,
    composite,
    geography,
    letters,
    numerals,
    units,
)
from evals.tasks.core import TASKS_DIR
from evals.tasks.recipe import SEED, Recipe, Row, build_rows

FAMILIES = (
    arithmetic,
    numerals,
    clock,
    units,
    letters,
    code_tracing,
    chemistry,
    geography,
    composite,
)
log = logging.getLogger(__name__)


def recipes() -> tuple[Recipe, ...]:
    """Return every recipe of every family, in a fixed order."""
    return tuple(recipe for family in FAMILIES for recipe in family.RECIPES)


def build(only: Sequence[str] = ()) -> dict[str, bytes]:
    """Return the bytes of every task file and of ``manifest.json``, by file name.

    With ``only`` the task files are restricted to those names and there is no manifest.
    """
    files: dict[str, bytes] = {}
    about: dict[str, object] = {}
    for recipe in recipes():
        if only and recipe.name not in only:
            continue
        rows = build_rows(recipe)
        text = "".join(_line(row) for row in rows)
        files[f"{recipe.name}.jsonl"] = text.encode()
        about[recipe.name] = _about(recipe, rows, text.encode())
    if not only:
        manifest = {"seed": SEED, "tasks": about}
        text = json.dumps(manifest, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
        files["manifest.json"] = text.encode()
    return files


def _line(row: Row) -> str:
    return json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n"


def _about(recipe: Recipe, rows: list[Row], data: bytes) -> dict[str, object]:
    splits: dict[str, int] = {}
    for row in rows:
        splits[str(row["split"])] = splits.get(str(row["split"]), 0) + 1
    return {
        "title": recipe.title,
        "domain": recipe.name,
        "description": recipe.description,
        "metric": recipe.metric,
        "facts": recipe.facts,
        "sources": list(recipe.sources),
        "items": splits,
        "sha256": hashlib.sha256(data).hexdigest(),
    }


def differences(folder: Path = TASKS_DIR) -> list[str]:
    """Return the names of committed files that a fresh build would change, add or remove."""
    fresh = build()
    kept = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    return sorted(name for name in fresh | kept if fresh.get(name) != kept.get(name))


def main(argv: Sequence[str] | None = None) -> int:
    """Write the task files, or with ``--check`` say which differ; 1 when some do."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare only, write nothing")
    parser.add_argument("--out", type=Path, default=TASKS_DIR, help="folder of the task files")
    arguments = parser.parse_args(argv)
    if arguments.check:
        changed = differences(arguments.out)
        log.info("differing files: %s", ", ".join(changed) or "none")
        return int(bool(changed))
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name, data in build().items():
        (arguments.out / name).write_bytes(data)
        log.info("wrote %s (%d bytes)", name, len(data))
    return 0


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    raise SystemExit(main())
