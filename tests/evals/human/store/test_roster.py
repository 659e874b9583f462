"""What a lab does beside collecting: discard a draft, see who is how far, replace a lost link."""

from __future__ import annotations

from dataclasses import replace

import pytest

from evals.human.ledger import verify_chain
from evals.human.raters import invite, join_open, rater_by_token, renew
from evals.human.rating_service import RatingService
from evals.human.records import Ballot, Rater, Refused, Verdict
from evals.human.roster import RaterRow, roster
from evals.human.store import Store
from evals.human.studies import (
    add_pairs,
    add_verdicts,
    create_study,
    discard_study,
    list_pairs,
    list_studies,
    load_study,
    lock_study,
    mark_reviewed,
    note_deviation,
    open_study,
    study_data,
)
from protocols.core.errors import UserError
from tests.evals.human.store.helpers import (
    SLUG,
    Clock,
    ballot,
    cast,
    cast_all,
    entered,
    finish,
    make_pairs,
    make_spec,
    newcomer,
    opened,
    warm_up,
)


def row_of(store: Store, rater: str) -> RaterRow:
    return next(row for row in roster(store, SLUG) if row.id == rater)


def test_a_discarded_study_is_gone_and_its_name_is_free(any_store: Store) -> None:
    opened(any_store, 3)
    token = invite(any_store, SLUG)[0]
    note_deviation(any_store, SLUG, "Of the first life.")
    discard_study(any_store, SLUG)
    assert list_studies(any_store) == []
    for ask in (load_study, discard_study, list_pairs, lambda s, n: open_study(s, n)):
        with pytest.raises(UserError, match="no study"):
            ask(any_store, SLUG)
    with pytest.raises(Refused):
        rater_by_token(any_store, token)
    row = create_study(any_store, make_spec(title="Another"))
    assert (row.spec.title, row.state, row.pairs, row.reviewed) == ("Another", "draft", 0, False)
    add_pairs(any_store, SLUG, make_pairs(2), [])
    mark_reviewed(any_store, SLUG)
    open_study(any_store, SLUG)
    assert roster(any_store, SLUG) == []
    service = RatingService(any_store, per_minute=0)
    finish(service, entered(service))
    lock_study(any_store, SLUG, "the tester")
    assert verify_chain(any_store, SLUG).ok and study_data(any_store, SLUG).deviations == ()


def test_what_was_collected_cannot_be_discarded(store: Store, service: RatingService) -> None:
    opened(store)
    cast(service, entered(service))
    with pytest.raises(UserError, match="never removed"):
        discard_study(store, SLUG)
    opened(store, slug="judged")
    add_verdicts(store, "judged", [Verdict("alpha-1", "a judge", True, 0, "system")])
    with pytest.raises(UserError, match="never removed"):
        discard_study(store, "judged")
    assert len(list_studies(store)) == 2 and verify_chain(store, SLUG).votes == 1


def test_the_roster_counts_and_says_nothing_else(
    store: Store, service: RatingService, clock: Clock
) -> None:
    opened(store, 4, overlap=4, open_link=True)
    waiting = newcomer(store, stratum="alpha")
    rating, leaving, done = (entered(service) for _ in range(3))
    passing_by = join_open(store, SLUG)[1]
    cast_all(service, rating, 3)
    cast_all(service, leaving, 2)
    service.withdraw(leaving)
    finish(service, done)
    assert next(row.id for row in roster(store, SLUG)) in {waiting.id, rating.id}
    found = {
        rater.id: (row.standing, row.done, row.planned)
        for rater in (waiting, rating, leaving, done, passing_by)
        for row in [row_of(store, rater.id)]
    }
    assert found == {
        waiting.id: ("invited", 0, 0),
        rating.id: ("rating", 3, 4),
        leaving.id: ("withdrawn", 0, 0),
        done.id: ("finished", 4, 4),
        passing_by.id: ("invited", 0, 0),
    }
    assert row_of(store, waiting.id).stratum == "alpha" and not row_of(store, waiting.id).last
    assert (
        row_of(store, rating.id).last.startswith("2027-") and row_of(store, passing_by.id).open_link
    )
    # Which side or arm was preferred changes no row.
    before = replace(row_of(store, rating.id), last="")
    service.vote(rating, _other(service, rating))
    assert replace(row_of(store, rating.id), last="") == before
    with pytest.raises(UserError):
        roster(store, "unknown")


def _other(service: RatingService, rater: Rater) -> Ballot:
    return ballot(service.undo(rater).ticket, "tie_bad")


def test_a_renewed_link_goes_on_and_the_old_one_ends(any_store: Store) -> None:
    opened(any_store, 4)
    service = RatingService(any_store, per_minute=0)
    old = invite(any_store, SLUG)[0]
    rater = rater_by_token(any_store, old)
    warm_up(service, rater)
    cast_all(service, rater, 2)
    new = renew(any_store, SLUG, rater.id)
    with pytest.raises(Refused):
        rater_by_token(any_store, old)
    again = rater_by_token(any_store, new)
    assert again == rater and service.screen(again).number == 3
    assert verify_chain(any_store, SLUG).ok
    service.withdraw(again)
    for nobody in (rater.id, "unknown"):
        with pytest.raises(UserError, match="No invited rater"):
            renew(any_store, SLUG, nobody)


def test_a_passer_by_and_a_rater_of_another_study_get_no_new_link(store: Store) -> None:
    opened(store, open_link=True)
    opened(store, slug="another")
    for rater in (join_open(store, SLUG)[1], newcomer(store, "another")):
        with pytest.raises(UserError, match="No invited rater"):
            renew(store, SLUG, rater.id)
