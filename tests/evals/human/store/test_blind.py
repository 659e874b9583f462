"""Nothing that a rater can get at the service depends on the arms or names them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import pytest

from evals.human.rating_service import RatingService
from evals.human.records import Ballot, PairText, Rater, Refused
from evals.human.store import Store
from evals.human.studies import add_pairs, create_study, mark_reviewed, open_study
from tests.evals.human.store.helpers import SLUG, ballot, cast, entered, make_spec, warm_up
from tests.evals.human.store.helpers import newcomer as new

CANARIES = ("ZQX-CONTRIB", "zqx-contrib", "ZQX-SYSTEM", "zqx-item", "zqx-run", "zqx-raw")
WORDS = ("contributor", "system_", "system'", "gold", "repeat", "main", "stratum")


def canary_pairs(count: int) -> list[PairText]:
    return [
        PairText(
            f"zqx-item-{n}", f"zqx-contrib-{n % 2}", f"Question {n}?", f"one {n}", f"two {n}",
            raw_contributor="zqx-raw", raw_system="zqx-raw", run_contributor="zqx-run-1",
            run_system="zqx-run-2", cut_system=n % 3 == 0,
            gold="system" if n % 7 == 0 else None,
        )
        for n in range(count)
    ]  # fmt: skip


@pytest.fixture
def rater(store: Store, service: RatingService) -> Rater:
    spec = make_spec(
        ("zqx-contrib-0", "zqx-contrib-1"), pairs_per_rater=8, repeat_share=0.25, gold_share=0.25
    )
    create_study(store, spec)
    add_pairs(store, SLUG, canary_pairs(28), [])
    mark_reviewed(store, SLUG)
    open_study(store, SLUG)
    return new(store)


def test_a_whole_session_names_no_arm(store: Store, service: RatingService, rater: Rater) -> None:
    said: list[object] = []

    def note(call: Callable[[], Any]) -> Any:
        try:
            got = call()
        except Refused as error:
            said.append(str(error))
            return None
        shown = asdict(got) if hasattr(got, "__dataclass_fields__") else got
        said.append([asdict(p) for p in got] if isinstance(got, list) else shown)
        return got

    note(lambda: service.pair(rater))
    warm_up(service, rater)
    while note(lambda: service.screen(rater)).step == "pair":
        pair = note(lambda: service.pair(rater))
        sent = ballot(pair.ticket)
        for bad in (ballot("forged"), ballot(pair.ticket, "model_a"), ballot(pair.ticket, "skip")):
            note(lambda bad=bad: service.vote(rater, bad))  # type: ignore[misc]
        note(lambda sent=sent: service.vote(rater, sent))  # type: ignore[misc]
        note(lambda pair=pair: service.vote(rater, ballot(pair.ticket)))  # type: ignore[misc]
    note(lambda: service.undo(rater))
    cast(service, rater)
    pairs = note(lambda: service.guess_pairs(rater))
    note(lambda: service.guess(rater, {p.ticket: "left" for p in pairs}))
    note(lambda: service.certificate(rater))
    text = json.dumps(said)
    assert text.count("Question") >= 12
    assert not [word for word in (*CANARIES, *WORDS) if word in text]
    assert rater.id not in text


def test_with_arms_and_sides_swapped_every_byte_is_the_same(
    store: Store, service: RatingService, rater: Rater
) -> None:
    """T-L5 at the service: only the tickets' time could differ, and the clock stands still."""
    warm_up(service, rater)

    def everything() -> str:
        return json.dumps([asdict(service.screen(rater)), asdict(service.pair(rater))])

    def swap() -> None:
        with store.write() as connection:
            connection.exec_driver_sql(
                "UPDATE pair SET contributor = system, system = contributor,"
                " cut_contributor = cut_system, cut_system = cut_contributor"
            )
            connection.exec_driver_sql(
                "UPDATE assignment SET system_side ="
                " CASE system_side WHEN 'left' THEN 'right' ELSE 'left' END"
            )

    while service.screen(rater).step == "pair":
        before = everything()
        swap()
        assert everything() == before
        swap()
        cast(service, rater)


def test_only_two_arms_of_equal_standing_reach_the_screen(
    store: Store, service: RatingService, rater: Rater
) -> None:
    """A pair cut on either side is marked as a pair: the mark does not say which side."""
    warm_up(service, rater)
    marks = set()
    while service.screen(rater).step == "pair":
        pair = service.pair(rater)
        number = int(pair.prompt.split()[1].rstrip("?"))
        assert pair.cut == (number % 3 == 0)
        assert {pair.left, pair.right} == {f"one {number}", f"two {number}"}
        marks.add(pair.cut)
        cast(service, rater)
    assert marks == {True, False}


def test_practice_looks_like_no_study(store: Store, service: RatingService, rater: Rater) -> None:
    service.consent(rater, "1", "en")
    service.begin(rater)
    sides = []
    for _ in range(2):
        pair = service.practice(rater)
        assert len(pair.ticket) == len(service.pair(entered_other(service)).ticket)
        sides.append(service.answer_practice(rater, Ballot(pair.ticket, "n", "left")))
    assert sorted(sides) == [False, True]


def entered_other(service: RatingService) -> Rater:
    return entered(service)
