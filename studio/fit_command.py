"""Fitting in a terminal: ``studio fit``, with the same events as on the page."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from pydantic import ValidationError

from evals.tasks.fitting import fit_data_of
from evals.tasks.suite import open_tasks
from protocols.core.artifacts import ArtifactStore
from protocols.core.errors import UserError, unknown
from protocols.core.events import Artifact, Ended, Event, RunStarted, dump
from protocols.core.fit import FITTED, FitData, FitSpec, fit
from protocols.core.fit_types import ANSWER_TOKENS, PARTS, PROFILE_TOKENS
from protocols.core.models import ModelSpec, Sampling, pick
from protocols.core.registry import FitSize, get_protocol
from protocols.core.trace import TraceHeader, TraceWriter
from protocols.lib.saving import derived_model, save_model
from studio import fit_cost
from studio.headless import first_problem, line, parse_settings
from studio.pool import load_pool
from studio.quarantine import Quarantine
from studio.settings import Settings
from studio.workspace import Workspace


def make_fit_spec(given: dict[str, Any], ids: list[str]) -> FitSpec:
    """A fit spec from a person's input. Raises :class:`UserError` with one sentence."""
    protocol, profile = get_protocol(given["protocol"]), given["profile"]
    if profile and profile not in protocol.profiles:
        raise unknown(f"{protocol.id} profile", profile, protocol.profiles)
    settings = {**protocol.profiles.get(profile, {}), **parse_settings(given["settings_"])}
    return fit_spec(
        given["protocol"],
        settings,
        ids,
        given["task"],
        limit=given["limit"],
        seed=given["seed"],
        max_tokens=given["max_tokens"],
    )


def fit_spec(
    protocol: str,
    config: dict[str, Any],
    ids: Sequence[str],
    task: str,
    *,
    limit: int,
    seed: int,
    max_tokens: int | None = None,
) -> FitSpec:
    """A greedy fit of some models to tasks; answers are as long as the settings' profile has them.

    Raises :class:`UserError` with one sentence.
    """
    if not ids:
        raise UserError("No model is picked. Pick the models to fit and start again.")
    usual = PROFILE_TOKENS.get(get_protocol(protocol).profile_of(config), ANSWER_TOKENS)
    greedy = Sampling(max_tokens=max_tokens or usual, temperature=0.0, top_p=1.0)
    try:
        return FitSpec(
            protocol=protocol,
            config=config,
            pool=tuple(ids),
            task=task,
            limit=limit,
            seed=seed,
            sampling=greedy,
        )
    except ValidationError as error:
        raise UserError(first_problem(error)) from None


async def fit_live(settings: Settings, given: dict[str, Any], as_json: bool) -> str:
    """Fit from command-line values and print it. Returns the final status."""
    from protocols.engines.hosting import HostedEngine

    pool = load_pool(given["pool"] or settings.pool, settings).specs
    ids = Quarantine(settings.workspace).chosen(pool, given["models"])
    tasks = await asyncio.to_thread(open_tasks, given["task"], given["data"], given["metric"])
    for note in (f"{task.name}: {note}" for task in tasks for note in task.notes):
        click.echo(note, err=True)
    data = fit_data_of(tasks, given["limit"], given["seed"])
    spec = make_fit_spec({**given, "task": data.task}, ids)
    store = Workspace(settings.workspace, settings.assets).artifacts
    engine = HostedEngine(prefer=given["engine"])
    header = TraceHeader(run="fit", spec=spec.as_run(), engine=engine.name)
    writer = TraceWriter(given["out"], header) if given["out"] else None
    status, key = "failed", ""
    try:
        async for event in fit(spec, pool, engine, data, store, stall_s=settings.stall_s):
            if writer:
                writer.write([event])
            if text := dump(event) if as_json else told(event):
                click.echo(text)
            if isinstance(event, RunStarted) and not as_json:
                click.echo(f"   {expected_cost(spec, data, store, engine.name)}")
            status = event.status if isinstance(event, Ended) else status
            key = _key(event) or key
    finally:
        if writer:
            writer.close()
        await engine.close()
    if given["save"] and status == "ok":
        picked = pick(pool, ids)
        await asyncio.to_thread(save_into, store, spec.protocol, key, picked, given["save"])
    return status


def expected_cost(spec: FitSpec, data: FitData, store: ArtifactStore, engine: str) -> str:
    """What the fit asks for and how long it may take, in a sentence."""
    protocol = get_protocol(spec.protocol)
    train, dev = (len(data.items.get(part, ())) for part in PARTS)
    size = FitSize(len(spec.pool), train, dev, spec.sampling.max_tokens)
    return fit_cost.sentence(protocol, protocol.configure(dict(spec.config)), size, store, engine)


def _key(event: Event) -> str:
    """The key of the artifact that an event announces, if it does."""
    if isinstance(event, Artifact) and event.name == FITTED:
        return str(event.data["key"])
    return ""


def save_into(
    store: ArtifactStore, protocol: str, key: str, models: Sequence[ModelSpec], out: Path
) -> None:
    """Save the main model of an artifact. Raises :class:`UserError` if it holds none."""
    stored = store.find(protocol, key, models, {})
    assert stored
    save_model(derived_model(stored, models), out)


def told(event: Event) -> str:
    """One event as a line for people, with the pre-flight and what was made at the end."""
    if isinstance(event, Artifact) and event.name == "preflight":
        return f"   Pre-flight: {event.data['sentence']}"
    if not isinstance(event, Artifact) or event.name != FITTED:
        return line(event)
    numbers = [f"{k} {v:g}" for k, v in event.data["metrics"].items() if isinstance(v, int | float)]
    verb = "was there already" if event.data["cached"] else "made"
    return f"== artifact {event.data['key']} {verb}: {', '.join(numbers)}"
