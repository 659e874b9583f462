"""Reading the store's rows as values, and the few small things that all writers share."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Row, bindparam, select

from evals.human import schema
from evals.human.records import Rater, Refused
from evals.human.study import StudySpec
from protocols.core.errors import UserError

Record = Row[Any]
# Queries of every request are built once: building costs more than running them.
_STUDY = select(schema.study).where(schema.study.c.slug == bindparam("slug"))
_LOCKED_STUDY = _STUDY.with_for_update()
DISCARDED = "discarded"
"""The state of a study that was removed before its first vote: it is as if it were not there."""
_RATER = select(schema.rater).where(schema.rater.c.id == bindparam("rater"))


def stamp(now: float) -> str:
    """Return ``now`` (seconds since 1970) as ISO-8601 text in UTC, to the millisecond."""
    return datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds")


@lru_cache(maxsize=64)
def parse_spec(text: str) -> StudySpec:
    """Return the plan written in ``text``; the same text is read once."""
    return StudySpec.model_validate_json(text)


@dataclass(frozen=True, slots=True)
class Study:
    """A study's row with its plan read, for the server's own use: it holds the secret."""

    slug: str
    spec: StudySpec
    digest: str
    state: str
    simulated: bool
    reviewed: bool
    secret: bytes = field(repr=False)
    created_at: str
    frozen_at: str
    stopped_at: str
    locked_at: str

    @property
    def collecting(self) -> bool:
        """Whether votes are taken."""
        return self.state == "open" and not self.stopped_at


def fetch_study(connection: Connection, slug: str, *, lock: bool = False) -> Study:
    """Return the study ``slug``; with ``lock`` no other writer touches it until the commit.

    Raises :class:`UserError` when there is none.
    """
    row = connection.execute(_LOCKED_STUDY if lock else _STUDY, {"slug": slug}).first()
    if row is None or row.state == DISCARDED:
        raise UserError(f"There is no study '{slug}'; list the studies to see their names.")
    read = {"spec": parse_spec(row.spec), "secret": bytes(row.secret)}
    return Study(**{**row._mapping, **read})


def fetch_rater(connection: Connection, rater: str) -> Record:
    """Return a rater's row. Raises :class:`Refused` when there is none."""
    row = connection.execute(_RATER, {"rater": rater}).first()
    if row is None:
        raise Refused("This link is not valid. Ask for a new one.")
    return row


def as_rater(row: Record) -> Rater:
    """Return what the pages may know of a rater."""
    return Rater(row.id, row.study, row.stratum, row.language, row.open_link)


def clean(value: object, limit: int | None = None) -> str:
    """Return ``value`` as storable text: no control characters, no lone surrogates, cut at limit.

    Line breaks and tabs stay. A value that is not text becomes ''.
    """
    if not isinstance(value, str):
        return ""
    kept = (c for c in value if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cs"))
    return "".join(kept).strip()[:limit]


def storable(value: str) -> str:
    """Return a text that every database takes: without NUL and with lone surrogates replaced."""
    return value.replace("\0", "").encode("utf-8", "replace").decode("utf-8")
