"""Who is asking: the signed cookie with the rater's token, and a word that survives a redirect."""

from __future__ import annotations

import hashlib
from typing import Final

from itsdangerous import BadSignature, Signer
from starlette.requests import Request
from starlette.responses import Response

RATER: Final = "rater"
NOTE: Final = "rater_note"
RATER_AGE_S = 180 * 24 * 3600
NOTE_AGE_S = 60


class Sessions:
    """Reads and writes the pages' two cookies; both are signed, HttpOnly and SameSite=Lax."""

    def __init__(self, secret: bytes) -> None:
        self._rater = Signer(secret, salt="rater", digest_method=hashlib.sha256)
        self._note = Signer(secret, salt="note", digest_method=hashlib.sha256)
        self._form = Signer(secret, salt="form", digest_method=hashlib.sha256)

    def token(self, request: Request) -> str:
        """The rater's token, '' without a cookie or with a forged one."""
        return _unsigned(self._rater, request.cookies.get(RATER, ""))

    def note(self, request: Request) -> str:
        """What the request before this one left to say, '' for nothing."""
        return _unsigned(self._note, request.cookies.get(NOTE, ""))

    def form_seal(self, token: str) -> str:
        """The value that this rater's forms carry, so that no other site can post them."""
        return self._form.get_signature(token).decode()

    def keep_token(self, request: Request, response: Response, token: str) -> None:
        """Remember the rater on this device."""
        value = self._rater.sign(token).decode()
        _set(request, response, RATER, value, RATER_AGE_S)

    def keep_note(self, request: Request, response: Response, note: str) -> None:
        """Leave a word for the next page."""
        _set(request, response, NOTE, self._note.sign(note).decode(), NOTE_AGE_S)

    def forget(self, request: Request, response: Response, name: str) -> None:
        """Remove one of the cookies."""
        _set(request, response, name, "", 0)


def is_secure(request: Request) -> bool:
    """Whether the browser speaks https, to this server or to the proxy in front of it."""
    forwarded = request.headers.get("x-forwarded-proto", "").split(",")[0].strip()
    return request.url.scheme == "https" or forwarded == "https"


def _unsigned(signer: Signer, value: str) -> str:
    try:
        return signer.unsign(value.encode("utf-8", "replace")).decode("ascii")
    except (BadSignature, UnicodeDecodeError):
        return ""


def _set(request: Request, response: Response, name: str, value: str, age: int) -> None:
    response.set_cookie(
        name, value, max_age=age, path=f"{request.scope.get('root_path', '')}/rate",
        secure=is_secure(request), httponly=True, samesite="lax",
    )  # fmt: skip
