"""Which source made an answer and which scored it, as short digests in every record.

An answer depends on the runner, the engines, the shared algorithms and its own protocol's file; a
score on the metrics and tasks. Other protocols' files do not count.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from protocols.core.registry import LEVELS, get_protocol

ROOT = Path(__file__).resolve().parent.parent


@cache
def code_digest(protocol: str) -> str:
    """Return the digest of everything that decides what a protocol answers, libraries aside."""
    own = ROOT / "protocols" / get_protocol(protocol).level / f"{protocol}.py"
    shared = [
        path
        for path in (ROOT / "protocols").rglob("*.py")
        if path.relative_to(ROOT / "protocols").parts[0] not in (*LEVELS, "training")
    ]
    return _digest([own, *shared])


@cache
def scoring_digest() -> str:
    """Return the digest of the metrics and the tasks."""
    folders = (ROOT / "evals" / "metrics", ROOT / "evals" / "tasks")
    return _digest(path for folder in folders for path in folder.rglob("*.py"))


def _digest(paths: Iterable[Path]) -> str:
    whole = hashlib.sha256()
    for path in sorted(paths):
        whole.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes())
    return whole.hexdigest()[:12]
