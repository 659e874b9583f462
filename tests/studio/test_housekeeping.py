"""What keeps a studio from growing: memory given back, sessions that have gone forgotten."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import gradio as gr
import httpx
import psutil
import pytest
from gradio.route_utils import delete_files_created_by_app

from protocols.engines.scripted import ScriptedEngine
from studio import app
from studio.housekeeping import forget_sessions, give_back
from studio.settings import Settings

CHUNK, CHUNKS = 60_000, 2_000


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's")
def test_memory_between_what_is_still_held_is_given_back() -> None:
    """Without it, a few blocks that are kept hold on to all that was freed around them."""
    blocks = [bytearray(b"x" * CHUNK) for _ in range(CHUNKS)]
    kept = blocks[::50]
    del blocks
    process = psutil.Process()
    before = process.memory_info().rss
    assert give_back()
    assert before - process.memory_info().rss > CHUNK * CHUNKS // 2
    assert all(block.count(b"x") == CHUNK for block in kept)


@pytest.fixture
def demo() -> Iterator[gr.Blocks]:
    with gr.Blocks() as made:
        box = gr.Textbox()
        box.submit(lambda text: text, box, box)
    made.queue()
    made.launch(prevent_thread_lock=True, quiet=True, state_session_capacity=3)
    yield made
    made.close()


def test_the_events_of_sessions_that_have_gone_are_forgotten(demo: gr.Blocks) -> None:
    url, queue = f"http://127.0.0.1:{demo.server_port}/gradio_api/queue", demo._queue
    for number in range(8):
        asked = {"data": ["hello"], "fn_index": 0, "session_hash": f"page-{number}"}
        assert httpx.post(f"{url}/join", json=asked, timeout=30).status_code == 200
        told = httpx.get(f"{url}/data", params={"session_hash": f"page-{number}"}, timeout=30)
        assert "process_completed" in told.text
    assert len(queue.pending_event_ids_session) == 8, "Gradio has mended it: this can go"
    queue.pending_event_ids_session["busy"] = {"under way"}
    queue.event_ids_to_events["under way"] = object()
    known = demo.app.state_holder.session_data
    assert forget_sessions(queue, known) == 8 - len(known)
    assert queue.pending_event_ids_session.keys() == {*known, "busy"}


def test_uploads_that_nobody_hands_in_have_an_end(demo: gr.Blocks) -> None:
    """Whoever fills a disk by uploading and leaving fills it for hours, not for good."""
    url = f"http://127.0.0.1:{demo.server_port}/gradio_api/upload"
    (name,) = httpx.post(url, files={"files": ("mine.zip", b"x" * 99)}, timeout=30).json()
    assert Path(name).stat().st_size == 99
    every, age = app.UPLOADS_KEPT_S
    delete_files_created_by_app(demo, age)
    assert Path(name).is_file() and every < age <= 24 * 3_600
    delete_files_created_by_app(demo, 0)
    assert not Path(name).exists()


def test_the_app_deletes_them(tmp_path: Path) -> None:
    ctx = app.compose(Settings(workspace=tmp_path), ScriptedEngine())
    try:
        assert app.build(ctx).delete_cache == app.UPLOADS_KEPT_S
    finally:
        ctx.manager.close()
        ctx.lab.close()
