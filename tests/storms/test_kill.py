"""T-D1 and T-D9: killing the process at any moment loses no acknowledged vote; two may run at once.

SIGKILL proves safety against crashes of the process. Against power loss stand ``synchronous=FULL``
and the disk; no test here can show that.
"""

from __future__ import annotations

import multiprocessing
import random
import threading
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from evals.human.ledger import verify_chain
from evals.human.raters import invite
from evals.human.store import Store
from tests.evals.human.store.helpers import SLUG, opened
from tests.evals.human.store.postgres import Server
from tests.storms.voters import vote_all

PLACES = ("before-commit", "after-commit", "before-reply", "any-time")
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.storms.voters", "alembic.command", "psycopg"])


class Storm:
    """A study, its raters' links, and the log of what they were told."""

    def __init__(self, url: str, folder: Path, raters: int, pairs: int) -> None:
        self.url, self.raters, self.pairs = url, raters, pairs
        folder.mkdir(exist_ok=True)
        self.log = folder / "acknowledged"
        self.log.touch()
        store = Store.open(url)
        opened(store, pairs, pairs_per_rater=pairs, overlap=raters)
        self.tokens = invite(store, SLUG, raters)
        store.close()

    def start(self, fault: str = "none", tokens: list[str] | None = None) -> BaseProcess:
        process = CONTEXT.Process(
            target=vote_all, args=(self.url, tokens or self.tokens, str(self.log), fault)
        )
        process.start()
        return process

    def acknowledged(self) -> dict[tuple[str, str], str]:
        """Code by token and nonce. A vote that is acknowledged twice has one code."""
        told: dict[tuple[str, str], str] = {}
        for line in self.log.read_text().splitlines():
            token, nonce, code = line.split()
            assert told.setdefault((token, nonce), code) == code
        return told

    def check(self) -> int:
        """Every acknowledged vote is there once; the database and the chain are sound."""
        store = Store.open(self.url)
        with store.read() as connection:
            rows = connection.exec_driver_sql("SELECT nonce, hash FROM vote").all()
            if store.is_sqlite:
                sound = connection.exec_driver_sql("PRAGMA integrity_check").scalar_one()
                assert sound == "ok"
            gaps = connection.exec_driver_sql(
                "SELECT rater FROM assignment GROUP BY rater HAVING"
                " max(CASE WHEN voted THEN position ELSE 0 END) <>"
                " sum(CASE WHEN voted THEN 1 ELSE 0 END)"
            ).all()
        assert verify_chain(store, SLUG).ok and not gaps  # each resumes at the right pair
        store.close()
        kept = {nonce: row_hash[:12] for nonce, row_hash in rows}
        assert len(kept) == len(rows)
        for (_, nonce), code in self.acknowledged().items():
            assert kept.get(nonce) == code
        return len(rows)

    def finish(self) -> None:
        process = self.start()
        process.join(300)
        assert process.exitcode == 0
        assert self.check() == self.raters * self.pairs


def kill_at(storm: Storm, place: str, rng: random.Random) -> bool:
    """One life of the process, ended at ``place``; False if it was done before its turn came."""
    if place != "any-time":
        process = storm.start(f"{place}:{rng.randint(1, 6)}")
        process.join(60)
        assert process.exitcode in (-9, 0)
        return process.exitcode == -9
    before = storm.log.stat().st_size
    process = storm.start()
    while storm.log.stat().st_size == before and process.is_alive():
        time.sleep(0.001)
    time.sleep(rng.random() * 0.02)
    process.kill()
    process.join(60)
    return process.exitcode == -9


def rage(begin: Callable[[int], Storm], kills: int, seed: int) -> None:
    """Kill until so many lives were ended; when all have voted, the next study begins."""
    rng = random.Random(seed)
    storm, struck, finished = begin(0), 0, 0
    while struck < kills:
        if kill_at(storm, PLACES[struck % len(PLACES)], rng):
            struck += 1
            storm.check()
        else:
            storm.finish()
            finished += 1
            storm = begin(finished)
    storm.finish()


def in_files(folder: Path, raters: int, pairs: int) -> Callable[[int], Storm]:
    def begin(number: int) -> Storm:
        return Storm(str(folder / f"{number}.db"), folder / f"{number}", raters, pairs)

    return begin


def test_a_short_storm_loses_nothing(tmp_path: Path) -> None:
    rage(in_files(tmp_path, raters=6, pairs=10), kills=8, seed=1)


def test_a_short_storm_on_a_server_loses_nothing(tmp_path: Path, pg_server: Server) -> None:
    def begin(number: int) -> Storm:
        return Storm(pg_server.make(f"storm{number}"), tmp_path / f"{number}", raters=4, pairs=6)

    rage(begin, kills=4, seed=2)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_two_hundred_kills_lose_nothing(tmp_path: Path) -> None:
    rage(in_files(tmp_path, raters=50, pairs=25), kills=200, seed=3)


@pytest.mark.parametrize("where", ["sqlite", "postgresql"])
def test_two_processes_share_a_database(
    tmp_path: Path, where: str, request: pytest.FixtureRequest
) -> None:
    """Different raters in each, one rater in both."""
    sqlite = where == "sqlite"
    url = str(tmp_path / "studies.db") if sqlite else request.getfixturevalue("pg_url")
    storm = Storm(url, tmp_path, raters=5, pairs=8)
    both = [storm.start(tokens=part) for part in (storm.tokens[:3], storm.tokens[2:])]
    for process in both:
        process.join(120)
    assert [process.exitcode for process in both] == [0, 0]
    assert storm.check() == 40


@pytest.mark.slow
def test_a_server_that_crashes_loses_no_acknowledged_vote(
    tmp_path: Path, pg_server: Server, pg_url: str
) -> None:
    storm = Storm(pg_url, tmp_path, raters=4, pairs=10)
    process = storm.start()
    while storm.log.stat().st_size < 400 and process.is_alive():
        time.sleep(0.005)
    crash = threading.Thread(target=pg_server.stop, args=("immediate",))
    crash.start()
    crash.join()
    pg_server.start()
    process.join(120)
    assert storm.acknowledged()
    storm.check()
    storm.finish()
