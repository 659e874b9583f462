"""The record only grows, and every change to it shows."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy.exc import DBAPIError

from evals.human.ledger import chain_hash, verify_chain
from evals.human.rating_service import RatingService
from evals.human.records import Verdict
from evals.human.schema import APPEND_ONLY
from evals.human.store import Store
from evals.human.studies import add_verdicts, lock_study
from protocols.core.errors import UserError
from tests.evals.human.store.helpers import SLUG, cast, count, entered, finish, opened


def filled(store: Store) -> Store:
    """The store with a locked study of six votes by two raters, with texts."""
    service = RatingService(store)
    opened(store, 4, pairs_per_rater=3, overlap=2)
    for _ in range(2):
        rater = entered(service)
        cast(service, rater, "tie_good", reason="a plain reason", strength=2)
        finish(service, rater)
    add_verdicts(store, SLUG, [Verdict("alpha-1", "a judge", True, 0, "tie")])
    lock_study(store, SLUG, "the tester")
    assert verify_chain(store, SLUG).ok
    return store


@pytest.fixture
def voted(store: Store) -> Store:
    return filled(store)


def run(store: Store, statement: str) -> None:
    with store.write() as connection:
        connection.exec_driver_sql(statement)


def unguard(store: Store) -> None:
    """What somebody with full power over the database would do first."""
    for table in ("vote", "event"):
        if store.is_sqlite:
            run(store, f"DROP TRIGGER {table}_no_update")
            run(store, f"DROP TRIGGER {table}_no_delete")
        else:
            run(store, f"DROP TRIGGER {table}_only_grows ON {table}")


def test_the_database_itself_refuses_changes(any_store: Store) -> None:
    filled(any_store)
    for table in APPEND_ONLY:
        before = count(any_store, table)
        assert before > 0
        statements = [f"UPDATE {table} SET study = study", f"DELETE FROM {table}"]
        if not any_store.is_sqlite:
            statements.append(f"TRUNCATE {table} CASCADE")
        for statement in statements:
            with pytest.raises(DBAPIError, match="never changed"):
                run(any_store, statement)
        assert count(any_store, table) == before


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE vote SET outcome = 'tie_bad' WHERE number = 4",
        "UPDATE vote SET visible_ms = visible_ms + 1 WHERE number = 4",
        "UPDATE vote SET strength = 1 WHERE number = 4",
        "UPDATE vote SET at = 'yesterday' WHERE number = 4",
        "UPDATE vote SET hash = prev_hash WHERE number = 4",
        "UPDATE assignment SET system_side = CASE system_side WHEN 'left' THEN 'right' ELSE 'left'"
        " END WHERE id = (SELECT assignment FROM vote WHERE number = 4)",
        "UPDATE pair SET system = contributor WHERE id = (SELECT pair FROM assignment WHERE id ="
        " (SELECT assignment FROM vote WHERE number = 4))",
        "UPDATE vote_text SET reason = 'another' WHERE vote = (SELECT id FROM vote"
        " WHERE number = 4)",
        "DELETE FROM vote_text WHERE vote = (SELECT id FROM vote WHERE number = 4)",
    ],
)
def test_a_changed_vote_shows_where_it_was_changed(voted: Store, change: str) -> None:
    unguard(voted)
    run(voted, change)
    check = verify_chain(voted, SLUG)
    assert not check.ok and check.first_bad is not None and check.why
    # A pair's text is under the votes of both raters; everything else is under the fourth vote.
    assert check.first_bad == 4 or ("pair SET" in change and check.first_bad < 4)


def test_missing_votes_and_a_cut_off_end_show(any_store: Store) -> None:
    voted = filled(any_store)
    unguard(voted)
    total = verify_chain(voted, SLUG).votes
    run(voted, f"DELETE FROM vote WHERE number = {total}")
    cut = verify_chain(voted, SLUG)
    assert not cut.ok and cut.first_bad is None and "after the study was locked" in cut.why
    run(voted, "DELETE FROM vote_text WHERE vote = (SELECT id FROM vote WHERE number = 1)")
    run(voted, "DELETE FROM vote WHERE number = 1")
    gap = verify_chain(voted, SLUG)
    assert gap.first_bad == 1 and "missing" in gap.why


def test_a_changed_event_or_plan_shows(voted: Store) -> None:
    unguard(voted)
    run(voted, "UPDATE study SET spec = replace(spec, 'A test study', 'Another study')")
    assert verify_chain(voted, SLUG).why == "the plan was changed"
    run(voted, "UPDATE study SET spec = replace(spec, 'Another study', 'A test study')")
    assert verify_chain(voted, SLUG).ok
    run(voted, "UPDATE event SET body = replace(body, 'the tester', 'somebody') WHERE number > 3")
    check = verify_chain(voted, SLUG)
    assert not check.ok and check.why.startswith("event")


def test_a_row_rewritten_with_a_fresh_hash_breaks_the_next(voted: Store) -> None:
    unguard(voted)
    with voted.write() as connection:
        row: dict[str, Any] = dict(
            connection.exec_driver_sql("SELECT * FROM vote WHERE number = 3").mappings().one()
        )
        row |= {"scrolled_left": False, "scrolled_right": False, "outcome": "tie_bad"}
        body = {k: v for k, v in row.items() if k not in ("id", "prev_hash", "hash")}
        fresh = chain_hash(row["prev_hash"], body)
        connection.exec_driver_sql(
            f"UPDATE vote SET outcome = 'tie_bad', hash = '{fresh}' WHERE number = 3"
        )
    assert verify_chain(voted, SLUG).first_bad == 4


def test_studies_have_chains_of_their_own(any_store: Store) -> None:
    service = RatingService(any_store)
    for slug in ("first", "second"):
        opened(any_store, 3, slug=slug)
        rater = entered(service, slug)
        cast(service, rater)
        cast(service, rater)
    checks = [verify_chain(any_store, slug) for slug in ("first", "second")]
    assert [check.votes for check in checks] == [2, 2] and checks[0].head != checks[1].head
    with pytest.raises(UserError):
        verify_chain(any_store, "nowhere")
