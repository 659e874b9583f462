"""The files of a Space, started as the hub starts them: its variables, its proxy, its visitors."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from studio import space
from studio.space import FLAVOURS
from tests.bench.load import Page

pytestmark = [pytest.mark.slow, pytest.mark.models]
PASSWORD = "artificial-password"
VISITOR = {"x-forwarded-for": "203.0.113.7"}
"""What the hub's proxy says of a visitor."""
STARTS_S = 300.0


@contextmanager
def started(folder: Path, workspace: Path) -> Iterator[str]:
    """The Space's app.py with what the hub gives it; secrets are set by the lab."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    given = {
        "PATH": os.environ["PATH"], "HOME": str(workspace), "SYSTEM": "spaces",
        "SPACE_ID": "lab/studio", "SPACE_HOST": "lab-studio.example.org",
        "OAUTH_CLIENT_ID": "made-up", "OAUTH_CLIENT_SECRET": "made-up",
        "OAUTH_SCOPES": "openid profile", "OPENID_PROVIDER_URL": "https://hub.example.org",
        **FLAVOURS["cpu"].variables, "STUDIO_ADMIN_USERS": "somebody",
        "STUDIO_ADMIN_PASSWORD": PASSWORD, "STUDIO_WORKSPACE": str(workspace),
        "STUDIO_PORT": str(port), "STUDIO_WARM": "false",
    }  # fmt: skip
    log = workspace / "log"
    with log.open("wb") as said:
        app = subprocess.Popen([sys.executable, "app.py"], cwd=folder, env=given, stdout=said,
                               stderr=said)  # fmt: skip
    address, end = f"http://127.0.0.1:{port}", time.monotonic() + STARTS_S
    try:
        while True:
            assert app.poll() is None and time.monotonic() < end, log.read_text()
            try:
                if httpx.get(f"{address}/health", timeout=5).status_code == 200:
                    break
            except httpx.HTTPError:
                time.sleep(0.5)
        yield address
    finally:
        app.terminate()
        app.wait(timeout=60)


def test_a_space_serves_visitors_within_limits_and_the_lab_by_its_password(
    base_model: Path, tmp_path: Path
) -> None:
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    (workspace / "models").symlink_to(base_model.parent.resolve())
    space.write("cpu", tmp_path / "space", "Title")
    with started(tmp_path / "space", workspace) as address:
        with httpx.Client(base_url=address, headers=VISITOR, timeout=60) as visitor:
            page = visitor.get("/")
            assert page.status_code == 200 and PASSWORD not in page.text
            assert PASSWORD not in visitor.get("/config").text
            asked = {"model": "single_model@embedded", "messages": []}
            assert visitor.post("/v1/chat/completions", json=asked).status_code == 403
            assert visitor.get("/lab/studies/any/report").status_code == 404
            assert visitor.post("/lab", data={"password": "guessed"}).status_code == 403
            entered = visitor.post("/lab", data={"password": PASSWORD})
            assert entered.status_code == 303
            cookie = entered.headers["set-cookie"].lower()
            assert "httponly" in cookie and "secure" in cookie and "samesite=none" in cookie
        said = asyncio.run(three_runs(address))
        assert said[:2] == ["", ""] and "You have 2 runs going already" in said[2]


async def three_runs(address: str) -> list[str]:
    """What a page is told that starts three runs at a time."""
    async with httpx.AsyncClient(base_url=address, headers=VISITOR, timeout=120) as http:
        page = Page(http, (await http.get("/config")).json())
        models = ["smollm2-base", "smollm2-addition", "smollm2-roman", "smollm2-capitals"]
        started = []
        for seed in range(3):
            question = f"Tell me a long story about number {seed}."
            started.append(await page.start("multiagent_refine", models, question, seed))
        return started
