"""Values on disk: one JSON object a line, appended and made durable one by one.

A kill leaves at most one half-written last line, which the next writer cuts off; whatever was
appended before stays. One process writes at a time, any number may read meanwhile.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Generic, Self, TypeVar

from filelock import FileLock, Timeout
from pydantic import ValidationError

from protocols.core.errors import EngineError, UserError

T = TypeVar("T")


class AppendOnly(Generic[T]):
    """A file of values, open for writing inside ``with``.

    ``read_line`` and ``write_line`` turn a value into one line and back; the first raises
    ``pydantic.ValidationError`` for anything else.
    """

    def __init__(
        self, path: Path, read_line: Callable[[bytes], T], write_line: Callable[[T], str]
    ) -> None:
        self.path = path
        self._read_line, self._write_line = read_line, write_line
        self._lock = FileLock(path.with_name(f".{path.name}.lock"), timeout=0)
        self._file: IO[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
            self._file = self.path.open("ab")
            self._file.truncate(_whole(self._bytes()))
        except Timeout:
            raise UserError(
                f"Another process is writing to '{self.path.parent.name}'; wait for its end or "
                "choose another folder."
            ) from None
        except OSError as error:
            raise self._unwritable(error) from None
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file:
            self._file.close()
            self._file = None
        self._lock.release()

    def append(self, values: Sequence[T]) -> None:
        """Write values and wait until they are on disk. Raises :class:`EngineError` if full."""
        if self._file is None:
            raise RuntimeError(f"{self.path.name} is not open for writing")
        lines = [self._write_line(value).encode("utf-8", "replace") + b"\n" for value in values]
        try:
            self._file.write(b"".join(lines))
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise self._unwritable(error) from None

    def read(self) -> list[T]:
        """Return every whole line's value. Raises :class:`UserError` naming a damaged line."""
        data = self._bytes()
        lines = data[: _whole(data)].split(b"\n")
        return [self._parse(number, line) for number, line in enumerate(lines, start=1) if line]

    def _bytes(self) -> bytes:
        return self.path.read_bytes() if self.path.is_file() else b""

    def _parse(self, number: int, line: bytes) -> T:
        try:
            return self._read_line(line)
        except ValidationError:
            raise UserError(
                f"'{self.path.name}' in '{self.path.parent.name}' is damaged at line {number}; "
                "remove the line and run it again."
            ) from None

    def _unwritable(self, error: OSError) -> EngineError:
        return EngineError(
            f"'{self.path.name}' cannot be saved in '{self.path.parent.name}': "
            f"{error.strerror or error}. Make room or choose another folder and run it again."
        )


def _whole(data: bytes) -> int:
    """Where the last whole line ends: a kill may have cut off what follows."""
    return data.rfind(b"\n") + 1
