"""A second record of each vote: JSON lines in a folder, on another disk at best.

``STUDY/votes.jsonl`` holds the chained rows, synced to disk vote by vote. Free text is in
``STUDY/text/RATER.jsonl``, one file a rater, so that withdrawing can remove it.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from evals.human import schema

if TYPE_CHECKING:
    from evals.human.store import Store

LOG = logging.getLogger(__name__)


def mirror_vote(store: Store, row: Mapping[str, Any], salt: str, reason: str) -> None:
    """Append a committed vote to the mirror, if the store has one.

    The vote is safe in the database already: a mirror that cannot be written is logged, and the
    missing lines are added when the store is opened next.
    """
    if store.mirror is None:
        return
    try:
        # The row comes last: it is what says that the vote is here.
        if reason:
            text = {"hash": row["hash"], "salt": salt, "reason": reason}
            _append(_text_file(store.mirror, row["study"], row["rater"]), text)
        _append(store.mirror / row["study"] / "votes.jsonl", dict(row))
    except OSError:
        LOG.exception("The mirror of the votes cannot be written")


def _append(path: Path, value: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    line = json.dumps(value, sort_keys=True, ensure_ascii=False) + "\n"
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(handle, line.encode())
        os.fsync(handle)
    finally:
        os.close(handle)


def _text_file(folder: Path, study: str, rater: str) -> Path:
    return folder / study / "text" / f"{rater}.jsonl"


def forget(folder: Path, study: str, rater: str) -> None:
    """Remove a rater's free text from the mirror."""
    _text_file(folder, study, rater).unlink(missing_ok=True)


def mirrored(folder: Path, study: str) -> list[dict[str, Any]]:
    """Return the mirror's rows of a study, in the order written. A torn last line is left out."""
    path = folder / study / "votes.jsonl"
    if not path.is_file():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8").split("\n"):
        try:
            rows += [json.loads(line)] if line else []
        except json.JSONDecodeError:
            LOG.warning("A torn line in %s is left out", path.name)
    return rows


def _mend(path: Path) -> None:
    """End a line that a crash cut off, so that the next one starts on its own."""
    if path.is_file() and not path.read_bytes().endswith(b"\n"):
        with path.open("ab") as file:
            file.write(b"\n")


def catch_up(store: Store) -> None:
    """Add the votes that the mirror lacks: committed just before a crash, or while it was away."""
    folder = store.mirror
    if folder is None:
        return
    vote, text = schema.vote, schema.vote_text
    with store.read() as connection:
        slugs = connection.execute(select(schema.study.c.slug)).scalars().all()
    for slug in slugs:
        _mend(folder / slug / "votes.jsonl")
        known = {row["hash"] for row in mirrored(folder, slug)}
        query = select(vote, text.c.salt, text.c.reason).outerjoin(text, text.c.vote == vote.c.id)
        with store.read() as connection:
            rows = connection.execute(query.where(vote.c.study == slug).order_by(vote.c.number))
            missing = [row for row in rows if row.hash not in known]
        for row in missing:
            values = {name: getattr(row, name) for name in vote.c.keys() if name != "id"}  # noqa: SIM118  no mapping
            mirror_vote(store, values, row.salt or "", row.reason or "")
