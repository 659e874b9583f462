"""How a run ended, read from its events: its answer, its failed calls and who can mend it."""

from __future__ import annotations

from protocols.core.events import Answer, CallFailed, Ended, Event


class RunEnd:
    """Takes in a run's events; whoever needs more of them extends :meth:`take`."""

    def __init__(self) -> None:
        self.failures: list[CallFailed] = []
        self.answer: Answer | None = None
        self.end: Ended | None = None

    def take(self, event: Event) -> None:
        """Read the next event."""
        match event:
            case CallFailed():
                self.failures.append(event)
            case Answer():
                self.answer = event
            case Ended():
                self.end = event
            case _:
                pass

    @property
    def whole(self) -> Answer | None:
        """The answer, if the run ended well and it is no part of one."""
        ended = self.end is not None and self.end.status == "ok"
        return self.answer if ended and self.answer and not self.answer.partial else None

    def owner(self, otherwise: str) -> str:
        """Who can mend it: a protocol passes on the failures of its models as its own."""
        owners = {failure.owner for failure in self.failures}
        if owners:
            return "engine" if owners & {"engine", "bug"} else "contributor"
        return (self.end.owner if self.end else None) or otherwise
