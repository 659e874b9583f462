"""What a contributor told the lab alone: how to reach them, and their own evaluation data.

It lies apart from pools, runs and exports, readable by this account only. No pool file, page,
trace or export is made from it, and it goes when its model is withdrawn.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from studio.examples import Example, write_examples

FOLDER = "private"
CONTACT = "contact.json"
EVALUATION = "evaluation.jsonl"
LONGEST_CONTACT = 300


def keep_private(
    workspace: Path, model: str, contact: str, evaluation: Sequence[Example] = ()
) -> None:
    """Keep a contact and evaluation data; nothing is written where neither was given."""
    if not contact and not evaluation:
        return
    folder = workspace / FOLDER / model
    folder.mkdir(parents=True, exist_ok=True)
    for one in (folder.parent, folder):
        one.chmod(0o700)
    if contact:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        told = {"contact": contact[:LONGEST_CONTACT], "when": now}
        _write(folder / CONTACT, json.dumps(told, ensure_ascii=False) + "\n")
    if evaluation:
        _write(folder / EVALUATION, "")
        write_examples(evaluation, folder / EVALUATION)


def _write(path: Path, text: str) -> None:
    """Write a file that nobody else could have opened in between."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)


def contact_of(workspace: Path, model: str) -> str:
    """How to reach a model's contributor; empty where nobody said."""
    path = workspace / FOLDER / model / CONTACT
    if not path.is_file():
        return ""
    return str(json.loads(path.read_text(encoding="utf-8"))["contact"])


def evaluation_of(workspace: Path, model: str) -> Path | None:
    """The contributor's own evaluation data, if there are any."""
    path = workspace / FOLDER / model / EVALUATION
    return path if path.is_file() else None


def forget(workspace: Path, model: str) -> None:
    """Remove everything that was told about a model in private."""
    shutil.rmtree(workspace / FOLDER / model, ignore_errors=True)
