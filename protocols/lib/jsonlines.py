"""Rows that are added to a file as they come, and survive a kill in the middle of one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any


def append_rows(file: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Add rows at the end; what a kill left of a row there is closed off first."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("ab+") as sink:
        if sink.tell():
            sink.seek(-1, 2)
            sink.write(b"" if sink.read(1) == b"\n" else b"\n")
        for row in rows:
            sink.write(json.dumps(row).encode() + b"\n")


def read_rows(file: Path) -> Iterator[dict[str, Any]]:
    """The rows that are whole; a file that is not there has none."""
    for line in file.read_bytes().splitlines() if file.is_file() else ():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict):
            yield row
