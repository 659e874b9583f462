"""Markup whose every text is escaped: only :data:`Html` can be joined into it."""

from __future__ import annotations

from html import escape
from typing import NewType

Html = NewType("Html", str)


def text(value: object) -> Html:
    """Text as markup that shows exactly this text."""
    return Html(escape(str(value)))


def tag(name: str, cls: str, *children: Html, **attributes: object) -> Html:
    """An element; attribute values are escaped here, ``_`` in their names stands for ``-``."""
    given = {"class": cls, **attributes} if cls else attributes
    written = "".join(f' {key.replace("_", "-")}="{escape(str(v))}"' for key, v in given.items())
    return Html(f"<{name}{written}>{''.join(children)}</{name}>")
