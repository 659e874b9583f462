"""The live views as files: plain scripts and one stylesheet, joined here.

Documents that stand alone have both inside. The app's pages load them as one script from an address
with its hash in it, so that a browser fetches it once and all pages have it from then on.
"""

from __future__ import annotations

import hashlib
import json
from functools import cache
from importlib.resources import files
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from protocols.core.registry import protocols

FOREVER = {"Cache-Control": "public, max-age=31536000, immutable"}
STYLED = (
    "document.getElementById('studio-style')||document.head.append(Object.assign("
    "document.createElement('style'),{{id:'studio-style',textContent:{}}}));\n"
)
LOADER = (
    "(()=>{{const s=document.createElement('script');"
    "s.src=(window.gradio_config?.root||'')+'{}';document.head.append(s);}})()"
)

NAMED = (
    "single_model",
    "majority_vote",
    "prompt_routing",
    "multiagent_refine",
    "switch_generation",
    "heterogeneous_swarms",
)
"""Those with a button of their own where a question is asked again: each looks different."""
SCRIPTS = (
    "fold.js",
    "layout.js",
    "dom.js",
    "text.js",
    "lanes.js",
    "segments.js",
    "dag.js",
    "charts.js",
    "parts.js",
    "figures.js",
    "plots.js",
    "figureview.js",
    "header.js",
    "answer.js",
    "history.js",
    "ways.js",
    "screen.js",
    "player.js",
    "studio.js",
)
STYLES = ("studio.css", "views.css", "figures.css")
"""In the order in which they build on each other."""


@cache
def script() -> str:
    """All scripts as one that can stand inside a ``<script>`` element of a page."""
    return "\n".join(_read(name) for name in SCRIPTS)


@cache
def style() -> str:
    """The stylesheets of the live views."""
    return "\n".join(_read(name) for name in STYLES)


@cache
def bundle() -> str:
    """Everything as one script; it brings its style, so that nothing is shown without it."""
    shares = {name: spec.credit for name, spec in protocols().items()}
    told = f"Object.assign(globalThis.Studio,{{credits:{json.dumps(shares)},"
    told += f"protocols:{json.dumps(_askable())}}});\n"
    return STYLED.format(json.dumps(style())) + script() + told


def _askable() -> list[dict[str, Any]]:
    """The protocols that can answer a question at once, without having been fitted before."""
    return [
        {"id": name, "title": spec.title, "least": spec.min_models, "named": name in NAMED}
        for name, spec in protocols().items()
        if not spec.yardstick and not spec.needs_artifact
    ]


@cache
def address() -> str:
    """Where the app serves :func:`bundle`; other contents have another address."""
    return f"/studio-{hashlib.sha256(bundle().encode()).hexdigest()[:16]}.js"


def loader() -> str:
    """A script for a page's head that loads the bundle, also behind a proxy's path."""
    return LOADER.format(address())


def routes() -> list[Route]:
    """The bundle's own address."""

    def serve(_: Request) -> Response:
        return Response(bundle(), media_type="text/javascript", headers=FOREVER)

    return [Route(address(), serve)]


def _read(name: str) -> str:
    return files(__name__).joinpath(name).read_text(encoding="utf-8")
