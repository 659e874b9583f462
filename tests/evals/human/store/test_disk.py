"""T-D3: a full disk and a read-only file give no receipt, say so, and pass."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from evals.human.ledger import verify_chain
from evals.human.rating_service import RatingService
from evals.human.store import Store
from protocols.core.errors import EngineError
from tests.conftest import ROOT
from tests.evals.human.store.helpers import (
    SLUG,
    Clock,
    ballot,
    cast_all,
    count,
    entered,
    file_store,
    newcomer,
    opened,
)

LIMITED = """
import resource, sys
from pathlib import Path
from evals.human.rating_service import RatingService
from evals.human.ledger import verify_chain
from evals.human.store import Store
from protocols.core.errors import EngineError
from tests.evals.human.store.helpers import SLUG, ballot, cast, count, entered, opened

store = Store.open(sys.argv[1])
service = RatingService(store, per_minute=0)
opened(store, 60, pairs_per_rater=60)
rater = entered(service)
size = max(p.stat().st_size for p in Path(sys.argv[1]).parent.iterdir())
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 30_000, hard))
kept = 0
try:
    while True:
        sent = ballot(service.pair(rater).ticket, "left", reason="long " * 300)
        service.vote(rater, sent)
        kept += 1
except EngineError as error:
    message = str(error)
assert message.startswith("Not saved: the disk"), message
assert count(store, "vote") == kept
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
assert not service.vote(rater, sent).replayed
assert count(store, "vote") == kept + 1 and verify_chain(store, SLUG).ok
print("recovered", kept)
"""


def mounted(folder: Path, options: str) -> bool:
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    try:
        return subprocess.run(command, check=False, capture_output=True).returncode == 0
    except OSError:
        return False


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    if not mounted(folder, "size=1m"):
        pytest.skip("no tmpfs can be mounted here; the limit on file size is tested instead")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_saves_nothing_says_so_and_recovers(small_disk: Path, clock: Clock) -> None:
    store = file_store(small_disk)
    service = RatingService(store, now=clock)
    opened(store)
    rater = entered(service)
    cast_all(service, rater, 3)
    filler = small_disk / "filler"
    with filler.open("wb") as file, pytest.raises(OSError):
        while True:
            os.write(file.fileno(), b"x" * 512)
    sent = ballot(service.pair(rater).ticket, "left", reason="why " * 400)
    for _ in range(2):
        with pytest.raises(EngineError, match="Not saved: the disk is full"):
            service.vote(rater, sent)
    clock.pass_by(300)  # the lease is due, which cannot be written either
    assert count(store, "vote") == 3 and service.pair(rater).number == 4
    with pytest.raises(EngineError, match="Not saved"):
        newcomer(store)
    filler.unlink()
    receipt = service.vote(rater, sent)
    assert not receipt.replayed and count(store, "vote") == 4 and verify_chain(store, SLUG).ok
    store.close()


def test_a_disk_gone_read_only_saves_nothing_and_recovers(small_disk: Path) -> None:
    store = file_store(small_disk)
    service = RatingService(store)
    opened(store)
    rater = entered(service)
    sent = ballot(service.pair(rater).ticket)
    store.close()  # an open file would keep the disk from being made read-only
    remount(small_disk, "ro")
    for refused in (lambda: service.vote(rater, sent), lambda: file_store(small_disk)):
        with pytest.raises(EngineError, match=r"Not saved: the study's file (is read-only|cannot)"):
            refused()
    remount(small_disk, "rw")
    assert not service.vote(rater, sent).replayed and count(store, "vote") == 1
    store.close()


def remount(folder: Path, mode: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{mode}", str(folder)], check=True)


def test_a_limit_on_the_file_size_saves_nothing_and_recovers(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path / "studies.db")],
        capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("recovered")


def test_a_file_locked_by_another_program_is_said_and_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evals.human.store.BUSY_SECONDS", 0.05)
    store = file_store(tmp_path)
    service = RatingService(store)
    opened(store)
    rater = entered(service)
    sent = ballot(service.pair(rater).ticket)
    other = sqlite3.connect(tmp_path / "studies.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(EngineError, match="locked by another program"):
        service.vote(rater, sent)
    assert service.pair(rater).number == 1  # reading goes on
    other.execute("ROLLBACK")
    other.close()
    assert not service.vote(rater, sent).replayed and count(store, "vote") == 1
    store.close()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write to read-only files")
def test_a_read_only_file_is_said(tmp_path: Path) -> None:
    file_store(tmp_path).close()
    (tmp_path / "studies.db").chmod(0o400)
    with pytest.raises(EngineError, match="read-only"):
        Store.open(str(tmp_path / "studies.db"))
