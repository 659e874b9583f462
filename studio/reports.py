"""Reports are computed once for each state of a study's record and each version of the code.

A report is a function of the record, and a second of work. It is kept in the workspace under the
hashes that the record's chains end in; whatever changes the record or the code gives another key.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections import defaultdict
from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from tempfile import NamedTemporaryFile

from pydantic import BaseModel, ValidationError

from evals.human.reporting.model import Report

log = logging.getLogger(__name__)
LIBRARIES = ("numpy", "scipy", "statsmodels", "pydantic")


class _Kept(BaseModel):
    """A report in its file, with the key it was computed under."""

    key: str
    report: Report


class Reports:
    """Reports kept in ``folder``, one file for each name. Safe to use from any thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._turns: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    def get(self, name: str, key: str, build: Callable[[], Report]) -> Report:
        """Return the report kept under ``name`` if it has this ``key``, else build and keep it.

        A folder that cannot be read or written costs time only: the report is built.
        """
        path, full = self._folder / f"{name}.json", f"{key}-{code_version()}"
        with self._turns[name]:
            kept = _read(path)
            if kept is not None and kept.key == full:
                return kept.report
            made = build()
            _write(path, _Kept(key=full, report=made))
            return made


def _read(path: Path) -> _Kept | None:
    try:
        return _Kept.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError):
        log.info("The kept report %s is of no use", path.name)
        return None


def _write(path: Path, kept: _Kept) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile("w", dir=path.parent, delete=False, encoding="utf-8") as draft:
            draft.write(kept.model_dump_json())
        Path(draft.name).replace(path)
    except OSError:
        log.warning("The report %s could not be kept", path.name, exc_info=True)


@cache
def code_version() -> str:
    """The hash of everything that computes a report: our sources and the libraries' versions."""
    digest = hashlib.sha256("".join(map(version, LIBRARIES)).encode())
    root = Path(str(files("evals") / "human"))
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]
