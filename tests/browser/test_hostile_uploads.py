"""What hostile people hand in through the real form: each is a sentence, and nothing is left."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from protocols.engines.scripted import ScriptedEngine
from studio import app
from studio.contribution import MAX_UPLOAD
from studio.pool import load_pool
from studio.settings import Settings
from tests.browser.conftest import Visit
from tests.studio.test_contribute import (
    REFUSED,
    WEIGHTS,
    adapter,
    everything,
    folder_with,
    nan,
    packed,
    settings,
)

__all__ = ["settings"]
pytestmark = [pytest.mark.browser, pytest.mark.slow]
WORDS = {"id": "newcomer", "contributor": "a test", "domain": "sums", "licence": "mit"}


def bomb(folder: Path) -> Path:
    """A few hundred kilobytes that unpack to more than the form takes."""
    path = packed(folder)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("mine/README.md", b"0" * (MAX_UPLOAD + 2**20))
    return path


def pickles(folder: Path) -> Path:
    (folder / WEIGHTS).unlink()
    (folder / "adapter_model.bin").write_bytes(pickle.dumps({"weights": [1.0]}))
    return packed(folder)


def disguised(folder: Path) -> Path:
    """A pickle under the name of safe weights."""
    (folder / WEIGHTS).write_bytes(pickle.dumps({"weights": [1.0] * 99}))
    return folder


HOSTILE: dict[str, tuple[Callable[[Path], Path], str]] = {
    "a pickle": (pickles, "no safetensors weights"),
    "a pickle in disguise": (disguised, "damaged"),
    "a bomb": (bomb, "too large"),
    "path traversal": REFUSED["path traversal"],
    "a link in an archive": REFUSED["link in an archive"],
    "another base": REFUSED["another base"],
    "not a number": (folder_with(nan), "not finite"),
    "a giant header": REFUSED["a giant header"],
    "no archive": (folder_with(lambda f: (f / "mine.zip").write_bytes(b"PK\x03\x04no")), "zip"),
}


@contextmanager
def serving(given: Settings) -> Iterator[str]:
    ctx = app.compose(given.model_copy(update={"port": 0}), ScriptedEngine())
    demo = app.build(ctx)
    app.launch(demo, ctx, block=False)
    try:
        yield f"http://127.0.0.1:{demo.server_port}"
    finally:
        demo.close()
        ctx.manager.close()
        ctx.lab.close()


def files_of(made: Path) -> list[Path]:
    """What somebody would choose in the dialogue: an archive, or a folder's files."""
    if made.is_file():
        return [made]
    archives = sorted(made.glob("*.zip"))
    return archives or sorted(made.iterdir())


def hand_in(page: Page, files: list[Path]) -> None:
    for name, word in WORDS.items():
        page.locator(f"#offer-{name}").locator("input, textarea").fill(word)
    page.locator("#offer-files input[type=file]").set_input_files(files)
    for path in files:
        name = page.locator("#offer-files .filename").filter(has_text=path.stem)
        expect(name.first).to_be_visible()
    page.locator("#offer-consent input").check()
    page.locator("#offer-send").click()


def test_nothing_hostile_gets_in_by_the_form(
    settings: Settings,
    visit: Callable[..., Visit],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    uploads = tmp_path / "uploads"
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(uploads))
    with serving(settings) as address:
        page = visit(address + "/pool").page
        before = everything(settings)
        for kind, (make, reason) in HOSTILE.items():
            made = make(adapter(tmp_path / kind.replace(" ", "-")))
            page.goto(address + "/pool")
            page.get_by_role("button", name="Contribute a model").click()
            hand_in(page, files_of(made))
            alert = page.locator("#offer-verdict").get_by_role("alert")
            expect(alert).to_contain_text(reason, timeout=120_000)
            assert str(tmp_path) not in page.locator("#offer-verdict").inner_html(), kind
            assert everything(settings) == before, kind
            assert not list((settings.workspace / "incoming").glob("*")), kind
            # An upload may leave an empty file of Gradio's own with a made-up name.
            left = [path for path in uploads.rglob("*") if path.is_file() and path.stat().st_size]
            assert left == [], kind
        assert [spec.id for spec in load_pool("ours", settings).specs] == ["base"]
