"""Runs as files: one JSON object a line, a versioned header first, then the events.

A trace read from disk and a live run give the same events. A trace that was cut off in mid-write
(the machine went away) keeps every whole line.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from pydantic import ValidationError

from protocols.core.errors import UserError
from protocols.core.events import Answer, Ended, Event, RunStarted, dump, parse
from protocols.core.models import Frozen, RunSpec

TRACE_VERSION = 1


class TraceHeader(Frozen):
    """What a trace is, before its first event. ``label`` marks recordings that ship as examples."""

    trace: int = TRACE_VERSION
    run: str
    spec: RunSpec
    created: str = ""
    engine: str = ""
    label: str = ""


@dataclass(frozen=True)
class Trace:
    """A stored run."""

    header: TraceHeader
    events: tuple[Event, ...]

    @property
    def status(self) -> str:
        """``ok``, ``failed``, ``cancelled``, ``budget``, or ``interrupted`` without an end."""
        last = self.events[-1] if self.events else None
        return last.status if isinstance(last, Ended) else "interrupted"

    @property
    def answer(self) -> str:
        """The last answer's text, or nothing."""
        answers = [e.text for e in self.events if isinstance(e, Answer)]
        return answers[-1] if answers else ""


class TraceWriter:
    """Appends events to a file as they happen."""

    def __init__(self, path: Path, header: TraceHeader) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: IO[str] = path.open("w", encoding="utf-8")
        created = header.created or datetime.now(UTC).isoformat(timespec="seconds")
        stamped = header.model_copy(update={"created": created})
        self._file.write(stamped.model_dump_json() + "\n")

    def write(self, events: Iterable[Event]) -> None:
        """Append and hand over to the operating system."""
        self._file.writelines(dump(event) + "\n" for event in events)
        self._file.flush()

    def close(self) -> None:
        """Make the file durable and let go of it."""
        if not self._file.closed:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()


def read_trace(path: Path) -> Trace:
    """Read a trace file.

    Raises :class:`UserError` naming the file and line if it is not a trace of a known version.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise UserError(f"The trace '{path.name}' cannot be read: {error.strerror}.") from None
    header = _header(path, lines[0])
    return Trace(header, tuple(_events(path, lines[1:])))


def read_header(path: Path) -> TraceHeader:
    """Read only what a list of runs needs. Raises :class:`UserError` like :func:`read_trace`."""
    try:
        with path.open("rb") as file:
            return _header(path, file.readline())
    except OSError as error:
        raise UserError(f"The trace '{path.name}' cannot be read: {error.strerror}.") from None


def _header(path: Path, line: bytes) -> TraceHeader:
    try:
        raw: dict[str, Any] = json.loads(line)
        if raw.get("trace") != TRACE_VERSION:
            raise UserError(
                f"The trace '{path.name}' has version {raw.get('trace')}; this studio reads "
                f"version {TRACE_VERSION}. Record the run again."
            )
        return TraceHeader.model_validate(raw)
    except (ValueError, AttributeError):
        raise UserError(
            f"'{path.name}' is not a trace: its first line is no trace header."
        ) from None


def _events(path: Path, lines: list[bytes]) -> Iterator[Event]:
    for number, line in enumerate(lines, start=2):
        if not line:
            continue
        try:
            event = parse(line)
        except ValidationError:
            if number == len(lines) + 1:
                return  # the last line was cut off while it was being written
            raise UserError(
                f"The trace '{path.name}' is damaged at line {number}. Use another copy of it."
            ) from None
        yield event


def opening(events: Iterable[Event]) -> RunStarted:
    """The first event of a run. Raises :class:`UserError` if the events do not begin one."""
    first = next(iter(events), None)
    if not isinstance(first, RunStarted):
        raise UserError("The trace has no beginning. Use another copy of it.")
    return first
