"""What a link to a page shows where it is pasted: the run's question, not the framework's name.

Chats and search engines read the ``og:`` and ``twitter:`` elements in a page's head, and Gradio
fills those with its own. A run's link tells its question to whoever has it anyway.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from protocols.core.errors import StudioError
from protocols.core.models import RunSpec
from protocols.core.registry import get_protocol

NAME = "Participation Studio"
ABOUT = "People contribute small language models; watch them answer together, live."
THEIRS = re.compile(rb'\s*<meta\s+(?:property|name)="(?:og|twitter):[^>]*>')
PLACE = b'<meta charset="utf-8" />'
MOST_LETTERS = 140


@dataclass(frozen=True)
class Card:
    """A title and a sentence."""

    title: str = NAME
    sentence: str = ABOUT

    def markup(self) -> bytes:
        """The elements for a page's head."""
        title, sentence = html.escape(self.title), html.escape(self.sentence)
        pairs = {"type": "website", "site_name": NAME, "title": title, "description": sentence}
        told = [f'<meta property="og:{name}" content="{text}" />' for name, text in pairs.items()]
        return "\n\t\t".join([*told, f'<meta name="description" content="{sentence}" />']).encode()


def card_of(spec: RunSpec) -> Card:
    """The card of a run. Raises :class:`UserError` for a protocol that is not here any more."""
    question = " ".join(spec.question.split())
    short = question if len(question) <= MOST_LETTERS else f"{question[: MOST_LETTERS - 1]}…"
    models = f"{len(spec.pool)} model{'s' if len(spec.pool) > 1 else ''}"
    return Card(short, f"{get_protocol(spec.protocol).title} with {models}: watch how they answer.")


class LinkCards:
    """ASGI middleware for the documents at ``paths``; ``spec_of`` knows a run by its id."""

    def __init__(
        self, app: ASGIApp, paths: Collection[str], spec_of: Callable[[str], RunSpec]
    ) -> None:
        self._app, self._paths, self._spec_of = app, frozenset(paths), spec_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        listed = scope["type"] == "http" and scope["path"] in self._paths
        if not listed or scope["method"] != "GET":
            await self._app(scope, receive, send)
            return
        await self._app(scope, receive, _Rewriting(send, lambda: self._card(scope)))

    def _card(self, scope: Scope) -> Card:
        asked = parse_qs(scope["query_string"].decode("latin-1")).get("run", [""])
        try:
            return card_of(self._spec_of(asked[0])) if asked[0] else Card()
        except StudioError:
            return Card()


class _Rewriting:
    """Sends a document on when it is whole, with the card in its head."""

    def __init__(self, send: Send, card: Callable[[], Card]) -> None:
        self._send, self._card = send, card
        self._start: Message = {}
        self._body = b""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
            return
        self._body += message.get("body", b"")
        if message.get("more_body"):
            return
        if Headers(raw=self._start["headers"]).get("content-type", "").startswith("text/html"):
            head = PLACE + b"\n\t\t" + self._card().markup()
            self._body = THEIRS.sub(b"", self._body).replace(PLACE, head, 1)
            MutableHeaders(raw=self._start["headers"])["content-length"] = str(len(self._body))
        await self._send(self._start)
        await self._send({"type": "http.response.body", "body": self._body})
