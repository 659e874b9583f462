"""The Dockerfile, read as text: tests have no container engine.

What can be checked without one is: its stages, what it copies, whose user it runs as, and that its
commands are the Makefile's and work in a folder that holds only what is copied.
"""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from studio.settings import Settings
from tests.conftest import ROOT

KNOWN = {"ARG", "FROM", "ENV", "WORKDIR", "COPY", "RUN", "USER", "VOLUME", "EXPOSE", "HEALTHCHECK",
         "CMD"}  # fmt: skip


class Line(NamedTuple):
    word: str
    rest: str


def lines(text: str) -> list[Line]:
    """Instructions with their continuation lines joined and comments left out."""
    kept = "\n".join(row for row in text.splitlines() if not row.lstrip().startswith("#"))
    joined = re.sub(r"\\\n\s*", "", kept)
    return [Line(*row.split(None, 1)) for row in joined.splitlines() if row.strip()]


FILE = lines((ROOT / "Dockerfile").read_text(encoding="utf-8"))


def stages() -> dict[str, list[Line]]:
    found: dict[str, list[Line]] = {}
    name = ""
    for line in FILE:
        if line.word == "FROM":
            name = line.rest.split()[-1]
            found[name] = [line]
        elif name:
            found[name].append(line)
    return found


def last() -> list[Line]:
    return stages()["studio"]


def one(word: str) -> str:
    (found,) = (line.rest for line in last() if line.word == word)
    return found


def environment() -> dict[str, str]:
    pairs = [p for line in last() if line.word == "ENV" for p in line.rest.split()]
    return dict(pair.split("=", 1) for pair in pairs)


def exec_form(text: str) -> list[str]:
    return [str(part) for part in json.loads(text[text.index("[") :])]


def copied() -> list[tuple[list[str], str]]:
    rows = [line.rest.split() for line in FILE if line.word == "COPY" and "--from" not in line.rest]
    return [(row[:-1], row[-1]) for row in rows]


def ignored(path: str) -> bool:
    """.dockerignore as the builder reads it: the last pattern that matches a part decides."""
    out = False
    for raw in (ROOT / ".dockerignore").read_text().splitlines():
        pattern = raw.strip()
        if not pattern or pattern.startswith("#"):
            continue
        keep, pattern = pattern.startswith("!"), pattern.lstrip("!").removeprefix("**/")
        parts = path.split("/")
        whole = ["/".join(parts[:n]) for n in range(1, len(parts) + 1)]
        if any(fnmatch.fnmatch(name, pattern) for name in [*whole, *parts]):
            out = not keep
    return out


def test_every_instruction_is_known_and_every_stage_exists() -> None:
    assert {line.word for line in FILE} <= KNOWN
    names = list(stages())
    first = next(number for number, line in enumerate(FILE) if line.word == "FROM")
    assert [line.rest for line in FILE[:first]] == ["KIND=cpu", "PYTHON=3.11"]
    # A stage named by an argument cannot be built by every builder: buildah does not find it.
    assert {body[0].rest.split()[0] for body in stages().values()} == {"python:${PYTHON}-slim"}
    for line in FILE:
        if line.word == "COPY" and "--from=" in line.rest:
            assert line.rest.split()[0].removeprefix("--from=") in names


def test_each_kind_installs_its_requirements_and_others_are_refused(tmp_path: Path) -> None:
    (script,) = (x.rest for x in stages()["packages"] if x.word == "RUN" and "case" in x.rest)
    (tmp_path / "scripts").mkdir()
    told = '#!/bin/sh\necho "$2 ${PIP_EXTRA_INDEX_URL:-none}"\n'
    (tmp_path / "scripts" / "install.sh").write_text(told)
    (tmp_path / "scripts" / "install.sh").chmod(0o755)

    def run(kind: str) -> subprocess.CompletedProcess[str]:
        world = {"PATH": os.environ["PATH"], "KIND": kind, "TORCH_INDEX": "builds"}
        return subprocess.run(
            ["/bin/sh", "-c", script], cwd=tmp_path, env=world,
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    assert run("cpu").stdout == "requirements-cpu.txt builds\n"
    assert run("gpu").stdout == "requirements.txt none\n"
    assert run("cuda").returncode == 2 and "cpu or gpu, not 'cuda'" in run("cuda").stderr


def test_it_has_the_python_of_the_space() -> None:
    card = (ROOT / "README.md").read_text(encoding="utf-8").split("---")[1]
    assert 'python_version: "3.11"' in card


def test_what_is_copied_exists_and_is_not_ignored() -> None:
    for sources, _ in copied():
        for source in sources:
            assert (ROOT / source).exists() and not ignored(source), source


@pytest.mark.parametrize(
    "secret", [".git/config", ".studio/admin.key", ".env", "tests/conftest.py", ".venv/bin/python",
               "studio/__pycache__/app.cpython-311.pyc"],
)  # fmt: skip
def test_nothing_private_gets_into_an_image(secret: str) -> None:
    assert ignored(secret)
    assert not ignored("studio/pages/play.py") and not ignored("assets/pool/embedded.yaml")


def test_it_runs_as_a_user_without_rights_and_keeps_its_workspace() -> None:
    words = [line.word for line in last()]
    assert one("USER") == "studio" and words.index("USER") < words.index("CMD")
    after = last()[words.index("USER") :]
    assert not [line for line in after if line.word == "COPY"]
    assert any("useradd" in line.rest and "--uid 1000" in line.rest for line in last())
    assert one("VOLUME") == environment()["STUDIO_WORKSPACE"]
    fields = {n for n in environment() if n.startswith("STUDIO_")}
    assert {n.removeprefix("STUDIO_").lower() for n in fields} <= set(Settings.model_fields)


def test_its_port_and_health_are_the_apps() -> None:
    assert (
        one("EXPOSE") == environment()["STUDIO_PORT"] == str(Settings.model_fields["port"].default)
    )
    assert f":{one('EXPOSE')}/health'" in one("HEALTHCHECK")
    assert environment()["STUDIO_HOST"] == "0.0.0.0"


def test_its_commands_are_the_makefiles() -> None:
    make = (ROOT / "Makefile").read_text().replace("$(BIN)", ".venv/bin")
    runs = [line.rest for body in stages().values() for line in body if line.word == "RUN"]
    install = "scripts/install.sh .venv/bin/python"
    assert f"@{install} $(REQUIREMENTS)" in make and sum(run.count(install) for run in runs) == 2
    fetch = ".venv/bin/python -m studio doctor --fetch"
    assert f"@{fetch}" in make and fetch in runs
    assert f"\t{' '.join(exec_form(one('CMD')))}" in make


@pytest.mark.slow
@pytest.mark.models
def test_the_same_commands_run_in_a_folder_with_only_what_is_copied(
    tmp_path: Path, base_model: Path
) -> None:
    for sources, target in copied():
        for source in sources:
            there = tmp_path / target / (source if target == "./" else "")
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, there, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                there = tmp_path / target / Path(source).name
                there.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / source, there)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    data = tmp_path / "data"
    shutil.copytree(base_model, data / "models" / base_model.name)
    settings = {**environment(), "STUDIO_WORKSPACE": str(data), "STUDIO_PORT": port}
    settings["STUDIO_WARM"] = "false"
    world = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), **settings}

    def command(parts: list[str]) -> list[str]:
        return [sys.executable if part == ".venv/bin/python" else part for part in parts]

    fetched = subprocess.run(
        command([".venv/bin/python", "-m", "studio", "doctor", "--fetch"]),
        cwd=tmp_path, env=world, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert fetched.returncode == 0, fetched.stdout + fetched.stderr
    with (tmp_path / "log").open("wb") as log:
        app = subprocess.Popen(command(exec_form(one("CMD"))), cwd=tmp_path, env=world,
                               stdout=log, stderr=log)  # fmt: skip
    try:
        assert until_healthy(port, app), (tmp_path / "log").read_text()
        check = [p.replace("7860", port) for p in command(exec_form(one("HEALTHCHECK")))]
        assert subprocess.run(check, env=world, check=False).returncode == 0
    finally:
        app.terminate()
        app.wait(timeout=60)
    assert subprocess.run(check, env=world, capture_output=True, check=False).returncode != 0


def until_healthy(port: str, app: subprocess.Popen[bytes]) -> bool:
    end = time.monotonic() + 240
    while time.monotonic() < end and app.poll() is None:
        try:
            return httpx.get(f"http://127.0.0.1:{port}/health", timeout=5).status_code == 200
        except httpx.HTTPError:
            time.sleep(0.5)
    return False
