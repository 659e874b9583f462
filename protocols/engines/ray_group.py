"""The replicas that serve the same bases: started, filled with models, replaced when lost."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from typing import Any

from protocols.core.errors import EngineError, StudioError
from protocols.core.models import ModelSpec
from protocols.engines.ray_actor import MakeEngine
from protocols.engines.ray_options import RayOptions
from protocols.engines.ray_replica import ActorLostError, Replica, warm_key
from protocols.engines.ray_wire import Counter

log = logging.getLogger(__name__)
AGAIN_S = 30.0
"""Seconds before a replica that could not be started is tried again, if there are others."""
OTHERS_S = 15.0
"""Seconds that a load waits for further replicas once there is one."""
PAUSES = (1.0, 2.0, 4.0, 0.0)
"""Seconds between the attempts to start a replica that is lost while it starts."""
MakeRoom = Callable[["Group"], Awaitable[None]]
"""Ends idle actors of other groups where the cluster is full."""


class Group:
    """Replicas with the same models. ``fused`` groups load them to write texts together."""

    def __init__(
        self, make: MakeEngine, fused: bool, gpus: float, options: RayOptions, make_room: MakeRoom
    ) -> None:
        self._make, self._fused, self._gpus, self._options = make, fused, gpus, options
        self._make_room = make_room
        self.models: dict[str, ModelSpec] = {}
        """What every replica has to have, by :func:`warm_key`."""
        self.counters: dict[str, Counter] = {}
        """What counts prompts, by base; stays when the replicas end."""
        self.used = 0.0
        self._replicas: list[Replica] = []
        self._lock = asyncio.Lock()
        self._coming: set[asyncio.Task[None]] = set()
        self._refusal, self._refused = "", 0.0
        """Why the last replica did not start, and when (monotonic seconds)."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False
        self._ended_because = "The engine is closed."

    @property
    def idle(self) -> bool:
        """Whether it holds actors that nobody uses now."""
        busy = self._lock.locked() or any(replica.open for replica in self._replicas)
        return bool(self._replicas) and not busy

    @property
    def replicas(self) -> list[Replica]:
        """The replicas that are not known to be lost."""
        self._replicas = [replica for replica in self._replicas if not replica.lost]
        return self._replicas

    async def load(self, models: Sequence[ModelSpec]) -> None:
        """Have these models in every replica, beside those that are there already.

        One load at a time, and a cancelled waiter does not end it. Every model that can be loaded
        is; the first failure is raised afterwards.
        """
        task = self._aside(self._load_now(models))
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled() and self._closed:
                raise EngineError(self._ended_because) from None
            raise

    def _aside(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Do something beside; :meth:`close` ends it."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        # Whoever waits hears of a failure; where nobody does, the next call meets it.
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return task

    async def _load_now(self, models: Sequence[ModelSpec]) -> None:
        self.used = time.monotonic()
        async with self._lock:
            await self._have_replicas()
            wanted = {**self.models, **{warm_key(model): model for model in models}}
            fill = (self._fill(replica, wanted) for replica in self.replicas)
            failures = await asyncio.gather(*fill, return_exceptions=True)
            here = {key for replica in self.replicas for key in replica.warm}
            self.models = {key: model for key, model in wanted.items() if key in here}
        raise_first(failures)

    async def _have_replicas(self) -> None:
        """Wait for the first replica, and a little for the others.

        Raises :class:`EngineError` if there is none.
        """
        self.replenish()
        while self._coming and not self.replicas:
            await asyncio.wait(self._coming, return_when=asyncio.FIRST_COMPLETED)
        if self._coming:
            await asyncio.wait(self._coming, timeout=OTHERS_S)
        if not self.replicas:
            raise EngineError(self._refusal or "The Ray actor was lost at once. Run again.")

    def replenish(self) -> None:
        """Begin to start the replicas that are missing; what the cluster refused, not at once."""
        missing = self._options.ray_replicas - len(self.replicas) - len(self._coming)
        refused = self._refusal and time.monotonic() - self._refused < AGAIN_S
        if self._closed or (refused and self._replicas):
            return
        for _ in range(missing):
            task = self._aside(self._bring())
            self._coming.add(task)
            task.add_done_callback(self._coming.discard)

    async def _bring(self) -> None:
        """Start one replica. It is filled by the load that waits for it, or by one of its own."""
        if not self._replicas:
            await self._make_room(self)
        if replica := await self._started():
            self._replicas.append(replica)
            self._aside(self.load([]))

    async def _started(self) -> Replica | None:
        """A replica that runs; None if there is none to be had, and why is noted."""
        for pause in PAUSES:
            replica = Replica.create(self._make, self._gpus, self._options)
            try:
                self._refusal = await self._refused_because(replica)
            except ActorLostError as lost:
                # The cluster may take a node for living that has just been lost.
                self._refusal = (
                    f"No actor could be started on the Ray cluster ({lost}), see its log."
                )
                await asyncio.sleep(pause)
                continue
            except BaseException:
                replica.kill()
                raise
            if not self._refusal:
                return replica
            replica.kill()
            break
        self._refused = time.monotonic()
        log.warning("%s", self._refusal)
        return None

    async def _refused_because(self, replica: Replica) -> str:
        """Why a replica does not start; empty if it runs. Raises :class:`ActorLostError`."""
        wait = self._options.ray_wait_s
        try:
            if await replica.placed(wait):
                return ""
        except EngineError as error:
            return error.message
        return (
            f"The Ray cluster had no room in {wait:g} s for an actor with "
            f"{self._options.ray_cpus:g} CPUs and {self._gpus:g} GPUs. Add a node, or set "
            "STUDIO_RAY_CPUS and STUDIO_RAY_GPUS to less."
        )

    async def _fill(self, replica: Replica, models: dict[str, ModelSpec]) -> None:
        """Load what a replica lacks. Raises what went wrong there first."""
        lacking = [model for key, model in models.items() if key not in replica.warm]
        if not lacking:
            return
        try:
            loaded = await replica.load(lacking, self._fused)
        except ActorLostError as lost:
            replica.kill()
            names = ", ".join(f"'{model.title}'" for model in lacking)
            raise EngineError(
                f"The Ray actor on {replica.place.address} was lost ({lost}) while it loaded "
                f"{names}. Its memory may be too small; run again to try another one."
            ) from lost
        self.counters.update(loaded.counters)
        if loaded.failure:
            raise loaded.failure.error()

    async def ready(self, models: Sequence[ModelSpec], partly: bool = False) -> Replica:
        """The least busy replica that has the models; they are loaded if need be.

        Raises :class:`EngineError` if there is no such replica and none can be started. ``partly``
        takes one too that could not load some of them: its engine says which.
        """
        if not (found := self._having(models)):
            try:
                await self.load(models)
            except StudioError:
                if not (partly and self.replicas):
                    raise
            found = self._having([] if partly else models)
        if not found:
            raise EngineError(f"The Ray actor of '{models[0].title}' was lost. Run again.")
        self.replenish()
        self.used = time.monotonic()
        return min(found, key=lambda replica: replica.open)

    def _having(self, models: Sequence[ModelSpec]) -> list[Replica]:
        keys = {warm_key(model) for model in models}
        return [replica for replica in self.replicas if keys <= replica.warm]

    async def unload(self, model: ModelSpec) -> None:
        """Free what an adapter holds in every replica."""
        self.models.pop(warm_key(model), None)
        for replica in list(self.replicas):
            try:
                await replica.unload(model)
            except ActorLostError as lost:
                log.info("unloading from %s: %s", replica.place.address, lost)

    async def end(self) -> None:
        """End the actors; the next request starts them again."""
        replicas, self._replicas, self.models = self._replicas, [], {}
        for task in () if self._lock.locked() else tuple(self._coming):
            task.cancel()
        await asyncio.gather(*(replica.close() for replica in replicas))

    async def behead(self) -> None:
        """Give all actors up, those too that are being started, without asking Ray for anything."""
        self._closed = True
        self._ended_because = "The head of the Ray cluster was lost. Run again when it is back."
        for replica in self._replicas:
            replica.behead()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._replicas = []

    async def close(self) -> None:
        """End the actors, those too that are being started."""
        self._closed = True
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.end()


def raise_first(results: Iterable[object]) -> None:
    """Raise the first error among results, bugs before expected ones."""
    errors = [result for result in results if isinstance(result, BaseException)]
    for error in sorted(errors, key=lambda one: isinstance(one, StudioError)):
        raise error
