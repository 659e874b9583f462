"""Says where a long step is when nothing was heard of it for a while.

A training that stands still and one that the machine has no time for look the same from outside:
what was heard last, the processor time since, and the line where a thread is tell them apart.
"""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Collection
from pathlib import Path

from protocols.core.events import Event, Phase, Progress

OWN = Path(__file__).parents[1]
UNIT = "silence"


class Silence:
    """Counts from the last event on; each time it has spoken it waits twice as long."""

    def __init__(self, quiet_s: float) -> None:
        self._first = quiet_s
        self._last: Phase | Progress | None = None
        self.begin()

    def begin(self) -> None:
        """From now on the silence is counted anew."""
        self._since, self._cpu = time.monotonic(), time.process_time()
        self._next = self._first

    def heard(self, event: Event) -> None:
        """Something happened; its own words are silence still."""
        if isinstance(event, Progress) and event.unit == UNIT:
            return
        if isinstance(event, Phase | Progress):
            self._last = event
        self.begin()

    def left(self) -> float:
        """Seconds until it speaks."""
        return max(0.0, self._since + self._next - time.monotonic())

    def told(self, threads: Collection[int]) -> Progress:
        """What there is to say now, given the ids of the threads that work."""
        silent = time.monotonic() - self._since
        computed = time.process_time() - self._cpu
        self._next *= 2
        places = [place for thread in threads if (place := where(thread))]
        at = f" It is at {' and at '.join(places)}." if places else ""
        note = (
            f"Nothing was heard for {silent:.0f} s, after {spoken(self._last)}; this process "
            f"computed for {computed:.0f} s of them.{at}"
        )
        return Progress(unit=UNIT, note=note, level="warning", values={"seconds": silent})


def spoken(event: Phase | Progress | None) -> str:
    """What was heard last, in few words."""
    if event is None:
        return "it began"
    if isinstance(event, Phase):
        return f"'{event.title}' began"
    total = f" of {event.total:g}" if event.total else ""
    return f"'{event.note or event.unit}' ({event.unit} {event.done:g}{total})"


def where(thread: int) -> str:
    """The function of this project that a thread is in, and the library's inside it."""
    frame = sys._current_frames().get(thread)
    if frame is None:
        return ""
    stack = traceback.extract_stack(frame)
    own = [one for one in stack if OWN in Path(one.filename).parents]
    mine = [one for one in own if Path(one.filename).name != "workers.py"]
    named = [f"{Path(one.filename).stem}.{one.name}" for one in (*mine[-1:], stack[-1])]
    return ", ".join(dict.fromkeys(named))
