"""Traces: what was written is read, a cut file keeps its whole lines, damage is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from protocols.core.errors import UserError
from protocols.core.events import Delta, Ended, Event
from protocols.core.trace import TraceHeader, TraceWriter, read_header, read_trace
from tests.helpers import make_spec, played


def written(folder: Path) -> tuple[Path, list[Event]]:
    spec = make_spec("single_model", 2)
    events = played(spec)
    path = folder / "run.jsonl"
    writer = TraceWriter(path, TraceHeader(run="run-one", spec=spec, label="test"))
    for event in events:
        writer.write([event])
    writer.close()
    return path, events


def test_a_trace_is_the_run(tmp_path: Path) -> None:
    path, events = written(tmp_path)
    trace = read_trace(path)
    assert list(trace.events) == events
    assert trace.header.spec == make_spec("single_model", 2)
    assert trace.status == "ok" and trace.answer
    assert read_header(path) == trace.header


def test_a_cut_off_trace_keeps_whole_lines(tmp_path: Path) -> None:
    path, events = written(tmp_path)
    data = path.read_bytes()
    path.write_bytes(data[:-30])
    trace = read_trace(path)
    assert list(trace.events) == events[:-1]
    assert trace.status == "interrupted"


def test_damage_is_named_by_line(tmp_path: Path) -> None:
    path, _ = written(tmp_path)
    lines = path.read_text().splitlines()
    lines[2] = lines[2].replace('"kind"', '"kin"')
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(UserError, match=r"damaged at line 3"):
        read_trace(path)


@pytest.mark.parametrize("content", ["", "no json\n", "[1]\n", '{"trace": 1}\n', "\x00\xff"])
def test_other_files_are_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "other.jsonl"
    path.write_text(content)
    with pytest.raises(UserError, match=r"other\.jsonl"):
        read_trace(path)


def test_other_versions_are_refused(tmp_path: Path) -> None:
    path, _ = written(tmp_path)
    path.write_text(path.read_text().replace('{"trace":1', '{"trace":99', 1))
    with pytest.raises(UserError, match="version 99"):
        read_trace(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"gone\.jsonl"):
        read_trace(tmp_path / "gone.jsonl")


def test_events_refuse_unknown_fields() -> None:
    with pytest.raises(ValueError, match="extra"):
        Delta.model_validate({"call": "a", "text": "b", "colour": "red"})
    with pytest.raises(ValueError, match="status"):
        Ended.model_validate({"status": "splendid"})
