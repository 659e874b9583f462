"""How commands speak: one JSON object a line with ``--json``, else a sentence."""

from __future__ import annotations

import json
from typing import Any

import click

JSON = click.option("--json", "as_json", is_flag=True, help="One JSON object a line, no prose.")
ENGINE = click.option(
    "--engine", type=click.Choice(["auto", "vllm", "transformers", "ray"]), default="auto"
)


def say(value: dict[str, Any], as_json: bool, text: str) -> None:
    """Print one line: the object or the sentence."""
    click.echo(json.dumps(value, ensure_ascii=False, default=str) if as_json else text)


def printable(text: str) -> str:
    """A text that a terminal shows and does not obey: no escapes, no marks that turn lines."""
    return "".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in text)
