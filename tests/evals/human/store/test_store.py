"""Opening a store: both databases, the migrations, and what is refused with one sentence."""

from __future__ import annotations

import sqlite3
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect

from evals.human.ledger import verify_chain
from evals.human.records import Refused
from evals.human.rows import fetch_study
from evals.human.schema import APPEND_ONLY, metadata
from evals.human.store import Store
from evals.human.studies import list_pairs, list_studies, load_study, note_deviation
from protocols.core.errors import EngineError, UserError
from tests.evals.human.store.helpers import count, file_store, opened
from tests.evals.human.store.postgres import Server


def test_the_migrations_make_the_declared_tables(any_store: Store) -> None:
    with any_store.write() as connection:
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, metadata) == []
        assert set(inspect(connection).get_table_names()) == {*metadata.tables, "alembic_version"}


def test_a_store_keeps_everything_over_closing(tmp_path: Path) -> None:
    first = file_store(tmp_path)
    opened(first)
    first.close()
    again = file_store(tmp_path)
    assert [row.spec.slug for row in list_studies(again)] == ["test-study"]
    again.close()


def test_sqlite_runs_as_safely_as_promised(store: Store) -> None:
    def pragma(connection: object, name: str) -> object:
        return connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()  # type: ignore[attr-defined]

    with store.write() as connection:
        assert pragma(connection, "journal_mode") == "wal"
        assert pragma(connection, "synchronous") == 2  # FULL
        assert pragma(connection, "foreign_keys") == 1
        assert pragma(connection, "secure_delete") == 1
    with store.read() as connection:
        assert pragma(connection, "query_only") == 1


def test_readers_do_not_wait_for_the_writer_and_see_one_state(any_store: Store) -> None:
    opened(any_store)
    with any_store.read() as reading:
        before = reading.exec_driver_sql("SELECT count(*) FROM event").scalar_one()
        done = threading.Thread(target=opened, args=(any_store,), kwargs={"slug": "another"})
        done.start()
        done.join()
        again = reading.exec_driver_sql("SELECT count(*) FROM event").scalar_one()
    assert before == again
    assert load_study(any_store, "another").state == "open"


def test_a_crowd_of_waiting_writers_keeps_nobody_from_reading(any_store: Store) -> None:
    opened(any_store)
    with ThreadPoolExecutor(40) as crowd:
        with any_store.write() as connection:
            fetch_study(connection, "test-study", lock=True)
            waiting = [
                crowd.submit(note_deviation, any_store, "test-study", f"No. {n}") for n in range(40)
            ]
            assert load_study(any_store, "test-study").state == "open"
        for done in waiting:
            done.result()
    assert verify_chain(any_store, "test-study").ok and count(any_store, "event") == 43


def test_a_block_that_fails_leaves_nothing(any_store: Store) -> None:
    with pytest.raises(ZeroDivisionError), any_store.write() as connection:
        connection.exec_driver_sql("DELETE FROM study")
        connection.exec_driver_sql("DELETE FROM alembic_version")
        raise ZeroDivisionError
    with any_store.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM alembic_version").scalar_one() == 1


@pytest.mark.parametrize("table", APPEND_ONLY)
def test_triggers_are_on_every_table_that_only_grows(store: Store, table: str) -> None:
    with store.read() as connection:
        found = connection.exec_driver_sql(
            "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = ?", (table,)
        )
        assert len(found.all()) == 2


@pytest.mark.parametrize("url", ["", "sqlite://", "sqlite:///:memory:", "mysql://a/b", "a:b://c d"])
def test_an_unusable_address_is_said_in_a_sentence(url: str) -> None:
    with pytest.raises(UserError, match=r"sqlite:///FILE|file's path"):
        Store.open(url)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "studies.db").write_text("This is a shopping list, not a database.\n" * 50)
    with pytest.raises(EngineError, match="not a study database"):
        file_store(tmp_path)
    (tmp_path / "plain").write_text("")
    with pytest.raises(EngineError, match="folder"):
        Store.open(str(tmp_path / "plain" / "studies.db"))


def test_pairs_of_a_store_made_before_categories_stay(tmp_path: Path) -> None:
    first = file_store(tmp_path)
    opened(first)
    before = list_pairs(first, "test-study")
    first.close()
    with sqlite3.connect(tmp_path / "studies.db") as raw:
        raw.execute("ALTER TABLE pair DROP COLUMN category")
        raw.execute("UPDATE alembic_version SET version_num = '0001'")
    raw.close()
    again = file_store(tmp_path)
    assert list_pairs(again, "test-study") == before and before
    again.close()


def test_a_store_of_a_newer_version_is_not_touched(tmp_path: Path) -> None:
    file_store(tmp_path).close()
    with sqlite3.connect(tmp_path / "studies.db") as raw:
        raw.execute("UPDATE alembic_version SET version_num = '9999'")
    raw.close()
    with pytest.raises(EngineError, match="newer version"):
        file_store(tmp_path)


def test_no_server_and_a_stopped_server_are_said_and_recovered_from(
    tmp_path: Path, pg_server: Server, pg_url: str
) -> None:
    with pytest.raises(EngineError, match="does not answer"):
        Store.open(f"postgresql://studio@/nothing?host={tmp_path}")
    store = Store.open(pg_url)
    opened(store)
    pg_server.stop()
    try:
        with pytest.raises(EngineError, match="does not answer"):
            opened(store, slug="another")
    finally:
        pg_server.start()
    opened(store, slug="another")
    assert len(list_studies(store)) == 2
    store.close()


def test_refusals_are_of_two_kinds(store: Store) -> None:
    with pytest.raises(UserError, match="no study 'nowhere'") as caught:
        load_study(store, "nowhere")
    assert not isinstance(caught.value, Refused)


def test_a_new_database_is_for_its_owners_eyes_only(tmp_path: Path) -> None:
    """It holds the studies' secrets and says which answer is whose."""
    store = file_store(tmp_path)
    opened(store)
    files = [path for path in tmp_path.iterdir() if path.is_file()]
    assert files and {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    store.close()
