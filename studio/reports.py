"""Reports are computed once for each state of a study's record and each version of the code.

A report is a function of the record, and a second of work. It is kept in the workspace under the
hashes that the record's chains end in; whatever changes the record or the code gives another key.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

from evals.human.reporting.model import Report
from studio.computed import Computed, digest

LIBRARIES = ("numpy", "scipy", "statsmodels", "pydantic")


class Reports:
    """Reports kept in ``folder``, one file for each name. Safe to use from any thread."""

    def __init__(self, folder: Path) -> None:
        self._kept = Computed(folder, Report)

    def get(self, name: str, key: str, build: Callable[[], Report]) -> Report:
        """Return the report kept under ``name`` if it has this ``key``, else build and keep it.

        A folder that cannot be read or written costs time only: the report is built.
        """
        return self._kept.get(name, f"{key}-{code_version()}", build)


@cache
def code_version() -> str:
    """The hash of everything that computes a report: our sources and the libraries' versions."""
    root = Path(str(files("evals") / "human"))
    return digest(root, root.rglob("*.py"), *map(version, LIBRARIES))
