"""One contribution at a time, worked on in a thread, watched by whoever handed it in.

It goes on when the page is closed. Only who started it has its ticket, and only a ticket stops it.
"""

from __future__ import annotations

import logging
import secrets
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from protocols.core.errors import StudioError, UserError
from studio.contribution_checks import Finding

log = logging.getLogger(__name__)
BEAT = 0.4
"""Seconds between two looks."""


@dataclass(frozen=True)
class Progress:
    """How far a contribution is. ``now`` is what goes on, ``losses`` are of a training."""

    now: str = ""
    done: int = 0
    total: int = 0
    findings: tuple[Finding, ...] = ()
    losses: tuple[tuple[int, float], ...] = ()
    ended: bool = False
    problem: str = ""
    thanks: str = ""


class Report:
    """What a piece of work tells; also where it is asked to stop. Safe to use from any thread."""

    def __init__(self) -> None:
        self.stop = threading.Event()
        self._lock = threading.Lock()
        self._news = threading.Condition(self._lock)
        self.progress = Progress(now="Starting.")

    def now(self, text: str, done: int = 0, total: int = 0) -> None:
        """Say what goes on, and how far it is."""
        self._change(now=text, done=done, total=total)

    def point(self, finding: Finding) -> None:
        """Add a point of a check."""
        with self._lock:
            found = (*self.progress.findings, finding)
        self._change(findings=found)

    def loss(self, step: int, loss: float) -> None:
        """Add a point of the training's curve."""
        with self._lock:
            curve = (*self.progress.losses, (step, loss))
        self._change(losses=curve)

    def end(self, thanks: str = "", problem: str = "") -> None:
        """Nothing comes after this."""
        self._change(now="", done=0, total=0, ended=True, thanks=thanks, problem=problem)

    def _change(self, **changes: object) -> None:
        with self._news:
            self.progress = replace(self.progress, **changes)  # type: ignore[arg-type]
            self._news.notify_all()

    def wait(self, seen: Progress) -> Progress:
        """The progress after ``seen``, or the same one after a beat."""
        with self._news:
            self._news.wait_for(lambda: self.progress is not seen, BEAT * 10)
            return self.progress


Work = Callable[[Report], str]
"""Does it all and returns the thanks; raises :class:`StudioError` with one sentence."""


class ContributionJobs:
    """A queue of one. Safe to use from any thread."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._lock = threading.Lock()
        self._ticket, self._report = "", Report()
        self._report.end()

    def start(self, work: Work) -> str:
        """Begin; returns the ticket. Raises :class:`UserError` while another one is worked on."""
        with self._lock:
            if not self._report.progress.ended:
                raise UserError(f"{self._what} Try again in a few minutes.")
            self._ticket, self._report = secrets.token_urlsafe(16), Report()
            report = self._report
        threading.Thread(target=_run, args=(work, report), daemon=True).start()
        return self._ticket

    def follow(self, ticket: str) -> Iterator[Progress]:
        """Every progress of a ticket's work that is looked at, the last one at its end."""
        report = self._of(ticket)
        if report is None:
            return
        seen = report.progress
        yield seen
        while not seen.ended:
            if (news := report.wait(seen)) is not seen:
                seen = news
                yield seen
                threading.Event().wait(BEAT)

    def stop(self, ticket: str) -> bool:
        """Ask the ticket's work to stop; whether there was any."""
        report = self._of(ticket)
        if report is None or report.progress.ended:
            return False
        report.stop.set()
        return True

    def _of(self, ticket: str) -> Report | None:
        with self._lock:
            same = ticket and secrets.compare_digest(ticket.encode(), self._ticket.encode())
            return self._report if same else None


def _run(work: Work, report: Report) -> None:
    try:
        report.end(thanks=work(report))
    except StudioError as error:
        report.end(problem=error.message)
    except Exception:
        name = uuid.uuid4().hex[:8]
        log.exception("bug %s in a contribution", name)
        told = f"Something went wrong on our side (error {name}); the log has the details."
        report.end(problem=told)
