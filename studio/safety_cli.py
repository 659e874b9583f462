"""The command ``studio safety``; what it does is in :mod:`studio.safety_command`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click

from studio.output import ENGINE, JSON
from studio.settings import Settings


@click.command()
@click.option("--protocol", default="", help="Protocol ids, joined by commas (default: all).")
@click.option("--pool", default="", help="Pool preset or file (default: the opening pool).")
@click.option("--models", default="", help="Model ids, separated by commas (default: all).")
@click.option("--victim", default="", help="The model that turns hostile (default: the last).")
@click.option("--attack", default="", help="Attack ids, joined by commas (default: all).")
@click.option("--task", required=True, help="Tasks whose dev items are asked, joined by commas.")
@click.option("--limit", type=click.IntRange(0), default=20, show_default=True, help="0 = all.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--max-tokens", type=click.IntRange(1, 1024), default=32, show_default=True)
@click.option("--again/--once", default=True, help="Play the honest arm twice: the null.")
@ENGINE
@click.option("--out", type=click.Path(path_type=Path), help="Append rows to this file.")
@JSON
def safety(as_json: bool, **given: Any) -> None:
    """Replace one contributor by a hostile one and measure what becomes of the answers."""
    from studio.safety_command import measure

    asyncio.run(measure(Settings(), given, as_json))
