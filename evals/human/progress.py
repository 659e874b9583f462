"""How far a study is: counts and pace only, never an outcome."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Row, func, select

from evals.human import schema
from evals.human.rows import Study, fetch_study
from evals.human.store import Store


@dataclass(frozen=True)
class Progress:
    """Counts for the lab while the study is blind. ``votes_main`` leaves skips out; withdrawn
    raters count under ``withdrawn`` only. ``median_seconds`` is the visible time per vote."""

    invited: int = 0
    consented: int = 0
    finished: int = 0
    withdrawn: int = 0
    votes_main: int = 0
    votes_target: int = 0
    skips: int = 0
    gold_failures: int = 0
    gate_unknown: int = 0
    votes_by_day: Mapping[str, int] = field(default_factory=dict)
    median_seconds: float | None = None


def progress(store: Store, slug: str) -> Progress:
    """Return how far a study is. Raises :class:`UserError` when there is none."""
    with store.read() as connection:
        study = fetch_study(connection, slug)
        votes = _last_votes(connection, slug)
        return Progress(
            **_raters(connection, slug),
            votes_main=sum(v.kind == "main" and v.outcome != "skip" for v in votes),
            votes_target=_target(connection, study),
            skips=sum(v.outcome == "skip" for v in votes),
            gold_failures=sum(_missed_gold(v) for v in votes),
            gate_unknown=sum(v.gate == "unknown" for v in votes),
            votes_by_day=dict(sorted(Counter(v.at[:10] for v in votes).items())),
            median_seconds=_median_seconds(votes),
        )


def _last_votes(connection: Connection, slug: str) -> list[Row[Any]]:
    vote, placed, rater, pair = schema.vote, schema.assignment, schema.rater, schema.pair
    query = (
        select(
            vote.c.assignment, vote.c.outcome, vote.c.gate, vote.c.at, vote.c.visible_ms,
            placed.c.kind, placed.c.system_side, pair.c.gold,
        )
        .join(placed, placed.c.id == vote.c.assignment)
        .join(pair, pair.c.id == placed.c.pair)
        .join(rater, rater.c.id == vote.c.rater)
        .where(vote.c.study == slug, rater.c.withdrawn_at == "")
        .order_by(vote.c.number)
    )  # fmt: skip
    last: dict[int, Any] = {row.assignment: row for row in connection.execute(query)}
    return list(last.values())


def _missed_gold(row: Row[Any]) -> bool:
    if row.kind != "gold" or row.outcome == "skip":
        return False
    if row.outcome not in ("left", "right"):
        return True
    return bool((row.outcome == row.system_side) != (row.gold == "system"))


def _raters(connection: Connection, slug: str) -> dict[str, int]:
    rater = schema.rater
    stays = rater.c.withdrawn_at == ""
    query = select(
        func.count().label("invited"),
        func.count().filter(rater.c.consent_at != "", stays).label("consented"),
        func.count().filter(rater.c.finished_at != "", stays).label("finished"),
        func.count().filter(~stays).label("withdrawn"),
    ).where(rater.c.study == slug)
    return dict(connection.execute(query).one()._mapping)


def _target(connection: Connection, study: Study) -> int:
    pair = schema.pair
    query = select(func.count()).select_from(pair)
    query = query.where(pair.c.study == study.slug, ~pair.c.excluded, pair.c.gold.is_(None))
    places = connection.execute(query).scalar_one() * study.spec.overlap
    return min(study.spec.stopping.cap, places)


def _median_seconds(votes: list[Row[Any]]) -> float | None:
    seen = [row.visible_ms / 1000 for row in votes if row.visible_ms]
    return statistics.median(seen) if seen else None
