"""T-B3, T-B7: who gets which pair, across reloads, leases, drop-outs and returns."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from evals.human.assign import lean
from evals.human.rating_service import RatingService
from evals.human.records import Rater, Refused
from evals.human.store import Store
from evals.human.studies import lock_study, progress, study_data
from tests.evals.human.store.helpers import (
    DAY,
    SLUG,
    Clock,
    agree,
    ballot,
    cast,
    cast_all,
    entered,
    newcomer,
    opened,
    warm_up,
)


def votes_per_pair(store: Store) -> Counter[str]:
    """Main votes of raters who stayed, by item; freed or withdrawn ones do not count."""
    with store.read() as connection:
        rows = connection.exec_driver_sql(
            "SELECT pair.item FROM assignment JOIN pair ON pair.id = assignment.pair"
            " WHERE kind = 'main' AND voted AND freed_at = ''"
        )
        return Counter(rows.scalars().all())


def sides_of(store: Store, rater: Rater) -> list[tuple[str, str, str]]:
    with store.read() as connection:
        rows = connection.exec_driver_sql(
            "SELECT pair.stratum, assignment.system_side, assignment.kind FROM assignment"
            " JOIN pair ON pair.id = assignment.pair"
            f" WHERE rater = '{rater.id}' AND freed_at = '' ORDER BY position"
        )
        return [(row[0], row[1], row[2]) for row in rows]


def assert_balanced(store: Store, rater: Rater) -> None:
    rows = [row for row in sides_of(store, rater) if row[2] == "main"]
    assert abs(lean([row[1] for row in rows])) <= 1  # type: ignore[misc]
    for stratum in {row[0] for row in rows}:
        assert abs(lean([r[1] for r in rows if r[0] == stratum])) <= 1  # type: ignore[misc]


def test_the_same_pair_and_sides_on_reload_device_restart_and_next_day(
    store: Store, service: RatingService, clock: Clock
) -> None:
    opened(store)
    rater = entered(service)
    cast(service, rater)
    first = service.pair(rater)
    again = Store.open(str(store.path))
    for other in (service, RatingService(store, now=clock), RatingService(again, now=clock)):
        clock.pass_by(DAY)
        seen = other.pair(rater)
        assert (seen.prompt, seen.left, seen.right, seen.number) == (
            first.prompt, first.left, first.right, first.number,
        )  # fmt: skip
        assert seen.ticket != first.ticket
    again.close()


@pytest.mark.parametrize("strata", [("alpha",), ("alpha", "beta", "gamma", "delta")])
def test_sides_are_balanced_in_the_store(
    store: Store, service: RatingService, strata: tuple[str, ...]
) -> None:
    opened(store, 30, strata=strata, pairs_per_rater=25, repeat_share=0.1, overlap=3)
    for _ in range(3):
        rater = entered(service)
        assert_balanced(store, rater)
        assert Counter(row[2] for row in sides_of(store, rater)) == {"main": 25, "repeat": 3}


def test_four_raters_rate_every_pair_exactly_once_each(
    store: Store, service: RatingService
) -> None:
    opened(store, 25, pairs_per_rater=25, overlap=4)
    for _ in range(4):
        assert cast_all(service, entered(service)) == 25
    assert set(votes_per_pair(store).values()) == {4} and len(votes_per_pair(store)) == 25
    assert service.screen(newcomer(store)).step == "closed"


@pytest.mark.parametrize(
    ("raters", "pairs", "overlap"),
    [
        pytest.param(4, 25, 4, id="4x25"),
        pytest.param(50, 125, 10, id="50x25", marks=pytest.mark.slow),
    ],
)
def test_drop_outs_are_replaced_until_the_overlap_is_exact(
    store: Store, service: RatingService, clock: Clock, raters: int, pairs: int, overlap: int
) -> None:
    """T-B7: 30% leave in the middle; their pairs go to newcomers after the lease."""
    opened(store, pairs, pairs_per_rater=25, overlap=overlap, lease_minutes=60)
    rng = random.Random(7)
    joined = [entered(service) for _ in range(raters)]
    for at, rater in enumerate(joined):
        cast_all(service, rater, rng.randrange(25) if at % 10 < 3 else 25)
    assert service.screen(newcomer(store)).step == "wait"
    clock.pass_by(3601)
    more = 0
    while service.screen(late := newcomer(store)).step == "consent":
        warm_up(service, late)
        cast_all(service, late)
        more += 1
    assert service.screen(late).step == "closed" and more < raters
    assert set(votes_per_pair(store).values()) == {overlap}
    assert len(votes_per_pair(store)) == pairs
    assert progress(store, SLUG).votes_main == raters * 25
    for rater in joined:
        seen = [row[0] for row in rows_of(store, rater)]
        assert len(seen) == len(set(seen))


def rows_of(store: Store, rater: Rater) -> list[tuple[str]]:
    with store.read() as connection:
        rows = connection.exec_driver_sql(
            "SELECT pair.item FROM assignment JOIN pair ON pair.id = assignment.pair"
            f" WHERE rater = '{rater.id}' AND kind = 'main'"
        )
        return [tuple(row) for row in rows]


def test_who_returns_in_time_takes_everything_back(
    store: Store, service: RatingService, clock: Clock
) -> None:
    opened(store, 10, pairs_per_rater=10, overlap=1, lease_minutes=60)
    rater = entered(service)
    cast_all(service, rater, 3)
    on_screen = service.pair(rater)
    clock.pass_by(2 * 3600)
    # Somebody else asks, takes one pair and leaves the rest; all seven had been freed for them.
    assert service.screen(newcomer(store)).step == "consent"
    seen = service.pair(rater)
    assert (seen.prompt, seen.left, seen.right) == (
        on_screen.prompt, on_screen.left, on_screen.right,
    )  # fmt: skip
    assert cast_all(service, rater) == 7 and set(votes_per_pair(store).values()) == {1}


def test_who_returns_late_gets_others_in_their_place(
    store: Store, service: RatingService, clock: Clock
) -> None:
    opened(store, 20, pairs_per_rater=10, repeat_share=0.2, lease_minutes=60)
    rater = entered(service)
    cast_all(service, rater, 3)
    ticket = service.pair(rater).ticket
    clock.pass_by(2 * 3600)
    other = entered(service)  # takes 10 of the 17 that are free
    clock.pass_by(10)
    before = sides_of(store, rater)
    assert len(before) < 10
    assert service.screen(rater).total == 12
    assert_balanced(store, rater)
    cast_all(service, rater)
    cast_all(service, other)
    assert set(votes_per_pair(store).values()) == {1} and len(votes_per_pair(store)) == 20
    with pytest.raises(Refused):
        service.vote(rater, ballot(ticket))
    lock_study(store, SLUG, "the tester")
    judged = [j for j in study_data(store, SLUG).judgements if j.rater == rater.id]
    mains = {j.item: j.system_side for j in judged if j.kind == "main"}
    repeats = {j.item: j.system_side for j in judged if j.kind == "repeat"}
    assert len(mains) == 10 and len(repeats) == 2
    assert all(mains[item] != side for item, side in repeats.items())


def test_a_vote_sent_after_the_lease_counts_while_the_pair_is_free(
    store: Store, service: RatingService, clock: Clock
) -> None:
    opened(store, 10, pairs_per_rater=5, lease_minutes=60)
    rater = entered(service)
    ticket = service.pair(rater).ticket
    clock.pass_by(2 * 3600)
    service.screen(newcomer(store))  # frees, takes nothing
    assert sides_of(store, rater) == []
    assert service.vote(rater, ballot(ticket)).revision == 1
    assert len(sides_of(store, rater)) == 5


def test_what_was_lost_for_good_shortens_the_plan_and_stays_balanced(
    store: Store, service: RatingService, clock: Clock
) -> None:
    opened(store, 12, strata=("alpha", "beta"), pairs_per_rater=16, lease_minutes=60)
    rater = entered(service)
    cast_all(service, rater, 5)
    clock.pass_by(2 * 3600)
    other = entered(service)  # 16 of the 19 that are free
    cast_all(service, other, 16)
    assert service.screen(rater).total == 8
    assert_balanced(store, rater)
    assert cast_all(service, rater) == 3 and set(votes_per_pair(store).values()) == {1}


def test_activity_renews_the_lease(store: Store, service: RatingService, clock: Clock) -> None:
    opened(store, 10, pairs_per_rater=10, lease_minutes=60)
    rater = entered(service)
    before = service.pair(rater).prompt
    for _ in range(10):
        clock.pass_by(50 * 60)
        assert service.pair(rater).prompt == before
        assert service.screen(newcomer(store)).step == "wait"


def test_raters_of_a_stratum_get_only_theirs(store: Store, service: RatingService) -> None:
    opened(store, 10, strata=("alpha", "beta"), gold=3, pairs_per_rater=10, gold_share=0.2)
    bound, free = entered(service, stratum="beta"), entered(service)
    assert {row[0] for row in sides_of(store, bound)} == {"beta"}
    assert {row[2] for row in sides_of(store, bound)} == {"main"}  # the gold pairs are alpha's
    cast_all(service, bound)
    assert {row[0] for row in sides_of(store, free)} == {"alpha"}
    assert service.screen(newcomer(store, stratum="beta")).step == "closed"
    assert service.screen(newcomer(store, stratum="alpha")).step == "wait"


def test_a_rater_of_all_strata_gets_equal_shares(store: Store, service: RatingService) -> None:
    opened(store, 25, strata=("alpha", "beta", "gamma", "delta"), pairs_per_rater=24)
    shares = Counter(row[0] for row in sides_of(store, entered(service)))
    assert set(shares.values()) == {6}


def test_the_cap_is_a_number_of_main_votes_skips_left_out(
    store: Store, service: RatingService
) -> None:
    opened(store, 30, pairs_per_rater=5, stopping={"cap": 8})
    first, second = entered(service), entered(service)
    assert [service.screen(r).total for r in (first, second)] == [5, 3]
    waiting = newcomer(store)
    assert service.screen(waiting).step == "wait"
    cast(service, first, "skip", reason="cannot say")
    cast_all(service, first)
    cast_all(service, second)
    assert progress(store, SLUG).votes_main == 7
    agree(service, waiting)
    assert service.screen(waiting).total == 1  # the instructions say how many will come
    warm_up(service, waiting)
    assert service.screen(waiting).total == 1
    cast_all(service, waiting)
    assert progress(store, SLUG).votes_main == 8
    assert service.screen(newcomer(store)).step == "closed"


def test_who_waits_is_served_when_something_becomes_free(
    store: Store, service: RatingService
) -> None:
    opened(store, 5, pairs_per_rater=5)
    first, second = entered(service), newcomer(store)
    cast(service, first)
    assert service.screen(second).step == "wait"
    service.withdraw(first)
    warm_up(service, second)
    assert cast_all(service, second) == 5 and set(votes_per_pair(store).values()) == {1}


def test_a_link_opened_before_the_study_opens_says_closed(
    store: Store, service: RatingService
) -> None:
    from evals.human.studies import add_pairs, create_study
    from tests.evals.human.store.helpers import make_pairs, make_spec

    create_study(store, make_spec())
    add_pairs(store, SLUG, make_pairs(3), [])
    rater = newcomer(store)
    assert service.screen(rater).step == "closed"
    with pytest.raises(Refused):
        agree(service, rater)
