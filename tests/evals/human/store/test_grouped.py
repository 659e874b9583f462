"""Writers who wait together share a commit; what one of them does wrong is theirs alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from sqlalchemy import Connection, event, select
from sqlalchemy.exc import OperationalError

from evals.human import schema
from evals.human.ledger import append_event, verify_chain
from evals.human.records import Refused
from evals.human.store import Store
from protocols.core.errors import EngineError
from tests.evals.human.store.helpers import SLUG, opened

Act = Callable[[Connection], str]


@pytest.fixture
def shared(any_store: Store) -> Store:
    opened(any_store, 1)
    return any_store


def noting(name: str, then: Callable[[], None] = lambda: None) -> Act:
    """A work that appends an event to the study's chain."""

    def act(connection: Connection) -> str:
        append_event(connection, SLUG, "test", 1_800_000_000.0, name=name)
        then()
        return name

    return act


def names(store: Store) -> list[str]:
    event_ = schema.event
    query = select(event_.c.body).where(event_.c.kind == "test").order_by(event_.c.number)
    with store.read() as connection:
        return [body.split('"')[3] for body in connection.execute(query).scalars()]


def commits(store: Store) -> list[int]:
    counted: list[int] = []
    event.listen(store._writer, "commit", lambda _: counted.append(1))
    return counted


def crowd(store: Store, acts: list[Act]) -> list[Future[str]]:
    """Run the works so that all wait while a first one, "first", is held in its transaction."""
    inside, go = threading.Event(), threading.Event()

    def hold() -> None:
        inside.set()
        assert go.wait(30)

    with ThreadPoolExecutor(len(acts) + 1) as pool:
        first = pool.submit(store.together, SLUG, noting("first", hold))
        assert inside.wait(30)
        told = []
        for number, act in enumerate(acts, start=1):
            told.append(pool.submit(store.together, SLUG, act))
            while len(store._groups[SLUG]._waiting) < number:
                time.sleep(0.001)
        go.set()
    assert first.result() == "first"
    return told


def test_those_who_wait_share_one_commit_in_the_order_they_came(shared: Store) -> None:
    counted = commits(shared)
    told = crowd(shared, [noting(str(n)) for n in range(9)])
    assert [one.result() for one in told] == [str(n) for n in range(9)]
    assert names(shared) == ["first", *map(str, range(9))] and verify_chain(shared, SLUG).ok
    assert len(counted) == 2


def test_nobody_is_told_before_the_common_commit(shared: Store) -> None:
    seen: list[bool] = []

    def tell(name: str) -> None:
        shared.together(SLUG, noting(name))
        seen.append(name in names(shared))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(tell, map(str, range(40))))
    assert seen == [True] * 40


def test_a_refusal_undoes_its_own_work_only(shared: Store) -> None:
    def refuse() -> None:
        raise Refused("No.", 409)

    told = crowd(shared, [noting("a"), noting("b", refuse), noting("c")])
    with pytest.raises(Refused, match="No"):
        told[1].result()
    assert [told[0].result(), told[2].result()] == ["a", "c"]
    assert names(shared) == ["first", "a", "c"] and verify_chain(shared, SLUG).ok


def test_a_bug_in_one_work_is_met_by_that_one_alone(shared: Store) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    told = crowd(shared, [noting("a"), noting("b", fail), noting("c")])
    with pytest.raises(ZeroDivisionError):
        told[1].result()
    assert told[0].result() == "a" and told[2].result() == "c"
    assert names(shared) == ["first", "a", "c"] and verify_chain(shared, SLUG).ok


def test_if_the_disk_takes_nothing_nobody_is_told_saved_and_it_recovers(shared: Store) -> None:
    def full(_: Connection) -> None:
        raise OperationalError("COMMIT", {}, Exception("database or disk is full"))

    def break_disk() -> None:
        event.listen(shared._writer, "commit", full)

    told = crowd(shared, [noting("a"), noting("b", break_disk), noting("c")])
    for one in told:
        with pytest.raises(EngineError, match="disk is full"):
            one.result()
    event.remove(shared._writer, "commit", full)
    assert names(shared) == ["first"]
    assert shared.together(SLUG, noting("later")) == "later"
    assert names(shared) == ["first", "later"]


def test_a_crowd_beyond_the_limit_is_served_in_turns(
    shared: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evals.human.grouped.MOST", 4)
    counted = commits(shared)
    told = crowd(shared, [noting(str(n)) for n in range(10)])
    assert [one.result() for one in told] == [str(n) for n in range(10)]
    assert len(counted) == 4 and len(names(shared)) == 11
