"""What a headless run leaves: one :class:`BenchRecord` per (item, protocol, pool, seed).

Every figure and table is a query over these records; :mod:`evals.frames` turns them into pandas
frames. They live in an append-only JSON-lines file.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pydantic import Field, JsonValue

from evals.append_only import AppendOnly
from evals.tasks.core import Split
from protocols.core.events import Owner, Status
from protocols.core.models import Frozen

RECORD_VERSION = 1
RECORDS = "records.jsonl"
Outcome = Literal["right", "partial", "wrong", "unparsed", "unscored", "failed"]
Role = Literal["solo", "system", "baseline"]


class Member(Frozen):
    """What one member of the pool said to the same item on its own, under the same seed.

    The text is in the record named by ``key`` (protocol ``single_model``), once for all pools.
    """

    model: str
    key: str
    outcome: Outcome
    score: float | None = None
    compatible: float | None = None
    parsed: str | None = None


class Failure(Frozen):
    """A call that gave no usable text."""

    call: str
    model: str
    owner: Owner
    message: str


class Reading(Frozen):
    """How an answer was read: see :class:`evals.metrics.grade.Grade`."""

    score: float | None = None
    parsed: str | None = None
    span: tuple[int, int] | None = None
    rule: str = ""


class BenchRecord(Frozen):
    """One answered item."""

    version: int = RECORD_VERSION
    key: str = Field(description="Hash of everything that decides the run; one record per key.")
    role: Role = Field(description="solo: one member alone. baseline: what a system has to beat.")
    task: str
    family: str = Field("", description="Group of tasks, for the paper's tasks one of its domains.")
    item: str
    split: Split
    domain: str = Field("", description="The item's own domain; two skills are joined by '+'.")
    options: int = Field(0, description="Options the item has; 0 = none are offered.")
    group: str = Field("", description="Items of one group count together, if the task says so.")
    protocol: str
    level: str
    config: dict[str, JsonValue] = {}
    profile: str = Field("", description="The named set of settings, if one was asked for.")
    artifact: str = Field("", description="Key of the fitted artifact, empty if none was used.")
    fitted_to: str = Field("", description="Tasks whose train and dev items the artifact has seen.")
    pool: tuple[str, ...] = Field(description="Model ids, in order.")
    order: int = Field(0, description="0 = the pool's own order, else the number of a shuffle.")
    design: str = Field("", description="What the pool was composed for: SETTING/LEVEL/NAME, ...")
    seed: int = Field(description="The run's seed; what a run draws follows from it and the item.")
    status: Status
    outcome: Outcome
    text: str = ""
    corrected: Reading = Reading()
    compatible: Reading = Reading()
    others: dict[str, float] = Field({}, description="More scores of such tasks, by name.")
    members: tuple[Member, ...] = ()
    calls: int = Field(0, description="Texts asked for; a text that n models fuse counts n.")
    score_calls: int = Field(0, description="Label scorings, each one forward pass.")
    failed_calls: int = 0
    prompt_tokens: int = 0
    tokens: int = Field(0, description="Generated tokens over all models.")
    seconds: float = Field(0.0, description="Wall clock, shared with other runs at that time.")
    busy_seconds: float = Field(0.0, description="Sum of the calls' own durations.")
    shares: dict[str, float] = Field({}, description="Who contributed how much to the answer.")
    failures: tuple[Failure, ...] = ()
    error: str = ""
    owner: Owner | None = None
    sampling: dict[str, JsonValue] = {}
    engine: str = ""
    run: str = Field("", description="Digest of the run's spec.")
    code: str = Field("", description="Digest of the source that made the answer.")
    scoring: str = Field("", description="Digest of the source that scored it.")
    made: str = Field("", description="When, in UTC.")
    imported: str = Field("", description="FORMAT: FILE it was read from; empty = measured here.")

    @property
    def n(self) -> int:
        """How many models took part."""
        return len(self.pool)

    @property
    def score(self) -> float | None:
        """The corrected score; None = unparsed, unscored or failed."""
        return self.corrected.score

    @property
    def again(self) -> bool:
        """Whether it failed for a reason of the machine, so that another try is fair."""
        return self.outcome == "failed" and self.owner in ("engine", "bug")


def record_file(folder: Path) -> AppendOnly[BenchRecord]:
    """The file of records in a folder, to read or to open for writing."""
    return AppendOnly(
        folder / RECORDS,
        BenchRecord.model_validate_json,
        record_line,
    )


def record_line(record: BenchRecord) -> str:
    """The record without the fields that hold their defaults; the version always stays."""
    fields = record.model_dump(mode="json", exclude_defaults=True)
    return json.dumps({"version": record.version, **fields}, ensure_ascii=False)


def read_records(folder: Path) -> list[BenchRecord]:
    """Return the newest record of every key, in the order in which keys came first."""
    return list(newest(record_file(folder).read()).values())


def newest(records: Iterable[BenchRecord]) -> dict[str, BenchRecord]:
    """Return the last record of every key."""
    return {record.key: record for record in records}
