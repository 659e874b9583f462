"""T-D11: a withdrawn rater's text is gone from every file, and the chain still verifies."""

from __future__ import annotations

from pathlib import Path

import pytest

from evals.human.backup import backup
from evals.human.erase import scrub
from evals.human.ledger import verify_chain
from evals.human.raters import invite, rater_by_token
from evals.human.rating_service import RatingService
from evals.human.records import Refused
from evals.human.store import Store
from evals.human.studies import lock_study, progress, study_data
from tests.evals.human.store.helpers import (
    SLUG,
    agree,
    ballot,
    cast,
    cast_all,
    count,
    entered,
    file_store,
    finish,
    newcomer,
    opened,
)

SECRET = "Margrave-Quillfeather-4471"


def files_with(folder: Path, words: str) -> list[str]:
    found = [p for p in folder.rglob("*") if p.is_file() and words.encode() in p.read_bytes()]
    return sorted(p.name for p in found)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "kept"


def test_the_text_is_gone_from_database_log_mirror_and_new_backups(folder: Path) -> None:
    store = file_store(folder, mirror=folder / "mirror")
    service = RatingService(store)
    opened(store, overlap=2)
    rater, other = entered(service), entered(service)
    cast(service, other, reason="this one stays")
    for _ in range(5):
        cast(service, rater, reason=f"I am {SECRET} and prefer this. " * 40)
    before = verify_chain(store, SLUG)
    assert len(files_with(folder, SECRET)) >= 2  # the log or the file, and the mirror
    service.withdraw(rater)
    assert files_with(folder, SECRET) == []
    backup(store, folder / "backup.db")
    store.close()
    assert files_with(folder, SECRET) == [] and len(files_with(folder, "this one stays")) >= 2
    again = file_store(folder, mirror=folder / "mirror")
    assert files_with(folder, SECRET) == []
    check = verify_chain(again, SLUG)
    assert check.ok and (check.votes, check.head) == (before.votes, before.head)
    again.close()


def test_the_text_is_gone_from_a_server_too(pg_url: str) -> None:
    store = Store.open(pg_url)
    service = RatingService(store)
    opened(store)
    rater = entered(service)
    cast(service, rater, reason=SECRET)
    service.withdraw(rater)
    with store.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM vote_text").scalar_one() == 0
        dead = connection.exec_driver_sql("SELECT pg_relation_size('vote_text')").scalar_one()
    assert dead == 0 and verify_chain(store, SLUG).ok
    store.close()


def test_withdrawing_ends_everything_and_changes_the_results(any_store: Store) -> None:
    service = RatingService(any_store)
    opened(any_store, 10, pairs_per_rater=5)
    token = invite(any_store, SLUG)[0]
    leaver, stayer = rater_by_token(any_store, token), entered(service)
    agree(service, leaver)
    service.begin(leaver)
    for number in range(2):
        service.answer_practice(leaver, ballot(service.practice(leaver).ticket, nonce=str(number)))
    finish(service, leaver)
    finish(service, stayer)
    assert service.screen(newcomer(any_store)).step == "closed"
    for _ in range(2):
        service.withdraw(leaver)
    assert service.screen(leaver).step == "withdrawn"
    with pytest.raises(Refused):
        rater_by_token(any_store, token)
    for call in (service.pair, service.undo, service.begin, service.practice, service.guess_pairs):
        with pytest.raises(Refused):
            call(leaver)
    assert progress(any_store, SLUG).votes_main == 5
    replacement = entered(service)  # the five pairs are wanted again
    assert cast_all(service, replacement) == 5
    lock_study(any_store, SLUG, "the tester")
    data = study_data(any_store, SLUG)
    assert {j.rater for j in data.judgements} == {stayer.id, replacement.id}
    assert {guess.rater for guess in data.guesses} == {stayer.id}
    assert len({j.item for j in data.judgements}) == len(data.judgements) == 10
    assert data.raters_withdrawn == 1 and service.certificate(leaver) is None
    assert count(any_store, "vote") == 15 and verify_chain(any_store, SLUG).ok


def test_a_vote_after_withdrawing_is_refused_even_as_a_retry(
    store: Store, service: RatingService
) -> None:
    opened(store)
    rater = entered(service)
    first = ballot(service.pair(rater).ticket)
    service.vote(rater, first)
    ticket = service.pair(rater).ticket
    service.withdraw(rater)
    for sent in (first, ballot(ticket)):
        with pytest.raises(Refused) as caught:
            service.vote(rater, sent)
        assert caught.value.status == 403
    assert count(store, "vote") == 1


def test_a_text_removed_without_a_withdrawal_shows(store: Store, service: RatingService) -> None:
    opened(store)
    rater = entered(service)
    cast(service, rater, reason="a reason")
    with store.write() as connection:
        connection.exec_driver_sql("DELETE FROM vote_text")
    assert "without a withdrawal" in verify_chain(store, SLUG).why


def test_a_busy_reader_delays_the_emptying_of_the_log_but_no_vote(
    store: Store, service: RatingService
) -> None:
    opened(store)
    rater, other = entered(service), newcomer(store)
    cast(service, rater, reason=SECRET)
    assert store.path is not None
    with store.read() as connection:
        connection.exec_driver_sql("SELECT count(*) FROM vote").scalar_one()
        service.withdraw(rater)
        assert not scrub(store, SLUG, rater.id)
        agree(service, other)  # somebody else goes on meanwhile
        assert files_with(store.path.parent, SECRET)
    service.begin(other)
    assert files_with(store.path.parent, SECRET) == []
