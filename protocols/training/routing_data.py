"""What a router learns from: answered questions as vectors, labels from a judge, three parts.

It is trained on train items. Dev items are halved: one half calibrates it and says which single
model is best, the other is held out and says what it is worth.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocols.core.call import Step
from protocols.core.errors import UserError
from protocols.core.events import Phase
from protocols.core.fit_types import FitContext
from protocols.core.models import content_hash
from protocols.core.registry import FitEstimate, FitSize
from protocols.lib.encoders import EncoderSpec, Vectors, choose, encoder
from protocols.training.pool_answers import PoolAnswers, Table
from protocols.training.reward_scorer import reward_spec, rewards
from protocols.training.router_evaluation import halves, soft_labels, spread

Floats = NDArray[np.float64]
LEAST_TRAIN, LEAST_DEV = 4, 4


@dataclass(frozen=True)
class AnsweredQuestions:
    """Some answered questions. ``judged`` are the judge's scores [items, models], ``labels`` the
    soft labels made of them, ``weights`` [items] how far they lie apart.
    """

    table: Table
    judged: Floats
    labels: Floats
    weights: Floats
    vectors: Vectors

    @property
    def questions(self) -> list[str]:
        """The questions, in order."""
        return [item.question for item in self.table.items]

    @property
    def tasks(self) -> list[str]:
        """The questions' tasks."""
        return [item.task for item in self.table.items]

    @property
    def scores(self) -> Floats:
        """What the task's metric says, [items, models]."""
        return self.table.scores

    def rows(self, places: Sequence[int]) -> AnsweredQuestions:
        """Some of the questions."""
        at = list(places)
        return AnsweredQuestions(
            self.table.rows(at),
            self.judged[at],
            self.labels[at],
            self.weights[at],
            self.vectors[at],
        )

    def __len__(self) -> int:
        return len(self.table.items)


@dataclass(frozen=True)
class RoutingData:
    """The three parts, and the encoder of the questions (none if it was not asked for)."""

    train: AnsweredQuestions
    tune: AnsweredQuestions
    held: AnsweredQuestions
    encoder: EncoderSpec | None

    @property
    def models(self) -> tuple[str, ...]:
        """The models' ids, in the order of the columns."""
        return self.train.table.models

    @property
    def best(self) -> int:
        """The best single model, on train items and the half of dev that is not held out."""
        scores = np.concatenate([self.train.scores, self.tune.scores])
        return int(scores.mean(axis=0).argmax())

    def about(self) -> dict[str, int | str]:
        """Sizes and names, for an artifact's metrics."""
        sizes = {"train": len(self.train), "tune": len(self.tune), "held": len(self.held)}
        telling = int((self.train.weights > 0).sum())
        return {**sizes, "train_telling": telling, "best_single": self.models[self.best]}


class RoutingDataCollector:
    """Gathers :class:`RoutingData` step by step."""

    def __init__(self, ctx: FitContext, encode: bool = True) -> None:
        """``encode`` says whether vectors are needed.

        Raises :class:`UserError` for too few items, and for an encoder or a judge that is not here:
        before anything is asked.
        """
        self.ctx = ctx
        self.spec = choose(ctx.config.encoder, ctx.models) if encode else None
        if ctx.config.judge == "reward":
            reward_spec(ctx)
        for part, least in (("train", LEAST_TRAIN), ("dev", LEAST_DEV)):
            found = len(ctx.items.get(part, ()))  # type: ignore[call-overload]
            if found < least:
                raise UserError(
                    f"A router needs at least {least} {part} items; {ctx.task} has {found} here. "
                    "Raise the limit or add a task."
                )
        self.made: RoutingData | None = None

    async def gather(self) -> AsyncIterator[Step]:
        """Ask, judge, encode; :attr:`made` has the result."""
        ctx, answers = self.ctx, PoolAnswers(self.ctx)
        yield Phase(name="answers", title="Every model answers every question", index=0, total=2)
        await ctx.load(ctx.models)
        async for step in answers.asked():
            yield step
        yield answers.artifact()
        yield Phase(name="learn", title="The router learns who is good at what", index=1, total=2)
        table = answers.table()
        judged = await ctx.train(rewards, ctx, table) if ctx.config.judge == "reward" else None
        vectors = await ctx.work(encode_questions, ctx, self.spec, table) if self.spec else None
        self.made = label_and_split(ctx, table, judged, self.spec, vectors)

    @property
    def data(self) -> RoutingData:
        """What was gathered."""
        assert self.made is not None
        return self.made


def gather_estimate(config: Any, size: FitSize) -> FitEstimate:
    """Every model answers every item once."""
    return FitEstimate(size.models * (size.train + size.dev))


def label_and_split(
    ctx: FitContext,
    table: Table,
    judged: Floats | None,
    spec: EncoderSpec | None,
    vectors: Vectors | None,
) -> RoutingData:
    """Label and split; ``judged`` are the reward model's scores where it is the judge."""
    scores = table.scores if judged is None else judged
    whole = AnsweredQuestions(
        table,
        scores,
        soft_labels(scores, ctx.config.softness),
        spread(scores),
        vectors if vectors is not None else np.zeros((len(table.items), 0), dtype=np.float32),
    )
    count = len(ctx.items["train"])
    dev = range(count, len(table.items))
    tune, held = halves([table.items[at].task for at in dev])
    return RoutingData(
        whole.rows(range(count)),
        whole.rows([dev[at] for at in tune]),
        whole.rows([dev[at] for at in held]),
        spec,
    )


def encode_questions(ctx: FitContext, spec: EncoderSpec, table: Table) -> Vectors:
    """The questions as vectors, [items, size], remembered for the next time. Blocks."""
    questions = [item.question for item in table.items]
    path = ctx.state / f"vectors-{content_hash(spec.model_dump(), questions)}.npz"
    if not path.is_file():
        ctx.report("encode", 0, len(questions), f"Reading the questions: {spec.title}")
        found = encoder(spec, ctx.models)(questions)
        part = path.with_suffix(".part.npz")
        np.savez(part, vectors=found)
        part.rename(path)
    with np.load(path, allow_pickle=False) as stored:
        vectors: Vectors = stored["vectors"]
    ctx.report("encode", len(questions), len(questions), spec.title)
    return vectors
