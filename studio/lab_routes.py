"""Documents of the lab: a study's report and its exports. Each asks whether the lab is asking.

What is not there and what is not allowed get the same answer, so that nobody learns which studies
exist.
"""

from __future__ import annotations

import io
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from evals.human import studies
from evals.human.render import render_html
from evals.human.report import report_json
from protocols.core.errors import StudioError
from studio.context import StudioContext
from studio.rating.preview import preview
from studio.result_parts import TABLES, table_csv
from studio.stored_results import current, participants_of

HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
REPORT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
Make = Callable[[StudioContext, str], Response]


def lab_routes(ctx: StudioContext) -> list[BaseRoute]:
    """The lab's own documents and, for everybody, the published results."""
    return [
        Route("/lab/studies/{slug}/report", _for_lab(ctx, report_page)),
        Route("/lab/studies/{slug}/report.json", _for_lab(ctx, report_for_programs)),
        Route("/lab/studies/{slug}/export.zip", _for_lab(ctx, export_zip)),
        Route("/lab/studies/{slug}/preview", _preview(ctx)),
        Route("/published/{slug}", _for_all(ctx, published_page)),
        Route(f"{TABLES}/{{slug}}.csv", _for_all(ctx, results_csv)),
        Route("/contributor/{model}", to_contributor),
    ]


async def to_contributor(request: Request) -> Response:
    """``/contributor/ID`` is an address that people can write down."""
    return RedirectResponse(f"/contributor?model={quote(request.path_params['model'], safe='')}")


def _for_lab(ctx: StudioContext, make: Make) -> Callable[..., object]:
    async def answer(request: Request) -> Response:
        if not ctx.admin.allowed(request):
            return nothing()
        return await run_in_threadpool(_made, make, ctx, request.path_params["slug"])

    return answer


def _preview(ctx: StudioContext) -> Callable[..., object]:
    """A pair of a study as raters get it."""

    def make(request: Request) -> Response:
        slug, place = request.path_params["slug"], request.query_params.get("pair", "")[:6]
        spec = studies.load_study(ctx.lab.store, slug).spec
        pairs = studies.list_pairs(ctx.lab.store, slug)
        number = int(place) if place.isascii() and place.isdigit() else 1
        return preview(request, spec, pairs, number) if pairs else nothing()

    async def answer(request: Request) -> Response:
        if not ctx.admin.allowed(request):
            return nothing()
        try:
            return await run_in_threadpool(make, request)
        except StudioError:
            return nothing()

    return answer


def _for_all(ctx: StudioContext, make: Make) -> Callable[..., object]:
    async def answer(request: Request) -> Response:
        return await run_in_threadpool(_made, make, ctx, request.path_params["slug"])

    return answer


def _made(make: Make, ctx: StudioContext, slug: str) -> Response:
    try:
        return make(ctx, slug)
    except StudioError:
        return nothing()


def nothing() -> Response:
    """The one answer to whatever is not there or not allowed."""
    return PlainTextResponse("There is nothing here.", 404, HEADERS)


def report_page(ctx: StudioContext, slug: str) -> Response:
    """The report of a locked study."""
    return _document(render_html(ctx.lab.report(slug)))


def report_for_programs(ctx: StudioContext, slug: str) -> Response:
    """The report for programs."""
    text = report_json(ctx.lab.report(slug))
    return Response(text, media_type="application/json", headers=HEADERS)


def export_zip(ctx: StudioContext, slug: str) -> Response:
    """Everything that the study exports, as one archive."""
    packed = io.BytesIO()
    with tempfile.TemporaryDirectory() as name, zipfile.ZipFile(packed, "w") as archive:
        for path in ctx.lab.export(slug, Path(name)):
            archive.write(path, f"{slug}/{path.relative_to(name)}", zipfile.ZIP_DEFLATED)
    attached = {"Content-Disposition": f'attachment; filename="{slug}.zip"'}
    return Response(packed.getvalue(), media_type="application/zip", headers=HEADERS | attached)


def published_page(ctx: StudioContext, slug: str) -> Response:
    """The report of a recorded example or of a study that its lab has published."""
    return _document(render_html(ctx.lab.published(slug)))


def results_csv(ctx: StudioContext, name: str) -> Response:
    """A table of the Results page."""
    found = current(ctx.settings)
    text = table_csv(found, participants_of(ctx.lab, found.names), name)
    if text is None:
        return nothing()
    attached = {"Content-Disposition": f'attachment; filename="{name}.csv"'}
    return Response(text, media_type="text/csv", headers=HEADERS | attached)


def _document(page: str) -> Response:
    return HTMLResponse(page, headers=HEADERS | {"Content-Security-Policy": REPORT_POLICY})
