"""Inviting raters and recognising them by their link. Only hashes of links are stored."""

from __future__ import annotations

import hashlib
import secrets
import time

from sqlalchemy import Connection, bindparam, insert, select, update

from evals.human import schema
from evals.human.ledger import append_event
from evals.human.records import Rater, Refused
from evals.human.rows import as_rater, fetch_study, stamp
from evals.human.store import Store
from protocols.core.errors import UserError, unknown

TOKEN_BYTES = 16
_MAX_INVITES = 10_000
_BY_TOKEN = select(schema.rater).where(schema.rater.c.token_hash == bindparam("token"))


def invite(store: Store, slug: str, count: int = 1, *, stratum: str = "") -> list[str]:
    """Make ``count`` invitations and return their tokens, 128 bits each, shown this once.

    Raises :class:`UserError` for a locked study, an unknown stratum or a count out of range.
    """
    if not 1 <= count <= _MAX_INVITES:
        raise UserError(f"Between 1 and {_MAX_INVITES:,} links can be made at once, not {count}.")
    with store.write() as connection:
        study = fetch_study(connection, slug)
        if study.state == "locked":
            raise UserError(f"'{slug}' is locked; nobody can be invited any more.")
        strata = [arm.model for arm in study.spec.contributors]
        if stratum and stratum not in strata:
            raise unknown("contributor in this study", stratum, strata)
        language = study.spec.languages[0]
        return [_add(connection, slug, stratum, language)[0] for _ in range(count)]


def join_open(store: Store, slug: str) -> tuple[str, Rater]:
    """Make a rater for someone who came by the study's open link: the new token and the rater.

    Raises :class:`Refused` (403) unless the study is open and has an open link.
    """
    with store.write() as connection:
        try:
            study = fetch_study(connection, slug)
        except UserError:
            raise _unknown_link() from None
        if not (study.spec.open_link and study.collecting):
            raise _unknown_link()
        language = study.spec.languages[0]
        token, rater = _add(connection, slug, "", language, open_link=True)
        return token, rater


def renew(store: Store, slug: str, rater: str) -> str:
    """Give a rater another token, for a link that was lost or has leaked; the old one ends.

    Their place in the study stays. Raises :class:`UserError` for a rater that the study does not
    have, who has withdrawn, or who came by the open link: nobody could hand them a new one.
    """
    token, now, table = secrets.token_urlsafe(TOKEN_BYTES), time.time(), schema.rater
    with store.write() as connection:
        fetch_study(connection, slug, lock=True)
        mine = table.c.study == slug, table.c.id == rater
        row = connection.execute(select(table).where(*mine)).first()
        if row is None or row.withdrawn_at or row.open_link:
            raise UserError("No invited rater who is still in the study has this name. Choose one.")
        connection.execute(update(table).where(*mine).values(token_hash=_hashed(token)))
        append_event(connection, slug, "link renewed", now, rater=rater)
    return token


def rater_by_token(store: Store, token: str) -> Rater:
    """Return the rater of an invitation. Raises :class:`Refused` (403), always the same words, for
    a token that was never given, or whose rater has withdrawn."""
    with store.read() as connection:
        row = connection.execute(_BY_TOKEN, {"token": _hashed(token)}).first()
    if row is None or row.withdrawn_at:
        raise _unknown_link()
    return as_rater(row)


def _unknown_link() -> Refused:
    return Refused("This link is not valid. Ask for a new one.", 403)


def _hashed(token: object) -> str:
    # The tokens are random and long, so a plain hash cannot be searched backwards.
    return hashlib.sha256(str(token)[:256].encode("utf-8", "replace")).hexdigest()


def _add(
    connection: Connection, slug: str, stratum: str, language: str, *, open_link: bool = False
) -> tuple[str, Rater]:
    token = secrets.token_urlsafe(TOKEN_BYTES)
    values = {
        "id": secrets.token_hex(8), "study": slug, "token_hash": _hashed(token),
        "stratum": stratum, "language": language, "open_link": open_link,
        "invited_at": stamp(time.time()),
    }  # fmt: skip
    connection.execute(insert(schema.rater).values(**values))
    row = connection.execute(select(schema.rater).where(schema.rater.c.id == values["id"])).one()
    return token, as_rater(row)
