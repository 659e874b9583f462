"""Lines of JSON that a killed search finds again."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any


class Journal:
    """A file of rows, one a line, only ever added to."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def read(self) -> list[dict[str, Any]]:
        """Every row that was written whole; a last line that a kill cut off is taken away."""
        text = self.file.read_bytes() if self.file.is_file() else b""
        whole = text[: text.rfind(b"\n") + 1]
        if whole != text:
            self.file.write_bytes(whole)
        return [json.loads(line) for line in whole.splitlines()]

    def add(self, rows: Iterable[dict[str, Any]]) -> None:
        """Write rows at the end."""
        with self.file.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(row, sort_keys=True) + "\n" for row in rows)
