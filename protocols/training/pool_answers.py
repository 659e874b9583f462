"""What a pool knows: every model answers every train and dev item once, and the answers are scored.

Routers, rankers and switchers learn from the same table. What was asked is read from a file, so a
killed fit goes on where it was.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocols.core.call import Call, Step
from protocols.core.events import Artifact, Progress
from protocols.core.fit_types import PARTS, FitContext, FitItem
from protocols.core.models import ModelSpec
from protocols.lib.answer_cache import require_heard
from protocols.lib.jsonlines import append_rows, read_rows
from protocols.lib.prompts import question_messages

WAVE = 32
"""Answers that are asked for together; a kill loses one wave at most."""
PICTURES = 8
"""How often the scores so far are shown."""
FILE = "answers.jsonl"


@dataclass(frozen=True)
class Table:
    """Texts and scores of ``items`` by ``models``; a text without words is empty, its score 0."""

    items: tuple[FitItem, ...]
    models: tuple[str, ...]
    texts: tuple[tuple[str, ...], ...]
    scores: NDArray[np.float64]
    """[items, models], from 0 to 1."""

    def rows(self, places: Sequence[int]) -> Table:
        """Some of the items."""
        return Table(
            tuple(self.items[at] for at in places),
            self.models,
            tuple(self.texts[at] for at in places),
            self.scores[list(places)],
        )


class PoolAnswers:
    """Asks every model every item of ``parts``, in order, and remembers what was said."""

    def __init__(self, ctx: FitContext, parts: Iterable[str] = PARTS) -> None:
        self.ctx = ctx
        self.items = tuple(item for part in parts for item in ctx.items.get(part, ()))  # type: ignore[call-overload]
        self._file = ctx.state / FILE
        self._known: dict[tuple[str, str], tuple[str, float | None]] = {
            (row["model"], row["item"]): (row["text"], row["score"])
            for row in read_rows(self._file)
        }

    async def asked(self) -> AsyncIterator[Step]:
        """Ask what was not asked before, a wave at a time; :meth:`table` has the answers then.

        Raises :class:`EngineError` for a call that did not get as far as an answer: a broken
        machine must not look like a bad model.
        """
        pairs = [(item, model) for item in self.items for model in self.ctx.models]
        todo = [(i, m) for i, m in pairs if (m.id, i.id) not in self._known]
        waves = range(0, len(todo), WAVE)
        shown = set(np.linspace(0, len(waves) - 1, PICTURES).astype(int)) if todo else set()
        for number, start in enumerate(waves):
            wave = todo[start : start + WAVE]
            calls = [self._call(item, model) for item, model in wave]
            yield calls
            self._keep(wave, calls)
            done = len(pairs) - len(todo) + start + len(wave)
            note = f"{done} of {len(pairs)} answers"
            yield Progress(unit="answers", done=done, total=len(pairs), note=note)
            if number in shown:
                yield self.artifact()

    def _call(self, item: FitItem, model: ModelSpec) -> Call:
        greedy = self.ctx.context.draw(temperature=0.0, top_p=1.0)
        messages, name = question_messages(item.question), f"ask/{model.id}/{item.id}"
        return Call(name, model.id, messages, role="search", quiet=True, sampling=greedy)

    def _keep(self, wave: Sequence[tuple[FitItem, ModelSpec]], calls: Sequence[Call]) -> None:
        rows = []
        for (item, model), call in zip(wave, calls, strict=True):
            require_heard(call)
            text = call.text if call.ok else ""
            score = self.ctx.score(item, text) if text else None
            self._known[model.id, item.id] = (text, score)
            rows.append({"model": model.id, "item": item.id, "text": text, "score": score})
        append_rows(self._file, rows)

    def table(self, part: str | None = None) -> Table:
        """The answers to all items, or to those of one part."""
        wanted = self.ctx.items.get(part, ()) if part else self.items  # type: ignore[call-overload]
        models = tuple(model.id for model in self.ctx.models)
        found = [[self._known[name, item.id] for name in models] for item in wanted]
        scores = [[score or 0.0 for _, score in row] for row in found]
        return Table(
            tuple(wanted),
            models,
            tuple(tuple(text for text, _ in row) for row in found),
            np.asarray(scores, dtype=np.float64).reshape(len(found), len(models)),
        )

    def artifact(self) -> Artifact:
        """Mean scores so far, ``{"rows": [{"task", "answered", model id: mean}]}``.

        ``answered`` counts items that every model has answered; only these are in the means.
        """
        names = [model.id for model in self.ctx.models]
        whole = [i for i in self.items if all((name, i.id) in self._known for name in names)]
        rows = []
        for task in dict.fromkeys(item.task for item in self.items):
            places = [item.id for item in whole if item.task == task]
            scores = [[self._known[n, at][1] or 0.0 for at in places] for n in names]
            means = {
                n: round(sum(row) / len(row), 4)
                for n, row in zip(names, scores, strict=True)
                if row
            }
            rows.append({"task": task, "answered": len(places), **means})
        return Artifact(name="answers", data={"rows": rows})
