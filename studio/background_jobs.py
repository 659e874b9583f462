"""Long work of the lab that goes on when the page is closed: making answers, judging.

One job per study at a time. A job is a coroutine on the run manager's loop, where the engine lives.
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace

from protocols.core.errors import StudioError, UserError
from protocols.core.events import Progress
from studio.runs import RunManager

LAST_WARNINGS = 5
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """How far a job is. ``problem`` is the sentence it failed with."""

    title: str = ""
    done: float = 0
    total: float = 0
    note: str = ""
    problem: str = ""
    running: bool = False


class Jobs:
    """The jobs by study. Safe to use from any thread."""

    def __init__(self, manager: RunManager) -> None:
        self._manager = manager
        self._lock = threading.Lock()
        self._jobs: dict[str, Job] = {}

    def of(self, study: str) -> Job:
        """The newest job of a study; an empty one if there was none."""
        return self._jobs.get(study, Job())

    def start(self, study: str, title: str, steps: Callable[[], AsyncIterator[Progress]]) -> None:
        """Begin a job. Raises :class:`UserError` while another one of the study runs."""
        with self._lock:
            if self.of(study).running:
                raise UserError(f"'{study}' is busy: {self.of(study).title}. Wait for its end.")
            self._jobs[study] = Job(title, running=True, note="Starting.")
        self._manager.submit(self._work(study, steps))

    async def _work(self, study: str, steps: Callable[[], AsyncIterator[Progress]]) -> None:
        problem, warned = "", dict[str, None]()
        try:
            async for step in steps():
                if step.level == "warning":
                    warned |= {step.note: None}
                # A step that counts nothing, such as a warning, leaves the count as it was.
                counted = {"done": step.done, "total": step.total} if step.total else {}
                self._tell(study, note=step.note, **counted)
        except StudioError as error:
            problem = error.message
        except Exception:
            name = uuid.uuid4().hex[:8]
            log.exception("bug %s in a job of study %s", name, study)
            problem = f"Something went wrong on our side (error {name}); the log has the details."
        # What went wrong on the way must outlast the end: a judge left out, a pair left out.
        note = "" if problem else " ".join(["Done.", *[*warned][-LAST_WARNINGS:]])
        self._tell(study, running=False, problem=problem, note=note)

    def _tell(self, study: str, **changes: object) -> None:
        self._jobs[study] = replace(self._jobs[study], **changes)  # type: ignore[arg-type]
