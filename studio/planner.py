"""A pool planned on GPUs, here or anywhere: read from pool entries, shown line by line.

The arithmetic itself is :mod:`protocols.engines.planning`; here pools, command lines and machines
are turned into its terms, and its result into text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import psutil

from protocols.core.errors import ContributorError, EngineError, StudioError, UserError
from protocols.core.models import ModelSpec
from protocols.engines.hosting import weight_bytes
from protocols.engines.model_files import read_json
from protocols.engines.planning import (
    GIB,
    USABLE,
    Base,
    Demand,
    Device,
    Placed,
    Plan,
    plan,
)
from protocols.engines.shapes import Shape, shape_of
from protocols.engines.vllm_arguments import key_of
from studio.output import printable, say
from studio.pool import Entry, Pool, load_pool
from studio.settings import Settings

SIZES = re.compile(r"^(?:([1-9]\d{0,2})\s*[x×]\s*)?(\d{1,4}(?:\.\d{1,2})?)\s*(?:G|GB|GiB)?$", re.I)
MOST_DEVICES = 256
UNPLANNED = (
    "{} of {} bases have no place in this plan: they are not served by it, and the room that it "
    "gives to replicas and streams is not kept for them"
)


@dataclass(frozen=True)
class Preset:
    """A way to host: the engine, how many GPUs (0 = all), and runs that may go on at a time."""

    about: str
    gpus: int
    parallel_runs: int
    demand: Demand


PRESETS = {
    "single-gpu": Preset("one GPU of this machine, vLLM", 1, 8, Demand()),
    "multi-gpu": Preset("all GPUs of this machine, vLLM", 0, 16, Demand()),
}


def preset(name: str) -> Preset:
    """A hosting preset. Raises :class:`UserError` for one that does not exist."""
    if name not in PRESETS:
        known = ", ".join(sorted(PRESETS))
        raise UserError(f"There is no hosting preset '{name[:80]}'. Known: {known}.")
    return PRESETS[name]


def with_preset(settings: Settings) -> Settings:
    """The settings with what their preset decides, unless it was set by itself.

    Raises :class:`UserError` for a preset that does not exist.
    """
    if not settings.preset:
        return settings
    runs = preset(settings.preset).parallel_runs
    if "parallel_runs" in settings.model_fields_set:
        return settings
    return settings.model_copy(update={"parallel_runs": runs})


def parse_devices(text: str) -> tuple[Device, ...]:
    """GPUs from ``141``, ``4x24`` or ``2x24,1x80``: GiB each, as makers print it on the box.

    Raises :class:`UserError` for anything else.
    """
    found: list[Device] = []
    for part in text.split(","):
        match = SIZES.match(part.strip())
        size = float(match[2]) if match else 0.0
        if not match or size <= 0:
            raise UserError(
                f"'{part.strip()[:40]}' is no GPU memory. Write 141 for one GPU of 141 GB, or "
                "4x24 for four of 24 GB; different ones joined by commas."
            )
        found += [Device(f"{size:g} GB", int(size * GIB))] * int(match[1] or 1)
    if len(found) > MOST_DEVICES:
        raise UserError(f"{len(found)} GPUs are more than {MOST_DEVICES}. Plan for fewer.")
    return tuple(found)


def devices_here(most: int = 0) -> tuple[Device, ...]:
    """The machine's GPUs (the first ``most``). Raises :class:`EngineError` if it has none."""
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not count:
        raise EngineError(
            "No CUDA GPU was found here. Leave the preset out to run on the processor, or plan for "
            "another machine with: studio doctor --plan --devices 141"
        )
    found = [torch.cuda.get_device_properties(number) for number in range(count)]
    return tuple(Device(one.name, int(one.total_memory)) for one in found[: most or count])


def bases_of(pool: Pool) -> tuple[tuple[Base, ...], tuple[str, ...], tuple[str, ...]]:
    """A pool's bases with their adapters, the ids of its endpoints, and what cannot be planned."""
    grouped: dict[str, list[Entry]] = {}
    endpoints: list[str] = []
    for entry in pool.entries:
        if entry.spec.is_endpoint:
            endpoints.append(entry.spec.id)
        else:
            grouped.setdefault(key_of(entry.spec), []).append(entry)
    bases: list[Base] = []
    problems: list[str] = []
    for key, entries in grouped.items():
        try:
            bases.append(_base(key, entries))
        except StudioError as error:
            problems.append(error.message)
    return tuple(bases), tuple(endpoints), tuple(problems)


def _base(key: str, entries: Sequence[Entry]) -> Base:
    first = next((entry for entry in entries if not entry.spec.adapter), entries[0])
    shape = shape_of(first.spec, _family(first))
    adapters = [entry.spec for entry in entries if entry.spec.adapter]
    ranks = tuple(_rank(spec) for spec in adapters)
    try:
        base = Base(key, first.spec.title, shape, _weights(first.spec, shape), ranks)
        _ = base.rank
    except ValueError as error:
        raise ContributorError(
            f"An adapter of '{first.spec.id}' cannot be served: {error}."
        ) from None
    return base


def _family(entry: Entry) -> str:
    """The base that a card names, or the family and size that it states, as one name."""
    named = str(entry.card.get("base") or "")
    size = entry.spec.parameters / 1e9
    return named or f"{entry.card.get('family') or ''}-{size:.2g}b".replace(" ", "-")


def _weights(spec: ModelSpec, shape: Shape) -> int:
    """Bytes: by the files, by a known shape, or by the size that the pool states, often rounded."""
    if Path(spec.source).is_dir() or shape.guessed:
        return weight_bytes(spec)
    return shape.parameters * shape.dtype_bytes


def _rank(spec: ModelSpec) -> int:
    rank = read_json(spec, Path(spec.adapter) / "adapter_config.json").get("r", 8)
    return rank if type(rank) is int and rank > 0 else 8


def plan_pool(
    pool: Pool, devices: Sequence[Device], demand: Demand, host: int = 0
) -> tuple[Plan, tuple[str, ...]]:
    """A pool's plan, and sentences about what is not part of it.

    ``host`` is the machine's memory in bytes; 0 = this machine's. Raises :class:`UserError` if the
    pool has nothing to place.
    """
    bases, endpoints, problems = bases_of(pool)
    if not bases:
        raise UserError(f"Pool '{pool.id}' has no model that a GPU here would hold.")
    notes = [f"not planned: {problem}" for problem in problems]
    if problems:
        notes.insert(0, UNPLANNED.format(len(problems), len(bases) + len(problems)))
    if endpoints:
        notes.append(f"served elsewhere, no memory here: {', '.join(endpoints)}")
    notes += [
        f"{base.title}: its layers are guessed from its number of parameters"
        for base in bases
        if base.shape.guessed
    ]
    made = plan(bases, devices, host or int(psutil.virtual_memory().total), demand)
    return made, tuple(notes)


def lines(made: Plan, notes: Sequence[str] = ()) -> Iterator[str]:
    """The plan for people: what each base needs, where it goes, and how the sums come out."""
    demand = made.demand
    yield (
        f"{len(made.placed)} bases for {demand.streams} streams of {demand.context} tokens each; "
        f"GiB; {made.host / GIB:.0f} GiB of memory in the machine"
    )
    yield f"{'base':<26}weights + adapters + KV + activations + runtime = need"
    for one in made.placed:
        yield f"{one.base.title[:25]:<26}{_sum(one)}"
        yield f"{'':<26}{_why(one)}"
    for number, device in enumerate(made.devices):
        yield from _device_lines(made, number, device)
    for base, why in made.left_out:
        yield f"not placed: {why or base.title}"
    if made.round_s:
        yield f"a round over all models swaps for about {made.round_s:.0f} s (estimated)"
    yield from notes


def _gib(value: float) -> str:
    return f"{value / GIB:.2f}"


def _sum(one: Placed) -> str:
    need = one.need
    parts = (need.weights, need.adapters, need.kv, need.activations, need.runtime)
    return f"{' + '.join(map(_gib, parts))} = {_gib(need.total)}"


def _why(one: Placed) -> str:
    need, shape = one.need, one.base.shape
    kv = (
        f"KV: {need.streams} streams x {need.context} tokens x 2 x {shape.layers} layers x "
        f"{shape.kv_heads} KV heads x {shape.head_dim} x {shape.dtype_bytes} B"
    )
    if one.base.slots:
        size = shape.adapter_bytes(one.base.rank) / 2**20
        kv += f"; {one.base.slots} adapter slots of rank {one.base.rank} x {size:.1f} MiB"
    return kv


def _device_lines(made: Plan, number: int, device: Device) -> Iterator[str]:
    yield (
        f"GPU {number} ({device.name}): {_gib(device.memory)} x {USABLE} = "
        f"{_gib(device.usable)} GiB to plan with"
    )
    for state, told in (
        ("stays", "stays"), ("sleeps", "takes turns, sleeps in memory"),
        ("reloads", "takes turns, started again from disk"),
    ):  # fmt: skip
        for one in made.on(number):
            if one.state == state:
                copies = f", {len(one.devices)} replicas" if len(one.devices) > 1 else ""
                yield (
                    f"  {one.base.title[:25]:<26}{told}: {_gib(one.room)} GiB, "
                    f"gpu_memory_utilization {one.share:.4f}{copies}"
                )
    yield f"  {_total(made, number)}"


def _total(made: Plan, number: int) -> str:
    here, awake = made.on(number), made.awake(number)
    rooms, held = sum(one.room for one in here[:awake]), made.asleep(number)
    return (
        f"awake at a time: {awake} of {len(here)}; {_gib(rooms)} + {_gib(held)} for sleepers = "
        f"{_gib(rooms + held)} of {_gib(made.devices[number].usable)}"
    )


def as_dict(made: Plan, notes: Sequence[str] = ()) -> dict[str, Any]:
    """The plan for ``--json``; bytes throughout."""
    return {
        "devices": [{"name": d.name, "memory": d.memory, "usable": d.usable} for d in made.devices],
        "demand": {"streams": made.demand.streams, "context": made.demand.context},
        "host": made.host,
        "placed": [_placed_dict(one) for one in made.placed],
        "left_out": [{"base": base.key, "why": why} for base, why in made.left_out],
        "round_s": made.round_s,
        "notes": list(notes),
    }


def _placed_dict(one: Placed) -> dict[str, Any]:
    need = one.need
    return {
        "base": one.base.key, "title": one.base.title, "state": one.state, "on": list(one.devices),
        "weights": need.weights, "adapters": need.adapters, "kv": need.kv,
        "activations": need.activations, "runtime": need.runtime, "need": need.total,
        "streams": need.streams, "max_model_len": need.context, "room": one.room,
        "gpu_memory_utilization": one.share, "max_loras": one.base.slots,
    }  # fmt: skip


def show(settings: Settings, given: Mapping[str, Any], as_json: bool) -> None:
    """Print a plan. ``given`` holds preset, devices, pool, streams, context and memory (GiB).

    Raises :class:`StudioError` for what cannot be planned.
    """
    name = given.get("preset") or settings.preset or "single-gpu"
    chosen = preset(str(name))
    demand = replace(
        chosen.demand,
        streams=given.get("streams") or chosen.demand.streams,
        context=given.get("context") or chosen.demand.context,
    )
    if given.get("devices"):
        devices = parse_devices(str(given["devices"]))
    else:
        devices = devices_here(chosen.gpus)
    pool = load_pool(str(given.get("pool") or settings.pool), settings)
    made, notes = plan_pool(pool, devices, demand, int(given.get("memory") or 0) * GIB)
    if as_json:
        say(as_dict(made, notes), True, "")
        return
    for line in lines(made, notes):
        click.echo(printable(line))


def hosted(settings: Settings) -> Plan | None:
    """The plan that a launch with a preset follows, shown first; None without a preset.

    Raises :class:`StudioError` if the preset cannot be followed here.
    """
    if not settings.preset:
        return None
    chosen = preset(settings.preset)
    devices = devices_here(chosen.gpus)
    made, notes = plan_pool(load_pool(settings.pool, settings), devices, chosen.demand)
    click.echo(f"Hosting by the preset {settings.preset}: {chosen.about}")
    for line in lines(made, notes):
        click.echo(printable(line))
    return made
