"""Fitting what a bench needs fitted: the same fit as on the page, for each pool of the bench."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from evals.bench import Runner
from evals.bench_plan import BenchSpec
from evals.tasks.fitting import fit_data_of
from evals.tasks.suite import BenchTask
from protocols.core.errors import EngineError, UserError
from protocols.core.events import Ended, Event
from protocols.core.fit import FitSpec, fit
from protocols.core.models import Sampling
from protocols.core.registry import get_protocol


def to_fit(spec: BenchSpec) -> list[FitSpec]:
    """What has to be fitted: every protocol that can be, over every pool it can use."""
    greedy = Sampling(max_tokens=spec.sampling.max_tokens, temperature=0.0, top_p=1.0)
    return [
        FitSpec(
            protocol=name,
            config=spec.settings.get(name, {}),
            pool=pool,
            task="?",
            seed=spec.seeds[0],
            sampling=greedy,
        )
        for _, pool in spec.pools()
        for name in spec.protocols
        if get_protocol(name).fit and len(pool) >= get_protocol(name).min_models
    ]


async def fit_all(
    spec: BenchSpec, tasks: Sequence[BenchTask], limit: int, runner: Runner
) -> AsyncGenerator[Event, None]:
    """Fit what is not there yet; yields the fits' events.

    Raises :class:`UserError` if the tasks have nothing to learn from, and for a fit that fails
    :class:`UserError` or :class:`EngineError`, whoever can mend it.
    """
    if runner.artifacts is None:
        raise UserError("There is no folder for artifacts, so nothing can be fitted.")
    data = fit_data_of(tasks, limit, spec.seeds[0])
    if not any(data.items.values()):
        raise UserError(
            f"{data.task} has no train or dev items to fit to. Name others with --fit-task."
        )
    for one in to_fit(spec):
        asked = one.model_copy(update={"task": data.task, "limit": limit})
        playing = fit(
            asked, runner.pool, runner.engine, data, runner.artifacts, stall_s=runner.stall_s
        )
        async with aclosing(playing) as events:
            async for event in events:
                yield event
                if isinstance(event, Ended) and event.status != "ok":
                    kind = UserError if event.owner == "user" else EngineError
                    raise kind(f"{one.protocol} could not be fitted: {event.message}")
