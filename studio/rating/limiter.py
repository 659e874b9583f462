"""How often one rater or one address may ask. Counted in memory, never stored."""

from __future__ import annotations

import hashlib
import math
import secrets
import time
from typing import Final

from starlette.requests import Request

from evals.human.rate_limit import RateLimit
from evals.human.records import Refused
from studio.rating.options import RatingOptions

BUSY: Final = 429
HOUR_S: Final = 3600.0


class TooMany(Refused):
    """Too many requests; ``wait_s`` says when the next one will be accepted."""

    def __init__(self, wait_s: int) -> None:
        super().__init__("Too many requests.", BUSY)
        self.wait_s = wait_s


class Limiter:
    """Counts per rater (posts and pages apart) and per address (joining).

    Addresses are known by a hash whose salt lives as long as the process.
    """

    def __init__(self, options: RatingOptions) -> None:
        self._salt = secrets.token_bytes(32)
        self._posts = RateLimit(options.posts_per_minute)
        self._pages = RateLimit(options.pages_per_minute)
        self._joins = RateLimit(options.joins_per_hour, HOUR_S)
        self._hops = options.proxy_hops

    def rater(self, token: str, method: str) -> None:
        """Count a request of a rater. Raises :class:`TooMany` for this rater only."""
        self._count(self._posts if method == "POST" else self._pages, token)

    def join(self, request: Request) -> None:
        """Count a request to join. Raises :class:`TooMany` for this address only."""
        self._count(self._joins, client_address(request, self._hops))

    def _count(self, rate: RateLimit, who: str) -> None:
        key = hashlib.blake2b(who.encode("utf-8", "replace"), key=self._salt, digest_size=16)
        wait = rate.wait(key.hexdigest(), time.monotonic())
        if wait:
            raise TooMany(max(1, math.ceil(wait)))


def client_address(request: Request, proxy_hops: int) -> str:
    """The address of the browser, as the outermost trusted proxy saw it."""
    seen = [part.strip() for part in request.headers.get("x-forwarded-for", "").split(",")]
    if proxy_hops and len(seen) >= proxy_hops and seen[-proxy_hops]:
        return seen[-proxy_hops]
    return request.client.host if request.client else ""
