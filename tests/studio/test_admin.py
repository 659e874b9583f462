"""The lab's login: no page value opens it, only the password or a named account."""

from __future__ import annotations

import stat
import time
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from studio.admin import COOKIE, TRIES_A_MINUTE, Admin, has_accounts, kept_key
from studio.settings import Settings


def client(admin: Admin, address: str = "203.0.113.1") -> TestClient:
    def inside(request: Request) -> PlainTextResponse:
        return PlainTextResponse("in" if admin.allowed(request) else "out")

    routes = [*admin.routes(), Route("/studies", inside)]
    return TestClient(Starlette(routes=routes), client=(address, 50_000))


@pytest.fixture
def admin(tmp_path: Path) -> Admin:
    return Admin(Settings(workspace=tmp_path, admin_password="a made-up password"))


def test_the_password_opens_and_logging_out_closes(admin: Admin) -> None:
    with client(admin) as http:
        assert http.get("/studies").text == "out"
        assert http.post("/lab", data={"password": "a made-up password"}).text == "in"
        assert http.get("/studies").text == "in"
        assert http.post("/lab/out").text == "out"


@pytest.mark.parametrize("given", ["", "A made-up password", "a made-up password ", "x" * 9999])
def test_anything_else_stays_out(admin: Admin, given: str) -> None:
    with client(admin) as http:
        answer = http.post("/lab", data={"password": given})
        assert answer.status_code == (403 if given else 200)
        assert http.get("/studies").text == "out"


@pytest.mark.parametrize("cookie", ["", "x", "abc.def.ghi", "YQ.ZmFrZQ.c2ln"])
def test_a_made_up_cookie_stays_out(admin: Admin, cookie: str) -> None:
    with client(admin) as http:
        http.cookies.set(COOKIE, cookie)
        assert http.get("/studies").text == "out"


def test_a_cookie_of_another_password_stays_out(admin: Admin, tmp_path: Path) -> None:
    with client(admin) as http:
        http.post("/lab", data={"password": "a made-up password"})
        stolen = http.cookies[COOKIE]
    with client(Admin(Settings(workspace=tmp_path, admin_password="changed"))) as other:
        other.cookies.set(COOKIE, stolen)
        assert other.get("/studies").text == "out"


def test_guessing_is_slowed_down(admin: Admin) -> None:
    with client(admin) as http:
        for number in range(TRIES_A_MINUTE):
            assert http.post("/lab", data={"password": f"guess {number}"}).status_code == 403
        assert http.post("/lab", data={"password": "a made-up password"}).status_code == 429


def test_whoever_guesses_does_not_lock_the_lab_out(admin: Admin) -> None:
    with client(admin, "203.0.113.7") as stranger:
        for number in range(TRIES_A_MINUTE + 1):
            stranger.post("/lab", data={"password": f"guess {number}"})
    with client(admin, "203.0.113.8") as lab:
        assert lab.post("/lab", data={"password": "a made-up password"}).text == "in"


def test_a_cookie_cannot_be_read_by_scripts(admin: Admin) -> None:
    with client(admin) as http:
        done = http.post("/lab", data={"password": "a made-up password"}, follow_redirects=False)
    assert "httponly" in done.headers["set-cookie"].lower()
    assert "samesite=lax" in done.headers["set-cookie"].lower()


@pytest.mark.parametrize(
    ("headers", "is_lab"),
    [
        ({}, True),
        ({"origin": "http://testserver"}, True),
        ({"origin": "https://behind.a.proxy.test", "sec-fetch-site": "same-origin"}, True),
        ({"origin": "https://elsewhere.test"}, False),
        ({"origin": "https://elsewhere.test", "sec-fetch-site": "cross-site"}, False),
        ({"origin": "http://testserver", "sec-fetch-site": "same-site"}, False),
        ({"origin": "null"}, False),
    ],
)
def test_a_page_of_another_site_is_not_the_lab(
    admin: Admin, headers: dict[str, str], is_lab: bool
) -> None:
    """On a hosted Space the cookie travels with every request that any page makes."""
    with client(admin) as http:
        http.post("/lab", data={"password": "a made-up password"})
        assert http.get("/studies", headers=headers).text == ("in" if is_lab else "out")


def test_logging_out_works_inside_the_frame_of_a_space(
    admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("studio.admin.HOSTED", True)
    with client(admin) as http:
        gone = http.post("/lab/out", follow_redirects=False).headers["set-cookie"].lower()
    assert "samesite=none" in gone and "secure" in gone and "max-age=0" in gone


def test_without_a_password_a_kept_key_is_the_link(tmp_path: Path) -> None:
    admin = Admin(Settings(workspace=tmp_path))
    key = kept_key(tmp_path / "admin.key")
    assert len(key) >= 22
    assert stat.S_IMODE((tmp_path / "admin.key").stat().st_mode) == 0o600
    assert admin.link("http://h").endswith(f"/lab?key={key}")
    with client(Admin(Settings(workspace=tmp_path))) as http:
        assert http.get(f"/lab?key={key}").text == "in"


def test_the_lab_can_log_out_inside_of_a_hosted_spaces_frame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There a browser ignores whatever would set or delete a cookie that is not for other sites."""
    monkeypatch.setattr("studio.admin.HOSTED", True)
    with client(Admin(Settings(workspace=tmp_path))) as http:
        deleted = http.post("/lab/out", follow_redirects=False).headers["set-cookie"].lower()
    assert "max-age=0" in deleted and "samesite=none" in deleted and "secure" in deleted


SPACE = {"SPACE_ID": "lab/space", "OAUTH_CLIENT_ID": "made-up"}


def arriving(name: str, lasts_s: float = 60.0) -> Request:
    """A request of somebody who logged in with an account of the host."""
    info = {"userinfo": {"preferred_username": name}, "expires_at": time.time() + lasts_s}
    return Request({"type": "http", "headers": [], "session": {"oauth_info": info}})


def test_a_named_account_of_the_host_is_the_lab(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("studio.admin.has_accounts", lambda _: True)
    admin = Admin(Settings(workspace=tmp_path, admin_users="lab-one, lab-two"))
    assert admin.accounts and admin.allowed(arriving("lab-two"))
    assert not admin.allowed(arriving("visitor"))
    assert not admin.allowed(arriving(""))
    assert not admin.allowed(arriving("lab-two", lasts_s=-1.0))
    assert not admin.allowed(None)


@pytest.mark.parametrize("missing", ["SPACE_ID", "OAUTH_CLIENT_ID", "authlib", "users"])
def test_accounts_open_nothing_where_the_hosts_login_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    """Outside of a Space, Gradio's login is a mock whose cookies anybody can sign."""
    for name, value in SPACE.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("studio.admin.find_spec", lambda name: missing != name or None)
    monkeypatch.delenv(missing, raising=False)
    settings = Settings(workspace=tmp_path, admin_users="" if missing == "users" else "lab-one")
    admin = Admin(settings)
    assert not has_accounts(settings) and not admin.accounts
    assert not admin.allowed(arriving("lab-one")) and not admin.allowed(arriving(""))


def test_on_a_space_with_login_the_named_accounts_get_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in SPACE.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("studio.admin.find_spec", lambda _: True)
    admin = Admin(Settings(workspace=tmp_path, admin_users="lab-one"))
    assert admin.accounts and admin.allowed(arriving("lab-one"))


def test_without_a_password_the_page_says_where_the_key_is(admin: Admin, tmp_path: Path) -> None:
    made = Admin(Settings(workspace=tmp_path))
    with client(made) as http, client(admin) as guarded:
        told = http.get("/lab").text
        assert "terminal" in told and kept_key(tmp_path / "admin.key") not in told
        assert "terminal" in http.post("/lab", data={"password": "wrong"}).text
        assert http.post("/lab", data={"password": kept_key(tmp_path / "admin.key")}).text == "in"
        assert "terminal" not in guarded.get("/lab").text
