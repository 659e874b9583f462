"""T-D10: a backup equals the store row for row, and so does the mirror."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from pathlib import Path

import pytest
from sqlalchemy import select

from evals.human.backup import backup
from evals.human.ledger import verify_chain
from evals.human.mirror import mirrored
from evals.human.rating_service import RatingService
from evals.human.schema import metadata
from evals.human.store import Store
from evals.human.studies import lock_study, study_data
from protocols.core.errors import EngineError
from tests.evals.human.store.helpers import (
    SLUG,
    cast,
    cast_all,
    entered,
    file_store,
    finish,
    opened,
)


def rows(store: Store) -> dict[str, list[tuple[object, ...]]]:
    with store.read() as connection:
        return {
            table.name: [
                tuple(row) for row in connection.execute(select(table).order_by(*table.primary_key))
            ]
            for table in metadata.sorted_tables
        }


def test_a_backup_holds_every_row_and_can_be_used(any_store: Store, tmp_path: Path) -> None:
    service = RatingService(any_store)
    opened(any_store, 8, gold=2, gold_share=0.25, pairs_per_rater=8, repeat_share=0.25, overlap=2)
    finish(service, entered(service))
    half = entered(service)
    cast_all(service, half, 4)
    copied = backup(any_store, tmp_path / "backups" / "now.db")
    assert (copied.studies, copied.votes) == (1, 16)
    assert [p.name for p in copied.path.parent.iterdir()] == ["now.db"]
    restored = Store.open(str(copied.path))
    assert rows(restored) == rows(any_store)
    assert verify_chain(restored, SLUG) == verify_chain(any_store, SLUG)
    cast_all(RatingService(restored), half)
    lock_study(restored, SLUG, "the tester")
    assert len(study_data(restored, SLUG).judgements) == 24
    restored.close()


def test_a_backup_made_while_votes_come_in_is_one_state(
    store: Store, service: RatingService, tmp_path: Path
) -> None:
    opened(store, 40, pairs_per_rater=40)
    rater = entered(service)
    voting = threading.Thread(target=cast_all, args=(service, rater))
    voting.start()
    seen = []
    while voting.is_alive() or not seen:
        seen.append(backup(store, tmp_path / "copy.db").votes)
    voting.join()
    assert backup(store, tmp_path / "copy.db").votes == 40 and seen == sorted(seen)


def test_a_backup_of_a_damaged_store_is_refused_and_the_old_one_stays(
    store: Store, service: RatingService, tmp_path: Path
) -> None:
    opened(store)
    rater = entered(service)
    cast(service, rater)
    target = tmp_path / "copy.db"
    backup(store, target)
    good = target.read_bytes()
    with store.write() as connection:
        connection.exec_driver_sql("DROP TRIGGER vote_no_update")
        connection.exec_driver_sql("UPDATE vote SET outcome = 'tie_good'")
    with pytest.raises(EngineError, match="does not equal"):
        backup(store, target)
    assert target.read_bytes() == good and len(list(tmp_path.glob("copy.db*"))) == 1
    (tmp_path / "file").write_text("")
    with pytest.raises(EngineError, match="could not be written"):
        backup(store, tmp_path / "file" / "copy.db")


def test_the_mirror_has_every_vote_with_its_hash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(handle) or real(handle))
    mirror = tmp_path / "mirror"
    store = file_store(tmp_path, mirror=mirror)
    service = RatingService(store)
    opened(store, 6, pairs_per_rater=6)
    rater = entered(service)
    cast(service, rater, reason="a reason")
    cast_all(service, rater)
    with store.read() as connection:
        hashes = connection.exec_driver_sql("SELECT hash FROM vote ORDER BY number").scalars().all()
    lines = mirrored(mirror, SLUG)
    assert len(synced) == 7  # six votes and a text, each on the disk before its receipt
    assert [line["hash"] for line in lines] == hashes
    texts = (mirror / SLUG / "text" / f"{rater.id}.jsonl").read_text()
    assert json.loads(texts)["reason"] == "a reason"
    assert "a reason" not in (mirror / SLUG / "votes.jsonl").read_text()
    store.close()


def test_a_mirror_that_was_away_is_caught_up(tmp_path: Path) -> None:
    mirror = tmp_path / "mirror"
    store = file_store(tmp_path, mirror=mirror)
    service = RatingService(store)
    opened(store, 6, pairs_per_rater=6)
    rater = entered(service)
    cast(service, rater)
    torn = mirror / SLUG / "votes.jsonl"
    torn.write_bytes(torn.read_bytes()[:-20])  # a crash in the middle of a line
    torn.rename(tmp_path / "away")
    torn.parent.rmdir()
    mirror.rmdir()
    mirror.write_text("not a folder")
    assert not cast(service, rater, reason="kept in the database").replayed
    mirror.unlink()
    torn.parent.mkdir(parents=True)
    (tmp_path / "away").rename(torn)
    store.close()
    again = file_store(tmp_path, mirror=mirror)
    cast(RatingService(again), rater)
    with again.read() as connection:
        hashes = connection.exec_driver_sql("SELECT hash FROM vote ORDER BY number").scalars().all()
    assert [line["hash"] for line in mirrored(mirror, SLUG)] == hashes
    again.close()


def test_a_text_that_the_mirror_could_not_take_is_caught_up(tmp_path: Path) -> None:
    mirror = tmp_path / "mirror"
    store = file_store(tmp_path, mirror=mirror)
    service = RatingService(store)
    opened(store, 6, pairs_per_rater=6)
    rater = entered(service)
    (mirror / SLUG).mkdir(parents=True)
    (mirror / SLUG / "text").write_text("no folder")
    cast(service, rater, reason="a reason")
    (mirror / SLUG / "text").unlink()
    store.close()
    file_store(tmp_path, mirror=mirror).close()
    texts = (mirror / SLUG / "text" / f"{rater.id}.jsonl").read_text()
    assert json.loads(texts)["reason"] == "a reason" and len(mirrored(mirror, SLUG)) == 1


def test_a_backup_is_a_plain_sqlite_file(
    store: Store, service: RatingService, tmp_path: Path
) -> None:
    opened(store)
    cast(service, entered(service))
    backup(store, tmp_path / "copy.db")
    raw = sqlite3.connect(tmp_path / "copy.db")
    assert raw.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert raw.execute("SELECT count(*) FROM vote").fetchone() == (1,)
    raw.close()
