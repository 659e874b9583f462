"""Turns values into pages: templates, words, and the same headers on every answer."""

from __future__ import annotations

import hashlib
import mimetypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from evals.human.study import Language
from studio.rating.forms import SKIP_REASONS, STRENGTHS
from studio.rating.words import LANGUAGES, Words, catalog

POLICY: Final = "; ".join(
    (
        "default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self'",
        "connect-src 'self'", "form-action 'self'", "base-uri 'none'", "frame-ancestors 'none'",
    )
)  # fmt: skip
HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-Robots-Tag": "noindex, nofollow",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
ASSETS: Final = ("rate.css", "rate.js", "icon.svg")
ASSET_AGE_S: Final = 365 * 24 * 3600


@dataclass(frozen=True, slots=True)
class Frame:
    """What stands around a page's content. Without a ``seal`` nobody is known: languages are then
    links, and there is nothing to withdraw."""

    words: Words
    study: str = ""
    languages: Sequence[Language] = LANGUAGES
    seal: str = ""
    status: str = ""


class Pages:
    """Renders templates; text is always escaped and a missing value is an error."""

    def __init__(self) -> None:
        self._templates = Environment(
            loader=PackageLoader("studio.rating", "templates"),
            autoescape=True,
            auto_reload=False,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.globals.update(
            own_name={name: str(catalog(name)["name"]) for name in LANGUAGES},
            asset_version=asset_version(),
            skip_reasons=SKIP_REASONS,
            strengths=STRENGTHS,
            apart=apart,
        )

    def page(
        self,
        request: Request,
        frame: Frame,
        template: str,
        values: Mapping[str, object],
        status: int = 200,
    ) -> Response:
        """An answer with the page of a template and what it shows."""
        text = self._templates.get_template(f"{template}.html").render(
            w=frame.words, frame=frame, base=base(request), **values
        )
        # A lone surrogate in a text cannot be sent; it is shown as a question mark.
        return Response(text.encode("utf-8", "replace"), status, HEADERS, "text/html")

    def go(self, request: Request, path: str = "") -> Response:
        """Send the browser to one of our pages, by GET."""
        return RedirectResponse(base(request) + "/rate" + path, 303, HEADERS)


def apart(text: str) -> str:
    """A text that keeps its own direction inside a sentence of ours."""
    return f"\u2068{text}\u2069"


def base(request: Request) -> str:
    """The path under which the app is mounted, usually ''."""
    return str(request.scope.get("root_path", ""))


@cache
def asset(name: str) -> bytes:
    """A file from ``static``; only the listed ones exist."""
    return files("studio.rating").joinpath("static", name).read_bytes()


@cache
def asset_version() -> str:
    """Changes with any of the files, so that browsers may keep them for good."""
    return hashlib.sha256(b"".join(asset(name) for name in ASSETS)).hexdigest()[:12]


def asset_response(name: str) -> Response:
    """One of the static files. Raises :class:`KeyError` for another name."""
    if name not in ASSETS:
        raise KeyError(name)
    headers = {**HEADERS, "Cache-Control": f"public, max-age={ASSET_AGE_S}, immutable"}
    return Response(asset(name), 200, headers, mimetypes.guess_type(name)[0])
