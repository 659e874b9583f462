"""One run's events as one record: what was answered, how right it is, and what it cost."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, get_args

from evals.bench_plan import Cell, member, outcome_of
from evals.code_version import code_digest, scoring_digest
from evals.metrics.grade import Grade, Graded
from evals.records import BenchRecord, Failure, Reading
from protocols.core.errors import StudioError
from protocols.core.events import (
    Answer,
    CallEnded,
    CallFailed,
    CallStarted,
    Ended,
    Event,
    Owner,
)
from protocols.core.registry import get_protocol

OWNERS = get_args(Owner)


class RunReading:
    """Takes in a run's events and gives its record at the end."""

    def __init__(self, cell: Cell, engine: str) -> None:
        self.cell, self.engine = cell, engine
        self.calls = self.score_calls = 0
        self.busy = 0.0
        self.failures: list[CallFailed] = []
        self.answer: Answer | None = None
        self.end: Ended | None = None
        self.error: StudioError | None = None

    def take(self, event: Event) -> None:
        """Read the next event."""
        match event:
            case CallStarted() if event.mode == "score":
                self.score_calls += 1
            case CallStarted():
                self.calls += max(1, len(event.models))
            case CallEnded():
                self.busy += event.usage.seconds
            case CallFailed():
                self.failures.append(event)
            case Answer():
                self.answer = event
            case Ended():
                self.end = event
            case _:
                pass

    def fail(self, error: StudioError) -> None:
        """The run could not begin."""
        self.error = error

    @property
    def answered(self) -> bool:
        """Whether there is a whole answer."""
        ended = self.end is not None and self.end.status == "ok"
        return ended and self.answer is not None and not self.answer.partial

    def record(self, book: Mapping[str, BenchRecord]) -> BenchRecord:
        """The run as a record; ``book`` has what the members said alone."""
        cell, spec = self.cell, self.cell.spec
        text = self.answer.text if self.answer else ""
        graded = cell.item.grade(text) if self.answered else Graded(Grade(None))
        fields: dict[str, Any] = {
            **described(cell),
            **self._spent(),
            "status": self.end.status if self.end else "failed",
            "outcome": outcome_of(graded.corrected, text) if self.answered else "failed",
            "text": text,
            "corrected": reading(graded.corrected),
            "compatible": reading(graded.compatible),
            "others": graded.others,
            "members": [
                member(model, key, book.get(key))
                for model, key in zip(spec.pool, cell.members, strict=False)
            ],
            "shares": dict(self.answer.contributors) if self.answer else {},
            "failures": [_failure(one) for one in self.failures],
            "error": self._message(),
            "owner": None if self.answered else self._owner(),
            "engine": self.engine,
            "code": code_digest(spec.protocol),
            "scoring": scoring_digest(),
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
        """Who can mend it: a protocol passes on the failures of its models as its own."""
        if self.error:
            return self.error.owner
        owners = {failure.owner for failure in self.failures}
        if owners:
            return "engine" if owners & {"engine", "bug"} else "contributor"
        return (self.end.owner if self.end else None) or "engine"


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
        "group": cell.item.group,
        "protocol": spec.protocol,
        "level": protocol.level,
        "config": dict(spec.config),
        "profile": cell.profile,
        "artifact": spec.artifact,
        "fitted_to": cell.fitted_to,
        "pool": spec.pool,
        "order": cell.order,
        "seed": cell.seed,
        "sampling": spec.sampling.model_dump(mode="json"),
        "run": spec.digest,
    }


def reading(grade: Grade) -> Reading:
    """A grade as records keep it."""
    return Reading(score=grade.value, parsed=grade.parsed, span=grade.span, rule=grade.rule)


def _failure(event: CallFailed) -> Failure:
    return Failure(call=event.call, model=event.model, owner=event.owner, message=event.message)
