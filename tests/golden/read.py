"""Reads the fixtures."""

from __future__ import annotations

from protocols.core.events import Event
from protocols.core.trace import Trace, read_trace
from tests.golden.make import FIXTURES

NAMES = sorted(path.stem for path in FIXTURES.glob("*.jsonl"))


def trace(name: str) -> Trace:
    return read_trace(FIXTURES / f"{name}.jsonl")


def events(name: str) -> list[Event]:
    return list(trace(name).events)
