"""Killing a bench at any moment: nothing is done twice and nothing that was written is lost."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from evals.records import RECORDS, read_records, record_file
from tests.conftest import ROOT
from tests.evals.bench.helpers import measure, spec


def lines(folder: Path) -> int:
    path = folder / RECORDS
    return path.read_bytes().count(b"\n") if path.is_file() else 0


def start(folder: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.storms.bench_worker", str(folder)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def kill_after(folder: Path, more: int) -> bool:
    """Kill a bench once it has written ``more`` records; False if it ended before."""
    before, process = lines(folder), start(folder)
    while process.poll() is None and lines(folder) < before + more:
        time.sleep(0.001)
    ended = process.poll() is not None
    process.kill()
    _, said = process.communicate()
    assert not ended or process.returncode == 0, said.decode()
    return not ended


@pytest.mark.parametrize("kills", [1, pytest.param(25, marks=pytest.mark.slow)])
def test_a_bench_survives_kills(tmp_path: Path, kills: int) -> None:
    rng = random.Random(kills)
    seen: dict[str, str] = {}
    for _ in range(kills):
        kill_after(tmp_path, rng.randint(1, 120 // kills))
        now = {record.key: record.model_dump_json() for record in record_file(tmp_path).read()}
        assert all(now[key] == kept for key, kept in seen.items())
        seen = now
    whole, _ = measure(spec(seeds=(0, 1)), tmp_path / "whole")
    measure(spec(seeds=(0, 1)), tmp_path)
    stored = record_file(tmp_path).read()
    assert len(stored) == len({r.key for r in stored}) == len(whole)
    texts = {record.key: record.text for record in whole}
    assert {record.key: record.text for record in read_records(tmp_path)} == texts
