"""Scores graphs of models on items; nobody is asked the same twice, in whatever graph it stands."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field

from protocols.core.call import Call, Step
from protocols.core.errors import ContributorError, EngineError
from protocols.core.fit_types import FitContext, FitItem
from protocols.core.models import content_hash
from protocols.lib.candidates import Result
from protocols.lib.coefficients import interval
from protocols.lib.graphs import Graph
from protocols.lib.jsonlines import append_rows, read_rows
from protocols.lib.networks import node_messages, speaker
from protocols.lib.prompts import Message

WAVE = 64
"""Answers that are asked for together; a kill loses one wave at most."""
Asked = tuple[str, list[Message]]
"""A model and what it is asked."""


@dataclass
class Walk:
    """One item on its way through a graph: what its nodes have said, None for those that failed."""

    graph: Graph
    item: FitItem
    said: dict[int, str | None] = field(default_factory=dict)

    def ready(self, node: int) -> bool:
        """Whether a node has not spoken though all that it reads have."""
        parents = self.graph.parents(node)
        return node not in self.said and all(parent in self.said for parent in parents)

    def heard(self, node: int) -> list[str]:
        """What a node reads, in order."""
        said = (self.said[parent] for parent in self.graph.parents(node))
        return [text for text in said if text is not None]

    def outcome(self) -> str | None:
        """The text of whoever speaks; None if nobody said anything."""
        alive = [node for node, text in self.said.items() if text is not None]
        return self.said[speaker(self.graph, alive)] if alive else None


class Networks:
    """Scores graphs and remembers every text.

    Answers are greedy, so to the same messages there is one answer only. ``spoken`` counts the
    answers that were needed, :attr:`asked` the different ones among them.
    """

    def __init__(self, ctx: FitContext) -> None:
        self.ctx, self.spoken = ctx, 0
        self._file = ctx.state / "texts.jsonl"
        self._texts: dict[str, str | None] = {r["key"]: r["text"] for r in read_rows(self._file)}
        self._scores: dict[Graph, dict[str, float | None]] = {}

    async def score(self, graphs: Iterable[Graph], items: Sequence[FitItem]) -> AsyncIterator[Step]:
        """Score graphs on items; :meth:`on` has the results afterwards."""
        walks = [
            Walk(graph, item)
            for graph in dict.fromkeys(graphs)
            for item in items
            if item.id not in self._scores.setdefault(graph, {})
        ]
        while wave := self._advance(walks):
            async for step in self._ask(list(wave.items())):
                yield step
        for walk in walks:
            text = walk.outcome()
            found = None if text is None else self.ctx.score(walk.item, text)
            self._scores[walk.graph][walk.item.id] = found

    def _advance(self, walks: Sequence[Walk]) -> dict[str, Asked]:
        """Take every walk as far as known texts carry it; returns what has to be asked now."""
        wave: dict[str, Asked] = {}
        for walk in walks:
            for node in filter(walk.ready, walk.graph.order):
                asked = self._question(walk, node)
                key = content_hash(*asked)
                if key in self._texts:
                    walk.said[node] = self._texts[key]
                    self.spoken += 1
                else:
                    wave[key] = asked
        return wave

    def _question(self, walk: Walk, node: int) -> Asked:
        model, asking = self.ctx.models[node].id, self.ctx.asking(walk.item.question)
        return model, node_messages(asking, model, walk.heard(node), node == walk.graph.sink)

    async def _ask(self, wave: Sequence[tuple[str, Asked]]) -> AsyncIterator[Step]:
        greedy = self.ctx.context.draw(temperature=0.0, top_p=1.0)
        for begin in range(0, len(wave), WAVE):
            part = wave[begin : begin + WAVE]
            calls = [
                Call(f"node.{key}", model, messages, role="search", quiet=True, sampling=greedy)
                for key, (model, messages) in part
            ]
            yield calls
            new = {key: said(call) for (key, _), call in zip(part, calls, strict=True)}
            append_rows(self._file, ({"key": key, "text": text} for key, text in new.items()))
            self._texts |= new

    @property
    def asked(self) -> int:
        """How many different answers were needed."""
        return len(self._texts)

    def on(self, graph: Graph, items: Sequence[FitItem]) -> Result:
        """A graph's scores on items that it was scored on."""
        return Result(tuple(self._scores[graph][item.id] for item in items))

    def worth(self, graph: Graph) -> float:
        """The lower end of the 95 % interval over all items that a graph was scored on."""
        result = Result(tuple(self._scores[graph].values()))
        return interval(result.mean, len(result.scores))[0]


def said(call: Call) -> str | None:
    """A call's text; None for an answer without words.

    Raises :class:`EngineError` for a call that did not get as far as an answer: a broken machine
    must not look like a bad graph.
    """
    answered = call.error is None or call.usage.prompt_tokens
    if call.error and not (answered and isinstance(call.error, ContributorError)):
        raise EngineError(f"The search cannot go on: {call.error.message}")
    return call.text if call.ok else None
