"""One base model in a thread of its own: rows join, decode together and leave.

Every step feeds one new token of each active row through the model in a single pass, whichever
adapters the rows use. Between steps, a bounded number of prompt tokens is read, so that a long
prompt does not silence the others for long. The thread knows token ids; text is the caller's
business except for stop strings, which end a row.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from itertools import chain
from typing import Any

import torch

from protocols.core.events import Finish
from protocols.engines.batch_jobs import Group, Row, ScoreJob, Task
from protocols.engines.fusing import Part
from protocols.engines.prefix_memory import Known, PrefixMemory
from protocols.engines.slots import SlotCache
from protocols.engines.stacked_lora import AdapterStack
from protocols.engines.token_sampling import draw

log = logging.getLogger(__name__)
SLOTS = 16
"""Rows that decode at the same time; more wait for a slot."""
MOST_PARTS = 32
"""Models that may write one text together; beyond :data:`SLOTS` the cache is widened for them."""
REMEMBERED = 16
"""Slots for prompts of rows that have ended. Untouched ones take no memory."""
PIECE = 512
"""Prompt tokens that are read in one pass, and between two decoding steps."""


class BatchWorker:
    """Runs a model; all public methods may be called from any thread."""

    def __init__(self, model: Any, ends: frozenset[int], device: str) -> None:
        """``ends`` are the token ids that end a text."""
        self.model, self.ends, self.device = model, ends, device
        self.stack = AdapterStack.install(model)
        # One slot behind the active rows is for scoring.
        self.cache = SlotCache(SLOTS + 1 + REMEMBERED, model.dtype, device)
        self.memory = PrefixMemory(self.cache, SLOTS + 1, REMEMBERED)
        self._room = SLOTS
        self._rows: list[Row | Part] = []
        self._waiting: deque[Group] = deque()
        self._scores: deque[ScoreJob] = deque()
        self._jobs: queue.Queue[Row | Group | ScoreJob | Task | None] = queue.Queue()
        self._ended = False
        self._thread = threading.Thread(target=self._work, name="batch", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether requests will be served."""
        return self._thread.is_alive() and not self._ended

    def submit(self, job: Row | Group | ScoreJob | Task) -> None:
        """Queue a request; after the end it is given up at once."""
        self._jobs.put(job)
        if self._ended:
            self._drain()

    def nudge(self) -> None:
        """Make the worker look at its rows: a token that one of them waits for is there."""
        self._jobs.put(Task(lambda: None))

    def add_adapter(self, key: str, load: Callable[[], None]) -> Future[None]:
        """Run ``load``, which stacks the adapter ``key``, between two steps."""

        def act() -> None:
            self.memory.forget(key)
            load()

        return self._between(act)

    def remove_adapter(self, key: str) -> Future[None]:
        """Take an adapter out between two steps; rows that use it are given up."""
        return self._between(lambda: self._remove(key))

    def _between(self, act: Callable[[], None]) -> Future[None]:
        task = Task(act)
        self.submit(task)
        return task.done

    def stop(self) -> None:
        """End the thread; open requests are given up."""
        self._jobs.put(None)
        self._thread.join(timeout=10)

    def _work(self) -> None:
        try:
            with torch.inference_mode():
                while self._accept():
                    self._advance()
        finally:
            self._ended = True
            self._drain()
            self._give_up([*self._rows, *chain(*self._waiting), *self._scores])

    def _advance(self) -> None:
        try:
            self._admit()
            self._step()
        except Exception:
            log.exception("a step failed; its rows are given up")
            rows, self._rows = self._rows, []
            self._give_up(rows)

    def _accept(self) -> bool:
        """Take queued jobs, waiting for one if there is nothing else to do. False ends the work."""
        idle = not (self._scores or self._next_fits() or any(map(_moves, self._rows)))
        while True:
            try:
                job = self._jobs.get(block=idle)
            except queue.Empty:
                return True
            idle = False
            if job is None:
                return False
            if isinstance(job, Row):
                self._waiting.append((job,))
            elif isinstance(job, tuple):
                self._waiting.append(job)
            elif isinstance(job, ScoreJob):
                self._scores.append(job)
            else:
                job.run()

    def _drain(self) -> None:
        """Give up what is queued."""
        while True:
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:  # whoever submits last drains as well
                return
            for one in job if isinstance(job, tuple) else (job,):
                if one is not None:
                    one.give_up()

    def _give_up(self, jobs: Iterable[Row | Part | ScoreJob]) -> None:
        for job in jobs:
            job.give_up()

    def _remove(self, key: str) -> None:
        using = [r for r in (*self._rows, *chain(*self._waiting)) if r.adapter == key]
        for row in using:
            row.cancelled.set()
        for row in [row for row in self._rows if row in using]:
            self._leave(row)
        self.memory.forget(key)
        self.stack.remove(key)
        self._give_up(using)

    def _admit(self) -> None:
        """Read prompts, up to :data:`PIECE` tokens: scores first, then rows that get a slot."""
        budget = PIECE
        while budget > 0 and (self._scores or self._next_fits()):
            job = self._scores.popleft() if self._scores else self._next_row()
            try:
                budget -= self._score(job) if isinstance(job, ScoreJob) else self._begin(job)
            except Exception:
                log.exception("a prompt could not be read")
                self._rows = [row for row in self._rows if row is not job]
                job.give_up()

    def _next_fits(self) -> bool:
        """Whether there are slots for the group whose turn it is."""
        if not self._waiting:
            return False
        most = MOST_PARTS if isinstance(self._waiting[0][0], Part) else SLOTS
        return len(self._rows) + len(self._waiting[0]) <= most

    def _next_row(self) -> Row | Part:
        """The next row of the group whose turn it is; the rest of it stays first in line."""
        if len(self._rows) + len(self._waiting[0]) > self._room:
            self._widen()
        first, *rest = self._waiting.popleft()
        self._waiting.extendleft((row,) for row in reversed(rest))
        return first

    def _widen(self) -> None:
        """Make room for more rows behind the slots there are; what was remembered is let go."""
        self._room = MOST_PARTS
        self.cache.widen(MOST_PARTS + 1 + REMEMBERED)
        self.memory = PrefixMemory(self.cache, MOST_PARTS + 1, REMEMBERED)

    def _begin(self, row: Row | Part) -> int:
        """Read a row's prompt and let it join the batch; returns the tokens that were computed."""
        if row.cancelled.is_set():
            return 0
        if isinstance(row, Row):
            row.generator.manual_seed(row.sampling.seed)
        logits, read = self._read(row.ids, row.adapter)
        self._rows.append(row)
        if bool(sound(logits)):
            self._take([row], logits)
        else:
            self._break(row)
        return read

    def _score(self, job: ScoreJob) -> int:
        """One pass in the slot behind the active rows; returns the tokens that were computed."""
        if not job.done.set_running_or_notify_cancel():
            return 0
        logits, read = self._read(job.ids, job.adapter)
        if bool(sound(logits)):
            self.memory.keep(len(self._rows), job.adapter, job.ids)
        else:
            self.cache.clear(len(self._rows))
        logprobs = torch.log_softmax(logits[0], dim=-1)[job.wanted]
        job.done.set_result([float(value) for value in logprobs])
        return read

    def _read(self, ids: list[int], adapter: str) -> tuple[torch.Tensor, int]:
        """Feed a prompt into the slot behind the active rows.

        Returns the last token's logits [1, vocabulary] and how many tokens had to be computed.
        """
        slot = len(self._rows)
        self.cache.fit(len(ids) + 1)
        active = [Known(i, row.adapter, row.ids) for i, row in enumerate(self._rows)]
        start = known = self.memory.recall(slot, adapter, ids, active)
        logits = torch.empty(0)
        while start < len(ids):
            piece = ids[start : start + PIECE]
            logits = self._forward([piece], [adapter], slot, [start])
            start += len(piece)
        return logits, len(ids) - known

    def _forward(
        self, ids: list[list[int]], adapters: list[str], first: int, starts: list[int]
    ) -> torch.Tensor:
        tokens = len(ids[0])
        mask = self.cache.aim(first, starts, tokens)
        self.stack.use(adapters, self.model.dtype, self.device)
        begin = torch.tensor(starts, device=self.device)[:, None]
        out = self.model(
            input_ids=torch.tensor(ids, device=self.device),
            position_ids=begin + torch.arange(tokens, device=self.device),
            attention_mask=mask,
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=1,
        )
        logits: torch.Tensor = out.logits[:, -1].float()
        return logits

    def _step(self) -> None:
        """One token for every active row.

        A row that waits for its token is fed its last one again, in its place: that changes
        nothing, and the rows keep their slots.
        """
        for row in [r for r in self._rows if r.cancelled.is_set()]:
            self._leave(row)
        waits = [row.pending for row in self._rows]
        if all(waits):
            return
        self.cache.fit(max(len(row.ids) for row in self._rows) + 1)
        pairs = list(zip(self._rows, waits, strict=True))
        logits = self._forward(
            [[row.ids[-1] if wait else row.next_id] for row, wait in pairs],
            [row.adapter for row in self._rows],
            0,
            [len(row.ids) - wait for row, wait in pairs],
        )
        for row, wait in pairs:
            if not wait:
                row.ids.append(row.next_id)
        fine = sound(logits).tolist()
        moved = [at for at, wait in enumerate(waits) if not wait and fine[at]]
        some = len(moved) < len(waits)
        for at, (row, _) in enumerate(pairs):
            if not fine[at]:
                self._break(row)
        self._take([pairs[at][0] for at in moved], logits[moved] if some else logits)

    def _take(self, rows: Sequence[Row | Part], logits: torch.Tensor) -> None:
        """Draw each row's next token and say it; rows that have come to an end leave."""
        plain = [row for row in rows if isinstance(row, Row)]
        if len(plain) == len(rows):
            self._draw(plain, logits)
            return
        for row, offered in zip(rows, logits, strict=True):
            if isinstance(row, Part):
                self._offer(row, offered)
        alone = [at for at, row in enumerate(rows) if isinstance(row, Row)]
        if plain:
            self._draw(plain, logits[alone])

    def _offer(self, part: Part, logits: torch.Tensor) -> None:
        """Hand logits to a fusion; if that goes wrong, only the fusion ends."""
        try:
            part.fusion.offer(part, logits)
        except Exception:
            log.exception("a fusion failed")
            part.give_up()

    def _draw(self, rows: list[Row], logits: torch.Tensor) -> None:
        for row, token in zip(rows, draw(rows, logits), strict=True):
            row.next_id = token
            row.made += 1
            ended = token in self.ends
            text, stopped = row.text.add([] if ended else [token], row.sampling.stop)
            finish: Finish | None = "stop" if ended or stopped else None
            if finish is None and row.made >= row.sampling.max_tokens:
                finish = "length"
            if finish and not stopped:
                text += row.text.rest(row.sampling.stop)
            if text or finish:
                row.hear(text, row.text.counted(), finish)
            if finish:
                self._leave(row)

    def _break(self, row: Row | Part) -> None:
        """End a row whose model computed numbers that are not finite, and all that it left.

        Masked values are multiplied by 0, and NaN would stay NaN for whoever gets the slot next.
        """
        if row in self._rows:
            self.cache.clear(self._rows.index(row))
            self._leave(row, remember=False)
            row.broke()

    def _leave(self, row: Row | Part, remember: bool = True) -> None:
        """Free a row's slot by moving the last row into it; what it held is remembered."""
        at, last = self._rows.index(row), len(self._rows) - 1
        if remember:
            self.memory.keep(at, row.adapter, row.ids)
        if at != last:
            self.cache.move(last, at, len(self._rows[last].ids))
            self._rows[at] = self._rows[last]
        self._rows.pop()


def sound(logits: torch.Tensor) -> torch.Tensor:
    """By row of logits [rows, vocabulary], whether all of them are finite."""
    return torch.isfinite(logits.sum(dim=-1))


def _moves(row: Row | Part) -> bool:
    """Whether a row gives the worker something to do."""
    return not row.pending or row.cancelled.is_set()
