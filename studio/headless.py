"""Runs and replays in a terminal: the same events as on the page, as text or as JSON lines."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from pydantic import ValidationError

from protocols.core.errors import UserError
from protocols.core.events import (
    Answer,
    CallEnded,
    CallFailed,
    Decision,
    Ended,
    Event,
    Phase,
    Progress,
    RunStarted,
    Speaking,
    dump,
)
from protocols.core.models import RunSpec, Sampling
from protocols.core.registry import get_protocol
from protocols.core.run import run
from protocols.core.trace import Trace, TraceHeader, TraceWriter, read_trace
from studio.pool import load_pool
from studio.quarantine import Quarantine
from studio.settings import Settings
from studio.workspace import Workspace


def first_problem(error: ValidationError) -> str:
    """The sentence of a validation error's first problem, without pydantic's prefix."""
    first = error.errors()[0]
    if first["type"] == "value_error":
        return str(first["msg"]).removeprefix("Value error, ")
    place = ".".join(str(part) for part in first["loc"])
    return f"'{place}' is {first['input']!r:.80}: {first['msg']}."


def make_spec(
    protocol: str,
    pool: Sequence[str],
    question: str,
    seed: int,
    tokens: int,
    config: dict[str, Any],
) -> RunSpec:
    """A run spec from a person's input. Raises :class:`UserError` with one sentence."""
    get_protocol(protocol)
    if not pool:
        raise UserError("No model is picked. Pick at least one model and run again.")
    try:
        return RunSpec(
            protocol=protocol,
            config=config,
            pool=tuple(pool),
            question=question,
            seed=seed,
            sampling=Sampling(max_tokens=tokens),
        )
    except ValidationError as error:
        raise UserError(first_problem(error)) from None


def parse_settings(pairs: Sequence[str]) -> dict[str, Any]:
    """``k=v`` pairs as settings; a value is JSON if it can be read as such, else text."""
    config: dict[str, Any] = {}
    for pair in pairs:
        name, sign, value = pair.partition("=")
        if not sign or not name:
            raise UserError(f"--set takes K=V; got '{pair}'.")
        try:
            config[name] = json.loads(value)
        except ValueError:
            config[name] = value
    return config


async def play(settings: Settings, given: dict[str, Any], as_json: bool) -> str:
    """Play one run from command-line values and print it. Returns its final status."""
    from protocols.engines.hosting import HostedEngine

    chosen = load_pool(given["pool"] or settings.pool, settings)
    pool = chosen.specs
    ids = Quarantine(settings.workspace).chosen(pool, given["models"])
    config = parse_settings(given["settings_"])
    spec = make_spec(
        given["protocol"], ids, given["question"], given["seed"], given["max_tokens"], config
    ).model_copy(update={"artifact": given["artifact"]})
    engine = HostedEngine(prefer=given["engine"])
    header = TraceHeader(run=spec.digest, spec=spec, engine=engine.name)
    writer = TraceWriter(given["out"], header) if given["out"] else None
    status = "failed"
    artifacts = Workspace(settings.workspace, settings.assets).artifacts
    try:
        async for event in run(spec, pool, engine, stall_s=settings.stall_s, artifacts=artifacts):
            if writer:
                writer.write([event])
            _print(event, as_json)
            status = event.status if isinstance(event, Ended) else status
    finally:
        if writer:
            writer.close()
        await engine.close()
    return status


async def show_stored(settings: Settings, run_or_file: str, speed: float, as_json: bool) -> None:
    """Print a stored run; ``speed`` 0 prints at once, 1 takes as long as the run took."""
    trace = find_trace(settings, run_or_file)
    before = 0.0
    for event in trace.events:
        if speed:
            await asyncio.sleep(max(0.0, event.t - before) / speed)
            before = event.t
        _print(event, as_json)


def find_trace(settings: Settings, run_or_file: str) -> Trace:
    """A trace by file name or run id. Raises :class:`UserError` if there is none."""
    path = Path(run_or_file)
    if path.suffix == ".jsonl" or path.is_file():
        return read_trace(path)
    return Workspace(settings.workspace, settings.assets).trace(run_or_file)


def _print(event: Event, as_json: bool) -> None:
    text = dump(event) if as_json else line(event)
    if text:
        click.echo(text)


def line(event: Event) -> str:
    """One event as a line for people; empty for those that only matter to machines."""
    text = ""
    match event:
        case RunStarted():
            text = f"{event.title}: {event.question}"
        case Phase():
            text = f"-- {event.title}"
        case CallEnded() if event.text:
            text = f"[{event.call}] {event.text.strip()}"
        case CallFailed():
            text = f"[{event.call}] FAILED: {event.message}"
        case Decision():
            text = f"   {event.title or event.what}: {event.chosen}  {event.why}"
        case Speaking():
            text = f"   {event.model} wrote {event.text!r}"
        case Progress() if event.note:
            text = f"   {event.note}"
        case Answer():
            text = f"== {event.text.strip()}{'  (best so far)' if event.partial else ''}"
        case Ended():
            used = f"{event.calls} calls, {event.usage.completion_tokens} tokens"
            text = f"-- {event.status}: {used}. {event.message}"
        case _:
            pass
    return text.rstrip()
