"""Trains the two roles of LLM-Blender on answers that the pool gives to train items.

The ranker learns from pairs of which one is better by the task's score, in both orders, so it gains
nothing from liking a place. The fuser learns on other items than the ranker: there the ranking is
as it will be live, not as it is on what the ranker has seen.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, combinations
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from protocols.core.artifacts import Derived
from protocols.core.call import Call, ScoreCall, Step
from protocols.core.errors import UserError
from protocols.core.events import Phase, Progress
from protocols.core.fit_types import FitContext, FitItem
from protocols.core.models import ModelSpec
from protocols.core.registry import Context, FitEstimate, FitSize, alpha_of
from protocols.lib.blend_outcome import blended_answer
from protocols.lib.coefficients import interval
from protocols.lib.pairwise import LABELS, compare_calls, most_pairs, preference
from protocols.lib.ranking import Candidate, Ranking, candidates
from protocols.training.call_cache import PASSING, CallCache, answer_call, answer_score
from protocols.training.checkpoints import Watch
from protocols.training.sft import SftConfig, train_sft
from protocols.training.students import (
    Student,
    role_decision,
    show_rows,
    store_adapter,
    student_for_role,
    train_adapter,
    training_row,
)
from protocols.training.trainers import LONGEST

Row = tuple[str, str]
Rounds = Callable[[Context, Ranking], Iterator[list[tuple[int, int]]]]
"""Whom the live protocol compares with whom, round by round."""
Fuse = Callable[[Context, str, Sequence[Candidate]], Call]
"""How the live protocol asks the fuser."""


@dataclass
class RankedAnswers:
    """An item, what the pool answered, and how a ranker ranks it."""

    item: FitItem
    calls: list[Call]
    asking: Context
    rankings: dict[str, Ranking] = field(default_factory=dict)

    def scores(self, ctx: FitContext) -> list[float]:
        """How right each distinct answer is."""
        return [answer_score(ctx, self.item, one.voice) for one in self.candidates]

    @property
    def candidates(self) -> list[Candidate]:
        """The distinct answers."""
        return candidates([call for call in self.calls if call.ok])


async def fit_blender(ctx: FitContext, rounds: Rounds, fuse: Fuse) -> AsyncIterator[Step]:
    """Answers, a ranker, a fuser, and what they are worth on the dev items."""
    if len(ctx.items["train"]) < 2:
        raise UserError(f"The task '{ctx.task}' has too few train items. Fit to another task.")
    who = student_for_role(ctx.models, ctx.config.student)
    blender = Blender(ctx, CallCache(ctx), who, rounds, fuse)
    yield Phase(name="answers", title="The pool answers", index=0, total=3)
    async for step in blender.answers():
        yield step
    yield Phase(name="ranker", title="A ranker is trained", index=1, total=3)
    async for step in blender.ranker():
        yield step
    yield Phase(name="fuser", title="A fuser is trained", index=2, total=3)
    async for step in blender.fuser():
        yield step
    for model in blender.served:
        await ctx.release(model)
    sizes = {name: len(rows) for name, rows in blender.rows.items()}
    recipe: JsonValue = {"student": who.model.id, "rows": dict(sizes), "seed": ctx.seed}
    yield ctx.fitted(blender.metrics, recipe, blender.derived)


def training_steps(config: Any, rows: int) -> int:
    """Steps of training on so many rows."""
    return int(config.steps or math.ceil(rows / config.batch) * config.epochs)


def fit_estimate(config: Any, size: FitSize) -> FitEstimate:
    """Answers and two fusers' texts; two rankers' verdicts on dev, one's on the fuser's items."""
    pairs, half = most_pairs(size.models, config.rounds), size.train // 2
    unlike = 2 * math.comb(size.models, 2) * (size.train - half)
    return FitEstimate(
        calls=size.models * (size.train + size.dev) + 2 * size.dev,
        scores=2 * pairs * (2 * size.dev + half) + 4 * size.dev,
        steps=training_steps(config, unlike) + training_steps(config, half),
    )


@dataclass
class Blender:
    """What a fit of LLM-Blender has found so far."""

    ctx: FitContext
    memory: CallCache
    who: Student
    rounds: Rounds
    fuse: Fuse
    derived: list[Derived] = field(default_factory=list)
    metrics: dict[str, float | int] = field(default_factory=dict)
    rows: dict[str, list[Row]] = field(default_factory=dict)
    served: list[ModelSpec] = field(default_factory=list)

    def __post_init__(self) -> None:
        train = self.ctx.items["train"]
        mixed = self.ctx.rng("halves").sample(train, len(train))
        half = (len(mixed) + 1) // 2
        parts = {"ranker": mixed[:half], "fuser": mixed[half:], "dev": self.ctx.items["dev"]}
        self.tables = {name: [self._table(i) for i in items] for name, items in parts.items()}
        self.playing = self.who.model.id
        """Who ranks."""

    def _table(self, item: FitItem) -> RankedAnswers:
        calls = [answer_call("answer", model.id, item) for model in self.ctx.models]
        return RankedAnswers(item, calls, self.ctx.asking(item.question))

    async def answers(self) -> AsyncIterator[Step]:
        """Every model answers every item."""
        tables = list(chain(*self.tables.values()))
        calls = list(chain(*(table.calls for table in tables)))
        async for step in self.memory.play(calls, "answers to learn from"):
            yield step
        dev, count = self.tables["dev"], len(self.tables["dev"])
        pairs = enumerate(self.ctx.models)
        alone = {
            m.id: sum(answer_score(self.ctx, t.item, t.calls[at]) for t in dev) / count
            for at, m in pairs
        }
        best = sum(max(table.scores(self.ctx), default=0.0) for table in dev) / count
        self.metrics |= {"n": count, "best_single": max(alone.values()), "oracle": best}
        self.metrics |= {f"alone.{name}": value for name, value in alone.items()}

    async def ranker(self) -> AsyncIterator[Step]:
        """Train it, and keep it unless the untrained one does better on dev pairs."""
        rows = self.rows["ranker"] = list(self._pairs())
        base = self.playing
        async for step in self.ranked(base, self.tables["dev"]):
            yield step
        before = self.pair_accuracy(base)
        if not rows:
            note = "No two answers differ in score, so there is nothing to train a ranker on."
            yield Progress(unit="train", note=note, level="warning")
        else:
            adapter = await self.train("ranker", rows)
            self.serve("ranker", adapter)
            async for step in self.ranked("fit.ranker", self.tables["dev"]):
                yield step
            after = self.pair_accuracy("fit.ranker")
            if after >= before:
                self.playing = "fit.ranker"
                self.derived.append(
                    store_adapter(self.ctx, self.who, "ranker", adapter, "Trained ranker")
                )
            yield role_decision("ranker", after >= before, after, before)
            self.metrics["pairs.trained"] = after
        self.metrics |= {"pairs": self._unlike(base), "pairs.untrained": before}

    def _pairs(self) -> Iterator[Row]:
        """Rows out of every pair of unlike answers, in both orders."""
        for table in self.tables["ranker"]:
            worth = table.scores(self.ctx)
            for (i, one), (j, other) in combinations(enumerate(table.candidates), 2):
                if worth[i] == worth[j]:
                    continue
                calls = compare_calls(
                    table.asking, "row", self.who.model.id, one.voice, other.voice
                )
                told = LABELS if worth[i] > worth[j] else tuple(reversed(LABELS))
                yield from (
                    training_row(c.render(), label) for c, label in zip(calls, told, strict=True)
                )

    async def ranked(self, ranker: str, tables: Sequence[RankedAnswers]) -> AsyncIterator[Step]:
        """Rank every table as live, all of them round by round."""
        open_ = []
        for table in tables:
            ranking = table.rankings[ranker] = Ranking(table.candidates)
            open_.append((table, ranking, self.rounds(table.asking, ranking)))
        for number in range(1000):
            drawn = [(t, r, next(g, None)) for t, r, g in open_]
            if all(pairs is None for *_, pairs in drawn):
                return
            found = [
                (r, pair, self._compare(t, r, ranker, pair, number))
                for t, r, pairs in drawn
                for pair in pairs or ()
            ]
            calls = list(chain(*(calls for *_, calls in found)))
            async for step in self.memory.play(calls, f"verdicts of {ranker}"):
                yield step
            for ranking, pair, verdicts in found:
                if told := preference(verdicts):
                    ranking.said[pair] = told

    def _compare(
        self,
        table: RankedAnswers,
        ranking: Ranking,
        ranker: str,
        pair: tuple[int, int],
        number: int,
    ) -> list[ScoreCall]:
        one, other = (ranking.candidates[place].voice for place in pair)
        name = f"pair/{ranker}/{table.item.id}/{one.model}/{other.model}"
        return compare_calls(table.asking, name, ranker, one, other, "ranker", number)

    def pair_accuracy(self, ranker: str) -> float:
        """The share of unlike dev pairs that it tells apart rightly; undecided ones count half."""
        found = list(self._verdicts(ranker))
        return sum(found) / len(found) if found else 0.5

    def _unlike(self, ranker: str) -> int:
        return len(list(self._verdicts(ranker)))

    def _verdicts(self, ranker: str) -> Iterator[float]:
        for table in self.tables["dev"]:
            worth = table.scores(self.ctx)
            for (i, j), told in table.rankings[ranker].said.items():
                if worth[i] != worth[j]:
                    right = told.probability if worth[i] > worth[j] else 1 - told.probability
                    yield 0.5 if right == 0.5 else float(right > 0.5)

    async def fuser(self) -> AsyncIterator[Step]:
        """Train it on what the ranker likes best; the untrained one stays if it does better."""
        async for step in self.ranked(self.playing, self.tables["fuser"]):
            yield step
        tables = [table for table in self.tables["fuser"] if table.candidates]
        self.rows["fuser"] = await self.ctx.work(lambda: [*map(self._lesson, tables)])
        base = self.who.model.id
        found: dict[str, dict[str, float]] = {}
        async for step in self.blends(base, found):
            yield step
        if not self.rows["fuser"]:
            note = "No train item was answered, so there is nothing to train a fuser on."
            yield Progress(unit="train", note=note, level="warning")
        else:
            adapter = await self.train("fuser", self.rows["fuser"])
            self.serve("fuser", adapter)
            async for step in self.blends("fit.fuser", found):
                yield step
            after, before = found["fit.fuser"], found[base]
            better = worth(after) >= worth(before)
            yield role_decision("fuser", better, after["final"], before["final"])
            self.metrics |= {"final.trained": after["final"], "final.untrained": before["final"]}
            if better:
                base = "fit.fuser"
                self.derived.append(
                    store_adapter(self.ctx, self.who, "fuser", adapter, "Trained fuser")
                )
        self.metrics |= found[base]
        low, high = interval(found[base]["final"], len(self.tables["dev"]))
        self.metrics |= {"final.low": low, "final.high": high}

    def _lesson(self, table: RankedAnswers) -> Row:
        """The best candidates as asked live, and the best right answer among all, else the gold."""
        ranking = table.rankings[self.playing]
        best = ranking.best(self.ctx.config.top)
        call = self.fuse(table.asking, self.who.model.id, best)
        ranked = ranking.best(len(ranking.candidates))
        right = [
            one.voice for one in ranked if answer_score(self.ctx, table.item, one.voice) >= PASSING
        ]
        return training_row(call.render(), right[0].text if right else table.item.answer)

    async def blends(self, fuser: str, found: dict[str, dict[str, float]]) -> AsyncIterator[Step]:
        """What ``fuser`` makes of the dev items, and what is kept of it: the rules of a live run.

        ``found`` gets the mean score of the best candidates, of the fused texts and of what is
        answered in the end, and the share of fused texts that were kept.
        """
        dev = [table for table in self.tables["dev"] if table.candidates]
        asked_ = [self._blend(table, fuser) for table in dev]
        async for step in self.memory.play([fused for _, fused in asked_], f"texts of {fuser}"):
            yield step
        checks = [
            compare_calls(t.asking, f"check/{f.id}", self.playing, f, best[0].voice, "ranker")
            if f.ok
            else []
            for t, (best, f) in zip(dev, asked_, strict=True)
        ]
        async for step in self.memory.play(list(chain(*checks)), "checks of fused texts"):
            yield step
        scores: dict[str, float] = dict.fromkeys(("ranked", "fused", "final", "kept"), 0.0)
        for table, (best, fused), check in zip(dev, asked_, checks, strict=True):
            made = blended_answer(fused, best, preference(check) if check else None)
            scores["ranked"] += answer_score(self.ctx, table.item, best[0].voice)
            scores["fused"] += answer_score(self.ctx, table.item, fused)
            scores["final"] += self.ctx.score(table.item, made.text) or 0.0
            scores["kept"] += made.text == fused.text if fused.ok else 0.0
        found[fuser] = {name: sum_ / len(self.tables["dev"]) for name, sum_ in scores.items()}

    def _blend(self, table: RankedAnswers, fuser: str) -> tuple[list[Candidate], Call]:
        best = table.rankings[self.playing].best(self.ctx.config.top)
        call = self.fuse(table.asking, fuser, best)
        call.id = f"fuse/{self.playing}/{fuser}/{table.item.id}"
        return best, call

    def serve(self, role: str, adapter: Path) -> None:
        """Make a trained role callable for as long as the fit lasts."""
        self.served.append(self.who.trained(f"fit.{role}", adapter))
        self.ctx.serve(self.served[-1])

    async def train(self, role: str, rows: Sequence[Row]) -> Path:
        """The adapter for a role."""
        config, who = self.ctx.config, self.who
        steps = training_steps(config, len(rows))
        settings = SftConfig(
            steps=steps,
            batch=config.batch,
            learning_rate=config.learning_rate,
            warmup=steps // 10,
            rank=config.lora,
            alpha=alpha_of(config, config.lora),
            seed=self.ctx.seed,
            max_length=LONGEST,
        )

        def train(out: Path, state: Path, watch: Watch) -> object:
            return train_sft(
                who.base,
                rows,
                out,
                base_id=who.base_id,
                config=settings,
                state=state,
                watch=watch,
                template=who.model.chat_template or "",
            )

        show_rows(self.ctx, role, [{"prompt": asks, "answer": told} for asks, told in rows])
        return await train_adapter(self.ctx, role, steps, train)


def worth(found: dict[str, float]) -> tuple[float, float]:
    """What a fuser is judged by: answers in the end, then its own texts."""
    return found["final"], found["fused"]
