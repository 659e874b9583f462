"""Putting one checked vote into the ledger, inside the caller's transaction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, bindparam, func, select, update

from evals.human import plans, schema
from evals.human.ballots import Checked
from evals.human.ledger import SHOWN, Prefixed, append_event, append_vote, seal
from evals.human.records import Gate, Rater, Receipt, Refused
from evals.human.rows import Study, fetch_rater, stamp
from evals.human.stopping import should_stop
from evals.human.tickets import Opened

RECEIPT_CHARS = 12
_vote, _placed = schema.vote, schema.assignment
_KNOWN = (
    select(_vote, schema.vote_text.c.reason, _placed.c.ref)
    .outerjoin(schema.vote_text, schema.vote_text.c.vote == _vote.c.id)
    .join(_placed, _placed.c.id == _vote.c.assignment)
    .where(_vote.c.rater == bindparam("rater"), _vote.c.nonce == bindparam("nonce"))
)
_REVISIONS = select(func.count()).select_from(_vote).where(_vote.c.assignment == _placed.c.id)
_FOUND = (  # one question for all of it: voters wait for each other here
    select(
        _placed,
        _REVISIONS.scalar_subquery().label("revisions"),
        *(schema.pair.c[name].label(f"p_{name}") for name in SHOWN),
    )
    .join(schema.pair, schema.pair.c.id == _placed.c.pair)
    .where(_placed.c.ref == bindparam("ref"), _placed.c.rater == bindparam("rater"))
)
_MARK = update(_placed).where(_placed.c.id == bindparam("key")).values(voted=True)
_ACTIVE = update(schema.rater).where(schema.rater.c.id == bindparam("key")).values(reopened=None)
_ANSWER = ("outcome", "dimensions", "strength")


@dataclass(frozen=True, slots=True)
class Cast:
    """A vote on its way in: the opened ticket, the checked ballot, the gate's word, the time."""

    ticket: Opened
    ballot: Checked
    gate: Gate
    now: float


@dataclass(frozen=True, slots=True)
class Done:
    """The receipt; ``row`` and ``salt`` are those of a new vote, None and '' for a replay."""

    receipt: Receipt
    row: dict[str, Any] | None = None
    salt: str = ""


def cast_vote(connection: Connection, study: Study, rater: Rater, cast: Cast) -> Done:
    """Store the vote, or find the one that the same nonce stored before.

    ``study`` must be locked for writing. Raises :class:`Refused` (403, 409); the caller's
    transaction then ends without a change.
    """
    row = fetch_rater(connection, rater.id)
    if row.withdrawn_at:
        raise Refused("You have withdrawn from this study.", 403)
    known = _known(connection, rater.id, cast)
    if known is not None:
        return known
    placed = _open_assignment(connection, study, row, cast)
    saved, salt = _append(connection, study, placed, cast)
    _note(connection, study, placed, cast)
    return Done(_receipt(saved, replayed=False), saved, salt)


def _known(connection: Connection, rater: str, cast: Cast) -> Done | None:
    """The vote that this nonce stored already. Refused (409) if it said something else."""
    row = connection.execute(_KNOWN, {"rater": rater, "nonce": cast.ballot.nonce}).first()
    if row is None:
        return None
    same = all(getattr(row, name) == cast.ballot.answer[name] for name in _ANSWER)
    if not same or row.ref != cast.ticket.reference or (row.reason or "") != cast.ballot.reason:
        raise Refused("This choice was sent before with another answer. Reload the page.", 409)
    return Done(_receipt(row._mapping, replayed=True))


def _receipt(row: Any, *, replayed: bool) -> Receipt:
    return Receipt(row["hash"][:RECEIPT_CHARS], row["at"], row["revision"], replayed)


def _open_assignment(connection: Connection, study: Study, rater: Row[Any], cast: Cast) -> Row[Any]:
    """The assignment a ticket stands for, if it may be voted on now."""
    if not study.collecting:
        raise Refused("Collecting has ended; this vote was not counted.", 409)
    if cast.ticket.expired:
        raise Refused("This page is too old. Open your link again.", 403)
    row = _find(connection, rater.id, cast.ticket.reference)
    if row is not None and row.freed_at:  # back after the lease: perhaps it is still free
        plans.refill(connection, study, rater, cast.now)
        row = _find(connection, rater.id, cast.ticket.reference)
    if row is None or row.freed_at:
        raise Refused("This pair went to another rater. Reload the page to go on.", 409)
    if row.voted and rater.reopened != row.id:
        raise Refused("You have voted on this pair. Use undo to change it.", 409)
    return row


def _find(connection: Connection, rater: str, ref: str) -> Row[Any] | None:
    return connection.execute(_FOUND, {"ref": ref, "rater": rater}).first()


def _append(
    connection: Connection, study: Study, placed: Row[Any], cast: Cast
) -> tuple[dict[str, Any], str]:
    values = {
        "study": study.slug,
        "rater": placed.rater,
        "assignment": placed.id,
        "revision": placed.revisions + 1,
        "nonce": cast.ballot.nonce,
        "gate": cast.gate,
        "digest": study.digest,
        "seal": seal(study.secret, placed, Prefixed(placed, "p_")),
        "at": stamp(cast.now),
    }
    return append_vote(
        connection, values | cast.ballot.answer | cast.ballot.measured, cast.ballot.reason
    )


def _note(connection: Connection, study: Study, placed: Row[Any], cast: Cast) -> None:
    """Write down what a new vote changes beside the ledger."""
    skipped = cast.ballot.answer["outcome"] == "skip"
    connection.execute(_MARK, {"key": placed.id, "skipped": skipped})
    connection.execute(_ACTIVE, {"key": placed.rater, "active_at": cast.now})
    changes = {} if study.frozen_at else {"frozen_at": stamp(cast.now)}
    if placed.kind == "main" and should_stop(connection, study):
        changes["stopped_at"] = stamp(cast.now)
        append_event(connection, study.slug, "stopped", cast.now)
    if changes:
        row = schema.study
        connection.execute(update(row).where(row.c.slug == study.slug).values(**changes))
