"""Signed, expiring tickets: the only name of a pair that leaves the server.

A ticket holds a random-looking reference of fixed length, the time it was made and a signature
that also covers what it is for, the study and the rater. It tells nothing about item, order or
arm, has the same length whatever it stands for, and is worth nothing to another rater.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from itsdangerous import BadSignature, TimestampSigner

from evals.human.assign import keyed
from evals.human.records import Rater, Refused

Purpose = Literal["vote", "practice", "guess"]
REFERENCE_CHARS = 32
_MAX_CHARS = 200


class _Signer(TimestampSigner):
    """A signer that reads the given clock."""

    def __init__(self, secret: bytes, salt: str, now: Callable[[], float]) -> None:
        super().__init__(secret, salt=salt, digest_method=hashlib.sha256)
        self._now = now

    def get_timestamp(self) -> int:
        return int(self._now())


@dataclass(frozen=True, slots=True)
class Opened:
    """A ticket whose signature holds: what it refers to, and whether its time is over."""

    reference: str
    expired: bool


def reference(secret: bytes, *parts: object) -> str:
    """Return the opaque name of something: 32 hex digits that only the secret can make."""
    return keyed(secret, "reference", *parts).hex()[:REFERENCE_CHARS]


@dataclass(frozen=True, slots=True)
class Tickets:
    """Makes and opens the tickets of one study. ``seconds`` is how long they are valid."""

    secret: bytes
    seconds: float
    now: Callable[[], float]

    def issue(self, rater: Rater, purpose: Purpose, ref: str) -> str:
        """Return a ticket for ``ref``, valid for this rater and purpose only."""
        return self._signer(rater, purpose).sign(ref).decode()

    def open(self, rater: Rater, purpose: Purpose, ticket: object) -> Opened:
        """Check a ticket. Raises :class:`Refused` (403) when it is forged or another's."""
        if not isinstance(ticket, str) or len(ticket) > _MAX_CHARS:
            raise _forged()
        try:
            ref, made = self._signer(rater, purpose).unsign(ticket, return_timestamp=True)
        except (BadSignature, UnicodeError):
            raise _forged() from None
        # Only age counts: a clock set back must not turn good tickets away.
        return Opened(ref.decode(), self.now() - made.timestamp() > self.seconds)

    def _signer(self, rater: Rater, purpose: Purpose) -> _Signer:
        return _Signer(self.secret, "\x1f".join((purpose, rater.study, rater.id)), self.now)


def _forged() -> Refused:
    return Refused("This page is not valid any more. Open your link again.", 403)
