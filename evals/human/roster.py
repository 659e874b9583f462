"""Who rates in a study and how far each rater is: counts only, never an outcome or a name.

A rater is known here by the beginning of a random id, which the lab sees beside the link when it is
made. Whom a link was given to is the lab's own record; it is not kept here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, Row, func, select

from evals.human import schema
from evals.human.rows import fetch_study, stamp
from evals.human.store import Store

SHORT = 8
"""Characters of an id that are shown: two raters of one study are hardly ever alike in them."""
Standing = Literal["invited", "consented", "rating", "finished", "withdrawn"]


@dataclass(frozen=True, slots=True)
class RaterRow:
    """One rater. ``done`` of ``planned`` pairs, repeats and gold pairs included; ``last`` is when
    they last did something, ISO-8601 or ''."""

    id: str
    stratum: str
    open_link: bool
    standing: Standing
    done: int
    planned: int
    last: str

    @property
    def short(self) -> str:
        """What the rater is called on the lab's pages."""
        return self.id[:SHORT]


def roster(store: Store, slug: str) -> list[RaterRow]:
    """Return the raters of a study, those invited first at the top.

    Raises :class:`UserError` when there is no such study.
    """
    rater = schema.rater
    query = select(rater).where(rater.c.study == slug).order_by(rater.c.invited_at, rater.c.id)
    with store.read() as connection:
        fetch_study(connection, slug)
        counts = _counts(connection, slug)
        rows = connection.execute(query).all()
    return [_rater_row(row, *counts.get(row.id, (0, 0))) for row in rows]


def _counts(connection: Connection, slug: str) -> dict[str, tuple[int, int]]:
    """Voted and planned places by rater, without those that were given up."""
    placed = schema.assignment
    query = (
        select(placed.c.rater, func.count().filter(placed.c.voted), func.count())
        .where(placed.c.study == slug, placed.c.freed_at == "")
        .group_by(placed.c.rater)
    )
    return {rater: (done, planned) for rater, done, planned in connection.execute(query)}


def _rater_row(row: Row[Any], done: int, planned: int) -> RaterRow:
    last = stamp(row.active_at) if row.active_at else row.consent_at
    return RaterRow(row.id, row.stratum, row.open_link, _standing(row, done), done, planned, last)


def _standing(row: Row[Any], done: int) -> Standing:
    reached: tuple[tuple[object, Standing], ...] = (
        (row.withdrawn_at, "withdrawn"),
        (row.finished_at, "finished"),
        (done, "rating"),
        (row.consent_at, "consented"),
    )
    return next((standing for there, standing in reached if there), "invited")
