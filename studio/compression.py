"""Compresses the documents that Gradio itself leaves as they are.

Gradio compresses addresses that end in a file's extension, so neither a page nor ``/config`` is
among them, though they are the longest of all. Nothing else is touched: streams must not wait for a
block to fill, and raters' pages carry secrets beside what a stranger may have typed, whose lengths
must tell nothing.
"""

from __future__ import annotations

from collections.abc import Collection

from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

LEAST_BYTES = 2_000


class CompressedPages:
    """ASGI middleware that compresses the answers to requests for ``paths``."""

    def __init__(self, app: ASGIApp, paths: Collection[str]) -> None:
        self._app, self._paths = app, frozenset(paths)
        self._compressed = GZipMiddleware(app, minimum_size=LEAST_BYTES, compresslevel=6)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        listed = scope["type"] == "http" and scope["path"] in self._paths
        await (self._compressed if listed else self._app)(scope, receive, send)
