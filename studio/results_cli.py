"""The command ``studio results``: results that other programs measured, beside one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from evals.imports.everything import FORMATS, IMPORTS, keep, read_foreign
from studio.output import JSON, say
from studio.settings import Settings


@click.group()
def results() -> None:
    """Bring in results that other programs measured."""


@results.command("import")
@click.argument(
    "files",
    nargs=-1,
    required=True,
    type=click.Path(path_type=Path, exists=True),
    metavar="FILE...",
)
@click.option("--name", required=True, help="What the import is called on the Results page.")
@click.option("--format", "form", type=click.Choice(FORMATS), help="Default: by the file's look.")
@click.option("--model", default="", help="Who answered, where no results lie beside the samples.")
@click.option("--metric", default="", help="METRIC,FILTER of lm-eval (default: the first one).")
@click.option("--protocol", default="", help="What made a MoCo log whose name does not say it.")
@JSON
def import_command(files: tuple[Path, ...], as_json: bool, **given: Any) -> None:
    """Read samples of lm_eval --log_samples, or logs of MoCo, from FILEs or folders.

    The Results page shows them in a table of their own; studio figures takes the folder that this
    writes, alone or beside one's own, and then says how much was imported.
    """
    settings = Settings()
    records = read_foreign(
        files, given["form"] or "", model=given["model"], metric=given["metric"],
        protocol=given["protocol"],
    )  # fmt: skip
    out = keep(records, settings.workspace / IMPORTS, given["name"])
    tasks, pools = {one.task for one in records}, {(one.protocol, one.pool) for one in records}
    say(
        {"folder": str(out), "answers": len(records), "tasks": sorted(tasks)}, as_json,
        f"{len(records):,} answers of {len(pools)} models or systems to {', '.join(sorted(tasks))} "
        f"are in {out}. Analyse them with: python -m studio figures {out} --out FOLDER",
    )  # fmt: skip
