"""Whether the hub is there: a refusal is told at once, and silence is no refusal."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from evals.tasks.hub_network import cached_without_network, unreachable


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def listener() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def refuser() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"http://127.0.0.1:{server.getsockname()[1]}"


def test_who_listens_is_reached_and_who_refuses_is_named(listener: str, refuser: str) -> None:
    assert unreachable(listener) == ""
    assert unreachable(refuser).startswith("127.0.0.1 cannot be reached (")
    assert "nobody.invalid" in unreachable("https://nobody.invalid")


def test_behind_a_proxy_only_the_proxy_has_to_be_there(
    listener: str, refuser: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", listener)
    assert unreachable("https://nobody.invalid") == ""
    monkeypatch.setenv("https_proxy", refuser.removeprefix("http://"))
    assert "127.0.0.1 cannot" in unreachable("https://nobody.invalid")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert unreachable(listener) == ""


def test_who_does_not_answer_in_time_is_given_all_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(*_: object, **__: object) -> socket.socket:
        raise TimeoutError("timed out")

    monkeypatch.setattr(socket, "create_connection", slow)
    assert unreachable("https://slow.invalid") == ""


def test_only_without_a_network_the_libraries_keep_to_their_cache(
    listener: str, refuser: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets.config
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    seen = []
    for endpoint in (listener, refuser, listener):
        monkeypatch.setattr(constants, "ENDPOINT", endpoint)
        with cached_without_network() as why:
            seen.append((bool(why), constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE))
    assert seen == [(False,) * 3, (True,) * 3, (False,) * 3]
    assert not constants.HF_HUB_OFFLINE and not datasets.config.HF_HUB_OFFLINE
