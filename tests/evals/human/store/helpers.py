"""A plainly artificial study and the few steps that most tests repeat."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evals.human.raters import invite, rater_by_token
from evals.human.rating_service import RatingService
from evals.human.records import Ballot, PairText, Rater, Receipt, Refused
from evals.human.store import Store
from evals.human.studies import add_pairs, create_study, mark_reviewed, open_study
from evals.human.study import ContributorArm, StudySpec, SystemArm

SLUG = "test-study"
DAY = 86_400.0
_nonces = itertools.count()


class Clock:
    """A clock that tests move by hand."""

    def __init__(self) -> None:
        self.time = 1_800_000_000.0

    def __call__(self) -> float:
        return self.time

    def pass_by(self, seconds: float) -> None:
        self.time += seconds


def make_spec(strata: Sequence[str] = ("alpha",), slug: str = SLUG, **more: Any) -> StudySpec:
    standard: dict[str, Any] = {
        "title": "A test study",
        "contributors": tuple(ContributorArm(model=s, questions="import:test") for s in strata),
        "system": SystemArm(protocol="majority_vote"),
        "repeat_share": 0.0,
        "stopping": {"cap": 10_000},
    }
    return StudySpec(slug=slug, **{**standard, **more})


def make_pairs(count: int, strata: Sequence[str] = ("alpha",), gold: int = 0) -> list[PairText]:
    """``count`` main pairs per stratum, then ``gold`` gold pairs of the first stratum."""
    mains = [
        PairText(f"{s}-{n}", s, f"Question {n} of {s}?", f"own {s} {n}", f"joint {s} {n}")
        for n in range(count)
        for s in strata
    ]
    golds = [
        PairText(
            f"gold-{n}", strata[0], f"Gold {n}?", f"own gold {n}", f"joint gold {n}",
            gold="system" if n % 2 else "contributor",
        )
        for n in range(gold)
    ]  # fmt: skip
    return mains + golds


def opened(
    store: Store, pairs: int = 25, *, strata: Sequence[str] = ("alpha",), gold: int = 0, **more: Any
) -> str:
    """Make and open a study and return its slug."""
    spec = make_spec(strata, **more)
    create_study(store, spec)
    add_pairs(store, spec.slug, make_pairs(pairs, strata, gold), [])
    mark_reviewed(store, spec.slug)
    open_study(store, spec.slug)
    return spec.slug


def newcomer(store: Store, slug: str = SLUG, stratum: str = "") -> Rater:
    return rater_by_token(store, invite(store, slug, stratum=stratum)[0])


def agree(service: RatingService, rater: Rater) -> None:
    screen = service.screen(rater)
    service.consent(rater, screen.consent_version, screen.language)


def warm_up(service: RatingService, rater: Rater) -> None:
    """From a fresh link to the first pair."""
    if service.screen(rater).step == "consent":
        agree(service, rater)
    service.begin(rater)
    while service.screen(rater).step == "practice":
        service.answer_practice(rater, Ballot(service.practice(rater).ticket, "p", "left"))


def entered(service: RatingService, slug: str = SLUG, stratum: str = "") -> Rater:
    """A new rater at the first pair."""
    rater = newcomer(service.store, slug, stratum)
    warm_up(service, rater)
    return rater


def ballot(ticket: str, outcome: Any = "left", **more: Any) -> Ballot:
    nonce = more.pop("nonce", f"nonce-{next(_nonces)}")
    return Ballot(ticket, nonce, outcome, **more)


def cast(service: RatingService, rater: Rater, outcome: Any = "left", **more: Any) -> Receipt:
    """Vote on the current pair."""
    return service.vote(rater, ballot(service.pair(rater).ticket, outcome, **more))


def cast_all(service: RatingService, rater: Rater, limit: int = 10_000) -> int:
    """Vote on at most ``limit`` pairs, for the joint answer, and return how many there were."""
    for done in range(limit):
        try:
            pair = service.pair(rater)
        except Refused:
            return done
        service.vote(
            rater, ballot(pair.ticket, "left" if pair.left.startswith("joint") else "right")
        )
    return limit


def finish(service: RatingService, rater: Rater) -> None:
    cast_all(service, rater)
    service.guess(rater, {pair.ticket: "unknown" for pair in service.guess_pairs(rater)})


def count(store: Store, table: str) -> int:
    with store.read() as connection:
        return int(connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one())


def file_store(folder: Path, **more: Any) -> Store:
    return Store.open(str(folder / "studies.db"), **more)
