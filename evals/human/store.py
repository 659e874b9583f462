"""Where studies are kept: one database, SQLite by default, PostgreSQL by URL.

SQLite runs with a write-ahead log, ``synchronous=FULL`` (a commit is on the disk before it
returns), ``secure_delete`` and one writer at a time that takes the lock with ``BEGIN IMMEDIATE``;
readers see a snapshot and never wait for it. What a database refuses (a full disk, a read-only
file, no connection) becomes one sentence in an :class:`EngineError`.
"""

from __future__ import annotations

import logging
import math
import os
import sqlite3
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    DisconnectionError,
    IntegrityError,
    NoSuchModuleError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout

from evals.human.grouped import Grouped
from protocols.core.errors import EngineError, UserError

LOG = logging.getLogger(__name__)
T = TypeVar("T")
BUSY_SECONDS = 30.0
REST_SECONDS = 2.0
"""After so long without use, a server's connection is tried before it is trusted."""
MIGRATIONS = Path(__file__).parent / "migrations"
_LOCK_KEY = 0x57D1  # PostgreSQL advisory lock: one process at a time makes tables
# What drivers say, in small letters -> what is wrong and what mends it.
_REASONS = (
    ("readonly", "the study's file is read-only; make it writable and send it again"),
    ("read-only", "the study's database is read-only; make it writable and send it again"),
    ("disk is full", "the disk is full; free some space and send it again"),
    ("no space", "the disk is full; free some space and send it again"),
    ("disk i/o", "the disk did not take it; check the disk and send it again"),
    ("locked", "the study's file is locked by another program; send it again in a moment"),
    ("not a database", "the file is not a study database; give another file"),
    ("malformed", "the study's file is damaged; restore the last backup"),
    ("unable to open", "the study's file cannot be opened; check its folder"),
)


def _sentence(error: Exception) -> str:
    said = str(getattr(error, "orig", None) or error).lower()
    for sign, reason in _REASONS:
        if sign in said:
            return f"Not saved: {reason}."
    return "Not saved: the study's database does not answer; send it again in a moment."


@contextmanager
def plainly() -> Iterator[None]:
    """Turn what a database driver raises into an :class:`EngineError` of one sentence.

    A broken rule of the tables (a unique key, an append-only trigger) passes unchanged: a bug.
    """
    try:
        yield
    except IntegrityError:
        raise
    except PoolTimeout as error:
        raise EngineError(_sentence(error)) from error
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) == "P0001":  # raised by a trigger of ours
            raise
        LOG.warning("The study store refused: %s", error)
        raise EngineError(_sentence(error)) from error


class Store:
    """One open database of studies. Thread-safe; several processes may open the same one."""

    def __init__(self, reader: Engine, writer: Engine, mirror: Path | None = None) -> None:
        self._reader = reader
        self._writer = writer
        self.mirror = mirror
        self._lock = threading.Lock() if self.is_sqlite else None
        self._groups: defaultdict[str, Grouped] = defaultdict(lambda: Grouped(self.write))
        self._untidy = self.is_sqlite  # removed text may still be in the write-ahead log

    @classmethod
    def open(cls, url: str, *, mirror: Path | None = None) -> Store:
        """Open (or make) the database at ``url`` and bring its tables up to date.

        ``url`` is ``sqlite:///FILE``, a plain path, or ``postgresql://...``. ``mirror`` is a
        folder, best on another disk, where each vote is also appended as a JSON line.

        Raises :class:`UserError` for an unusable address, :class:`EngineError` when the database
        cannot be used: read-only, full, down, locked, or not a database.
        """
        address = _address(url)
        try:
            store = cls(*_engines(address), mirror)
        except OSError as error:
            raise EngineError("The study store's folder cannot be made; check its path.") from error
        try:
            store._migrate()
            if mirror is not None:
                from evals.human.mirror import catch_up

                catch_up(store)
        except BaseException:
            store.close()
            raise
        return store

    @property
    def is_sqlite(self) -> bool:
        """Whether the database is a file (and not a server)."""
        return self._writer.dialect.name == "sqlite"

    @property
    def path(self) -> Path | None:
        """The database's file; None for a server."""
        return Path(self._writer.url.database or "") if self.is_sqlite else None

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection that reads one consistent state. Raises :class:`EngineError`."""
        with plainly(), self._reader.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction: committed to disk when the block ends, undone when it raises.

        Raises :class:`EngineError` when the database could not take it; nothing is saved then.
        """
        with self._lock or nullcontext(), plainly():
            with self._writer.begin() as connection:
                yield connection
            if self._untidy:
                self._untidy = not self._truncate_log()

    def together(self, study: str, act: Callable[[Connection], T]) -> T:
        """Return what ``act`` returns in a transaction that a study's waiting writers share.

        It is committed to disk when this returns and undone when this raises. ``act`` may be called
        twice, so it must change nothing but the database. Raises :class:`EngineError` as
        :meth:`write` does.
        """
        return self._groups[study].run(act)

    def maintain(self, statement: str) -> None:
        """Run a statement that a server takes outside transactions only. :class:`EngineError`."""
        with plainly(), self._writer.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT").exec_driver_sql(statement)

    def empty_log(self) -> bool:
        """Empty SQLite's write-ahead log into the file; False while a reader is in the way.

        What could not be emptied is tried again after each later write and when a store is opened.
        """
        with self._lock or nullcontext(), plainly():
            self._untidy = not self._truncate_log()
        return not self._untidy

    def _truncate_log(self) -> bool:
        raw = self._writer.raw_connection()
        try:
            cursor = raw.cursor()
            cursor.execute("PRAGMA busy_timeout = 0")  # voters must not wait for a slow reader
            return not cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        except sqlite3.Error:
            LOG.exception("The write-ahead log could not be emptied")
            return False
        finally:
            raw.cursor().execute(f"PRAGMA busy_timeout = {int(BUSY_SECONDS * 1000)}")
            raw.close()

    def close(self) -> None:
        """Close every connection."""
        self._reader.dispose()
        self._writer.dispose()

    def _migrate(self) -> None:
        from alembic import command
        from alembic.config import Config
        from alembic.util.exc import CommandError

        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
        with self.write() as connection:
            if not self.is_sqlite:
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK_KEY})
            config.attributes["connection"] = connection
            try:
                command.upgrade(config, "head")
            except CommandError as error:
                raise EngineError(
                    "The study store was made by a newer version of this program; update first."
                ) from error


def _address(url: str) -> URL:
    try:
        parsed = make_url(url) if "://" in url else URL.create("sqlite", database=url)
    except ArgumentError:
        raise UserError(f"'{url}' is no address of a study store; give a file's path.") from None
    if parsed.drivername in ("postgresql", "postgres", "postgresql+psycopg"):
        return parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername != "sqlite" or parsed.database in (None, "", ":memory:"):
        raise UserError("A study store is sqlite:///FILE or postgresql://...; give one of them.")
    return parsed


def _engines(address: URL) -> tuple[Engine, Engine]:
    if address.drivername == "sqlite":
        _begin_file(Path(address.database or ""))
        return _sqlite(address, writes=False), _sqlite(address, writes=True)
    try:
        # Writers of a study wait for each other, so few connections do; readers have their own
        # and never queue behind them. A reader sees one state, however many statements it runs.
        return _server(address, 24, isolation_level="REPEATABLE READ"), _server(address, 8)
    except (NoSuchModuleError, ModuleNotFoundError) as error:
        raise EngineError("PostgreSQL needs the package psycopg; install it.") from error


def _begin_file(path: Path) -> None:
    """Make a new database's file for its owner's eyes only: it holds secrets and arms. SQLite gives
    the files beside it the same rights."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with suppress(OSError):  # there already, or not to be made: then opening it says why
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))


def _server(address: URL, connections: int, **options: Any) -> Engine:
    engine = create_engine(
        address,
        pool_size=min(connections, 8),
        max_overflow=max(0, connections - 8),
        connect_args={"connect_timeout": 5},
        **options,
    )
    event.listen(engine, "checkin", _rest)
    event.listen(engine, "handle_error", _lose)
    event.listen(engine, "checkout", lambda c, record, _: _wake(engine, c, record))
    return engine


def _rest(_connection: Any, record: Any) -> None:
    record.info["rests_since"] = time.monotonic()


def _lose(context: Any) -> None:
    """A server that went away took the connections of readers and writers alike."""
    if context.is_disconnect:
        _lost.at = time.monotonic()


class _Lost:
    """When a connection to any server was last lost; what rested then has to be asked."""

    at = -math.inf


_lost = _Lost()


def _wake(engine: Engine, connection: Any, record: Any) -> None:
    """Ask the server whether a connection still lives if it has rested; one in use just was."""
    since = record.info.get("rests_since", math.inf)
    if time.monotonic() - since < REST_SECONDS and since > _lost.at:
        return
    try:
        engine.dialect.do_ping(connection)
    except engine.dialect.dbapi.Error as error:  # type: ignore[union-attr]
        raise DisconnectionError from error


def _sqlite(address: URL, *, writes: bool) -> Engine:
    engine = create_engine(
        address,
        pool_size=1 if writes else 8,
        max_overflow=0 if writes else 56,
        connect_args={
            "check_same_thread": False,
            "timeout": BUSY_SECONDS,
            "isolation_level": None,  # transactions are begun below, not by the driver
        },
    )
    begin = "BEGIN IMMEDIATE" if writes else "BEGIN"
    event.listen(engine, "connect", _prepare_writer if writes else _prepare_reader)
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(begin))
    return engine


def _prepare_writer(connection: Any, _record: Any) -> None:
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "secure_delete=ON"):
        connection.execute(f"PRAGMA {pragma}").close()


def _prepare_reader(connection: Any, _record: Any) -> None:
    connection.execute("PRAGMA query_only=ON").close()
