"""Answers on disk: one JSON object a line, appended and made durable one by one."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Literal, Self

from filelock import FileLock, Timeout
from pydantic import TypeAdapter, ValidationError

from evals.human.study import Arm
from protocols.core.errors import EngineError, UserError

Outcome = Literal["ok", "empty", "failed"]
FILE = "responses.jsonl"


@dataclass(frozen=True, slots=True)
class Response:
    """One arm's answer to one question, raw: it may name its model and must not reach a rater.

    ``key`` names the run and its weights, ``run`` the run alone. ``cut``: the length limit ended
    it. ``error`` and ``owner`` say what went wrong and who can mend it.
    """

    key: str
    stratum: str
    arm: Arm
    question: str
    prompt: str
    text: str = ""
    outcome: Outcome = "ok"
    finish: str = ""
    cut: bool = False
    run: str = ""
    error: str = ""
    owner: str = ""
    language: str = ""
    spare: bool = False
    gold: Arm | None = None

    @property
    def again(self) -> bool:
        """Whether it failed for a reason of the machine, so that another try is fair."""
        return self.outcome != "ok" and self.owner in ("engine", "bug")


_WIRE = TypeAdapter(Response)


def last_by_key(responses: Iterable[Response]) -> dict[str, Response]:
    """Return the newest answer of every key."""
    return {response.key: response for response in responses}


class ResponseFile:
    """The answers of one study's folder; open for writing in one process at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / FILE
        self._lock = FileLock(folder / f".{FILE}.lock", timeout=0)
        self._file: IO[bytes] | None = None

    @classmethod
    def peek(cls, folder: Path) -> list[Response]:
        """Read without writing; a line that is being written is left out."""
        return cls(folder).read()

    def __enter__(self) -> Self:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
            self._file = self._path.open("ab")
            self._file.truncate(_whole(self._bytes()))
        except Timeout:
            raise UserError(
                f"Another process is making answers in '{self._folder.name}'; wait for it."
            ) from None
        except OSError as error:
            raise _unwritable(self._folder, error) from None
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file:
            self._file.close()
        self._lock.release()

    def append(self, response: Response) -> None:
        """Write one answer and wait until it is on disk. Raises :class:`EngineError` if full."""
        if self._file is None:
            raise RuntimeError("the file of answers is not open")
        line = json.dumps(asdict(response), ensure_ascii=False).encode("utf-8", "replace")
        try:
            self._file.write(line + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise _unwritable(self._folder, error) from None

    def read(self) -> list[Response]:
        """Return every whole line. Raises :class:`UserError` naming a damaged one."""
        data = self._bytes()
        lines = data[: _whole(data)].split(b"\n")
        return [self._parse(number, line) for number, line in enumerate(lines, start=1) if line]

    def _bytes(self) -> bytes:
        return self._path.read_bytes() if self._path.is_file() else b""

    def _parse(self, number: int, line: bytes) -> Response:
        try:
            return _WIRE.validate_json(line)
        except ValidationError:
            raise UserError(
                f"The answers in '{self._folder.name}' are damaged at line {number}; remove the "
                "line and make them again."
            ) from None


def _whole(data: bytes) -> int:
    """Where the last whole line ends: a kill may have cut off what follows."""
    return data.rfind(b"\n") + 1


def _unwritable(folder: Path, error: OSError) -> EngineError:
    return EngineError(
        f"The answers cannot be saved in '{folder.name}': {error.strerror or error}. "
        "Make room or choose another folder and run it again."
    )
