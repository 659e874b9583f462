"""One base model in a thread of its own: rows join, decode together and leave.

Every step feeds one new token of each active row through the model in a single pass, whichever
adapters the rows use. The thread knows token ids; text is the caller's business except for stop
strings, which end a row.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import torch

from protocols.core.events import Finish
from protocols.core.models import Sampling
from protocols.engines.slots import SlotCache
from protocols.engines.stacked_lora import AdapterStack
from protocols.engines.streaming_text import StreamingText

log = logging.getLogger(__name__)
SLOTS = 16
"""Rows that decode at the same time; more wait for a slot."""
NUCLEUS = 256
"""Tokens among which a nucleus is sought first; the whole vocabulary only if they do not reach it."""
Hear = Callable[[str, int, Finish | None], None]
"""Called in the worker's thread with (text, tokens, finish)."""


@dataclass(eq=False)
class Row:
    """A request in the batch. ``position`` is the number of tokens in its cache."""

    ids: list[int]
    adapter: str
    sampling: Sampling
    text: StreamingText
    hear: Hear
    cancelled: threading.Event = field(default_factory=threading.Event)
    generator: torch.Generator = field(default_factory=torch.Generator)
    position: int = 0
    next_id: int = 0
    made: int = 0


@dataclass(eq=False)
class ScoreJob:
    """A request for next-token log-probabilities of some token ids."""

    ids: list[int]
    adapter: str
    wanted: list[int]
    done: Future[list[float]]


class BatchWorker:
    """Runs a model; all public methods may be called from any thread."""

    def __init__(self, model: Any, ends: frozenset[int], device: str) -> None:
        """``ends`` are the token ids that end a text."""
        self.model, self.ends, self.device = model, ends, device
        self.stack = AdapterStack.install(model)
        self.cache = SlotCache(SLOTS, model.dtype, device)
        self._rows: list[Row] = []
        self._jobs: queue.Queue[Row | ScoreJob | Callable[[], None] | None] = queue.Queue()
        self._waiting: list[Row] = []
        self._thread = threading.Thread(target=self._work, name="batch", daemon=True)
        self._thread.start()

    def submit(self, job: Row | ScoreJob) -> None:
        """Queue a request."""
        self._jobs.put(job)

    def call(self, act: Callable[[], None]) -> Future[None]:
        """Run a function between two steps, for example to add an adapter."""
        done: Future[None] = Future()

        def task() -> None:
            try:
                act()
            except Exception as error:
                done.set_exception(error)
            else:
                done.set_result(None)

        self._jobs.put(task)
        return done

    def stop(self) -> None:
        """End the thread; open rows end as aborted."""
        self._jobs.put(None)
        self._thread.join(timeout=10)

    def _work(self) -> None:
        with torch.inference_mode():
            while self._accept():
                try:
                    self._admit()
                    self._step()
                except Exception:
                    log.exception("a step failed; its rows are given up")
                    self._give_up()
        self._give_up()

    def _accept(self) -> bool:
        """Take queued jobs, waiting for one if there is nothing else to do. False ends the work."""
        idle = not self._rows and not self._waiting
        while True:
            try:
                job = self._jobs.get(block=idle)
            except queue.Empty:
                return True
            idle = False
            if job is None:
                return False
            if isinstance(job, Row):
                self._waiting.append(job)
            elif isinstance(job, ScoreJob):
                self._score(job)
            else:
                job()

    def _give_up(self) -> None:
        for row in [*self._rows, *self._waiting]:
            row.hear("", 0, "abort")
        self._rows.clear()
        self._waiting.clear()

    def _admit(self) -> None:
        """Read the prompts of waiting rows into free slots."""
        while self._waiting and len(self._rows) < SLOTS:
            row = self._waiting.pop(0)
            if row.cancelled.is_set():
                row.hear("", 0, "abort")
                continue
            row.generator.manual_seed(row.sampling.seed)
            logits = self._read(row.ids, row.adapter, slot=len(self._rows))
            row.position = len(row.ids)
            self._rows.append(row)
            self._take([row], logits)

    def _read(self, ids: list[int], adapter: str, slot: int) -> torch.Tensor:
        """Feed a prompt into a slot; returns the last token's logits [1, vocabulary]."""
        self.cache.fit(len(ids) + 1)
        return self._forward([ids], [adapter], slot, [0])

    def _forward(
        self, ids: list[list[int]], adapters: list[str], first: int, starts: list[int]
    ) -> torch.Tensor:
        tokens = len(ids[0])
        mask = self.cache.aim(first, starts, tokens)
        self.stack.use(adapters, self.model.dtype, self.device)
        positions = torch.tensor(starts, device=self.device)[:, None] + torch.arange(
            tokens, device=self.device
        )
        out = self.model(
            input_ids=torch.tensor(ids, device=self.device),
            position_ids=positions,
            attention_mask=mask,
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=1,
        )
        logits: torch.Tensor = out.logits[:, -1].float()
        return logits

    def _score(self, job: ScoreJob) -> None:
        """One pass in the slot behind the active rows."""
        if len(self._rows) == SLOTS:
            self._jobs.put(job)
            return
        try:
            logits = self._read(job.ids, job.adapter, slot=len(self._rows))
            logprobs = torch.log_softmax(logits[0], dim=-1)[job.wanted]
            job.done.set_result([float(value) for value in logprobs])
        except Exception as error:
            job.done.set_exception(error)

    def _step(self) -> None:
        """One token for every active row."""
        for row in [r for r in self._rows if r.cancelled.is_set()]:
            self._leave(row)
        if not self._rows:
            return
        self.cache.fit(max(row.position for row in self._rows) + 1)
        logits = self._forward(
            [[row.next_id] for row in self._rows],
            [row.adapter for row in self._rows],
            0,
            [row.position for row in self._rows],
        )
        for row in self._rows:
            row.position += 1
        self._take(list(self._rows), logits)

    def _take(self, rows: list[Row], logits: torch.Tensor) -> None:
        """Draw each row's next token and say it; rows that have come to an end leave."""
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

    def _leave(self, row: Row) -> None:
        """Free a row's slot by moving the last row into it."""
        at, last = self._rows.index(row), len(self._rows) - 1
        if at != last:
            self.cache.move(last, at, self._rows[last].position)
            self._rows[at] = self._rows[last]
        self._rows.pop()


def draw(rows: list[Row], logits: torch.Tensor) -> list[int]:
    """One token id per row of logits [rows, vocabulary], by each row's settings and generator."""
    best = logits.argmax(dim=-1).tolist()
    if all(row.sampling.temperature == 0.0 for row in rows):
        return [int(token) for token in best]
    top, places = logits.topk(min(NUCLEUS, logits.shape[-1]), dim=-1)
    total = torch.tensor([row.sampling.temperature or 1.0 for row in rows], device=logits.device)
    spread = torch.logsumexp(logits / total[:, None], dim=-1)
    tokens = []
    for i, row in enumerate(rows):
        if row.sampling.temperature == 0.0:
            tokens.append(int(best[i]))
            continue
        chances = torch.exp(top[i] / row.sampling.temperature - spread[i]).cpu()
        found = places[i].cpu()
        if float(chances.sum()) < row.sampling.top_p:
            chances, found = _whole(logits[i], row.sampling.temperature)
        tokens.append(int(found[_nucleus(chances, row)]))
    return tokens


def _whole(logits: torch.Tensor, temperature: float) -> tuple[torch.Tensor, torch.Tensor]:
    """All tokens' probabilities in falling order, with their ids."""
    chances, found = torch.softmax(logits / temperature, dim=-1).cpu().sort(descending=True)
    return chances, found


def _nucleus(chances: torch.Tensor, row: Row) -> int:
    """Draw a place from falling probabilities within the smallest set that reaches ``top_p``."""
    before = chances.cumsum(0) - chances
    kept = chances * (before < row.sampling.top_p)
    return int(torch.multinomial(kept, 1, generator=row.generator))
