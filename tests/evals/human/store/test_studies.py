"""Making, changing, opening, locking: what the lab does, on both databases."""

from __future__ import annotations

from dataclasses import replace

import pytest

from evals.human.ledger import verify_chain
from evals.human.raters import invite, join_open, rater_by_token
from evals.human.rating_service import RatingService
from evals.human.records import Dropped, Refused, Verdict
from evals.human.store import Store
from evals.human.studies import (
    add_pairs,
    add_verdicts,
    blind_key,
    change_spec,
    create_study,
    exclude_pair,
    list_dropped,
    list_pairs,
    load_study,
    lock_study,
    mark_reviewed,
    note_deviation,
    open_study,
    progress,
    study_data,
)
from protocols.core.errors import UserError
from tests.evals.human.store.helpers import (
    SLUG,
    agree,
    ballot,
    cast,
    cast_all,
    count,
    entered,
    finish,
    make_pairs,
    make_spec,
    newcomer,
    opened,
)


def test_from_draft_to_lock(any_store: Store) -> None:
    spec = make_spec(("alpha", "beta"), dimensions=("clear",))
    row = create_study(any_store, spec, simulated=True)
    assert (row.spec, row.state, row.pairs, row.reviewed, row.simulated) == (
        spec, "draft", 0, False, True,
    )  # fmt: skip
    with pytest.raises(UserError, match="already a study"):
        create_study(any_store, spec)
    with pytest.raises(UserError, match="no pairs"):
        open_study(any_store, SLUG)
    pairs = make_pairs(3, ("alpha", "beta"), gold=1)
    dropped = [Dropped("lost-1", "alpha", "empty", "system")]
    for _ in range(2):  # the second time changes nothing
        add_pairs(any_store, SLUG, pairs, dropped)
    assert list_pairs(any_store, SLUG) == pairs and list_dropped(any_store, SLUG) == dropped
    with pytest.raises(UserError, match="not been reviewed"):
        open_study(any_store, SLUG)
    exclude_pair(any_store, SLUG, "beta-2")
    mark_reviewed(any_store, SLUG)
    open_study(any_store, SLUG)
    assert load_study(any_store, SLUG).pairs == 6
    assert list_dropped(any_store, SLUG)[1] == Dropped("beta-2", "beta", "reviewed")
    for refused in (
        lambda: add_pairs(any_store, SLUG, pairs, []),
        lambda: exclude_pair(any_store, SLUG, "beta-1"),
        lambda: mark_reviewed(any_store, SLUG),
        lambda: open_study(any_store, SLUG),
        lambda: study_data(any_store, SLUG),
    ):
        with pytest.raises(UserError):
            refused()
    lock_study(any_store, SLUG, "the tester")
    assert load_study(any_store, SLUG).state == "locked"
    with pytest.raises(UserError, match="locked"):
        lock_study(any_store, SLUG, "the tester")
    with pytest.raises(UserError, match="locked"):
        invite(any_store, SLUG)


def test_new_pairs_must_be_reviewed_again(store: Store) -> None:
    create_study(store, make_spec())
    add_pairs(store, SLUG, make_pairs(2), [])
    mark_reviewed(store, SLUG)
    add_pairs(store, SLUG, make_pairs(2), [])
    assert load_study(store, SLUG).reviewed
    add_pairs(store, SLUG, make_pairs(3), [])
    assert not load_study(store, SLUG).reviewed
    with pytest.raises(UserError, match="no pair 'nothing'"):
        exclude_pair(store, SLUG, "nothing")


def test_texts_that_databases_choke_on_are_stored(any_store: Store) -> None:
    create_study(any_store, make_spec())
    odd = replace(make_pairs(1)[0], prompt="a\0b \ud800 \U0001f642 \u202eright to left")
    add_pairs(any_store, SLUG, [odd], [])
    assert list_pairs(any_store, SLUG)[0].prompt == "ab ? \U0001f642 \u202eright to left"


def test_the_plan_can_change_until_the_first_vote(store: Store, service: RatingService) -> None:
    opened(store, pairs_per_rater=5)
    rater = entered(service)
    change_spec(store, SLUG, make_spec(pairs_per_rater=3, title="Another title"))
    assert (service.screen(rater).title, service.screen(rater).total) == ("Another title", 3)
    cast(service, rater)
    assert load_study(store, SLUG).frozen_at
    with pytest.raises(UserError, match="revision 2"):
        change_spec(store, SLUG, make_spec(pairs_per_rater=4))
    assert verify_chain(store, SLUG).ok


def test_a_change_of_the_answers_drops_the_prepared_pairs(store: Store) -> None:
    create_study(store, make_spec())
    add_pairs(store, SLUG, make_pairs(2), [])
    mark_reviewed(store, SLUG)
    change_spec(store, SLUG, make_spec(title="Only the title"))
    assert load_study(store, SLUG).pairs == 2 and load_study(store, SLUG).reviewed
    change_spec(store, SLUG, make_spec(masks=("Some Name",)))
    assert load_study(store, SLUG).pairs == 0 and not load_study(store, SLUG).reviewed
    opened(store, slug="other")
    with pytest.raises(UserError, match="can no longer change"):
        change_spec(store, "other", make_spec(slug="other", max_tokens=7))
    with pytest.raises(UserError, match="short name"):
        change_spec(store, "other", make_spec(slug="another"))


def test_another_consent_text_is_asked_again(store: Store, service: RatingService) -> None:
    opened(store)
    rater = entered(service)
    change_spec(store, SLUG, make_spec(consent_version="2"))
    assert service.screen(rater).step == "consent"
    with pytest.raises(Refused, match="consent text has changed"):
        service.consent(rater, "1", "en")
    agree(service, rater)
    assert service.screen(rater).step == "instructions"


def test_invitations_are_long_random_and_stored_as_hashes_only(
    store: Store, service: RatingService
) -> None:
    opened(store, strata=("alpha", "beta"))
    tokens = invite(store, SLUG, 50, stratum="beta")
    assert len(set(tokens)) == 50 and all(len(token) >= 22 for token in tokens)
    with store.read() as connection:
        rows = str(connection.exec_driver_sql("SELECT * FROM rater").all())
    assert not any(token in rows for token in tokens)
    rater = rater_by_token(store, tokens[0])
    assert (rater.study, rater.stratum, rater.language) == (SLUG, "beta", "en")
    with pytest.raises(UserError, match="'beta'"):
        invite(store, SLUG, stratum="betta")
    with pytest.raises(UserError, match="not 0"):
        invite(store, SLUG, 0)


def test_every_bad_token_gets_the_same_words(store: Store, service: RatingService) -> None:
    opened(store)
    token = invite(store, SLUG)[0]
    service.withdraw(rater_by_token(store, token))
    words = set()
    for bad in (token, "", "x" * 10_000, token[:-1], "\ud800", None):
        with pytest.raises(Refused) as caught:
            rater_by_token(store, bad)  # type: ignore[arg-type]
        words.add((str(caught.value), caught.value.status))
    assert len(words) == 1 and words.pop()[1] == 403


def test_the_open_link_works_only_where_the_study_allows_it(store: Store) -> None:
    opened(store, open_link=True)
    token, rater = join_open(store, SLUG)
    assert rater.open_link and rater_by_token(store, token) == rater
    opened(store, slug="closed-one")
    for slug in ("closed-one", "nowhere"):
        with pytest.raises(Refused, match="not valid"):
            join_open(store, slug)
    lock_study(store, SLUG, "the tester")
    with pytest.raises(Refused):
        join_open(store, SLUG)


def test_progress_counts_and_tells_no_outcome(store: Store, service: RatingService) -> None:
    opened(store, 12, gold=2, pairs_per_rater=4, gold_share=0.5)
    newcomer(store)
    one, two, three = (entered(service) for _ in range(3))
    finish(
        service, one
    )  # for the joint answer: one of two gold pairs has the contributor as winner
    cast(service, two, "skip", reason="cannot read it")
    service.withdraw(three)
    seen = progress(store, SLUG)
    assert (seen.invited, seen.consented, seen.finished, seen.withdrawn) == (4, 2, 1, 1)
    assert (seen.votes_main, seen.votes_target, seen.skips) == (4, 12, 1)
    assert seen.gold_failures == 1 and sum(seen.votes_by_day.values()) == 7
    assert seen.median_seconds is None


def test_the_target_is_the_cap_or_all_places(store: Store) -> None:
    opened(store, 4, overlap=3)
    assert progress(store, SLUG).votes_target == 12
    opened(store, 4, slug="capped", overlap=3, stopping={"cap": 7})
    assert progress(store, "capped").votes_target == 7


def test_the_results_join_votes_and_arms(any_store: Store) -> None:
    service = RatingService(any_store)
    opened(
        any_store, 12, strata=("alpha", "beta"), gold=2, pairs_per_rater=8, gold_share=0.25,
        repeat_share=0.25, dimensions=("clear",),
    )  # fmt: skip
    rater = entered(service)
    cast(service, rater, "tie_bad", dimensions={"clear": "left"}, strength=2, reason="both odd")
    pair = service.undo(rater)
    side = "left" if pair.left.startswith("joint") else "right"
    service.vote(rater, ballot(pair.ticket, side))
    finish(service, rater)
    judge = Verdict("alpha-1", "a judge", True, 0, "tie", raw="It is a tie.")
    judge = replace(judge, score_system=float("nan"))
    for _ in range(2):
        turned = replace(judge, system_first=False, score_system=0.5)
        add_verdicts(any_store, SLUG, [judge, turned])
    note_deviation(any_store, SLUG, "One rater was ill.")
    lock_study(any_store, SLUG, "the tester")
    data = study_data(any_store, SLUG)
    kinds = [judgement.kind for judgement in data.judgements]
    assert (kinds.count("main"), kinds.count("gold"), kinds.count("repeat")) == (8, 2, 2)
    assert all(judgement.winner == "system" for judgement in data.judgements)
    assert [j.seq for j in data.judgements] == [2, *range(3, 14)]  # vote 1 was revised by vote 2
    assert data.judgements[0].first == "tie_bad" and data.judgements[0].dimensions == {}
    assert data.judgements[0].reason == "" and data.judgements[0].strength is None
    assert all((j.gold is not None) == (j.kind == "gold") for j in data.judgements)
    texts = {pair.item: pair for pair in data.pairs}
    for judgement in data.judgements:
        assert judgement.chars_system == len(texts[judgement.item].system)
        assert judgement.chars_contributor == len(texts[judgement.item].contributor)
        assert judgement.stratum == texts[judgement.item].stratum
    assert [verdict.system_first for verdict in data.verdicts] == [True, False]
    assert [verdict.score_system for verdict in data.verdicts] == [None, 0.5]
    assert data.deviations[0].endswith("One rater was ill.") and len(data.guesses) == 3
    check = verify_chain(any_store, SLUG)
    assert check.ok and data.chain_head == check.head and check.votes == 13
    assert (data.raters_invited, data.raters_consented, data.raters_withdrawn) == (1, 1, 0)
    assert data.raters_finished == 1 and data.facts["results opened by"] == "the tester"
    assert data.facts["collecting opened"] <= data.facts["first vote"] <= data.locked_at


def test_a_repeat_has_its_sides_swapped_in_the_results(
    store: Store, service: RatingService
) -> None:
    opened(store, 20, repeat_share=0.5, pairs_per_rater=20)
    finish(service, entered(service))
    lock_study(store, SLUG, "the tester")
    judgements = study_data(store, SLUG).judgements
    mains = {j.item: j for j in judgements if j.kind == "main"}
    repeats = [j for j in judgements if j.kind == "repeat"]
    assert len(repeats) == 10
    assert all(mains[j.item].system_side != j.system_side for j in repeats)
    assert all(j.position - mains[j.item].position >= 10 for j in repeats)


def test_verdicts_are_sealed_like_votes(store: Store) -> None:
    opened(store)
    add_verdicts(store, SLUG, [Verdict("alpha-1", "a judge", True, 0, "system")])
    with pytest.raises(Refused) as caught:
        study_data(store, SLUG)
    assert caught.value.status == 403 and count(store, "judge_vote") == 1


def test_the_anytime_rule_ends_collecting_by_itself(store: Store, service: RatingService) -> None:
    """For the joint answer each time: E = 2^n/(n+1) reaches 20 at the 8th vote (28.4)."""
    opened(store, stopping={"rule": "anytime", "cap": 100}, overlap=4)
    leaver, rater, watcher = (entered(service) for _ in range(3))
    cast_all(service, leaver, 5)
    service.withdraw(leaver)  # whose votes count no more
    cast_all(service, rater, 1)  # taken back: only the last revision counts
    service.vote(rater, ballot(service.undo(rater).ticket, "tie_bad"))
    assert cast_all(service, rater) == 8
    assert service.screen(rater).step == "guess" and not service.screen(rater).can_undo
    assert service.screen(watcher).step == service.screen(newcomer(store)).step == "closed"
    assert progress(store, SLUG).votes_main == 9 and load_study(store, SLUG).state == "open"
    assert verify_chain(store, SLUG).ok
    lock_study(store, SLUG, "the tester")
    assert len(study_data(store, SLUG).judgements) == 9


def test_each_study_has_a_secret_of_its_own(store: Store) -> None:
    opened(store)
    opened(store, slug="another")
    keys = {blind_key(store, SLUG), blind_key(store, "another")}
    assert len(keys) == 2 and all(len(key) == 32 for key in keys)


def test_a_deviation_needs_words(store: Store) -> None:
    opened(store)
    with pytest.raises(UserError, match="in a sentence"):
        note_deviation(store, SLUG, "  ")
