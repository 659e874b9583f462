"""``studio space``: write or push the files of a hosted Space."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import click

from protocols.core.errors import UserError
from studio.output import JSON, say


@click.command("space")
@click.option("--kind", type=click.Choice(["cpu", "zerogpu", "gpu"]), required=True)
@click.option(
    "--out", type=click.Path(path_type=Path), help="Write the files into this new folder."
)
@click.option(
    "--push", "repo", default="", help="Upload to this Space: owner/name; needs HF_TOKEN."
)
@click.option("--title", default="Participation Studio", show_default=True)
@click.option("--public", is_flag=True, help="With --push: a new Space is public.")
@JSON
def space(kind: Any, out: Path | None, repo: str, title: str, public: bool, as_json: bool) -> None:
    """Write or push what a hosted Space needs: card, requirements, code, assets."""
    from studio import space as files

    if not out and not repo:
        raise UserError("Say where: --out DIR writes the files, --push owner/name uploads them.")
    with tempfile.TemporaryDirectory() as scratch:
        folder = out or Path(scratch) / "space"
        names = files.write(kind, folder, title)
        if out:
            told = f"{len(names)} files are in {out}"
            say({"kind": kind, "folder": str(out), "files": len(names)}, as_json, told)
        if repo:
            address = files.push(kind, repo, folder, private=not public)
            say({"kind": kind, "space": address}, as_json, f"The Space is at {address}")
