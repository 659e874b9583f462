"""What a first visitor is told: how shares are given, what a protocol is worth, what to ask."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.testclient import TestClient

from evals.frames import reported_rows, to_frame
from evals.records import newest
from evals.results_file import KEPT, Kept, kept_records
from evals.tasks import load_task
from protocols.core.call import Call
from protocols.core.errors import UserError
from protocols.core.models import RunSpec
from protocols.core.registry import protocols
from protocols.lib.votes import agreement, count
from studio import static
from studio.compression import CompressedPages
from studio.link_cards import LinkCards
from studio.model_standing import frame_of
from studio.pages import picker
from studio.pages.replays import row_fields
from studio.pool import load_pool
from studio.settings import REPOSITORY, Settings
from studio.stored_results import Stored
from studio.task_words import question_for, title_of
from studio.track_record import record_html, track_record
from studio.workspace import Workspace
from tests.evals.analyses.frames import frame, rows, solos
from tests.helpers import make_spec

ASSETS = REPOSITORY / "assets"


def said(*texts: str) -> list[Call]:
    """Calls of as many models that ended with these texts."""
    calls = [Call(f"call.{i}", f"m{i}", ()) for i in range(len(texts))]
    for call, text in zip(calls, texts, strict=True):
        call._text, call.state = text, "ok"
    return calls


def test_every_protocol_says_how_its_shares_are_given() -> None:
    for spec in protocols().values():
        assert spec.credit.endswith(".") and len(spec.credit) < 90, spec.id


def test_a_draw_is_called_one() -> None:
    assert agreement(count(said("4", "4", "5")), 3) == "2 of 3 agreed."
    assert "drawn by lot" in agreement(count(said("4", "5", "6")), 3)
    assert agreement(count(said("4", "4", "5", "5")), 4).startswith("2 of 4 agreed, as many")
    assert not count(said("4", "4", "5")).tied and count(said("4", "5")).tied


def test_a_protocol_stands_beside_the_best_of_its_own_models_on_the_same_questions() -> None:
    system = rows("system", "vote", ["a", "b"], [1, 0, 0, 1])
    smaller = rows("system", "vote", ["a"], [1, 1, 1, 1])
    alone = solos({"a": [1, 0, 0, 0], "b": [1, 1, 1, 0], "c": [1, 1, 1, 1]})
    elsewhere = [one | {"item": "another"} for one in rows("solo", "single_model", ["a"], [1])]
    found = track_record("vote", frame(system, smaller, alone, elsewhere))
    assert found is not None and found.pool == ("a", "b")
    assert (found.system.value, found.system.n) == (0.5, 4)
    assert (found.single.name, found.single.value, found.single.n) == ("b", 0.75, 4)
    assert track_record("other", frame(system, alone)) is None
    assert track_record("vote", frame(system)) is None


def test_what_was_not_measured_is_said_to_be_so(tmp_path: Path) -> None:
    empty = Settings(assets=tmp_path, workspace=tmp_path)
    assert "do not have it yet" in record_html("majority_vote", empty, {})
    settings = Settings(assets=ASSETS, workspace=tmp_path)
    whole = load_pool("embedded-32", settings)
    title = "<i>Artificial</i>"
    pools = {"small": load_pool("embedded", settings), "whole": replace(whole, title=title)}
    shown = record_html("majority_vote", settings, pools)
    assert "of these models alone" in shown and "test questions" in shown and "dev" not in shown
    assert "32 models of the pool &lt;i&gt;Artificial" in shown and title not in shown
    assert "smollm2-" not in shown, "models stand with their names"
    frame = frame_of(settings)
    assert frame is not None
    seen = set(frame.loc[frame["split"] == "test", "protocol"])
    name = min(set(frame["protocol"]) - seen)
    assert "dev questions only" in record_html(name, settings, pools)


def test_a_track_record_keeps_to_test_items_and_to_one_pool() -> None:
    """Dev items, and another pool of as many models, would move every number."""
    pool, other = ["a", "b"], ["c", "d"]
    asked = rows("system", "vote", pool, [1, 0, 0, 0])
    alone = solos({"a": [1, 1, 0, 0], "b": [0, 0, 0, 0], "c": [1, 1, 1, 1], "d": [0, 0, 0, 0]})
    elsewhere = rows("system", "vote", other, [1, 1, 1])
    dev = [
        one | {"split": "dev", "item": f"dev-{one['item']}"}
        for one in [*rows("system", "vote", pool, [1, 1, 1, 1]), *solos({"b": [1, 1, 1, 1]})]
    ]
    found = track_record("vote", frame(asked, alone, elsewhere, dev))
    assert found == track_record("vote", frame(asked, alone)) and found is not None
    assert (found.system.value, found.system.n, found.split) == (0.25, 4, "test")
    assert (found.single.name, found.single.value, found.more.value) == ("a", 0.5, -0.25)
    only = track_record("vote", frame(dev))
    assert only is not None and (only.system.value, only.split) == (1.0, "dev")
    assert track_record("other", frame(asked, alone, [dev[0] | {"protocol": "other"}])) is None


def test_records_and_frames_are_reported_by_one_rule() -> None:
    dev, test = (
        kept_records(ASSETS / "results" / f"{name}{KEPT}") for name in ("embedded", "embedded-test")
    )
    for some in (list(newest([*dev, *test]).values()), dev):
        assert reported_rows(to_frame(some))["key"].tolist() == [
            one.key for one in Stored({"some": Kept(some)}).reported
        ]


def test_a_picked_specialist_can_be_asked_what_it_was_not_tested_on() -> None:
    pool = load_pool("embedded", Settings(assets=ASSETS))
    cards = {card["id"]: card["ask"] for card in picker.cards(pool, {})}
    for entry in pool.entries:
        task, ask = str(entry.card.get("task") or ""), cards[entry.spec.id]
        assert bool(ask) == bool(task)
        assert not task or ask in {item.question for item in load_task(task).splits["dev"]}
    assert question_for("no such task") == "" and title_of("no such task") == "no such task"
    assert title_of("capitals") == "Capitals"


def test_recordings_stand_under_what_they_show() -> None:
    found = [row_fields(row) for row in Workspace(Path("/none"), ASSETS).list_recordings()]
    assert found and {row["group"] for row in found} >= {
        "API level: who answers?",
        "Weight level: who do they become?",
    }
    assert all(row["about"] and row["title"] for row in found)


def test_the_pages_load_one_script_that_a_browser_keeps() -> None:
    client = TestClient(Starlette(routes=static.routes()))
    answer = client.get(static.address())
    assert "immutable" in answer.headers["cache-control"] and static.address() in static.loader()
    assert json.dumps(static.style()) in answer.text and static.script() in answer.text
    assert protocols()["cascade"].credit in answer.text
    assert client.get("/studio-0.js").status_code == 404


def test_pages_travel_compressed_and_nothing_else_does() -> None:
    async def answer(request: Request) -> Response:
        media = "text/event-stream" if request.url.path == "/stream" else "text/html"
        return Response("word " * 5_000, media_type=media)

    paths = ("/", "/config", "/rate/secret", "/stream")
    routes = [Route(path, answer) for path in paths]
    compressed = Middleware(CompressedPages, paths=["/", "/config", "/stream"])
    client = TestClient(Starlette(routes=routes, middleware=[compressed]))
    answers = [client.get(path, headers={"accept-encoding": "gzip"}) for path in paths]
    assert [a.headers.get("content-encoding") for a in answers] == ["gzip", "gzip", None, None]
    assert {a.text for a in answers} == {"word " * 5_000}
    assert int(answers[0].headers["content-length"]) < 1_000
    assert (
        "content-encoding" not in client.get("/", headers={"accept-encoding": "identity"}).headers
    )


def test_a_pasted_link_shows_the_run_s_question_as_text() -> None:
    page = '<head><meta charset="utf-8" /><meta property="og:title" content="Framework" /></head>'
    hostile = make_spec("majority_vote", question='"><script>x</script> ' + "long " * 400)

    def spec_of(run: str) -> RunSpec:
        if run != "known-run-id":
            raise UserError("There is no such run.")
        return hostile

    async def answer(request: Request) -> Response:
        media = "text/html" if request.url.path != "/data" else "application/json"
        return Response(page, media_type=media)

    cards = Middleware(LinkCards, paths=["/", "/data"], spec_of=spec_of)
    routes = [Route(path, answer) for path in ("/", "/data", "/rate/x")]
    client = TestClient(Starlette(routes=routes, middleware=[cards]))
    told = client.get("/?run=known-run-id").text
    assert "&quot;&gt;&lt;script&gt;" in told and "<script>" not in told and len(told) < 1_200
    assert "Majority vote with 3 models" in told and "Framework" not in told
    for unknown in ("/", "/?run=other-run-id", "/?run="):
        assert 'content="Participation Studio"' in client.get(unknown).text
    assert client.get("/data").text == client.get("/rate/x").text == page
    assert client.head("/").text == ""
