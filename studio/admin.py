"""Who belongs to the lab: a password, a start-up link, or named accounts on a hosted Space.

Every handler and route of the lab's pages asks :meth:`Admin.allowed` on the server; nothing that a
page holds is trusted. Raters never come through here: their links carry tokens of their own.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import secrets
import time
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, TypedDict

from itsdangerous import BadSignature, TimestampSigner
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from evals.human.rate_limit import RateLimit
from studio.files import asset
from studio.rating.limiter import client_address
from studio.same_origin import from_another_site
from studio.settings import Settings

COOKIE = "studio_lab"
HOURS = 12
TRIES_A_MINUTE = 20
"""Of one address: whoever guesses must not lock the lab out."""
GENERATED = (
    "<p>No password was set, so a key was made. Open the link that the terminal showed when the "
    "app was started; its end, behind <code>key=</code>, can be typed here too.</p>"
)
HOSTED = "SPACE_ID" in os.environ
log = logging.getLogger(__name__)


class CookieKind(TypedDict):
    """Where a browser keeps and sends the lab's cookie."""

    httponly: bool
    secure: bool
    samesite: Literal["lax", "none"]


def has_accounts(settings: Settings, environment: Mapping[str, str] = os.environ) -> bool:
    """Whether people can log in with their account of a hosted Space.

    The host hands out what that takes if the Space's card (the head of README.md) says
    ``hf_oauth: true``; without it Gradio would refuse to start. Nowhere else: outside of a Space,
    Gradio's login lets anybody in as anybody.
    """
    if not settings.admin_users or "SPACE_ID" not in environment:
        return False
    if "OAUTH_CLIENT_ID" in environment and find_spec("authlib") is not None:
        return True
    log.warning(
        "STUDIO_ADMIN_USERS has no effect: logging in by account needs 'hf_oauth: true' in the "
        "Space's card and the package authlib. The lab's password works."
    )
    return False


class Admin:
    """Checks who may see and change studies. Safe to use from any thread."""

    def __init__(self, settings: Settings) -> None:
        self._key = settings.admin_password or kept_key(settings.workspace / "admin.key")
        names = settings.admin_users.split(",") if has_accounts(settings) else ()
        self._users = frozenset(name.strip() for name in names if name.strip())
        self.accounts = bool(self._users)
        digest = hashlib.sha256(f"lab/{self._key}".encode()).digest()
        self._signer = TimestampSigner(digest, salt="lab")
        self._tries, self._salt = RateLimit(TRIES_A_MINUTE), secrets.token_bytes(32)
        self._hops = settings.proxy_hops
        self.generated = not settings.admin_password

    def link(self, address: str) -> str:
        """A link that logs in, for the terminal of whoever started the app."""
        return f"{address}/lab?key={self._key}" if self.generated else f"{address}/lab"

    def allowed(self, request: Any) -> bool:
        """Whether a request (Starlette's or Gradio's) comes from the lab.

        Not what another site's page makes the lab's browser send.
        """
        if request is None or from_another_site(request):
            return False
        cookies: Mapping[str, str] = request.cookies
        try:
            self._signer.unsign(cookies.get(COOKIE, ""), max_age=HOURS * 3600)
        except BadSignature:
            return bool(self._users) and _account(request) in self._users
        return True

    def who(self, request: Any) -> str:
        """Who is asking, for a record: the hosted account, or the lab as a whole."""
        return _account(request) or "the lab"

    def routes(self) -> list[BaseRoute]:
        """Logging in and out."""
        return [
            Route("/lab", self._enter, methods=["GET", "POST"]),
            Route("/lab/out", self._leave, methods=["POST"]),
        ]

    async def _enter(self, request: Request) -> Response:
        given = request.query_params.get("key", "")
        if request.method == "POST":
            form: FormData = await request.form()
            given = str(form.get("password", ""))
        if not given:
            return self._page(200, "")
        if self._blocked(request):
            return self._page(429, "Too many wrong passwords. Wait a minute and try again.")
        if not hmac.compare_digest(given.encode(), self._key.encode()):
            return self._page(403, "That is not the password.")
        response = RedirectResponse("/studies", status_code=303)
        response.set_cookie(
            COOKIE,
            self._signer.sign(secrets.token_hex(8)).decode(),
            max_age=HOURS * 3600,
            **_manners(request),
        )
        return response

    async def _leave(self, request: Request) -> Response:
        response = RedirectResponse("/studies", status_code=303)
        response.delete_cookie(COOKIE, **_manners(request))
        return response

    def _page(self, status: int, problem: str) -> Response:
        told = f'<p role="alert">{problem}</p>' if problem else ""
        page = asset("lab.html").replace("<!--problem-->", told)
        headers = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
        return HTMLResponse(
            page.replace("<!--way-->", GENERATED if self.generated else ""), status, headers
        )

    def _blocked(self, request: Request) -> bool:
        """Count a try of an address, which is known by a hash only."""
        address = client_address(request, self._hops).encode("utf-8", "replace")
        hashed = hashlib.blake2b(address, key=self._salt, digest_size=16)
        return self._tries.wait(hashed.hexdigest(), time.monotonic()) > 0


def _manners(request: Request) -> CookieKind:
    """How the cookie travels. A hosted Space lives in a frame of another site, where a browser
    neither sends nor takes Lax cookies, also not to remove one."""
    secure = HOSTED or request.url.scheme == "https"
    return {"secure": secure, "httponly": True, "samesite": "none" if HOSTED else "lax"}


def kept_key(path: Path) -> str:
    """The key of this installation: made once, readable by its owner only."""
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        made = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(made, "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(18))
    return path.read_text(encoding="ascii").strip()


def _account(request: Any) -> str:
    """The hosted account that logged in, as Gradio's own login stored it in the session; '' when
    nobody did or it was too long ago."""
    scope: Mapping[str, Any] = getattr(getattr(request, "request", request), "scope", {})
    info = scope.get("session", {}).get("oauth_info", {})
    if info.get("expires_at", 0) < time.time():
        return ""
    return str(info.get("userinfo", {}).get("preferred_username", ""))
