"""The one runner: turns a protocol's steps into a stream of stamped events.

It knows when to start calls (the moment the calls they see have ended), how to stop them, and what
a run may spend. It knows nothing about any particular protocol, nor about who watches.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from protocols.core.call import AnyCall, Call, ScoreCall, Step
from protocols.core.control import Control
from protocols.core.engine import Engine
from protocols.core.errors import StudioError, UserError
from protocols.core.events import (
    Answer,
    CallEnded,
    Ended,
    Event,
    ModelCard,
    Progress,
    RunStarted,
    Status,
)
from protocols.core.models import ModelSpec, RunSpec, pick
from protocols.core.perform import Performer
from protocols.core.registry import Context, ProtocolSpec, get_protocol
from protocols.lib.prompts import Message

log = logging.getLogger(__name__)
DRAIN_S = 0.1
"""How long Stop waits for aborted streams to let go before it answers anyway."""


@dataclass(frozen=True)
class Prepared:
    """A run spec whose every name has been resolved and checked."""

    spec: RunSpec
    protocol: ProtocolSpec
    config: object
    models: tuple[ModelSpec, ...]


def prepare(spec: RunSpec, pool: Sequence[ModelSpec], engine: Engine | None = None) -> Prepared:
    """Resolve a spec against a pool.

    Raises :class:`UserError` for an unknown protocol, model or setting, too few models, or (given
    the engine) a model that cannot do what the protocol needs.
    """
    protocol = get_protocol(spec.protocol)
    config = protocol.configure(dict(spec.config))
    models = pick(pool, spec.pool)
    protocol.check_pool(len(models))
    _check_named_models(protocol, config, spec.pool)
    for model in models if engine else ():
        lacking = protocol.needs - engine.capabilities(model) if engine else frozenset()
        if lacking:
            raise UserError(
                f"{protocol.title} needs {' and '.join(sorted(lacking))}, which '{model.id}' "
                "cannot do where it is served. Leave the model out or pick another protocol."
            )
    return Prepared(spec, protocol, config, models)


def _check_named_models(protocol: ProtocolSpec, config: object, pool: Sequence[str]) -> None:
    """A setting that names a model must name one that takes part."""
    for name, field in protocol.config.model_fields.items():
        extra = field.json_schema_extra
        value = getattr(config, name)
        names_model = isinstance(extra, dict) and extra.get("choices") == "models" and value
        if names_model and value not in pool:
            raise UserError(
                f"Setting '{name}' names '{value}', which is not among the picked models "
                f"({', '.join(pool)}). Pick it or choose another."
            )


async def run(
    spec: RunSpec,
    pool: Sequence[ModelSpec],
    engine: Engine,
    *,
    run_id: str = "",
    control: Control | None = None,
    stall_s: float = 180.0,
) -> AsyncGenerator[Event, None]:
    """Play one run and yield its events, stamped and in order; the last one is ``ended``.

    ``control`` stops the run or one model from outside; closing the iterator aborts everything at
    once. ``stall_s`` is how long a model may stay silent before its call fails.
    Raises :class:`UserError` before the first event if the spec cannot be carried out.
    """
    prepared = prepare(spec, pool, engine)
    session = _Session(prepared, engine, control or Control(), stall_s)
    start, seq, name = time.monotonic(), 0, run_id or spec.digest
    try:
        async with aclosing(session.events()) as events:
            async for event in events:
                t = round(time.monotonic() - start, 4)
                yield event.model_copy(update={"run": name, "seq": seq, "t": t})
                seq += 1
    finally:
        session.performer.abort()


class _Session:
    """The state of one run while it is played."""

    def __init__(
        self, prepared: Prepared, engine: Engine, control: Control, stall_s: float
    ) -> None:
        self.spec, self.protocol = prepared.spec, prepared.protocol
        self.config, self.models = prepared.config, prepared.models
        self.engine, self.control = engine, control
        self.performer = Performer(prepared.spec, prepared.models, engine, control, stall_s)
        self.deadline = time.monotonic() + prepared.spec.budget.seconds
        self.answer: Answer | None = None

    async def events(self) -> AsyncGenerator[Event, None]:
        """Everything from ``run_started`` to ``ended``, not yet stamped."""
        yield self._opening()
        status: Status = "ok"
        failure: StudioError | None = None
        bug = ""
        try:
            async for event in self._load():
                yield event
            async with aclosing(self._drive()) as steps:
                async for event in steps:
                    yield event
            status = self._halted() or "ok"
        except StudioError as error:
            status, failure = "failed", error
        except Exception:
            bug = uuid.uuid4().hex[:8]
            log.exception("bug %s in run of %s", bug, self.spec.protocol)
            status = "failed"
        async for event in self._closing(status, failure, bug):
            yield event

    def _opening(self) -> RunStarted:
        return RunStarted(
            protocol=self.protocol.id,
            level=self.protocol.level,
            title=self.protocol.title,
            views=self.protocol.views,
            config=self.spec.config,
            models=tuple(
                ModelCard(id=m.id, name=m.title, domain=m.contributor.domain) for m in self.models
            ),
            question=self.spec.question,
            seed=self.spec.seed,
            budget={k: float(v) for k, v in self.spec.budget.model_dump().items()},
        )

    async def _load(self) -> AsyncGenerator[Event, None]:
        """Make the models ready, saying so; what cannot be loaded fails when it is called."""
        reports: asyncio.Queue[Progress | None] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        def report(done: float, total: float, note: str) -> None:
            event = Progress(unit="load", done=done, total=total, note=note)
            loop.call_soon_threadsafe(reports.put_nowait, event)

        task = asyncio.ensure_future(self.engine.load(self.models, report))
        task.add_done_callback(lambda _: reports.put_nowait(None))
        self.control.listen(lambda: reports.put_nowait(None))
        try:
            while not self.control.stopped and (event := await reports.get()) is not None:
                yield event
            if task.done() and (error := task.exception()):
                if not isinstance(error, StudioError):
                    raise error
                yield Progress(unit="load", note=error.message, level="warning")
        finally:
            task.cancel()

    def _context(self) -> Context:
        return Context(
            question=self.spec.question,
            models=self.models,
            config=self.config,
            sampling=self.spec.sampling,
            seed=self.spec.seed,
            fits=self._fits,
            warn=self.performer.warn,
        )

    def _fits(self, model: str, messages: Sequence[Message], prefix: str, reserve: int) -> bool:
        spec = self.performer.by_id[model]
        try:
            used = self.engine.count_tokens(spec, messages, prefix)
            return used + reserve <= self.engine.window(spec)
        except StudioError:
            # A model that could not be loaded has no window; its call will say why it failed.
            return True

    async def _drive(self) -> AsyncGenerator[Event, None]:
        """Let the protocol say what happens next until it ends or the run must stop."""
        async with aclosing(_as_generator(self.protocol, self._context())) as steps:
            async for step in steps:
                if self._halted():
                    return
                async for event in self._take(step):
                    yield event
                if self._halted():
                    return
        if self.answer is None or self.answer.partial:
            raise RuntimeError(f"protocol '{self.protocol.id}' ended without an answer")

    async def _take(self, step: Step) -> AsyncGenerator[Event, None]:
        if isinstance(step, Call | ScoreCall | Sequence):
            calls: list[AnyCall] = list(step) if isinstance(step, Sequence) else [step]
            async with aclosing(self.performer.play(calls, self.deadline)) as events:
                async for event in events:
                    yield event
            return
        if isinstance(step, Answer):
            self.answer = step
            if step.partial:
                return
        yield step

    def _halted(self) -> Status | None:
        """Why the run must stop now, if it must."""
        if self.answer is not None and not self.answer.partial:
            return None
        if self.control.stopped:
            return "cancelled"
        if self.performer.spent or time.monotonic() >= self.deadline:
            return "budget"
        return None

    async def _closing(
        self, status: Status, failure: StudioError | None, bug: str
    ) -> AsyncGenerator[Event, None]:
        for event in self.performer.cut_short():
            yield event
        await self.performer.let_go(DRAIN_S)
        if status in ("cancelled", "budget"):
            best = self._best_so_far()
            if best:
                yield best
        message = failure.message if failure else self._reason(status)
        if bug:
            message = f"Something went wrong on our side (error {bug}); the log has the details."
        yield Ended(
            status=status,
            owner=failure.owner if failure else ("bug" if bug else None),
            message=message,
            calls=self.performer.calls,
            failed=self.performer.failed,
            usage=self.performer.total(),
        )

    def _reason(self, status: Status) -> str:
        if status == "cancelled":
            return self.control.reason
        if status == "budget":
            return self.performer.spent or (
                f"The time budget of {self.spec.budget.seconds:g} seconds is used up."
            )
        return ""

    def _best_so_far(self) -> Answer | None:
        """The protocol's own provisional answer, else the best finished call, else a cut one."""
        if self.answer is not None:
            return self.answer.model_copy(update={"partial": True})
        ended = self.performer.ended
        whole = [e for e in ended if e.text and e.finish != "abort"]
        best = whole[-1] if whole else max(ended, key=_length, default=None)
        if best is None or not best.text:
            return None
        model = self.performer.model_of[best.call]
        return Answer(
            text=best.text,
            sources=(best.call,),
            contributors={model: 1.0},
            partial=True,
            note="The best answer so far: the run ended before the models had finished.",
        )


def _length(event: CallEnded) -> int:
    return len(event.text)


async def _as_generator(protocol: ProtocolSpec, context: Context) -> AsyncGenerator[Step, None]:
    """The protocol's steps as something that can surely be closed."""
    steps = protocol.answer(context)
    try:
        async for step in steps:
            yield step
    finally:
        close = getattr(steps, "aclose", None)
        if close:
            await close()
