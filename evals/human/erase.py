"""Withdrawing: a rater's free text and link are removed, the tombstones of the votes stay.

What stays is a random rater id, positions and times: nothing that leads back to a person. The
hash of a removed text stays in its vote, so the chain still verifies; the salt goes with the text,
so the hash cannot be searched for it. The analysis leaves the votes out, and the pairs are given
to other raters. Copies made before (backups, exports) are the lab's to replace: a backup made
afterwards holds nothing of it.
"""

from __future__ import annotations

import logging
import time
from typing import Any

from sqlalchemy import Connection, Row, delete, select, update

from evals.human import schema
from evals.human.ledger import append_event
from evals.human.mirror import forget
from evals.human.rows import stamp
from evals.human.store import Store

LOG = logging.getLogger(__name__)
_TRIES = 20
_PAUSE_SECONDS = 0.05


def erase_rater(connection: Connection, rater: Row[Any], now: float) -> None:
    """Remove a rater's free text and link and free their pairs. The study must be locked for
    writing by the caller, who calls :func:`scrub` after the commit."""
    votes = select(schema.vote.c.id).where(schema.vote.c.rater == rater.id)
    connection.execute(delete(schema.vote_text).where(schema.vote_text.c.vote.in_(votes)))
    placed = schema.assignment
    connection.execute(
        update(placed).where(placed.c.rater == rater.id, placed.c.freed_at == "")
        .values(freed_at=stamp(now))
    )  # fmt: skip
    connection.execute(
        update(schema.rater).where(schema.rater.c.id == rater.id)
        .values(token_hash=None, withdrawn_at=stamp(now), reopened=None)
    )  # fmt: skip
    append_event(connection, rater.study, "withdraw", now, rater=rater.id)


def scrub(store: Store, study: str, rater: str) -> bool:
    """Remove what erased rows left in the database's own files and in the mirror.

    SQLite overwrites removed rows (``secure_delete``), here its write-ahead log is emptied too;
    PostgreSQL rewrites the table of texts. Returns False when a reader was in the way for too
    long: the log is then emptied at the next chance.
    """
    if store.mirror is not None:
        forget(store.mirror, study, rater)
    if not store.is_sqlite:
        store.maintain("VACUUM FULL vote_text")
        return True
    for _ in range(_TRIES):
        if store.empty_log():
            return True
        time.sleep(_PAUSE_SECONDS)
    LOG.warning("The write-ahead log could not be emptied yet: somebody is reading.")
    return False
