"""Copies on the hub: made whole, sent when something changed, fetched when there is no database.

The hub is somebody else's service, so a stand-in takes its place; everything of ours is real.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

from evals.human import studies
from evals.human.store import Store
from protocols.core.errors import EngineError
from studio.lab import Lab
from studio.replica import FILE, Replica, fetch
from studio.settings import Settings
from tests.studio.rating_world import make_spec


class Hub(HfApi):
    """A dataset repository in a folder."""

    def __init__(self, folder: Path, down: bool = False) -> None:
        super().__init__(token=False)
        self.folder, self.down, self.commits = folder, down, 0

    def create_repo(self, **given: Any) -> Any:
        assert given["private"]
        return type("Made", (), {"repo_id": given["repo_id"]})()

    def create_commit(self, *, operations: list[Any], **_: Any) -> None:
        self.commits += 1
        for one in operations:
            (self.folder / one.path_in_repo).write_bytes(one.path_or_fileobj.read())

    def hf_hub_download(self, _repo: str, name: str, **_: Any) -> str:
        if self.down:
            # What the library raises when it cannot reach the hub and has no older copy.
            raise LocalEntryNotFoundError("the hub is down")
        if not (self.folder / name).is_file():
            raise EntryNotFoundError("nothing there")
        return str(self.folder / name)


@pytest.fixture
def store(tmp_path: Path) -> Any:
    made = Store.open(f"sqlite:///{tmp_path / 'here' / 'studies.db'}")
    studies.create_study(made, make_spec())
    yield made
    made.close()


def test_a_copy_comes_back_whole(store: Store, tmp_path: Path) -> None:
    (tmp_path / "hub").mkdir()
    hub = Hub(tmp_path / "hub")
    replica = Replica(store, "lab/votes", tmp_path / "out", api=hub)
    for _ in range(3):
        replica.trigger().result()
    assert hub.commits == 1  # after the first, nothing had changed
    studies.create_study(store, make_spec(slug="another"))
    replica.trigger().result()
    assert hub.commits == 2
    replica.stop()
    target = tmp_path / "there" / "studies.db"
    assert fetch("lab/votes", target, api=hub)
    with_both = Store.open(f"sqlite:///{target}")
    assert [row.spec.slug for row in studies.list_studies(with_both)] == ["zqx-study", "another"]
    with_both.close()


def test_a_database_that_is_there_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"of the hub")
    here = tmp_path / "studies" / "own.db"
    here.parent.mkdir()
    here.write_bytes(b"ours")
    assert not fetch("lab/votes", here, api=Hub(tmp_path))
    assert here.read_bytes() == b"ours"


def test_an_empty_repository_is_a_fresh_start_and_a_dead_hub_is_not(tmp_path: Path) -> None:
    target = tmp_path / "new.db"
    assert not fetch("lab/votes", target, api=Hub(tmp_path))
    with pytest.raises(EngineError, match="cannot be reached"):
        fetch("lab/votes", target, api=Hub(tmp_path, down=True))
    assert not target.exists()


def test_no_vote_is_taken_that_nobody_would_copy(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database is here, the hub is not: asking again must not give it without its copy."""

    def unreached(*_: Any, **__: Any) -> None:
        raise RuntimeError("what an HTTP client raises is its own business")

    monkeypatch.setattr(HfApi, "create_repo", unreached)
    settings = Settings(workspace=tmp_path / "here", replica_repo="lab/votes")
    lab = Lab(settings, replicate=True)
    for _ in range(2):
        with pytest.raises(EngineError, match="cannot be reached"):
            _ = lab.store
    lab.close()


def test_a_hub_that_takes_nothing_leaves_the_database_closed(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Refusing(Hub):
        def create_commit(self, **_: Any) -> None:
            raise OSError("no")

    replica = Replica(store, "lab/votes", tmp_path / "out", api=Refusing(tmp_path))
    replica.leave()
    assert "did not reach the hub" in caplog.text
