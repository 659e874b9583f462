"""Copies of a whole store while it is in use, checked before they count."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import insert, select, text

from evals.human import schema
from evals.human.ledger import GENESIS, verify_chain
from evals.human.store import Store
from protocols.core.errors import EngineError


@dataclass(frozen=True, slots=True)
class Copied:
    """What a backup holds: its file, and the number of studies and votes in it."""

    path: Path
    studies: int
    votes: int


def backup(store: Store, path: Path) -> Copied:
    """Copy the store into the SQLite file ``path``, check the copy, then put it in place.

    A PostgreSQL store is copied table by table into a file of the same form. An older file at
    ``path`` stays until the new one has passed. The copy holds the studies' secrets and arms: keep
    it where the store itself could be kept. Raises :class:`EngineError` when it cannot be written
    or its rows are not those of the store.
    """
    part = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.unlink(missing_ok=True)
        if store.is_sqlite:
            _copy_file(store, part)
        else:
            _copy_tables(store, part)
        studies, votes = _check(store, part)
        part.replace(path)
    except (OSError, sqlite3.Error) as error:
        raise EngineError(f"The backup could not be written: {error}.") from error
    finally:
        for end in ("", "-wal", "-shm"):
            with suppress(OSError):
                Path(f"{part}{end}").unlink()
    return Copied(path, studies, votes)


def _copy_file(store: Store, target: Path) -> None:
    """SQLite's own online backup: one consistent state, whoever is writing meanwhile."""
    with (
        closing(sqlite3.connect(str(store.path))) as source,
        closing(sqlite3.connect(target)) as to,
    ):
        source.backup(to)


def _copy_tables(store: Store, target: Path) -> None:
    with _opened(target) as copy, store.read() as source, copy.write() as to:
        for table in schema.metadata.sorted_tables:
            rows = source.execute(select(table).order_by(*table.primary_key)).mappings().all()
            if rows:
                to.execute(insert(table), [dict(row) for row in rows])


@contextmanager
def _opened(path: Path) -> Iterator[Store]:
    store = Store.open(str(path))
    try:
        yield store
    finally:
        store.close()


def _check(store: Store, part: Path) -> tuple[int, int]:
    """Number of studies and votes of a copy. Raises :class:`EngineError` if it is not true to the
    store: a broken file, a chain that fails where the store's holds, or another vote's hash."""
    votes = 0
    with _opened(part) as copy:
        with copy.read() as connection:
            sound = connection.execute(text("PRAGMA integrity_check")).scalar_one() == "ok"
            slugs = connection.execute(select(schema.study.c.slug)).scalars().all()
        for slug in slugs:
            check = verify_chain(copy, slug)
            sound = sound and check.ok and _hash_at(store, slug, check.votes) == check.head
            votes += check.votes
    if not sound:
        raise EngineError("The backup does not equal the store; run the study's verification.")
    return len(slugs), votes


def _hash_at(store: Store, slug: str, number: int) -> str:
    vote = schema.vote
    query = select(vote.c.hash).where(vote.c.study == slug, vote.c.number == number)
    with store.read() as connection:
        return connection.execute(query).scalar_one_or_none() or GENESIS
