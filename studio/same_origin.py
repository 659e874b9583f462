"""Whether a page of another site has sent a request, whatever cookies came along with it.

The web server around the app answers any origin and lets it use cookies, and on a hosted Space the
lab's cookie has to travel inside a frame, so nothing but this stands between a lab that is logged
in and the other pages that its browser shows.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit


def from_another_site(request: Any) -> bool:
    """Of a request (Starlette's or Gradio's), readings included.

    Following a link sends no ``Origin``. Where there is one, ``Sec-Fetch-Site`` decides, which no
    page can forge; browsers leave it out on plain http, then the names are compared. Forms of pages
    that send no referrer arrive with ``Origin: null``.
    """
    origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site")
    if origin is None:
        return False
    if site is not None:
        return bool(site != "same-origin")
    if origin == "null":
        return bool(request.method != "POST")
    return bool(urlsplit(origin).netloc.lower() != request.headers.get("host", "").lower())
