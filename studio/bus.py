"""From a run's events to the few, small messages a watching page receives.

A message is a JSON string ``{"v":1,"run":id,"from":a,"to":b,"t":s,"ev":[...]}``: the events after
``from`` up to ``to``, the last of them at ``t`` seconds. The page drops what it has and asks again
for what it missed. Adjacent text of one call is merged and travels as ``[call, text, tokens]``,
and its author where several models write together, so a message grows with what was said, not with
the number of tokens.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from protocols.core.events import Delta, Event
from studio.runs import LiveRun, RunManager

BUS_VERSION = 1
PERIOD_S = 0.1
HEARTBEAT_S = 2.0
"""A closed page is noticed only when something is sent to it."""
MAX_EVENTS = 4_000
"""Events in one message; a longer backlog is sent in several."""


def coalesce(events: Sequence[Event]) -> list[Event]:
    """Merge the text deltas of each call and author between two events of any other kind."""
    merged: list[Event] = []
    text: dict[str, Delta] = {}
    for event in events:
        if isinstance(event, Delta):
            before = text.get(event.call)
            if before and before.by != event.by:
                merged.append(text.pop(event.call))
                before = None
            text[event.call] = _join(before, event)
            continue
        merged.extend(text.values())
        text.clear()
        merged.append(event)
    return [*merged, *text.values()]


def _join(before: Delta | None, after: Delta) -> Delta:
    if before is None:
        return after
    joined = {"text": before.text + after.text, "tokens": before.tokens + after.tokens}
    return after.model_copy(update=joined)


def thinned(events: Sequence[Event]) -> list[Event]:
    """A stored run with the text of each tenth of a second merged, as a page would have got it."""
    kept: list[Event] = []
    window: list[Event] = []
    for event in events:
        if window and event.t - window[0].t > PERIOD_S:
            kept.extend(coalesce(window))
            window = []
        window.append(event)
    return [*kept, *coalesce(window)]


def message(run: str, events: Sequence[Event], after: int) -> dict[str, Any]:
    """One bus message with all of ``events``, which follow seq ``after``."""
    wire = [
        [e.call, e.text, e.tokens, *([e.by] if e.by else [])]
        if isinstance(e, Delta)
        else wire_event(e)
        for e in coalesce(events)
    ]
    to, t = (events[-1].seq, events[-1].t) if events else (after, 0.0)
    return {"v": BUS_VERSION, "run": run, "from": after, "to": to, "t": t, "ev": wire}


def wire_event(event: Event) -> dict[str, Any]:
    """The event as the page folds it: without defaults and without the run's id."""
    fields = event.model_dump(mode="json", exclude_defaults=True, exclude={"run"})
    return {"kind": event.kind, **fields}


def encode(value: dict[str, Any]) -> str:
    """Compact JSON without ``<``, so that no reader on the way can take model text for markup.

    A string value costs the page's framework one replacement per update.
    """
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")


async def follow(manager: RunManager, live: LiveRun, after: int) -> AsyncGenerator[str, None]:
    """Bus messages of a run from seq ``after`` on, about ten a second, until it has ended.

    While the run waits for its turn, messages tell its place in the queue.
    """
    with manager.watch(live):
        sent, position = time.monotonic(), -1
        while True:
            events = live.events[after + 1 : after + 1 + MAX_EVENTS]
            if events:
                yield encode(message(live.id, events, after))
                after, sent = events[-1].seq, time.monotonic()
            elif live.position != position or time.monotonic() - sent > HEARTBEAT_S:
                position, sent = live.position, time.monotonic()
                yield encode({"v": BUS_VERSION, "run": live.id, "hb": after, "queue": position})
            if live.ended and after >= live.events[-1].seq:
                return
            await asyncio.sleep(PERIOD_S)
