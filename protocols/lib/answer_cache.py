"""Greedy answers to items, asked once and remembered by content for every later fit.

A model is named by its weights, so what is remembered stays true when pools, protocols or names
change, and a killed fit asks only what it had not heard yet.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from protocols.core.artifacts import content_print
from protocols.core.call import Call, Step
from protocols.core.errors import ContributorError, EngineError
from protocols.core.fit_types import FitContext, FitItem
from protocols.core.models import ModelSpec, content_hash
from protocols.lib.jsonlines import append_rows, read_rows
from protocols.lib.prompts import question_messages

WAVE = 64
"""Answers that are asked for together; a kill loses one wave at most."""


@dataclass(frozen=True)
class CachedAnswer:
    """A model's answer to an item: no text if it failed, ``whole`` if it came to an end."""

    text: str
    whole: bool = True


class AnswerCache:
    """What models said to items, greedily, in at most the fit's number of tokens."""

    def __init__(self, ctx: FitContext) -> None:
        self.ctx = ctx
        self._known: dict[str, dict[str, CachedAnswer]] = {}

    def _file(self, model: ModelSpec) -> Path:
        """Whoever is served elsewhere may be another one tomorrow: kept for this fit only."""
        told = (model.chat_template, model.served_name, self.ctx.sampling.max_tokens)
        root = self.ctx.state if model.is_endpoint else self.ctx.shared
        # The model comes first: with it its answers can be found again and forgotten.
        return root / "answers" / f"{content_print(model)}-{content_hash(*told)}.jsonl"

    def _of(self, model: ModelSpec) -> dict[str, CachedAnswer]:
        if model.id not in self._known:
            rows = read_rows(self._file(model))
            known = {row["item"]: CachedAnswer(row["text"], row["whole"]) for row in rows}
            self._known[model.id] = known
        return self._known[model.id]

    def of(self, model: ModelSpec, items: Sequence[FitItem]) -> list[CachedAnswer]:
        """The answers to items that were asked, in order."""
        known = self._of(model)
        return [known[_key(item)] for item in items]

    def missing(self, model: ModelSpec, items: Sequence[FitItem]) -> list[FitItem]:
        """The items that the model was not asked yet."""
        known = self._of(model)
        return list({_key(item): item for item in items if _key(item) not in known}.values())

    async def ask(self, model: ModelSpec, items: Sequence[FitItem]) -> AsyncIterator[Step]:
        """Ask what was not asked yet. Raises :class:`EngineError` if the machine failed."""
        left = self.missing(model, items)
        for start in range(0, len(left), WAVE):
            wave = left[start : start + WAVE]
            calls = [self._call(model, item) for item in wave]
            yield calls
            self._keep(model, wave, calls)

    def _call(self, model: ModelSpec, item: FitItem) -> Call:
        greedy = self.ctx.context.draw(temperature=0.0, top_p=1.0)
        messages = question_messages(item.question)
        name = f"{model.id}/{item.id}"
        return Call(name, model.id, messages, role="search", quiet=True, sampling=greedy)

    def _keep(self, model: ModelSpec, wave: Sequence[FitItem], calls: Sequence[Call]) -> None:
        rows = []
        for item, call in zip(wave, calls, strict=True):
            require_heard(call)
            said = CachedAnswer(
                call.text if call.ok else "", whole=call.ok and call.finish != "length"
            )
            self._of(model)[_key(item)] = said
            rows.append({"item": _key(item), "text": said.text, "whole": said.whole})
        append_rows(self._file(model), rows)


def require_heard(call: Call) -> None:
    """Raise :class:`EngineError` for a call that did not get as far as an answer.

    A broken machine must not look like a bad model; an answer without words is the model's own.
    """
    if call.error and not (isinstance(call.error, ContributorError) and call.usage.prompt_tokens):
        raise EngineError(f"The fit cannot go on: {call.error.message}")


def _key(item: FitItem) -> str:
    return content_hash(item.question)
