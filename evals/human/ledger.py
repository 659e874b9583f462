"""The chains of votes and events: each row's hash covers its content and the row before it.

A row that is changed, removed or put in between breaks the chain from there on, and locking a study
writes the last vote's hash into its own event, so that cutting the end off shows as well. A vote's
free text is covered by a salted hash: it can be erased and the chain still verifies. The ``seal``
of a vote covers what the rater had on the screen (item, texts, side), keyed with the study's
secret, so that the arms cannot be swapped afterwards without it showing.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, Table, bindparam, insert, select

from evals.human import schema
from evals.human.rows import Study, fetch_study, stamp
from evals.human.store import Store

GENESIS = "0" * 64
_ASSIGNED = ("ref", "kind", "position", "system_side")
SHOWN = ("item", "prompt", "contributor", "system")
"""What a vote's seal covers of the pair."""


@dataclass(frozen=True, slots=True)
class ChainCheck:
    """Whether a study's record is intact. ``first_bad`` is the number of the first bad vote."""

    ok: bool
    votes: int
    head: str
    first_bad: int | None = None
    events: int = 0
    why: str = ""


def canonical(body: Mapping[str, object]) -> str:
    """Return a value as the one JSON text that its hash is taken of."""
    return json.dumps(body, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def chain_hash(previous: str, body: Mapping[str, object]) -> str:
    """Return the SHA-256 of a row's content after the row with hash ``previous``."""
    return hashlib.sha256(f"{previous}\n{canonical(body)}".encode()).hexdigest()


def text_hash(salt: str, text: str) -> str:
    """Return the salted hash that stands for an erasable text; '' for none."""
    return hashlib.sha256(f"{salt}\n{text}".encode()).hexdigest() if text else ""


def seal(secret: bytes, assignment: Any, pair: Any) -> str:
    """Return the keyed hash of what was on the screen and which arm stood where."""
    shown = {name: getattr(assignment, name) for name in _ASSIGNED}
    shown |= {name: getattr(pair, name) for name in SHOWN}
    return hmac.new(secret, canonical(shown).encode(), hashlib.sha256).hexdigest()


def _body(row: Mapping[str, Any]) -> dict[str, object]:
    return {name: value for name, value in row.items() if name not in ("id", "prev_hash", "hash")}


def _last_of(table: Table) -> Any:
    query = select(table.c.number, table.c.hash).where(table.c.study == bindparam("study"))
    return query.order_by(table.c.number.desc()).limit(1)


_LAST = {table.name: _last_of(table) for table in (schema.vote, schema.event)}
_ADD_VOTE, _ADD_TEXT = insert(schema.vote), insert(schema.vote_text)


def last_link(connection: Connection, table: Table, study: str) -> tuple[int, str]:
    """Return number and hash of the last row of a study's chain; 0 and zeros for none."""
    last = connection.execute(_LAST[table.name], {"study": study}).first()
    return (last.number, last.hash) if last else (0, GENESIS)


def _linked(connection: Connection, table: Table, values: dict[str, Any]) -> dict[str, Any]:
    number, previous = last_link(connection, table, values["study"])
    row = values | {"number": number + 1}
    return row | {"prev_hash": previous, "hash": chain_hash(previous, row)}


def append_vote(
    connection: Connection, values: dict[str, Any], reason: str
) -> tuple[dict[str, Any], str]:
    """Add a vote at the end of its study's chain; return the row and the salt of its text.

    The study must be locked for writing by the caller (``fetch_study(..., lock=True)``).
    """
    salt = secrets.token_hex(16)
    row = _linked(connection, schema.vote, values | {"reason_hash": text_hash(salt, reason)})
    key = connection.execute(_ADD_VOTE, row).inserted_primary_key
    if reason and key is not None:
        connection.execute(_ADD_TEXT, {"vote": key[0], "salt": salt, "reason": reason})
    return row, salt


def append_event(
    connection: Connection, study: str, kind: str, now: float, *, rater: str = "", **body: object
) -> None:
    """Add an event (consent, withdrawal, lock, ...) at the end of its study's chain."""
    values = {"study": study, "kind": kind, "rater": rater, "body": canonical(body)}
    row = _linked(connection, schema.event, values | {"at": stamp(now)})
    connection.execute(insert(schema.event).values(**row))


def verify_chain(store: Store, slug: str) -> ChainCheck:
    """Recompute every hash of a study's votes and events. Raises :class:`UserError`: no study."""
    with store.read() as connection:
        study = fetch_study(connection, slug)
        votes, head, bad, why = _check_votes(connection, study)
        events, problem = _check_events(connection, slug, head, votes)
    if study.spec.digest != study.digest:
        problem = "the plan was changed"
    return ChainCheck(not (why or problem), votes, head, bad, events, why or problem)


def _check_votes(connection: Connection, study: Study) -> tuple[int, str, int | None, str]:
    """Number of votes, hash of the last, number of the first bad one and what is wrong with it."""
    head, count = GENESIS, 0
    for row in connection.execute(_votes_with_context(study.slug)):
        count += 1
        why = _vote_problem(row, head, count, study)
        if why:
            return count, head, count, why
        head = row.hash
    return count, head, None, ""


def _votes_with_context(slug: str) -> Any:
    vote, text, rater = schema.vote, schema.vote_text, schema.rater
    return (
        select(
            vote, text.c.salt, text.c.reason, rater.c.withdrawn_at,
            *(schema.assignment.c[n].label(f"a_{n}") for n in _ASSIGNED),
            *(schema.pair.c[n].label(f"p_{n}") for n in SHOWN),
        )
        .outerjoin(text, text.c.vote == vote.c.id)
        .outerjoin(rater, rater.c.id == vote.c.rater)
        .outerjoin(schema.assignment, schema.assignment.c.id == vote.c.assignment)
        .outerjoin(schema.pair, schema.pair.c.id == schema.assignment.c.pair)
        .where(vote.c.study == slug)
        .order_by(vote.c.number)
    )  # fmt: skip


class Prefixed:
    """A joined row's columns of one table, read by their own names."""

    def __init__(self, row: Row[Any], prefix: str) -> None:
        self._row, self._prefix = row, prefix

    def __getattr__(self, name: str) -> Any:
        return getattr(self._row, f"{self._prefix}{name}")


def _vote_problem(row: Row[Any], previous: str, number: int, study: Study) -> str:
    body = _body({name: getattr(row, name) for name in schema.vote.c.keys()})  # noqa: SIM118  no mapping
    screen = seal(study.secret, Prefixed(row, "a_"), Prefixed(row, "p_"))
    said = row.reason or ""
    erased = row.reason is None and row.withdrawn_at
    problems = (
        (row.number != number or row.prev_hash != previous, "a vote is missing before it"),
        (chain_hash(previous, body) != row.hash, "it was changed"),
        (row.digest != study.digest, "it was cast under another plan"),
        (row.seal != screen, "what it was about was changed"),
        (
            not erased and text_hash(row.salt or "", said) != row.reason_hash,
            "its text was changed or removed without a withdrawal",
        ),
    )
    return next((why for wrong, why in problems if wrong), "")


def _check_events(
    connection: Connection, slug: str, votes_head: str, votes: int
) -> tuple[int, str]:
    table, head, count = schema.event, GENESIS, 0
    rows: Iterable[Row[Any]] = connection.execute(
        select(table).where(table.c.study == slug).order_by(table.c.number)
    )
    for row in rows:
        count += 1
        body = _body(row._mapping)  # type: ignore[arg-type]
        broken = row.number != count or row.prev_hash != head
        if broken or chain_hash(head, body) != row.hash:
            return count, f"event {count} was changed or one is missing"
        if row.kind == "unblind":
            sealed = json.loads(row.body)
            if (sealed["head"], sealed["votes"]) != (votes_head, votes):
                return count, "votes were added or removed after the study was locked"
        head = row.hash
    return count, ""
