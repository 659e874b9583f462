"""One run's events as one record: what was answered, how right it is, and what it cost."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from evals.bench_plan import Cell, member, outcome_of
from evals.code_version import code_digest, scoring_digest
from evals.metrics.grade import Grade
from evals.records import BenchRecord, Failure, Member, Reading
from evals.run_end import RunEnd
from protocols.core.errors import StudioError
from protocols.core.events import CallEnded, CallFailed, CallStarted, Event
from protocols.core.registry import get_protocol


class RunReading(RunEnd):
    """Takes in a run's events and gives its record at the end."""

    def __init__(self, cell: Cell, engine: str) -> None:
        super().__init__()
        self.cell, self.engine = cell, engine
        self.calls = self.score_calls = 0
        self.busy = 0.0
        self.error: StudioError | None = None

    def take(self, event: Event) -> None:
        """Read the next event."""
        super().take(event)
        match event:
            case CallStarted() if event.mode == "score":
                self.score_calls += 1
            case CallStarted():
                self.calls += max(1, len(event.models))
            case CallEnded():
                self.busy += event.usage.seconds
            case _:
                pass

    def fail(self, error: StudioError) -> None:
        """The run could not begin."""
        self.error = error

    @property
    def answered(self) -> bool:
        """Whether there is a whole answer."""
        return self.whole is not None

    def record(self, book: Mapping[str, BenchRecord]) -> BenchRecord:
        """The run as a record; ``book`` has what the members said alone."""
        cell = self.cell
        text = self.answer.text if self.answer else ""
        fields: dict[str, Any] = {
            **described(cell),
            **self._spent(),
            **(scored(cell, text) if self.answered else {"outcome": "failed"}),
            "status": self.end.status if self.end else "failed",
            "text": text,
            "members": members_of(cell, book),
            "shares": dict(self.answer.contributors) if self.answer else {},
            "failures": [_failure(one) for one in self.failures],
            "error": self._message(),
            "owner": None if self.answered else self._owner(),
            "engine": self.engine,
            "code": code_digest(cell.spec.protocol),
            "made": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        return BenchRecord.model_validate(fields)

    def _spent(self) -> dict[str, Any]:
        spent: dict[str, Any] = {
            "calls": self.calls,
            "score_calls": self.score_calls,
            "failed_calls": len(self.failures),
            "busy_seconds": round(self.busy, 3),
        }
        if self.end:
            spent["prompt_tokens"] = self.end.usage.prompt_tokens
            spent["tokens"] = self.end.usage.completion_tokens
            spent["seconds"] = round(self.end.t, 3)
        return spent

    def _message(self) -> str:
        if self.answered:
            return ""
        if self.error:
            return self.error.message
        return (self.end.message if self.end else "") or "The run did not end with an answer."

    def _owner(self) -> str:
        return self.error.owner if self.error else self.owner("engine")


def described(cell: Cell) -> dict[str, Any]:
    """The part of a record that is known before its run."""
    spec, protocol = cell.spec, get_protocol(cell.spec.protocol)
    return {
        "key": cell.key,
        "role": cell.role,
        "task": cell.task.name,
        "family": cell.task.family,
        "item": cell.item.id,
        "split": cell.item.split,
        "domain": cell.item.domain,
        "options": len(cell.item.choices),
        "group": cell.item.group,
        "protocol": spec.protocol,
        "level": protocol.level,
        "config": dict(spec.config),
        "profile": cell.profile,
        "artifact": spec.artifact,
        "fitted_to": cell.fitted_to,
        "pool": spec.pool,
        "order": cell.order,
        "design": cell.design,
        "seed": cell.seed,
        "sampling": spec.sampling.model_dump(mode="json"),
        "run": spec.digest,
    }


def scored(cell: Cell, text: str) -> dict[str, Any]:
    """The part of a record that says how right a text is."""
    graded = cell.item.grade(text)
    return {
        "outcome": outcome_of(graded.corrected, text),
        "corrected": reading(graded.corrected),
        "compatible": reading(graded.compatible),
        "others": graded.others,
        "scoring": scoring_digest(),
    }


def members_of(cell: Cell, book: Mapping[str, BenchRecord]) -> tuple[Member, ...]:
    """What each member of the cell's pool said alone."""
    pairs = zip(cell.spec.pool, cell.members, strict=False)
    return tuple(member(model, key, book.get(key)) for model, key in pairs)


def refreshed(
    cell: Cell, record: BenchRecord, book: Mapping[str, BenchRecord]
) -> BenchRecord | None:
    """A stored record scored by the present metrics and beside its members' present records.

    None if nothing has changed. The text itself is never made again for this.
    """
    changes: dict[str, Any] = {}
    if record.outcome != "failed" and record.scoring != scoring_digest():
        again = scored(cell, record.text)
        changes |= again | {"others": {**record.others, **again["others"]}}
    if (members := members_of(cell, book)) != record.members:
        changes["members"] = members
    if (options := len(cell.item.choices)) != record.options:
        changes["options"] = options
    if cell.design and cell.design != record.design:
        changes["design"] = cell.design
    return record.model_copy(update=changes) if changes else None


def reading(grade: Grade) -> Reading:
    """A grade as records keep it."""
    return Reading(score=grade.value, parsed=grade.parsed, span=grade.span, rule=grade.rule)


def _failure(event: CallFailed) -> Failure:
    return Failure(call=event.call, model=event.model, owner=event.owner, message=event.message)
