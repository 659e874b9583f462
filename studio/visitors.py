"""How much one visitor of a hosted studio may have at a time, so that there is a place for others.

A visitor is a page's session, and behind it an address: reloading makes a new session, so an
address has a limit of its own, wide enough for a class behind one router. Addresses are kept as
salted hashes in memory, never stored. The lab has no limits, and a studio on a machine of one's own
has none unless they are set.
"""

from __future__ import annotations

import hashlib
import math
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from evals.human.rate_limit import RateLimit
from protocols.core.errors import UserError
from studio.rating.limiter import HOUR_S, client_address
from studio.settings import Settings


@dataclass(frozen=True)
class Visitor:
    """Who started a run: a page's session and a hash of its address."""

    session: str
    address: str


class Visitors:
    """Knows visitors by their requests and counts what they start. Safe to use from any thread."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._salt = secrets.token_bytes(32)
        self._started = RateLimit(settings.address_runs_per_hour, HOUR_S)

    def of(self, request: Any) -> Visitor | None:
        """The visitor behind a Gradio request; None if there is no request."""
        inner = getattr(request, "request", None)
        if inner is None:
            return None
        address = client_address(inner, self._settings.proxy_hops)
        hashed = hashlib.blake2b(address.encode("utf-8", "replace"), key=self._salt, digest_size=16)
        return Visitor(str(request.session_hash or ""), hashed.hexdigest())

    def admit(self, visitor: Visitor, others: Iterable[Visitor | None]) -> None:
        """Count a run that a visitor starts; ``others`` started what has not ended.

        Raises :class:`UserError` with the sentence for the page if it is one too many.
        """
        now = [other for other in others if other]
        settings = self._settings
        mine = sum(other == visitor for other in now)
        near = sum(other.address == visitor.address for other in now)
        if settings.visitor_runs and mine >= settings.visitor_runs:
            raise UserError(
                f"You have {mine} {_runs(mine)} going already, as many as one visitor may have "
                "here. Wait for one to end or stop it."
            )
        if settings.address_runs and near >= settings.address_runs:
            raise UserError(
                f"{near} {_runs(near)} from your network are going already, as many as one network "
                "may have here. Try again when one has ended."
            )
        self._count(visitor)

    def _count(self, visitor: Visitor) -> None:
        if wait := self._started.wait(visitor.address, time.monotonic()):
            minutes = max(1, math.ceil(wait / 60))
            raise UserError(
                f"{self._settings.address_runs_per_hour} runs an hour may be started from one "
                f"network here. Try again in {minutes} min, or watch the replays."
            )


def _runs(count: int) -> str:
    return "run" if count == 1 else "runs"
